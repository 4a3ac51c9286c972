//go:build integration

package setup

import (
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"gatepost/internal/certtest"
	"gatepost/internal/servers"
	"gatepost/relay/tlspolicy"
)

// TestDANEWithUnbound goes all the way: a signed zone, a real resolver that validates, and
// TLS with servers that have the right certificate and another one.
func TestDANEWithUnbound(t *testing.T) {
	ca := certtest.New(t, certtest.Name(t, "/CN=Nobody knows it"))
	right, wrong := ca.Host("mx.signed.example"), ca.Host("mx.signed.example")
	rightAt, wrongAt := serveTLS(t, right), serveTLS(t, wrong)
	port := func(addr net.Addr) uint16 { return uint16(addr.(*net.TCPAddr).Port) }
	tlsa := func(addr net.Addr, host string) string {
		return fmt.Sprintf("_%d._tcp.%s. 300 IN TLSA 3 1 1 %x", port(addr), host, sha256.Sum256(right.Leaf.RawSubjectPublicKeyInfo))
	}
	p := newPlace(t)
	unbound := servers.StartUnbound(t, servers.Records{
		Signed: []string{"mx.signed.example. 300 IN A 127.0.0.1", tlsa(rightAt, "mx.signed.example"), tlsa(wrongAt, "mx.signed.example"), "forged.signed.example. 300 IN A 127.0.0.1", "bare.signed.example. 300 IN A 127.0.0.1"},
		Forged: []string{tlsa(rightAt, "forged.signed.example")},
		Plain:  []string{"mx.plain.example. 300 IN A 127.0.0.1", tlsa(wrongAt, "mx.plain.example")},
	})
	p.cfg.DNS.Servers, p.cfg.DNS.Timeout = []string{unbound.Addr}, 5*time.Second
	p.cfg.Relay.TLSLevel = "dane"
	out := p.openTLSOut(p.open())
	for name, tc := range map[string]struct {
		host    string
		at      net.Addr
		level   tlspolicy.Level
		found   bool  // else Find fails
		checked error // what Check finds
	}{
		"right certificate":   {"mx.signed.example", rightAt, tlspolicy.DANE, true, nil},
		"wrong certificate":   {"mx.signed.example", wrongAt, tlspolicy.DANE, true, tlspolicy.ErrTLSA},
		"forged records":      {"forged.signed.example", rightAt, 0, false, nil},
		"no records":          {"bare.signed.example", rightAt, tlspolicy.May, true, nil},
		"records, not signed": {"mx.plain.example", wrongAt, tlspolicy.May, true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			policy, err := out.Find(t.Context(), tlspolicy.Ask{Domain: "signed.example", Host: tc.host, Port: port(tc.at), Authentic: true})
			if (err == nil) != tc.found || policy.Level != tc.level {
				t.Fatalf("Find = %+v, %v, want level %d, found %v", policy, err, tc.level, tc.found)
			}
			if !tc.found {
				return
			}
			dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second}, Config: policy.Config(tc.host)}
			conn, err := dialer.DialContext(t.Context(), "tcp", tc.at.String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			state := conn.(*tls.Conn).ConnectionState()
			if err := policy.Check(tc.host, &state); !errors.Is(err, tc.checked) || (err == nil) != (tc.checked == nil) {
				t.Errorf("Check = %v, want %v", err, tc.checked)
			}
		})
	}
}

// serveTLS takes TLS connections until the test ends.
func serveTLS(t *testing.T, cert tls.Certificate) net.Addr {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
				_, _ = conn.Read(make([]byte, 1))
			}()
		}
	}()
	return l.Addr()
}
