//go:build integration

package dns_test

import (
	"testing"

	"gatepost/internal/dns"
	"gatepost/internal/servers"
)

const tlsaDigest = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

// TestUnboundAuthentic has a real validating resolver vouch for answers, or not.
func TestUnboundAuthentic(t *testing.T) {
	c := client(t, servers.StartUnbound(t, servers.Records{
		Signed: []string{
			"signed.example. 300 IN MX 10 mx.signed.example.",
			"mx.signed.example. 300 IN A 192.0.2.1",
			"alias.signed.example. 300 IN CNAME mx.signed.example.",
			"_25._tcp.mx.signed.example. 300 IN TLSA 3 1 1 " + tlsaDigest,
		},
		Forged: []string{"forged.signed.example. 300 IN A 192.0.2.2"},
		Plain:  []string{"mx.plain.example. 300 IN A 192.0.2.3", "_25._tcp.mx.plain.example. 300 IN TLSA 3 1 1 " + tlsaDigest},
	}).Addr)
	for _, tc := range []struct {
		ask       string
		t         dns.Type
		want      string // the records; or "error"
		authentic bool
	}{
		{"_25._tcp.mx.signed.example", dns.TypeTLSA, "3 1 1 " + tlsaDigest, true},
		{"signed.example", dns.TypeMX, "10 mx.signed.example", true},
		{"mx.signed.example", dns.TypeA, "192.0.2.1", true},
		{"alias.signed.example", dns.TypeA, "192.0.2.1", true},
		{"mx.signed.example", dns.TypeTLSA, "", true},
		{"_587._tcp.mx.signed.example", dns.TypeTLSA, "", true},
		{"_25._tcp.mx.plain.example", dns.TypeTLSA, "3 1 1 " + tlsaDigest, false},
		{"forged.signed.example", dns.TypeA, "error", false},
	} {
		t.Run(tc.ask, func(t *testing.T) {
			for range 2 { // the second time from the cache
				got, err := lookup(c, tc.ask, tc.t)
				if (err != nil) != (tc.want == "error") || err == nil && got.String() != tc.want || got.Authentic != tc.authentic {
					t.Errorf("Lookup(%q, %v) = %v, authentic %v, %v; want %q, %v", tc.ask, tc.t, got, got.Authentic, err, tc.want, tc.authentic)
				}
			}
		})
	}
}
