//go:build integration

package tlspolicy_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// opensslAgrees has OpenSSL, by which Postfix and Exim verify, make the same connection, and
// tells whether it goes through with it.
func opensslAgrees(t *testing.T, cert tls.Certificate, how ...string) (good bool, output string) {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.(*tls.Conn).Handshake()
		_, _ = conn.Read(make([]byte, 1))
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"s_client", "-connect", "127.0.0.1:" + port, "-servername", "mx.example.org", "-verify_return_error"}, how...)
	out, err := exec.CommandContext(ctx, "openssl", args...).CombinedOutput()
	if !strings.Contains(string(out), "CONNECTED") {
		t.Fatalf("openssl s_client: %v\n%s", err, out)
	}
	return err == nil, string(out)
}

// TestDANEAsOpenSSL holds the judgment of certificates by TLSA records to OpenSSL's.
func TestDANEAsOpenSSL(t *testing.T) {
	asked := 0
	for name, tc := range daneCases(newPKI(t)) {
		if len(tc.records) == 0 || len(tc.names) > 0 || strings.Contains(name, "not for SMTP") {
			continue // openssl s_client takes no such thing, or goes by RFC 6698 alone
		}
		asked++
		how := []string{"-dane_tlsa_domain", "mx.example.org", "-dane_ee_no_namechecks"}
		for _, r := range tc.records {
			how = append(how, "-dane_tlsa_rrdata", r.String())
		}
		if good, out := opensslAgrees(t, tc.cert, how...); good != (tc.want == nil) {
			t.Errorf("%s: OpenSSL says %v, want %v\n%s", name, good, tc.want, out)
		}
	}
	if asked < 15 {
		t.Errorf("only %d cases were tried", asked)
	}
}

// TestVerifyAsOpenSSL does so for certificates of known authorities.
func TestVerifyAsOpenSSL(t *testing.T) {
	k := newPKI(t)
	file := filepath.Join(t.TempDir(), "root")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: k.root.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	asked := 0
	for name, tc := range verifyCases(k) {
		if len(tc.names) > 1 || len(tc.names) == 1 && strings.HasPrefix(tc.names[0], "*") {
			continue // openssl s_client takes one name, and no star
		}
		if name == "common name alone" || name == "star in a label" {
			continue // OpenSSL still takes these; RFC 9525, 2 and 6.3, no longer does
		}
		asked++
		host, how := "mx.example.org", "-verify_hostname"
		if len(tc.names) == 1 {
			host = tc.names[0]
		}
		if net.ParseIP(host) != nil {
			how = "-verify_ip"
		}
		good, out := opensslAgrees(t, tc.cert, "-CAfile", file, "-no-CApath", "-no-CAstore", "-purpose", "sslserver", how, host)
		if good != (tc.want == nil) {
			t.Errorf("%s: OpenSSL says %v, want %v\n%s", name, good, tc.want, out)
		}
	}
	if asked < 15 {
		t.Errorf("only %d cases were tried", asked)
	}
}
