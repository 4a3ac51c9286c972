package policy_test

import (
	"sync/atomic"
	"testing"
	"time"

	"gatepost/internal/dns"
	"gatepost/internal/dns/dnstest"
	"gatepost/policy"
)

// TestStaleAllowList: what an allow list has said stands for a while when its servers
// are gone, where that is wanted. What a blocklist has said does not.
func TestStaleAllowList(t *testing.T) {
	for _, tc := range []struct {
		stale time.Duration
		want  string
	}{
		{0, "tempfail 451 4.4.3 Temporary lookup failure of 203.0.113.9 at good.example"},
		{time.Hour, "accept"},
	} {
		var gone atomic.Bool
		server := dnstest.Serve(t, dnstest.Zone{
			"9.113.0.203.good.example": {A: []string{"127.0.0.2"}},
			"9.113.0.203.bad.example":  {A: []string{"127.0.0.2"}},
		}, func(e *dnstest.Exchange) {
			for _, rr := range e.Reply.Answer {
				rr.Header().Ttl = 1
			}
			if gone.Load() && e.Name() == "9.113.0.203.good.example" {
				e.Reply = nil
			}
		})
		client, err := dns.NewClient(dns.Config{Servers: []string{server}, Timeout: 100 * time.Millisecond, Attempts: 1, ServeStale: tc.stale})
		if err != nil {
			t.Fatal(err)
		}
		p := engine(t, func(c *policy.Config) {
			c.Resolver = client
			c.Features.DNSListTimeout = 3 * time.Second
			c.Features.DNSLists = []policy.DNSList{table("good.example", allow), table("bad.example", nil)}
		})
		decide := func() string {
			d := p.Decide(t.Context(), policy.StageConnect, facts("203.0.113.9", "", "<>", "<u@isp.net>"))
			if d.Verdict.Action == policy.Accept {
				return "accept"
			}
			return d.Verdict.Action.String() + " " + d.Verdict.Reply.String()
		}
		if got := decide(); got != "accept" {
			t.Errorf("a client in the allow list: %s, want accept", got)
		}
		gone.Store(true)
		time.Sleep(1100 * time.Millisecond) // the TTL is whole seconds
		if got := decide(); got != tc.want {
			t.Errorf("serve_stale %v: %s, want %s", tc.stale, got, tc.want)
		}
	}
}
