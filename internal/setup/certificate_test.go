package setup

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// certificate makes a self-signed certificate and its key, both in PEM.
func certificate(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	from := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(100 * 24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, from, from, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

func put(t *testing.T, file string, data []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(file+".new", data, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file+".new", mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// TestCertificateFollowed: a new pair is in force within a second of being asked for; a
// broken one leaves the old one, and is said once.
func TestCertificateFollowed(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	cert1, key1 := certificate(t, "one.example")
	cert2, key2 := certificate(t, "two.example")
	put(t, certFile, cert1, 0o644)
	put(t, keyFile, key1, 0o600)
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c, err := OpenCertificate(certFile, keyFile, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		now := func(want string) {
			t.Helper()
			if got := c.Get().Leaf.Subject.CommonName; got != want {
				t.Errorf("the certificate is that of %s, want %s", got, want)
			}
		}
		put(t, certFile, cert2, 0o644)
		now("one.example") // not looked at again within the second
		for range 3 {
			time.Sleep(time.Second)
			now("one.example") // the key is another one's
		}
		if c.Fault() == nil || strings.Count(log.String(), "level=ERROR") != 1 || !strings.Contains(log.String(), certFile+": the certificate is not that of the key "+keyFile) {
			t.Errorf("a pair that does not match: fault %v, log\n%s", c.Fault(), log.String())
		}
		put(t, keyFile, key2, 0o600)
		time.Sleep(time.Second)
		now("two.example")
		if c.Fault() != nil || !strings.Contains(log.String(), "the TLS certificate read anew") {
			t.Errorf("after the new key: fault %v, log\n%s", c.Fault(), log.String())
		}
		if err := os.Remove(certFile); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		now("two.example")
		if c.Fault() == nil {
			t.Error("a file that is gone is no fault")
		}
	})
}

func TestCertificateFaults(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	cert, key := certificate(t, "one.example")
	_, other := certificate(t, "two.example")
	broken := bytes.Replace(cert, []byte("MII"), []byte("MIX"), 1)
	locked := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})
	for _, tc := range []struct {
		name      string
		cert, key []byte
		mode      os.FileMode
		want      string
	}{
		{"good", cert, key, 0o640, ""},
		{"the key before the certificate", append(bytes.Clone(key), cert...), key, 0o600, ""},
		{"a key for everybody", cert, key, 0o644, keyFile + ": its mode is 0644, by which everybody on this host can read or change it; expected 0600, 0640 or 0660: chmod o= " + keyFile},
		{"no PEM", []byte("x"), key, 0o600, certFile + ": no PEM, expected -----BEGIN CERTIFICATE-----"},
		{"no key", cert, cert, 0o600, keyFile + ": no PEM with a key, expected -----BEGIN PRIVATE KEY-----"},
		{"a key with a pass phrase", cert, locked, 0o600, keyFile + ": the key has a pass phrase"},
		{"another's key", cert, other, 0o600, certFile + ": the certificate is not that of the key " + keyFile},
		{"a broken certificate", broken, key, 0o600, certFile + " and " + keyFile + ": "},
		{"a huge file", bytes.Repeat([]byte("x"), maxFollowed+1), key, 0o600, certFile + ": has 4194305 bytes; expected at most 4194304"},
	} {
		put(t, certFile, tc.cert, 0o644)
		put(t, keyFile, tc.key, tc.mode)
		_, err := OpenCertificate(certFile, keyFile, slog.New(slog.DiscardHandler))
		if (err == nil) != (tc.want == "") || err != nil && !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
	if _, err := OpenCertificate(dir, keyFile, slog.New(slog.DiscardHandler)); err == nil || err.Error() != dir+": not a regular file" {
		t.Errorf("a folder: %v", err)
	}
}

func TestCAs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca")
	one, _ := certificate(t, "one.example")
	two, key := certificate(t, "two.example")
	put(t, file, append(append([]byte("# text\n"), one...), two...), 0o644)
	cas, err := OpenCAs(file, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(two)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: cas.Get()}); err != nil {
		t.Errorf("the second certificate is not in the pool: %v", err)
	}
	for what, data := range map[string][]byte{"no certificate": key, "cannot be read": bytes.Replace(one, []byte("MII"), []byte("MIX"), 1)} {
		put(t, file, data, 0o644)
		if _, err := OpenCAs(file, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), what) || !strings.HasPrefix(err.Error(), file+": ") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
