package dns

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"
)

const (
	defaultTimeout   = 2 * time.Second // resolv.conf(5) has 5 s: too long for a mail server's patience of 10 s
	defaultAttempts  = 2               // resolv.conf(5)
	defaultCacheSize = 10000
	maxFlight        = 30 * time.Second // one question, all servers and attempts together
	maxFlights       = 1024             // questions to servers at a time, others wait: more would overrun a server's socket
)

// Config says whom a Client asks, and how. Zero values but Servers mean the default.
type Config struct {
	Servers    []string      // resolving servers in order: "192.0.2.53", "[2001:db8::53]:5353"; at least one
	Timeout    time.Duration // to wait for one server once; 2 s
	Attempts   int           // rounds over the servers; 2
	Rotate     bool          // begin with each server in turn, not always with the first
	TCP        bool          // ask by TCP only
	TrustAD    []netip.Addr  // servers whose AD bit is believed, see Answer.Authentic; those on this host always are
	CacheSize  int           // names whose answers are kept; 10000
	ServeStale time.Duration // for how long after its end an answer may stand in, see AllowStale; 0: it may not
	Log        *slog.Logger  // servers that fall silent, and at debug level each lack of an answer; none
}

// Client is a stub Resolver: it asks recursive servers, in their order, by UDP
// and by TCP where the answer is too long, believes only answers to the
// question asked, and keeps them as long as their TTL says. A server that is
// silent is left alone for a while. It is safe for concurrent use; the same
// question asked at the same time is sent once.
type Client struct {
	servers  []*server
	timeout  time.Duration
	attempts int
	rotate   bool
	turn     atomic.Uint32 // of the servers
	log      *slog.Logger
	now      func() time.Time
	cache    cache
	flights  flights

	lookups, hits, queries, errors, stale atomic.Uint64
}

// Stats are counts since the Client was made, and what it holds open.
type Stats struct {
	Lookups uint64 // calls of Lookup
	Hits    uint64 // of these, answered from the cache, failures kept there included
	Queries uint64 // questions sent to servers, repetitions included
	Errors  uint64 // lookups that ended in an error
	Stale   uint64 // lookups that ended with an answer past its end
	Down    int    // servers that are silent at present
	Sockets int    // UDP sockets that are open at present
}

// NewClient checks the configuration; it does not ask anything.
func NewClient(cfg Config) (*Client, error) {
	if len(cfg.Servers) == 0 {
		return nil, errors.New("dns: no server is named")
	}
	if cfg.Timeout < 0 || cfg.Attempts < 0 || cfg.CacheSize < 0 || cfg.ServeStale < 0 {
		return nil, errors.New("dns: timeout, attempts, cache size and stale time must not be negative")
	}
	c := &Client{timeout: cfg.Timeout, attempts: cfg.Attempts, rotate: cfg.Rotate, log: cfg.Log, now: time.Now, flights: newFlights()}
	if c.timeout == 0 {
		c.timeout = defaultTimeout
	}
	if c.attempts == 0 {
		c.attempts = defaultAttempts
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	for _, text := range cfg.Servers {
		s, err := newServer(text, cfg, c.timeout, c.log)
		if err != nil {
			return nil, err
		}
		c.servers = append(c.servers, s)
	}
	size := cfg.CacheSize
	if size == 0 {
		size = defaultCacheSize
	}
	var err error
	c.cache, err = newCache(size, cfg.ServeStale)
	return c, err
}

// Stats reads the counters.
func (c *Client) Stats() Stats {
	s := Stats{Lookups: c.lookups.Load(), Hits: c.hits.Load(), Queries: c.queries.Load(), Errors: c.errors.Load(), Stale: c.stale.Load()}
	for _, server := range c.servers {
		if server.down.Load() {
			s.Down++
		}
		s.Sockets += server.udp.sockets()
	}
	return s
}

// TrustsAD tells whether one of the servers is believed to validate, see Answer.Authentic.
func (c *Client) TrustsAD() bool {
	return slices.ContainsFunc(c.servers, func(s *server) bool { return s.trusted })
}

// Lookup implements Resolver. The name is in presentation form, as in zone
// files, where a backslash escapes (RFC 1035, 5.1); other bytes stand for
// themselves. What cannot be a name is absent, and no server is asked. The
// error is an *Error, and comes at ctx's end or after 30 s at the latest.
func (c *Client) Lookup(ctx context.Context, name string, t Type) (Answer, error) {
	c.lookups.Add(1)
	name = relative(name)
	if t.index() < 0 {
		return c.count(Answer{}, &Error{Name: name, Type: t, Reason: "not a type that this resolver reads"})
	}
	k := key{lower(name), t}
	now := c.now()
	e, known := c.cache.get(k, now)
	if known {
		c.hits.Add(1)
		if e.failure == nil {
			return e.remembered(name, now)
		}
	}
	if old := c.standIn(ctx, k, now); old != nil {
		return c.lookupStale(ctx, name, k, known, old)
	}
	if known {
		return c.count(e.remembered(name, now))
	}
	return c.count(c.ask(ctx, name, k))
}

func (c *Client) count(ans Answer, err error) (Answer, error) {
	if err != nil {
		c.errors.Add(1)
	}
	return ans, err
}

// ask has the question's outcome, by asking it unless somebody already does. One
// who has to leave before there is an outcome has it asked anew without him, for
// those who wait with him and those who come back.
func (c *Client) ask(ctx context.Context, name string, k key) (Answer, error) {
	fqdn, ok := absolute(k.name)
	if !ok {
		return Answer{Name: name, Server: "no server: not a possible name"}, nil
	}
	if err := ctx.Err(); err != nil {
		return Answer{}, &Error{Name: name, Type: k.t, Reason: "not asked", Err: err}
	}
	f, mine, err := c.flights.join(ctx, k)
	switch {
	case err != nil:
		return Answer{}, &Error{Name: name, Type: k.t, Reason: "too many questions at once", Err: err}
	case mine:
		if e, outcome := c.fly(ctx, fqdn, k); outcome {
			c.flights.land(k, e)
			return e.fresh(name)
		}
		go func() {
			e, _ := c.fly(context.Background(), fqdn, k)
			c.flights.land(k, e)
		}()
	default:
		select {
		case <-f.landed:
			return f.e.fresh(name)
		case <-ctx.Done():
		}
	}
	return Answer{}, &Error{Name: name, Type: k.t, Reason: "no answer in time", Err: context.Cause(ctx)}
}

// fly asks, and keeps the outcome; there is none if ctx was done before. It runs
// alone for its question.
func (c *Client) fly(ctx context.Context, fqdn string, k key) (e entry, outcome bool) {
	defer func() {
		if p := recover(); p != nil { // the codec reads bytes of strangers: a fault in it is a failed lookup
			c.log.Error("dns lookup failed inside", "name", k.name, "type", k.t.String(), "panic", p, "stack", string(debug.Stack()))
			e, outcome = failed(&Error{Name: k.name, Type: k.t, Reason: "internal fault"}), true
		}
	}()
	f, server, err := c.resolve(ctx, fqdn, k.t, time.Now().Add(maxFlight))
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return entry{}, false
	case errors.Is(err, errDown): // that costs nothing to find out again, and may be over in a moment
		return failed(describe(k, server, err)), true
	default:
		e = failed(describe(k, server, err))
		c.cache.put(k, e, c.now(), failureTTL)
		return e, true
	}
	e = entry{server: server, ttl: time.Duration(f.ttl) * time.Second, absent: f.absent && f.aliases == 0, authentic: f.authentic}
	if f.aliases > 0 {
		f.ans.Name = relative(f.owner)
	}
	if f.aliases > 0 || !f.ans.Empty() {
		ans := f.ans // only what is there gets memory of its own
		e.ans = &ans
	}
	c.cache.put(k, e, c.now(), e.ttl)
	return e, true
}

// describe makes an Error of the last try's.
func describe(k key, last *server, err error) *Error {
	e := &Error{Name: k.name, Type: k.t, Reason: "no answer", Err: err}
	if last != nil {
		e.Server = last.name
	}
	var rcode rcodeError
	switch {
	case errors.As(err, &rcode):
		e.Reason, e.Err = rcode.Error(), nil
	case errors.Is(err, errLoop), errors.Is(err, errReferral), errors.Is(err, errBroken), errors.Is(err, errDown):
		e.Reason, e.Err = err.Error(), nil
	case isTimeout(err):
		e.Reason = "time-out"
	}
	return e
}
