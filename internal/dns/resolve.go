package dns

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	mdns "github.com/miekg/dns"
)

const maxLookups = 8 // questions to servers for one name, when CNAMEs lead out of the answers

// resolve asks for the name, and for the targets of CNAMEs that lead out of the answers.
func (c *Client) resolve(ctx context.Context, fqdn string, t Type, until time.Time) (f finding, server *server, err error) {
	whole := finding{owner: fqdn, ttl: seconds(maxTTL), authentic: true}
	for range maxLookups {
		f, server, err = c.inquire(ctx, whole.owner, t, until)
		if err != nil {
			return finding{}, server, err
		}
		f.aliases += whole.aliases
		f.ttl = min(f.ttl, whole.ttl)
		f.authentic = f.authentic && whole.authentic
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
// not at all: when all are, the error comes at once. last is the server that had
// the last word.
func (c *Client) inquire(ctx context.Context, fqdn string, t Type, until time.Time) (f finding, last *server, err error) {
	err = errDown
	first := 0
	if c.rotate {
		first = int(c.turn.Add(1) % uint32(len(c.servers)))
	}
	var useless []*server
	for range c.attempts {
		for i := range c.servers {
			s := c.servers[(first+i)%len(c.servers)]
			if slices.Contains(useless, s) || !s.usable(s) {
				continue
			}
			if last != nil && (!time.Now().Before(until) || ctx.Err() != nil) {
				return finding{}, last, errors.Join(err, os.ErrDeadlineExceeded)
			}
			last = s
			if f, err = c.try(ctx, s, fqdn, t, until); err == nil {
				return f, s, nil
			}
			c.log.Debug("dns server gave no answer", "server", s.name, "name", fqdn, "type", t.String(), "error", err)
			var rcode rcodeError
			if errors.As(err, &rcode) || errors.Is(err, errReferral) || errors.Is(err, errLoop) {
				useless = append(useless, s)
			}
		}
	}
	return finding{}, last, err
}

// try asks one server once; again without EDNS if it does not know that (RFC 6891, 7).
func (c *Client) try(ctx context.Context, s *server, fqdn string, t Type, until time.Time) (finding, error) {
	if end := time.Now().Add(c.timeout); end.Before(until) {
		until = end
	}
	f, err := c.tryOnce(ctx, s, fqdn, t, true, until)
	var rcode rcodeError
	if errors.As(err, &rcode) && (rcode == mdns.RcodeFormatError || rcode == mdns.RcodeNotImplemented) {
		return c.tryOnce(ctx, s, fqdn, t, false, until)
	}
	return f, err
}

func (c *Client) tryOnce(ctx context.Context, s *server, fqdn string, t Type, edns bool, until time.Time) (finding, error) {
	w, err := newWait(fqdn, t, edns)
	defer waits.Put(w)
	if err != nil {
		return finding{}, err
	}
	if s.trusted {
		wantAD(w.query)
	}
	c.queries.Add(1)
	if err := s.exchange(ctx, w, until); err != nil {
		return finding{}, err
	}
	if err := unpack(&w.msg, w.reply); err != nil {
		return finding{}, err
	}
	f, err := read(&w.msg, t)
	f.authentic = s.trusted && w.msg.AuthenticatedData
	return f, err
}
