package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// rewriteSite is the configuration of a host that masquerades.
func rewriteSite(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"gatepost.toml": "host_name = \"localhost\"\ndont_probe_interfaces = true\n[tables]\naccess = \"access\"\n" +
			"relay_domains = \"access\"\nlocal_host_names = \"local\"\ngenericstable = \"generics\"\n[dns]\nservers = [\"127.0.0.1:9\"]\ntimeout = \"50ms\"\nattempts = 1\n" +
			"[relay]\nsmart_host = \"smtp.isp.example\"\nmasquerade_as = \"example.com\"\nexposed_user = \"root\"\nsend_as = \"joe@isp.example\"\n" +
			"[features]\ngenericstable = true\nmasquerade_envelope = true\n",
		"access":   "",
		"local":    "lan.example\n",
		"generics": "# people\njoe\tjoe.smith@public.example\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "gatepost.toml")
}

func TestRewrite(t *testing.T) {
	cfg := rewriteSite(t)
	for _, tc := range []struct {
		name string
		args []string
		want result
	}{
		{"generic", []string{"joe"}, result{0, `relay                      header sender       joe.smith@public.example  genericstable DIR/generics:2
relay                      header recipient    joe@localhost             host_name
relay                      envelope sender     joe.smith@public.example  genericstable DIR/generics:2
relay                      envelope recipient  joe@localhost             host_name
smtp                       header sender       joe.smith@public.example  genericstable DIR/generics:2
smtp                       header recipient    joe@localhost             host_name
smtp                       envelope sender     joe.smith@public.example  genericstable DIR/generics:2
smtp                       envelope recipient  joe@localhost             host_name
local                      header sender       joe                       unchanged
local                      header recipient    joe                       unchanged
local                      envelope sender     joe                       unchanged
relay to smtp.isp.example  header sender       joe@isp.example           send_as
relay to smtp.isp.example  envelope sender     joe@isp.example           send_as
`, ""}},
		{"local", []string{"--mailer", "local", "<ann@lan.example>"}, result{0, `local  header sender     ann@example.com  masquerade_as DIR/local:1
local  header recipient  ann@lan.example  unchanged
local  envelope sender   ann@example.com  masquerade_as DIR/local:1
`, ""}},
		{"exposed", []string{"--mailer", "smtp", "root@lan.example"}, result{0, `smtp  header sender       root@lan.example  unchanged exposed_user DIR/gatepost.toml:15
smtp  header recipient    root@lan.example  unchanged
smtp  envelope sender     root@lan.example  unchanged exposed_user DIR/gatepost.toml:15
smtp  envelope recipient  root@lan.example  unchanged
`, ""}},
		{"JSON", []string{"--mailer", "local", "--json", "ann"}, result{0, `[
  {
    "mailer": "local",
    "place": "header sender",
    "address": "ann",
    "changed": false
  },
  {
    "mailer": "local",
    "place": "header recipient",
    "address": "ann",
    "changed": false
  },
  {
    "mailer": "local",
    "place": "envelope sender",
    "address": "ann",
    "changed": false
  }
]
`, ""}},
		{"no address", []string{"<>"}, result{2, "", "gatepost: \"<>\" is no address: expected one such as joe@example.com, or joe\n"}},
		{"no mailer", []string{"--mailer", "uucp", "joe"}, result{2, "", "gatepost: no mailer \"uucp\", expected one of relay, smtp, local, lmtp\n"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := call(t, append([]string{"rewrite", "--config", cfg}, tc.args...)...)
			got.out = strings.ReplaceAll(got.out, filepath.Dir(cfg), "DIR")
			if got != tc.want {
				t.Errorf("rewrite %q ended with %d, stderr %q and\n%swant %d, %q and\n%s", tc.args, got.code, got.stderr, got.out, tc.want.code, tc.want.stderr, tc.want.out)
			}
		})
	}
}
