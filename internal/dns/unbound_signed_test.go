//go:build integration

package dns_test

import (
	"crypto"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"gatepost/internal/dns"
)

// validatingConf is a resolver that validates: signed.example by its key, and nothing
// else, since it knows no other.
const validatingConf = `server:
  directory: "%[1]s"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  logfile: "%[1]s/log"
  interface: 127.0.0.1@%[2]s
  access-control: 127.0.0.0/8 allow
  do-daemonize: no
  module-config: "validator iterator"
  num-threads: 1
  trust-anchor: "%[3]s"
  local-zone: "plain.example." static
  local-data: "_25._tcp.mx.plain.example. 300 IN TLSA 3 1 1 %[4]s"
auth-zone:
  name: "signed.example."
  zonefile: "%[1]s/zone"
  for-downstream: no
  for-upstream: yes
  fallback-enabled: no
remote-control:
  control-enable: no
`

const tlsaDigest = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

// signedRecords are the zone's, each signed by key apart. The address of bogus.signed.example
// is another than the one that was signed.
func signedRecords(t *testing.T, key *mdns.DNSKEY, signer crypto.Signer) string {
	t.Helper()
	var lines []string
	for _, text := range []string{
		"signed.example. 300 IN SOA ns.signed.example. host.signed.example. 1 3600 600 86400 60",
		"signed.example. 300 IN NS ns.signed.example.",
		key.String(),
		"ns.signed.example. 300 IN A 127.0.0.1",
		"signed.example. 300 IN MX 10 mx.signed.example.",
		"mx.signed.example. 300 IN A 192.0.2.1",
		"alias.signed.example. 300 IN CNAME mx.signed.example.",
		"bogus.signed.example. 300 IN A 192.0.2.2",
		"_25._tcp.mx.signed.example. 300 IN TLSA 3 1 1 " + tlsaDigest,
	} {
		rr, err := mdns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		sig := &mdns.RRSIG{
			Hdr:    mdns.RR_Header{Name: rr.Header().Name, Rrtype: mdns.TypeRRSIG, Class: mdns.ClassINET, Ttl: 300},
			KeyTag: key.KeyTag(), SignerName: key.Hdr.Name, Algorithm: key.Algorithm,
			Inception: uint32(time.Now().Add(-time.Hour).Unix()), Expiration: uint32(time.Now().Add(time.Hour).Unix()),
		}
		if err := sig.Sign(signer, []mdns.RR{rr}); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.Replace(text, "192.0.2.2", "192.0.2.66", 1), sig.String())
	}
	return strings.Join(lines, "\n") + "\n"
}

// validatingUnbound runs the real resolver over a signed zone until the test ends.
func validatingUnbound(t *testing.T) string {
	t.Helper()
	key := &mdns.DNSKEY{
		Hdr:   mdns.RR_Header{Name: "signed.example.", Rrtype: mdns.TypeDNSKEY, Class: mdns.ClassINET, Ttl: 300},
		Flags: mdns.ZONE | mdns.SEP, Protocol: 3, Algorithm: mdns.ECDSAP256SHA256,
	}
	private, err := key.Generate(256)
	if err != nil {
		t.Fatal(err)
	}
	dir, server := t.TempDir(), freePort(t)
	zone := signedRecords(t, key, private.(crypto.Signer))
	conf := fmt.Sprintf(validatingConf, dir, port(server), strings.ReplaceAll(key.String(), "\t", " "), tlsaDigest)
	for name, text := range map[string]string{"zone": zone, "conf": conf} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	runUnbound(t, dir, filepath.Join(dir, "conf"))
	c := client(t, server)
	waitFor(t, func() bool {
		_, err := lookup(c, "_25._tcp.mx.plain.example", dns.TypeTLSA)
		return err == nil
	})
	return server
}

// TestUnboundAuthentic has a real validating resolver vouch for answers, or not.
func TestUnboundAuthentic(t *testing.T) {
	c := client(t, validatingUnbound(t))
	for _, tc := range []struct {
		ask       string
		t         dns.Type
		want      string // "": an error
		authentic bool
	}{
		{"_25._tcp.mx.signed.example", dns.TypeTLSA, "3 1 1 " + tlsaDigest, true},
		{"signed.example", dns.TypeMX, "10 mx.signed.example", true},
		{"mx.signed.example", dns.TypeA, "192.0.2.1", true},
		{"alias.signed.example", dns.TypeA, "192.0.2.1", true},
		{"_25._tcp.mx.plain.example", dns.TypeTLSA, "3 1 1 " + tlsaDigest, false},
		{"bogus.signed.example", dns.TypeA, "", false},
	} {
		t.Run(tc.ask, func(t *testing.T) {
			for range 2 {
				got, err := lookup(c, tc.ask, tc.t)
				if (err != nil) != (tc.want == "") || got.String() != tc.want || got.Authentic != tc.authentic {
					t.Errorf("Lookup(%q, %v) = %v, authentic %v, %v; want %q, %v", tc.ask, tc.t, got, got.Authentic, err, tc.want, tc.authentic)
				}
			}
		})
	}
}
