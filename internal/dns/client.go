package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"time"

	mdns "github.com/miekg/dns"
	"golang.org/x/sync/singleflight"
)

const (
	defaultTimeout   = 5 * time.Second // resolv.conf(5)
	defaultAttempts  = 2               // resolv.conf(5)
	defaultCacheSize = 10000
	maxFlight        = 30 * time.Second // one question, all servers and attempts together
	maxLookups       = 8                // questions to servers for one name, when CNAMEs lead out of the answers
)

// Config says whom a Client asks. Zero values but Servers mean the default.
type Config struct {
	Servers   []string      // resolving servers in order: "192.0.2.53", "[2001:db8::53]:5353"; at least one
	Timeout   time.Duration // to wait for one server once; 5 s
	Attempts  int           // rounds over the servers; 2
	CacheSize int           // answers kept; 10000
	Log       *slog.Logger  // servers that give no answer, at debug level; none
}

// Client is a stub Resolver: it asks recursive servers, in their order, by UDP
// and by TCP where the answer is too long, believes only answers to the
// question asked, and keeps them as long as their TTL says. It is safe for
// concurrent use; the same question asked at the same time is sent once.
type Client struct {
	servers  []string
	timeout  time.Duration
	attempts int
	log      *slog.Logger
	now      func() time.Time
	cache    cache
	flights  singleflight.Group

	lookups, hits, queries, errors atomic.Uint64
}

// Stats are counts since the Client was made.
type Stats struct {
	Lookups uint64 // calls of Lookup
	Hits    uint64 // of these, answered from the cache, failures kept there included
	Queries uint64 // questions sent to servers, repetitions included
	Errors  uint64 // lookups that ended in an error
}

// NewClient checks the configuration; it does not ask anything.
func NewClient(cfg Config) (*Client, error) {
	if len(cfg.Servers) == 0 {
		return nil, errors.New("dns: no server is named")
	}
	if cfg.Timeout < 0 || cfg.Attempts < 0 || cfg.CacheSize < 0 {
		return nil, errors.New("dns: timeout, attempts and cache size must not be negative")
	}
	c := &Client{timeout: cfg.Timeout, attempts: cfg.Attempts, log: cfg.Log, now: time.Now}
	if c.timeout == 0 {
		c.timeout = defaultTimeout
	}
	if c.attempts == 0 {
		c.attempts = defaultAttempts
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	for _, s := range cfg.Servers {
		server, err := serverAddr(s)
		if err != nil {
			return nil, err
		}
		c.servers = append(c.servers, server)
	}
	size := cfg.CacheSize
	if size == 0 {
		size = defaultCacheSize
	}
	var err error
	c.cache, err = newCache(size)
	return c, err
}

// serverAddr reads an address with or without port; the port is 53 when none is given.
func serverAddr(s string) (string, error) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.String(), nil
	}
	host := s
	if len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' {
		host = s[1 : len(s)-1]
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return "", fmt.Errorf("dns: server %q: want an IP address, with or without port: %w", s, err)
	}
	return net.JoinHostPort(addr.String(), "53"), nil
}

// Stats reads the counters.
func (c *Client) Stats() Stats {
	return Stats{c.lookups.Load(), c.hits.Load(), c.queries.Load(), c.errors.Load()}
}

// Lookup implements Resolver. The name is in presentation form, as in zone
// files, where a backslash escapes (RFC 1035, 5.1); other bytes stand for
// themselves. What cannot be a name is absent, and no server is asked. The
// error is an *Error, and comes at ctx's end or after 30 s at the latest.
func (c *Client) Lookup(ctx context.Context, name string, t Type) (Answer, error) {
	c.lookups.Add(1)
	name = relative(name)
	if !t.known() {
		return c.count(Answer{}, &Error{Name: name, Type: t, Reason: "not a type that this resolver reads"})
	}
	k := key{lower(name), t}
	now := c.now()
	if e := c.cache.get(k, now); e != nil {
		c.hits.Add(1)
		return c.count(e.remembered(name, now))
	}
	fqdn, ok := absolute(k.name)
	if !ok {
		return Answer{Name: name, Server: "no server: not a possible name"}, nil
	}
	return c.count(c.join(ctx, name, fqdn, k))
}

func (c *Client) count(ans Answer, err error) (Answer, error) {
	if err != nil {
		c.errors.Add(1)
	}
	return ans, err
}

// join waits for the question's outcome, asking it unless somebody already
// does. The asking has its own deadline: a waiter that leaves does not end it.
func (c *Client) join(ctx context.Context, name, fqdn string, k key) (Answer, error) {
	if err := ctx.Err(); err != nil {
		return Answer{}, &Error{Name: name, Type: k.t, Reason: "not asked", Err: err}
	}
	flight := c.flights.DoChan(k.t.String()+" "+k.name, func() (any, error) {
		return c.fly(fqdn, k), nil
	})
	select {
	case r := <-flight:
		return r.Val.(*entry).fresh(name)
	case <-ctx.Done():
		return Answer{}, &Error{Name: name, Type: k.t, Reason: "no answer in time", Err: context.Cause(ctx)}
	}
}

// fly asks, and keeps the outcome. It runs alone for its question.
func (c *Client) fly(fqdn string, k key) (e *entry) {
	defer func() {
		if p := recover(); p != nil { // the codec reads bytes of strangers: a fault in it is a failed lookup
			c.log.Error("dns lookup failed inside", "name", k.name, "type", k.t.String(), "panic", p, "stack", string(debug.Stack()))
			e = newEntry(Answer{}, &Error{Name: k.name, Type: k.t, Reason: "internal fault"})
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), maxFlight)
	defer cancel()
	f, server, err := c.resolve(ctx, fqdn, k.t)
	if err != nil {
		e = newEntry(Answer{}, c.failure(k, server, err))
		c.cache.put(k, e, c.now(), failureTTL)
		return e
	}
	ttl := time.Duration(f.ttl) * time.Second
	f.ans.Name, f.ans.TTL, f.ans.Server = relative(f.owner), ttl, server
	e = newEntry(f.ans, nil)
	e.aliased, e.absent = f.aliases > 0, f.absent
	c.cache.put(k, e, c.now(), ttl)
	return e
}

// failure describes the last try's error.
func (c *Client) failure(k key, server string, err error) *Error {
	e := &Error{Name: k.name, Type: k.t, Server: server, Reason: "no answer", Err: err}
	var rcode rcodeError
	var ne net.Error
	switch {
	case errors.As(err, &rcode):
		e.Reason, e.Err = rcode.Error(), nil
	case errors.Is(err, errLoop), errors.Is(err, errReferral), errors.Is(err, errBroken):
		e.Reason, e.Err = err.Error(), nil
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		e.Reason = "time-out"
	}
	return e
}

// resolve asks for the name, and for the targets of CNAMEs that lead out of the answers.
func (c *Client) resolve(ctx context.Context, fqdn string, t Type) (finding, string, error) {
	whole := finding{owner: fqdn, ttl: seconds(maxTTL)}
	server := ""
	for range maxLookups {
		f, s, err := c.ask(ctx, whole.owner, t)
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

// ask puts one question to the servers in turn until one answers. A server that
// has said that it cannot answer is not asked again.
func (c *Client) ask(ctx context.Context, fqdn string, t Type) (f finding, server string, err error) {
	refused := make([]bool, len(c.servers))
	for range c.attempts {
		for i, s := range c.servers {
			if refused[i] {
				continue
			}
			if err != nil && ctx.Err() != nil {
				return finding{}, server, err
			}
			server = s
			if f, err = c.try(ctx, s, fqdn, t); err == nil {
				return f, s, nil
			}
			c.log.Debug("dns server gave no answer", "server", s, "name", fqdn, "type", t.String(), "error", err)
			var rcode rcodeError
			refused[i] = errors.As(err, &rcode) || errors.Is(err, errReferral) || errors.Is(err, errLoop)
		}
	}
	return finding{}, server, err
}

// try asks one server once; again without EDNS if it does not know that (RFC 6891, 7).
func (c *Client) try(ctx context.Context, server, fqdn string, t Type) (finding, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	f, err := c.tryOnce(ctx, server, fqdn, t, true)
	var rcode rcodeError
	if errors.As(err, &rcode) && (rcode == mdns.RcodeFormatError || rcode == mdns.RcodeNotImplemented) {
		return c.tryOnce(ctx, server, fqdn, t, false)
	}
	return f, err
}

func (c *Client) tryOnce(ctx context.Context, server, fqdn string, t Type, edns bool) (finding, error) {
	query, err := newQuery(fqdn, t, edns)
	if err != nil {
		return finding{}, err
	}
	c.queries.Add(1)
	reply, err := exchange(ctx, server, query)
	if err != nil {
		if ctx.Err() != nil { // the connection was closed because time was up
			err = ctx.Err()
		}
		return finding{}, err
	}
	m, err := unpack(reply)
	if err != nil {
		return finding{}, err
	}
	return read(m, t)
}
