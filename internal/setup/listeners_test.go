package setup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatepost/internal/config"
	"gatepost/relay/sasl/users"
)

// reviewed is a folder with a certificate and accounts, and a configuration of them that
// has nothing wrong.
func reviewed(t *testing.T) (dir, text string) {
	t.Helper()
	dir = t.TempDir()
	cert, key := certificate(t, "mx.example.com")
	put(t, filepath.Join(dir, "cert"), cert, 0o644)
	put(t, filepath.Join(dir, "key"), key, 0o600)
	if err := users.Add(t.Context(), filepath.Join(dir, "users"), "joe", "secret", users.Options{Iterations: 4096}); err != nil {
		t.Fatal(err)
	}
	return dir, `host_name = "mx.example.com"
[features]
trust_auth_mech = ["PLAIN", "login"]
[relay]
server_cert = "cert"
server_key = "key"
auth_mechanisms = ["PLAIN", "LOGIN"]
users = "users"
[[listener]]
name = "MSA"
kind = "submission"
listen = ":587"
`
}

func TestReviewListeners(t *testing.T) {
	dir, text := reviewed(t)
	other, otherKey := certificate(t, "other.example")
	later := func(days int) time.Time { return time.Now().Add(time.Duration(days) * 24 * time.Hour) }
	for _, tc := range []struct {
		name      string
		old, new  string // in the configuration
		now       time.Time
		spoil     func()
		want, err string
	}{
		{"good", "", "", later(0), nil, "", ""},
		{"soon", "", "", later(90), nil, "DIR/f:5: the certificate DIR/cert expires on DAY; a new one is taken over without a restart", ""},
		{"expired", "", "", later(101), nil, "DIR/f:5: the certificate DIR/cert expired on DAY: clients refuse it", ""},
		{"no trust", "trust_auth_mech = [\"PLAIN\", \"login\"]\n", "", later(0), nil,
			"DIR/f:8: listener MSA lets users log in, but features.trust_auth_mech is empty, so that they may relay no more than strangers; expected trust_auth_mech = [\"PLAIN\", \"LOGIN\"] under [features]", ""},
		{"some trust", ", \"login\"", "", later(0), nil,
			"DIR/f:3: relay.auth_mechanisms offers LOGIN and features.trust_auth_mech does not name it: whose program chooses it logs in and may not relay", ""},
		{"clear", "listen = \":587\"\n", "listen = \"127.0.0.1:587\"\ntls = \"none\"\nallow_plaintext_auth = true\n", later(0), nil,
			"DIR/f:9: listener MSA takes passwords in the clear: whoever can see the wires of its networks can read them", ""},
		{"no listener", text[strings.Index(text, "[[listener]]"):], "", later(0), nil,
			"DIR/f:8: relay.users names accounts, but no [[listener]] offers AUTH: nobody can log in", ""},
		{"no binding", "[relay]\n", "[relay]\nsender_binding = \"gone\"\n", later(0), nil, "", "relay.sender_binding: open DIR/gone: no such file or directory"},
		{"no authorities", "[relay]\n", "[relay]\nca_cert = \"key\"\n", later(0), nil, "", "relay.ca_cert: DIR/key: no certificate, expected -----BEGIN CERTIFICATE-----"},
		{"no secret", "\"LOGIN\"]\nusers", "\"CRAM-MD5\"]\nusers", later(0), nil, strings.Join([]string{
			"DIR/f:3: relay.auth_mechanisms offers CRAM-MD5 and features.trust_auth_mech does not name it: whose program chooses it logs in and may not relay",
			"DIR/f:7: relay.auth_mechanisms offers CRAM-MD5, by which 1 of 1 accounts in DIR/users cannot log in, the first is joe; gatepost user passwd --plaintext-equivalents NAME, or do not offer it"}, "\n"), ""},
		{"broken accounts", "\"users\"", "\"cert\"", later(0), func() { os.Chmod(filepath.Join(dir, "cert"), 0o640) }, "", "relay.users: DIR/cert:1: no account; expected NAME:SECRET"},
		{"no accounts", "\"users\"", "\"none\"", later(0), func() { put(t, filepath.Join(dir, "none"), nil, 0o600) },
			"DIR/f:8: DIR/none has no account: nobody can log in; gatepost user add NAME makes one", ""},
		{"users for everybody", "", "", later(0), func() { os.Chmod(filepath.Join(dir, "users"), 0o644) },
			"DIR/f:8: DIR/users has mode 0644: everybody on this host can read what passwords are checked with, and guess at leisure, so the relay refuses it; chmod o= DIR/users", ""},
		{"no users", "", "", later(0), func() {
			os.Chmod(filepath.Join(dir, "users"), 0o600)
			os.Rename(filepath.Join(dir, "users"), filepath.Join(dir, "kept"))
		},
			"DIR/f:8: the accounts in DIR/users do not exist yet, and without them the relay does not start; gatepost user add NAME makes one", ""},
		{"another's certificate", "", "", later(0), func() {
			os.Rename(filepath.Join(dir, "kept"), filepath.Join(dir, "users"))
			put(t, filepath.Join(dir, "cert"), other, 0o640)
			put(t, filepath.Join(dir, "key"), otherKey, 0o600)
		}, "DIR/f:5: the certificate DIR/cert is not for host_name, mx.example.com, but for other.example: users who connect to that name are warned", ""},
		{"a key for everybody", "", "", later(0), func() { os.Chmod(filepath.Join(dir, "key"), 0o644) },
			"", "relay.server_cert: DIR/key: its mode is 0644, by which everybody on this host can read or change it; expected 0600, 0640 or 0660: chmod o= DIR/key"},
	} {
		if tc.spoil != nil {
			tc.spoil()
		}
		file := filepath.Join(dir, "f")
		put(t, file, []byte(strings.Replace(text, tc.old, tc.new, 1)), 0o644)
		cfg, err := config.Load(file)
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		found, err := ReviewListeners(cfg, tc.now)
		var got []string
		for _, f := range found {
			got = append(got, f.String())
		}
		fault := ""
		if err != nil {
			fault = err.Error()
		}
		in := strings.NewReplacer("DIR", dir, "DAY", later(100).UTC().Format("2 January 2006"))
		if diff := cmp.Diff(in.Replace(tc.want), strings.Join(got, "\n")); diff != "" || fault != in.Replace(tc.err) {
			t.Errorf("%s: error %q; findings (-want +got):\n%s", tc.name, fault, diff)
		}
	}
}
