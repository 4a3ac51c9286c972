package redis

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatepost/maps/internal/credentials"
)

func TestParseURL(t *testing.T) {
	for _, tc := range []struct {
		url  string
		want Config
		name string
	}{
		{"redis://db.example/0/access",
			Config{Network: "tcp", Address: "db.example:6379", Key: "access"}, "redis://db.example:6379/0/access"},
		{"rediss://u:p%40%2F@[::1]:7000/15/mail/access?ca_file=/ca&required=yes&version_key=v",
			Config{Network: "tcp", Address: "[::1]:7000", DB: 15, Key: "mail/access", User: "u", Password: "p@/",
				UseTLS: true, TLS: credentials.TLS{CAFile: "/ca"}, Required: true, VersionKey: "v"}, "rediss://u@[::1]:7000/15/mail/access"},
		{"redis://:p@h/1/a%3Fb?cert_file=", Config{Network: "tcp", Address: "h:6379", DB: 1, Key: "a?b", Password: "p"}, "redis://h:6379/1/a%3Fb"},
		{"redis://u@h/1/k?password_file=/f", Config{Network: "tcp", Address: "h:6379", DB: 1, Key: "k", User: "u", PasswordFile: "/f"}, "redis://u@h:6379/1/k"},
		{"redis+unix:///run/redis.sock?db=2&key=a+b&password=p",
			Config{Network: "unix", Address: "/run/redis.sock", DB: 2, Key: "a b", Password: "p"}, "redis+unix:///run/redis.sock?db=2&key=a+b"},
		{"redis+unix:///run/redis.sock?key=k", Config{Network: "unix", Address: "/run/redis.sock", Key: "k"}, "redis+unix:///run/redis.sock?db=0&key=k"},
	} {
		got, err := ParseURL(tc.url)
		if err != nil {
			t.Errorf("%s: %v", tc.url, err)
			continue
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s: %s", tc.url, diff)
		}
		if got.String() != tc.name {
			t.Errorf("%s: String() = %s, want %s", tc.url, got, tc.name)
		}
	}
}

func TestParseURLRefuses(t *testing.T) {
	const secret = "s3cr3t"
	for _, tc := range []struct{ url, say string }{
		{"", "scheme"},
		{"http://h/0/k", "scheme"},
		{"redis:h", "expected redis://"},
		{"redis://:s3cr3t@h", "database"},
		{"redis://:s3cr3t@h/k", "database"},
		{"redis://:s3cr3t@h/-1/k", "database"},
		{"redis://:s3cr3t@h/0", "no key"},
		{"redis://:s3cr3t@h/0/", "no key"},
		{"redis:///0/k", "no host"},
		{"redis://:s3cr3t@h:0/0/k", "no valid port"},
		{"redis://:s3cr3t@h:70000/0/k", "no valid port"},
		{"redis://:s3cr3t%@h/0/k", "not a URL"},
		{"redis://:s3cr3t/x@h/0/k", "not a URL"},
		{"redis://u:s3cr3t#@h/0/k", "not a URL"},
		{"redis://u@h/0/k", "without a password"},
		{"redis://:s3cr3t@h/0/k?password_file=/f", "both"},
		{"redis://:s3cr3t@h/0/k?db=3", `unknown option "db"`},
		{"redis://:s3cr3t@h/0/k?required=maybe", "yes or no"},
		{"redis://:s3cr3t@h/0/k?ca_file=/f", "rediss"},
		{"redis://:s3cr3t@h/0/k#x", "malformed options"},
		{"redis+unix://run/redis.sock?key=k", "three slashes"},
		{"redis+unix:///run/redis.sock", "no key"},
		{"redis+unix:///run/redis.sock?key=k&db=x", "database"},
		{"redis+unix://?key=k", "no address"},
	} {
		c, err := ParseURL(tc.url)
		if err == nil || !strings.Contains(err.Error(), tc.say) {
			t.Errorf("%s: %v, want an error that says %q", tc.url, err, tc.say)
			continue
		}
		if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "\n") || !cmp.Equal(c, Config{}) {
			t.Errorf("%s: %v with %v, want one line without the password, and nothing", tc.url, err, c)
		}
	}
}

func TestPasswordIsNotShown(t *testing.T) {
	c, err := ParseURL("redis://u:s3cr3t@h/0/k")
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(format, c); strings.Contains(s, "s3cr3t") {
			t.Errorf("%s shows %s", format, s)
		}
	}
}

func TestNewChecksFiles(t *testing.T) {
	open := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(open, []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ url, say string }{
		{"redis://h/0/k?password_file=/nonexistent", "password file"},
		{"redis://h/0/k?password_file=" + open, "0644"},
		{"rediss://h/0/k?ca_file=/nonexistent", "CA file"},
		{"rediss://h/0/k?cert_file=/nonexistent", "both or none"},
	} {
		c, err := ParseURL(tc.url)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), tc.say) {
			t.Errorf("%s: %v, want an error that says %q", tc.url, err, tc.say)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	f.Add("redis://u:p@h:1/0/k?required=yes")
	f.Add("redis+unix:///s?key=k&db=1")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseURL(s)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q: more than one line: %v", s, err)
			}
			return
		}
		again, err := ParseURL(c.String())
		if err != nil && c.User == "" {
			t.Fatalf("%q: its name %q: %v", s, c, err)
		}
		if err == nil && (again.Network != c.Network || again.Address != c.Address || again.DB != c.DB || again.Key != c.Key) {
			t.Errorf("%q: %#v, named %#v", s, c, again)
		}
	})
}
