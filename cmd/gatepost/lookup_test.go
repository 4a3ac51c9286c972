package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// lookupSite is a folder with a configuration and tables; the result is the
// path of the configuration.
func lookupSite(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"gatepost.toml": "host_name = \"localhost\"\ndont_probe_interfaces = true\n[tables]\naccess = \"access\"\n" +
			"relay_domains = \"relay\"\nlocal_host_names = \"local\"\ntrusted = \"trusted\"\n[dns]\nservers = [\"127.0.0.1:9\"]\ntimeout = \"50ms\"\nattempts = 1\n[relay]\nsmart_host = \"192.0.2.1\"\nlocal_mail = \"smart_host\"\nlocal_users = \"users\"\ntls_policy = \"tls\"\nauthinfo = \"authinfo\"\n",
		"access":   "Connect:198.51.100\tREJECT\nGreetPause:198.51.100\t\x1b[31mred\n",
		"relay":    "partner.example\n",
		"local":    "example.com\n",
		"users":    "joe\nann@example.com\n",
		"authinfo": "AuthInfo:isp.example\t\"U:joe\" \"P:hidden\"\nAuthInfo:\t\"U=YW5u\" \"P=aGlkZGVu\"\n",
		"trusted":  "# tab, and accept\n192.0.*.*\taccept\n*.office.example\taccept\n",
		"tls":      "[smart.example]\tverify\n.example\tencrypt\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "gatepost.toml")
}

func TestLookup(t *testing.T) {
	cfg := lookupSite(t)
	for _, tc := range []struct {
		name string
		key  []string
		want result
	}{
		{"hit", []string{"access", "198.51.100.7"}, result{0, `Connect:198.51.100.7  miss
198.51.100.7          miss
Connect:198.51.100    hit  REJECT  DIR/access:1
`, ""}},
		{"miss", []string{"access", "Connect:192.0.2.7"}, result{1, `Connect:192.0.2.7  miss
192.0.2.7          miss
Connect:192.0.2    miss
192.0.2            miss
Connect:192.0      miss
192.0              miss
Connect:192        miss
192                miss
`, ""}},
		{"control characters", []string{"access", "GreetPause:198.51.100"}, result{0, `GreetPause:198.51.100  hit  \x1b[31mred  DIR/access:2
`, ""}},
		{"control characters in the key", []string{"access", "To:\x1b"}, result{1, "To:\\x1b  miss\n\\x1b     miss\n", ""}},
		{"relay_domains", []string{"relay_domains", "a.partner.example"}, result{0, `a.partner.example  miss
.partner.example   miss
partner.example    hit  DIR/relay:1
`, ""}},
		{"local_host_names", []string{"local_host_names", "localhost"}, result{0, "localhost  hit  this host\n", ""}},
		{"tls_policy", []string{"tls_policy", "[smart.example]:587"}, result{0, "[smart.example]:587  miss\n[smart.example]      hit  verify  DIR/tls:1\n", ""}},
		{"tls_policy of a domain", []string{"tls_policy", "a.example"}, result{0, "a.example  miss\n.example   hit  encrypt  DIR/tls:2\n", ""}},
		{"authinfo", []string{"authinfo", "ISP.example"}, result{0, "AuthInfo:isp.example  hit  \"U:joe\" \"P:(hidden)\"  DIR/authinfo:1\n", ""}},
		{"authinfo for all", []string{"authinfo", "192.0.2.1"}, result{0, "AuthInfo:192.0.2.1  miss\nAuthInfo:           hit  \"U:ann\" \"P:(hidden)\"  DIR/authinfo:2\n", ""}},
		{"local_users", []string{"local_users", "joe+x@example.com"}, result{0, "joe@example.com  miss\njoe              hit  DIR/users:1\n", ""}},
		{"local_users of a domain", []string{"local_users", "<ann@mx.example.com>"}, result{1, "ann@mx.example.com  miss\nann                 miss\n", ""}},
		{"trusted address", []string{"trusted", "192.0.2.7"}, result{0, `192.0.2.7  miss
192.0.2.*  miss
192.0.*.*  hit  accept  DIR/trusted:2
`, ""}},
		{"trusted name", []string{"trusted", "office.example"}, result{1, "office.example  miss\n*.example       miss\n", ""}},
		{"table that is not named", []string{"spammers", "x"}, result{2, "", "gatepost: no spammers table: [tables] does not name one\n"}},
		{"no such table", []string{"acces", "x"}, result{2, "", "gatepost: unknown table \"acces\", expected access, relay_domains, local_host_names, trusted, spammers, virtual_hosts or dnsbl\n"}},
		{"empty key", []string{"access", ""}, result{2, "", "gatepost: empty key, expected an address, a host name or a mail address\n"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := call(t, append([]string{"lookup", "--config", cfg}, tc.key...)...)
			got.out = strings.ReplaceAll(got.out, filepath.Dir(cfg), "DIR")
			if got != tc.want {
				t.Errorf("lookup %q ended with %d, stderr %q and\n%swant %d, %q and\n%s", tc.key, got.code, got.stderr, got.out, tc.want.code, tc.want.stderr, tc.want.out)
			}
		})
	}
}

func TestLookupWithoutConfig(t *testing.T) {
	got := call(t, "lookup", "--config", filepath.Join(t.TempDir(), "none"), "access", "x")
	if got.code != 2 || !strings.Contains(got.stderr, "gatepost: cannot read the configuration: ") {
		t.Errorf("lookup without its configuration gave %+v, want 2", got)
	}
}

func TestLookupBrokenTable(t *testing.T) {
	cfg := lookupSite(t)
	if err := os.WriteFile(filepath.Join(filepath.Dir(cfg), "relay"), []byte("a\n\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := call(t, "lookup", "--config", cfg, "access", "x"); got.code != 2 || !strings.Contains(got.stderr, "relay:2: NUL byte") {
		t.Errorf("lookup with a broken table gave %+v, want 2 and file:line", got)
	}
}
