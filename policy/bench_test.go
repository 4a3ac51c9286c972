package policy_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"gatepost/internal/dns"
	"gatepost/internal/dns/dnstest"
	"gatepost/policy"
)

// BenchmarkDecide is a decision with recording: a walk of twelve keys at connect, and
// the whole of check_rcpt for a stranger who is refused.
func BenchmarkDecide(b *testing.B) {
	p := engine(b, nil, "Connect:192.0.2 REJECT", "org REJECT", "To:partner.net RELAY")
	for _, c := range []struct {
		name  string
		at    policy.Stage
		facts *policy.Facts
	}{
		{"twelve keys at connect", policy.StageConnect, facts("203.0.113.9", "b.org", "", "")},
		{"stranger refused at RCPT", policy.StageRcpt, facts("203.0.113.9", "", "<a@b.net>", "<u@isp.net>")},
		{"local recipient", policy.StageRcpt, facts("203.0.113.9", "", "<a@b.net>", "<u@example.com>")},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				d := p.Decide(context.Background(), c.at, c.facts)
				d.Release() // as the fronts do
			}
		})
	}
}

// BenchmarkDNSLists is a decision at connect with lists that the resolver
// remembers not to have the client. Without lists it shows what the rest costs.
func BenchmarkDNSLists(b *testing.B) {
	zone := dnstest.Zone{"1.0.0.127.a.example": {A: []string{"127.0.0.2"}}}
	client, err := dns.NewClient(dns.Config{Servers: []string{dnstest.Serve(b, zone)}})
	if err != nil {
		b.Fatal(err)
	}
	for _, zones := range []int{0, 1, 3} {
		for _, session := range []bool{false, true} {
			name := fmt.Sprintf("%d lists", zones)
			if session {
				name += " a second time in a session"
			}
			b.Run(name, func(b *testing.B) {
				p := engine(b, func(c *policy.Config) {
					c.Resolver, c.Features.DNSListTimeout = client, 3*time.Second
					for i := range zones {
						c.Features.DNSLists = append(c.Features.DNSLists, policy.DNSList{Zone: string(rune('a'+i)) + ".example"})
					}
				})
				f := facts("203.0.113.9", "b.org", "", "")
				if session {
					f.Memory = &policy.Memory{}
				}
				b.ReportAllocs()
				for b.Loop() {
					d := p.Decide(context.Background(), policy.StageConnect, f)
					d.Release()
				}
			})
		}
	}
	b.Run("the resolver alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := client.Lookup(context.Background(), "9.113.0.203.a.example", dns.TypeA); err != nil {
				b.Fatal(err)
			}
		}
	})
}
