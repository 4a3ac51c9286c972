package dns

import (
	"errors"
	"os"
	"time"

	mdns "github.com/miekg/dns"
)

const maxLookups = 8 // questions to servers for one name, when CNAMEs lead out of the answers

// resolve asks for the name, and for the targets of CNAMEs that lead out of the answers.
func (c *Client) resolve(fqdn string, t Type, until time.Time) (finding, string, error) {
	whole := finding{owner: fqdn, ttl: seconds(maxTTL)}
	server := ""
	for range maxLookups {
		f, s, err := c.inquire(whole.owner, t, until)
		server = s
		if err != nil {
			return finding{}, server, err
		}
		f.aliases += whole.aliases
		f.ttl = min(f.ttl, whole.ttl)
		if f.aliases > maxAliases {
			break
		}
		if f.settled {
			return f, server, nil
		}
		whole = f
	}
	return finding{}, server, errLoop
}

// inquire puts one question to the servers in turn until one answers. A server
// that has said that it cannot answer is not asked again, and one that is down
// not at all: when all are, the error comes at once.
func (c *Client) inquire(fqdn string, t Type, until time.Time) (f finding, name string, err error) {
	err = errDown
	first := 0
	if c.rotate {
		first = int(c.turn.Add(1) % uint32(len(c.servers)))
	}
	useless := make([]bool, len(c.servers))
	for range c.attempts {
		for i := range c.servers {
			at := (first + i) % len(c.servers)
			s := c.servers[at]
			if useless[at] || !s.usable(s) {
				continue
			}
			if !time.Now().Before(until) {
				return finding{}, name, errors.Join(err, os.ErrDeadlineExceeded)
			}
			name = s.name
			if f, err = c.try(s, fqdn, t, until); err == nil {
				return f, name, nil
			}
			c.log.Debug("dns server gave no answer", "server", name, "name", fqdn, "type", t.String(), "error", err)
			var rcode rcodeError
			useless[at] = errors.As(err, &rcode) || errors.Is(err, errReferral) || errors.Is(err, errLoop)
		}
	}
	return finding{}, name, err
}

// try asks one server once; again without EDNS if it does not know that (RFC 6891, 7).
func (c *Client) try(s *server, fqdn string, t Type, until time.Time) (finding, error) {
	if end := time.Now().Add(c.timeout); end.Before(until) {
		until = end
	}
	f, err := c.tryOnce(s, fqdn, t, true, until)
	var rcode rcodeError
	if errors.As(err, &rcode) && (rcode == mdns.RcodeFormatError || rcode == mdns.RcodeNotImplemented) {
		return c.tryOnce(s, fqdn, t, false, until)
	}
	return f, err
}

func (c *Client) tryOnce(s *server, fqdn string, t Type, edns bool, until time.Time) (finding, error) {
	query, err := newQuery(fqdn, t, edns)
	if err != nil {
		return finding{}, err
	}
	c.queries.Add(1)
	reply, err := s.exchange(query, until)
	if err != nil {
		return finding{}, err
	}
	m, err := unpack(reply)
	if err != nil {
		return finding{}, err
	}
	return read(m, t)
}
