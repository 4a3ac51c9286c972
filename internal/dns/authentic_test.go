package dns_test

import (
	"net/netip"
	"sync/atomic"
	"testing"

	mdns "github.com/miekg/dns"

	"gatepost/internal/dns"
	"gatepost/internal/dns/dnstest"
)

func signedZone() dnstest.Zone {
	return dnstest.Zone{
		"_25._tcp.mx.signed.example": {TLSA: []string{"3 1 1 00ff"}, Authentic: true},
		"mx.signed.example":          {A: []string{"192.0.2.1"}, Authentic: true},
		"alias.signed.example":       {CNAME: "mx.signed.example", Authentic: true},
		"out.signed.example":         {CNAME: "mx.plain.example", Authentic: true},
		"mx.plain.example":           {A: []string{"192.0.2.2"}},
		"in.plain.example":           {CNAME: "mx.signed.example"},
	}
}

func TestAuthentic(t *testing.T) {
	for _, tc := range []struct {
		ask  string
		t    dns.Type
		want bool
	}{
		{"_25._tcp.mx.signed.example", dns.TypeTLSA, true},
		{"mx.signed.example", dns.TypeA, true},
		{"mx.signed.example", dns.TypeTLSA, true}, // absent for certain
		{"alias.signed.example", dns.TypeA, true},
		{"out.signed.example", dns.TypeA, false},
		{"in.plain.example", dns.TypeA, false},
		{"mx.plain.example", dns.TypeA, false},
		{"nosuch.example", dns.TypeA, false},
	} {
		t.Run(tc.ask, func(t *testing.T) {
			for name, hooks := range map[string][]dnstest.Hook{
				"whole": nil, "in steps": {dnstest.FirstCNAMEOnly()}, "by TCP": {dnstest.Truncated()},
			} {
				c := client(t, dnstest.Serve(t, signedZone(), hooks...))
				for range 2 { // the second time from the cache
					if got, err := lookup(c, tc.ask, tc.t); err != nil || got.Authentic != tc.want {
						t.Errorf("%s: Lookup(%q, %v) = %+v, %v, want authentic: %v", name, tc.ask, tc.t, got, err, tc.want)
					}
				}
			}
		})
	}
}

// The word of a server that is not trusted counts for nothing, and is not asked for.
func TestAuthenticUntrusted(t *testing.T) {
	var asked atomic.Bool
	c := client(t, dnstest.Serve(t, signedZone(), func(e *dnstest.Exchange) {
		if e.Query.AuthenticatedData {
			asked.Store(true)
		}
		e.Reply.AuthenticatedData = true
	}))
	c.SetTrusted(false)
	if got, err := lookup(c, "mx.signed.example", dns.TypeA); err != nil || got.Authentic || asked.Load() {
		t.Errorf("Lookup = %+v, %v, AD asked for: %v; want neither", got, err, asked.Load())
	}
}

func TestTrustsAD(t *testing.T) {
	listed := []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("2001:db8::53")}
	for server, want := range map[string]bool{
		"127.0.0.1": true, "127.0.0.53:53": true, "[::1]:5353": true, "[::ffff:127.0.0.1]:53": true,
		"192.0.2.53": true, "192.0.2.53:5353": true, "[2001:db8::53]:53": true, "[::ffff:192.0.2.53]:53": true,
		"192.0.2.54": false, "[2001:db8::54]:53": false,
	} {
		c, err := dns.NewClient(dns.Config{Servers: []string{server}, TrustAD: listed})
		if err != nil || c.TrustsAD() != want {
			t.Errorf("%s: trusted %v, %v, want %v", server, c.TrustsAD(), err, want)
		}
	}
}

func TestTLSA(t *testing.T) {
	c := client(t, dnstest.Serve(t, signedZone()))
	got, err := lookup(c, "_25._tcp.mx.signed.example", dns.TypeTLSA)
	if err != nil || got.String() != "3 1 1 00ff" || got.TTL != dnstest.TTL || got.Empty() {
		t.Errorf("TLSA: %+v, %v, want 3 1 1 00ff", got, err)
	}
	if got, err := lookup(client(t, dnstest.Serve(t, dnstest.Zone{"x.example": {Fail: "TLSA:SERVFAIL"}})), "x.example", dns.TypeTLSA); err == nil {
		t.Errorf("TLSA with SERVFAIL: %+v, want an error", got)
	}
	short := dnstest.Serve(t, signedZone(), func(e *dnstest.Exchange) {
		for _, rr := range e.Reply.Answer {
			if tlsa, ok := rr.(*mdns.TLSA); ok {
				tlsa.Certificate = ""
			}
		}
	})
	if got, err := lookup(client(t, short), "_25._tcp.mx.signed.example", dns.TypeTLSA); err != nil || len(got.TLSA) != 1 || len(got.TLSA[0].Data) != 0 {
		t.Errorf("TLSA without data: %+v, %v", got, err)
	}
}
