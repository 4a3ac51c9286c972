package policy_test

import (
	"context"
	"testing"

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
