package ldap

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	ldapv3 "github.com/go-ldap/ldap/v3"

	"gatepost/maps/internal/credentials"
)

func good() Config {
	return Config{URL: "ldap://h", BaseDN: "dc=example,dc=com", Filter: "(cn=%0)"}
}

func TestNewRefuses(t *testing.T) {
	open := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(open, []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		change func(*Config)
		say    string
	}{
		{func(c *Config) { c.URL = "" }, "expected ldap://"},
		{func(c *Config) { c.URL = "http://h" }, "expected ldap://"},
		{func(c *Config) { c.URL = "ldap://" }, "expected ldap://"},
		{func(c *Config) { c.URL = "ldap://h/dc=example" }, "nothing else"},
		{func(c *Config) { c.URL = "ldap://u:p@h" }, "nothing else"},
		{func(c *Config) { c.URL = "ldap://h:0" }, "port"},
		{func(c *Config) { c.URL = "ldap://h:99999" }, "port"},
		{func(c *Config) { c.URL = "ldapi://" }, "path of a socket"},
		{func(c *Config) { c.URL = "ldapi://run/x" }, "path of a socket"},
		{func(c *Config) { c.BaseDN = "" }, "no base DN"},
		{func(c *Config) { c.BaseDN = "example.com" }, `base DN "example.com"`},
		{func(c *Config) { c.Scope = "all" }, "base, one or sub"},
		{func(c *Config) { c.Filter = "" }, "no %0"},
		{func(c *Config) { c.Filter = "(cn=a)" }, "no %0"},
		{func(c *Config) { c.Filter = "(cn=%1)" }, "expected %0"},
		{func(c *Config) { c.Filter = "(cn=%0)%" }, "expected %0"},
		{func(c *Config) { c.Filter = "(%0=a)" }, "outside of a value"},
		{func(c *Config) { c.Filter = "(&%0(cn=a))" }, "outside of a value"},
		{func(c *Config) { c.Filter = "%0" }, "outside of a value"},
		{func(c *Config) { c.Filter = "(cn=a)=%0" }, "outside of a value"},
		{func(c *Config) { c.Filter = "cn=(x=%0)" }, "does not start"},
		{func(c *Config) { c.Filter = "(cn=%0" }, "unexpected end"},
		{func(c *Config) { c.Filter = "(cn=%0))" }, "extra at end"},
		{func(c *Config) { c.Filter = "(&(sendmailMTACluster=${sendmailMTACluster})(cn=%0))" }, "macros"},
		{func(c *Config) { c.Filter = "(&(sendmailMTAHost=$j)(cn=%0))" }, "macros"},
		{func(c *Config) { c.Attribute = "a,b" }, "one attribute"},
		{func(c *Config) { c.Attribute = "*" }, "one attribute"},
		{func(c *Config) { c.BindDN = "cn=x" }, "expected both or none"},
		{func(c *Config) { c.PasswordFile = "/x" }, "expected both or none"},
		{func(c *Config) { c.BindDN, c.PasswordFile = "x", "/x" }, "bind DN"},
		{func(c *Config) { c.BindDN, c.PasswordFile = "cn=x", "/nonexistent" }, "password file"},
		{func(c *Config) { c.BindDN, c.PasswordFile = "cn=x", open }, "0644"},
		{func(c *Config) { c.URL, c.StartTLS = "ldaps://h", true }, "StartTLS"},
		{func(c *Config) { c.URL, c.StartTLS = "ldapi:///s", true }, "StartTLS"},
		{func(c *Config) { c.TLS.CAFile = "/x" }, "without TLS"},
		{func(c *Config) { c.StartTLS, c.TLS = true, credentials.TLS{CAFile: "/nonexistent"} }, "CA file"},
		{func(c *Config) { c.Timeout = -1 }, "negative"},
		{func(c *Config) { c.MaxConns = -1 }, "negative"},
	} {
		cfg := good()
		tc.change(&cfg)
		_, err := New(cfg)
		if err == nil || !strings.Contains(err.Error(), tc.say) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v, want one line that says %q", cfg, err, tc.say)
		}
	}
	if _, err := New(good()); err != nil {
		t.Errorf("good: %v", err)
	}
}

func TestURL(t *testing.T) {
	for _, tc := range []struct{ url, network, address, host string }{
		{"ldap://h", "tcp", "h:389", "h"},
		{"ldap://h/", "tcp", "h:389", "h"},
		{"ldaps://h", "tcp", "h:636", "h"},
		{"ldaps://[::1]:7", "tcp", "[::1]:7", "::1"},
		{"ldapi:///run/slapd/ldapi", "unix", "/run/slapd/ldapi", ""},
		{"ldapi://%2Frun%2Fslapd%2Fldapi", "unix", "/run/slapd/ldapi", ""},
	} {
		cfg := good()
		cfg.URL = tc.url
		s, err := parse(cfg)
		if err != nil || s.network != tc.network || s.address != tc.address || s.host != tc.host {
			t.Errorf("%s: %s %s %s, %v", tc.url, s.network, s.address, s.host, err)
		}
	}
}

func TestFilter(t *testing.T) {
	for _, tc := range []struct{ filter, key, want string }{
		{"(cn=%0)", "a", "(cn=a)"},
		{"(cn=%s)", "*", `(cn=\2a)`},
		{"(|(cn=%0)(sn=%0))", `)(`, `(|(cn=\29\28)(sn=\29\28))`},
		{"(&(cn=100%%)(sn=%0))", "%0", "(&(cn=100%)(sn=%0))"},
		{"(cn=%0)", "\\\x00\xff", `(cn=\5c\00\ff)`},
		{"(cn=From:%0*)", "x", "(cn=From:x*)"},
		{SendmailFilter("access", "", ""), "k", "(&(objectClass=sendmailMTAMapObject)(sendmailMTAMapName=access)(sendmailMTAKey=k))"},
		{SendmailFilter("access", "50%0", ""), "k", "(&(objectClass=sendmailMTAMapObject)(sendmailMTACluster=50%0)(sendmailMTAMapName=access)(sendmailMTAKey=k))"},
		{SendmailFilter("a*", "c", "h"), "k", `(&(objectClass=sendmailMTAMapObject)(|(sendmailMTACluster=c)(sendmailMTAHost=h))(sendmailMTAMapName=a\2a)(sendmailMTAKey=k))`},
	} {
		f, err := parseFilter(tc.filter)
		if err != nil || f.with(tc.key) != tc.want {
			t.Errorf("%s with %q: %s, %v, want %s", tc.filter, tc.key, f.with(tc.key), err, tc.want)
		}
	}
}

// FuzzFilter: a key never changes the shape of a filter, and asks for itself alone.
func FuzzFilter(f *testing.F) {
	f.Add("(cn=%0)", "*)(cn=*")
	f.Add("(&(a=%s)(!(b=%0))(c=%%))", "\\00\x00")
	f.Fuzz(func(t *testing.T, text, key string) {
		parsed, err := parseFilter(text)
		if err != nil || key == "" {
			return
		}
		with, err := ldapv3.CompileFilter(parsed.with(key))
		if err != nil {
			t.Fatalf("%q with %q: %v", text, key, err)
		}
		back, err := ldapv3.CompileFilter("(cn=" + ldapv3.EscapeFilter(key) + ")")
		if err != nil || len(back.Children) != 2 || back.Children[1].Value != key {
			t.Fatalf("%q does not come back: %v", key, err)
		}
		plain, err := ldapv3.CompileFilter(parsed.with("key"))
		if err != nil || len(plain.Children) != len(with.Children) || plain.Tag != with.Tag {
			t.Errorf("%q with %q: another shape", text, key)
		}
	})
}
