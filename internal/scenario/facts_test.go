package scenario

import (
	"context"
	"errors"
	"slices"
	"testing"

	"gatepost/internal/dns"
)

// deaf is a DNS that does not answer.
type deaf struct{}

var errDeaf = errors.New("no answer")

func (deaf) Lookup(context.Context, string, dns.Type) (dns.Answer, error) {
	return dns.Answer{}, errDeaf
}

// TestFactsOver has facts before a DNS that does not answer: what they say of a
// name is all that there is, and about the rest the DNS is asked.
func TestFactsOver(t *testing.T) {
	var f Facts
	if f.Over(deaf{}) != dns.Resolver(deaf{}) {
		t.Error("without facts there is another resolver")
	}
	for _, fact := range []string{
		"a.example MX 10 mx.example.com", "  A.example.  300 IN A 192.0.2.1", "192.0.2.1 PTR a.example", "gone.example NXDOMAIN",
		"alias.example CNAME a.example", "out.example CNAME else.example", "loop.example CNAME loop.example", "slow.example MX SERVFAIL",
	} {
		if err := f.Add(fact); err != nil {
			t.Fatal(err)
		}
	}
	r := f.Over(deaf{})
	for _, tc := range []struct {
		name  string
		t     dns.Type
		owner string // of the answer; "" for none
		value string
	}{
		{"a.example", dns.TypeMX, "a.example", "10 mx.example.com"},
		{"A.Example", dns.TypeA, "A.Example", "192.0.2.1"},
		{"a.example", dns.TypeAAAA, "a.example", ""},
		{"1.2.0.192.in-addr.arpa", dns.TypePTR, "1.2.0.192.in-addr.arpa", "a.example"},
		{"gone.example", dns.TypeA, "gone.example", ""},
		{"alias.example", dns.TypeA, "a.example", "192.0.2.1"},
		{"slow.example", dns.TypeA, "slow.example", ""},
		{"slow.example", dns.TypeMX, "", ""},
		{"loop.example", dns.TypeA, "", ""},
		{"out.example", dns.TypeA, "", ""},
		{"b.a.example", dns.TypeA, "", ""},
	} {
		a, err := r.Lookup(t.Context(), tc.name, tc.t)
		if (err == nil) != (tc.owner != "") || err == nil && (a.Name != tc.owner || a.String() != tc.value || a.Server != "given") {
			t.Errorf("%v of %s: %q of %q by %q, error %v; want %q of %q", tc.t, tc.name, a.String(), a.Name, a.Server, err, tc.value, tc.owner)
		}
		if other := []string{"out.example", "b.a.example"}; errors.Is(err, errDeaf) != slices.Contains(other, tc.name) {
			t.Errorf("%v of %s: error %v; the DNS is to be asked about %q", tc.t, tc.name, err, other)
		}
	}
}
