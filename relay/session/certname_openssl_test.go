//go:build integration

package session

import (
	"crypto/tls"
	"encoding/pem"
	"os/exec"
	"strings"
	"testing"

	"gatepost/internal/certtest"
)

// TestOneLineAsOpenSSL holds the one-line form against X509_NAME_oneline itself, which
// `-nameopt compat` prints.
func TestOneLineAsOpenSSL(t *testing.T) {
	ca := certtest.New(t, certtest.Name(t, "/CN=CA"))
	for name, sets := range oddNames() {
		t.Run(name, func(t *testing.T) {
			der := certtest.DER(t, sets)
			cert := ca.Unchecked(der)
			cmd := exec.Command("openssl", "x509", "-noout", "-subject", "-nameopt", "compat")
			cmd.Stdin = strings.NewReader(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			want := strings.TrimSuffix(strings.TrimPrefix(string(out), "subject="), "\n")
			if got, ok := oneLine(der); !ok || got != want {
				t.Errorf("got %q, %v; OpenSSL writes %q", got, ok, want)
			}
		})
	}
}

// TestAttributeNames holds the short names against OpenSSL's.
func TestAttributeNames(t *testing.T) {
	out, err := exec.Command("openssl", "list", "-objects").Output()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]string{}
	for line := range strings.Lines(string(out)) {
		short, rest, ok := strings.Cut(strings.TrimSpace(line), " = ")
		if ok {
			words := strings.Split(rest, ", ")
			known[words[len(words)-1]] = short
		}
	}
	for oid, name := range attributeNames {
		if known[oid] != name {
			t.Errorf("%s is %q, OpenSSL has %q", oid, name, known[oid])
		}
	}
}

// TestCipherNames holds the names of cipher suites against OpenSSL's, of those that it
// still has.
func TestCipherNames(t *testing.T) {
	out, err := exec.Command("openssl", "ciphers", "-stdname", "ALL:COMPLEMENTOFALL:@SECLEVEL=0").Output()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if words := strings.Fields(line); len(words) > 3 {
			known[words[0]] = words[2]
		}
	}
	found := 0
	for id, name := range opensslCiphers {
		switch theirs := known[tls.CipherSuiteName(id)]; theirs {
		case "":
		case name:
			found++
		default:
			t.Errorf("%s is %s, OpenSSL has %s", tls.CipherSuiteName(id), name, theirs)
		}
	}
	if found < 10 {
		t.Errorf("only %d are known to OpenSSL", found)
	}
}
