package credentials_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatepost/maps/internal/credentials"
	"gatepost/maps/internal/credentials/credentialstest"
)

func file(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestPassword(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"secret\n", "secret"}, {"secret", "secret"}, {"s p\r\n", "s p"}, {" x \n", " x "},
		{"", ""}, {"\n", ""}, {"a\nb\n", ""}, {"a\x00b", ""}, {strings.Repeat("x", 1025), ""},
	} {
		got, err := credentials.Password(file(t, tc.text, 0o600))
		if got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%.20q: %q, %v, want %q", tc.text, got, err, tc.want)
		}
	}
	if _, err := credentials.Password(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("no file, no error")
	}
}

func TestCheckPrivate(t *testing.T) {
	for mode, good := range map[os.FileMode]bool{0o600: true, 0o640: true, 0o440: true, 0o644: false, 0o606: false, 0o601: false} {
		if err := credentials.CheckPrivate(file(t, "x", mode)); (err == nil) != good {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	if err := credentials.CheckPrivate(t.TempDir()); err == nil {
		t.Error("a directory is no password file")
	}
}

func TestTLS(t *testing.T) {
	made := credentialstest.Make(t)
	config, err := made.Config("localhost")
	if err != nil || config.RootCAs == nil || len(config.Certificates) != 1 || config.ServerName != "localhost" {
		t.Errorf("all files: %+v, %v", config, err)
	}
	if config, err := (credentials.TLS{}).Config("h"); err != nil || config.RootCAs != nil {
		t.Errorf("no files: %+v, %v", config, err)
	}
	for name, bad := range map[string]credentials.TLS{
		"no CA file":     {CAFile: "/nonexistent"},
		"CA is no PEM":   {CAFile: file(t, "hello", 0o600)},
		"CA is a key":    {CAFile: made.KeyFile},
		"no key":         {CertFile: made.CertFile},
		"key for a cert": {CertFile: made.KeyFile, KeyFile: made.KeyFile},
	} {
		if _, err := bad.Config("h"); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one line", name, err)
		}
	}
}
