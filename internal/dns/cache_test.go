package dns_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"gatepost/internal/dns"
	"gatepost/internal/dns/dnstest"
)

// clock is a time that tests move.
type clock struct{ offset atomic.Int64 }

func (k *clock) now() time.Time          { return time.Unix(1e9, 0).Add(time.Duration(k.offset.Load())) }
func (k *clock) advance(d time.Duration) { k.offset.Add(int64(d)) }

// setTTL changes the TTL of all records, and of an SOA its MINIMUM.
func setTTL(ttl, minimum uint32) dnstest.Hook {
	return func(e *dnstest.Exchange) {
		for _, rr := range append(append([]mdns.RR{}, e.Reply.Answer...), e.Reply.Ns...) {
			rr.Header().Ttl = ttl
			if soa, ok := rr.(*mdns.SOA); ok {
				soa.Minttl = minimum
			}
		}
	}
}

func noSOA(e *dnstest.Exchange) { e.Reply.Ns = nil }

// cnameTTL shortens the life of CNAMEs alone.
func cnameTTL(ttl uint32) dnstest.Hook {
	return func(e *dnstest.Exchange) {
		for _, rr := range e.Reply.Answer {
			if rr.Header().Rrtype == mdns.TypeCNAME {
				rr.Header().Ttl = ttl
			}
		}
	}
}

func foreignSOA(e *dnstest.Exchange) {
	for _, rr := range e.Reply.Ns {
		rr.Header().Name = "elsewhere.org."
	}
}

func TestCacheTime(t *testing.T) {
	for _, tc := range []struct {
		name string
		ask  string
		t    dns.Type
		hook dnstest.Hook
		keep time.Duration
	}{
		{"found", "mx.example.com", dns.TypeA, setTTL(60, 0), 60 * time.Second},
		{"found, longer than is good", "mx.example.com", dns.TypeA, setTTL(7*86400, 0), dns.MaxTTL},
		{"found, not to be kept", "mx.example.com", dns.TypeA, setTTL(0, 0), 0},
		{"found, TTL with the top bit", "mx.example.com", dns.TypeA, setTTL(1<<31, 0), 0},
		{"CNAME shorter than its target", "www.example.com", dns.TypeA, cnameTTL(7), 7 * time.Second},
		{"no data", "mx.example.com", dns.TypeMX, setTTL(120, 30), 30 * time.Second},
		{"no data, SOA shorter than its MINIMUM", "mx.example.com", dns.TypeMX, setTTL(20, 3600), 20 * time.Second},
		{"no data, long", "mx.example.com", dns.TypeMX, setTTL(86400, 86400), dns.MaxAbsentTTL},
		{"no data, no SOA", "mx.example.com", dns.TypeMX, noSOA, dns.NoSOATTL},
		{"no name", "nosuch.example", dns.TypeA, setTTL(120, 30), 30 * time.Second},
		{"no name, no SOA", "nosuch.example", dns.TypeA, noSOA, dns.NoSOATTL},
		{"no name, SOA of another zone", "nosuch.example", dns.TypeA, foreignSOA, dns.NoSOATTL},
		{"no name behind a CNAME", "dangling.org", dns.TypeA, cnameTTL(9), 9 * time.Second},
		{"SERVFAIL", "broken.org", dns.TypeA, setTTL(60, 60), dns.FailureTTL},
		{"REFUSED", "private.org", dns.TypeA, setTTL(60, 60), dns.FailureTTL},
		{"CNAME loop", "loop.org", dns.TypeA, setTTL(60, 60), dns.FailureTTL},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var asked atomic.Int64
			var k clock
			server := dnstest.Serve(t, zone(), dnstest.Count(&asked), tc.hook)
			c := client(t, server)
			c.SetNow(k.now)
			first, firstErr := lookup(c, tc.ask, tc.t)
			if tc.keep > 0 {
				k.advance(tc.keep - time.Second)
				again, err := lookup(c, strings.ToUpper(tc.ask), tc.t)
				if asked.Load() != 1 {
					t.Fatalf("%d questions within %v, want 1", asked.Load(), tc.keep)
				}
				checkRemembered(t, first, firstErr, again, err, server)
				k.advance(time.Second)
			}
			if _, err := lookup(c, tc.ask, tc.t); (err == nil) != (firstErr == nil) {
				t.Errorf("third lookup: error %v, first %v", err, firstErr)
			}
			if asked.Load() != 2 {
				t.Errorf("%d questions after %v, want 2", asked.Load(), tc.keep)
			}
		})
	}
}

// checkRemembered compares an answer with the same a second before its end.
func checkRemembered(t *testing.T, first dns.Answer, firstErr error, again dns.Answer, err error, server string) {
	t.Helper()
	if firstErr != nil {
		checkError(t, err, "cache of "+server)
		return
	}
	if err != nil || again.Server != "cache of "+server || again.TTL != time.Second {
		t.Errorf("from the cache: %+v, %v, want it from the cache of %s with 1s left", again, err, server)
	}
	if again.Empty() != first.Empty() || !strings.EqualFold(again.Name, first.Name) {
		t.Errorf("from the cache: %+v, first: %+v", again, first)
	}
}

// A name that does not exist has no records of any type (RFC 8020).
func TestAbsentNameIsAskedOnce(t *testing.T) {
	var asked atomic.Int64
	c := client(t, dnstest.Serve(t, zone(), dnstest.Count(&asked)))
	for _, typ := range []dns.Type{dns.TypeAAAA, dns.TypeA, dns.TypeMX} {
		if got, err := lookup(c, "nosuch.example", typ); err != nil || !got.Empty() {
			t.Errorf("Lookup(nosuch.example, %v) = %+v, %v, want nothing", typ, got, err)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("%d questions, want 1", n)
	}
	for _, typ := range []dns.Type{dns.TypeMX, dns.TypeA, dns.TypeAAAA} {
		if _, err := lookup(c, "mx.example.com", typ); err != nil {
			t.Errorf("Lookup(mx.example.com, %v): %v", typ, err)
		}
	}
	if n := asked.Load(); n != 4 {
		t.Errorf("%d questions, want 3 more: no data of one type says nothing of the others", n)
	}
	got := c.Stats()
	got.Sockets = 0
	if got != (dns.Stats{Lookups: 6, Hits: 2, Queries: 4}) {
		t.Errorf("Stats() = %+v", got)
	}
}

func TestCacheIsBounded(t *testing.T) {
	var asked atomic.Int64
	server := dnstest.Serve(t, zone(), dnstest.Count(&asked))
	c, err := dns.NewClient(dns.Config{Servers: []string{server}, CacheSize: 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.example", "b.example", "c.example", "a.example"} {
		if _, err := lookup(c, name, dns.TypeA); err != nil {
			t.Errorf("Lookup(%q): %v", name, err)
		}
	}
	if n := asked.Load(); n != 4 {
		t.Errorf("%d questions with room for 2 answers, want 4", n)
	}
}

func BenchmarkCacheHit(b *testing.B) {
	c, err := dns.NewClient(dns.Config{Servers: []string{dnstest.Serve(b, zone())}})
	if err != nil {
		b.Fatal(err)
	}
	for _, bc := range []struct{ name, ask string }{{"found", "mx.example.com"}, {"absent", "nosuch.example"}} {
		b.Run(bc.name, func(b *testing.B) {
			if _, err := c.Lookup(b.Context(), bc.ask, dns.TypeA); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Lookup(b.Context(), bc.ask, dns.TypeA); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
