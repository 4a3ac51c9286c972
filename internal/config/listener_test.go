package config

import (
	"crypto/tls"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// withCert goes before the tables of those listeners that have TLS.
const withCert = "[relay]\nserver_cert = \"/c\"\nserver_key = \"/k\"\n"

func TestListeners(t *testing.T) {
	path := write(t, `
[relay]
listen = [":25"]
server_cert = "host.cert"
server_key = "/k"
ca_cert = "/ca"
tls_min = "1.3"
auth_mechanisms = ["DIGEST-MD5", "EXTERNAL"]
users = "users"
sasldb = "/etc/sasldb2"
auth_realm = ["example.com", "other.example"]
sender_binding = "senders"

[[listener]]
name = "MSA"
kind = "submission"
listen = [":587", "[::1]:2587"]
min_tls = "1.2"

[[listener]]
name = "MSA-TLS"
kind = "smtps"
listen = ":465"
require_auth = false

[[listener]]
name = "devices"
kind = "device"
listen = "192.0.2.1:2525"
networks = ["192.0.2.64/26", "2001:db8::/64"]
sender = "scanner@example.com"
tls = "may"
min_tls = "1.0"

[[listener]]
name = "old"
kind = "mta"
listen = "127.0.0.1:26"
tls = "none"
auth = true
allow_plaintext_auth = true
quota = 7
`)
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	prefix := netip.MustParsePrefix
	want := []Listener{
		{Name: "MTA", Kind: ListenMTA, Listen: []string{":25"}, TLS: TLSMay},
		{Name: "MSA", Kind: ListenSubmission, Listen: []string{":587", "[::1]:2587"}, TLS: TLSRequired, MinTLS: tls.VersionTLS12, Auth: true, RequireAuth: true, Line: 14},
		{Name: "MSA-TLS", Kind: ListenSMTPS, Listen: []string{":465"}, TLS: TLSImplicit, Auth: true, Line: 20},
		{Name: "devices", Kind: ListenDevice, Listen: []string{"192.0.2.1:2525"}, TLS: TLSMay, MinTLS: tls.VersionTLS10, Quota: 100,
			Networks: []netip.Prefix{prefix("192.0.2.64/26"), prefix("2001:db8::/64")}, Sender: "scanner@example.com", Line: 26},
		{Name: "old", Kind: ListenMTA, Listen: []string{"127.0.0.1:26"}, TLS: TLSNone, Auth: true, PlainAuth: true, Quota: 7, Line: 35},
	}
	if diff := cmp.Diff(want, c.AllListeners(), cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("the listeners are (-want +got):\n%s", diff)
	}
	secure := Secure{
		ServerCert: filepath.Join(dir, "host.cert"), ServerKey: "/k", CACert: "/ca", TLSMin: tls.VersionTLS13,
		AuthMechanisms: []string{"DIGEST-MD5", "EXTERNAL"}, Users: filepath.Join(dir, "users"), SASLDB: "/etc/sasldb2",
		AuthRealm: []string{"example.com", "other.example"}, SenderBinding: Binding{File: filepath.Join(dir, "senders")},
	}
	if diff := cmp.Diff(secure, c.Relay.Secure); diff != "" {
		t.Errorf("[relay] says of TLS and AUTH (-want +got):\n%s", diff)
	}
}

// TestPlainListener: relay.listen's default gives way to a listener of its kind, and to
// an empty list; without a certificate it has no STARTTLS.
func TestPlainListener(t *testing.T) {
	const mta = "[[listener]]\nname = \"x\"\nkind = \"mta\"\nlisten = \":25\"\n"
	const device = "[[listener]]\nname = \"x\"\nkind = \"device\"\nlisten = \":26\"\nnetworks = \"10.0.0.0/8\"\nsender = \"a@b.example\"\n"
	for text, want := range map[string][]string{
		"":                                    {"MTA none"},
		withCert:                              {"MTA may"},
		mta:                                   {"x none"},
		withCert + mta:                        {"x may"},
		device:                                {"MTA none", "x none"},
		"[relay]\nlisten = []\n" + device:     {"x none"},
		"[relay]\nlisten = \":2525\"\n" + mta: {"MTA none", "x none"},
	} {
		c, err := Parse("f", []byte(text))
		if err != nil {
			t.Errorf("%q gave %v", text, err)
			continue
		}
		var got []string
		for _, l := range c.AllListeners() {
			got = append(got, l.Name+" "+string(l.TLS))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q gave (-want +got):\n%s", text, diff)
		}
	}
}

// TestUsersDefault: with the accounts of Cyrus alone there is no file of ours.
func TestUsersDefault(t *testing.T) {
	for text, want := range map[string]string{
		"":                                DefaultUsers,
		"sasldb = \"/etc/sasldb2\"":       "",
		"sasldb = \"/a\"\nusers = \"/b\"": "/b",
	} {
		if c, err := Parse("f", []byte("[relay]\n"+text+"\n")); err != nil || c.Relay.Users != want {
			t.Errorf("%q gave %v, want %q", text, err, want)
		}
	}
}

func TestListenerFaults(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{`kind = "smtps"`, `f:4: listener[0] has no listen, expected listen = [":587"]` + "\n" + `f:4: listener[0] has no name, expected name = "MSA"`},
		{`name = "a b"` + "\nkind = \"msa\"\nlisten = 25", `f:5: listener[0].name is "a b", expected at most 32 letters, digits, dots, - and _` + "\n" +
			`f:6: listener[0].kind is "msa", expected "mta", "submission", "smtps" or "device"` + "\n" +
			`f:7: listener[0].listen is the number 25, expected a string such as ":587", or a list of them`},
		{full("mta", `networks = "0.0.0.0/0"`), `f:8: listener[0].networks is "0.0.0.0/0", which is everybody, expected the networks of hosts that you run`},
		{full("mta", `network = "10.0.0.0/8"`), `f:8: unknown key listener[0].network, did you mean listener.networks?`},
		{full("mta", `quota = 0`), `f:8: listener[0].quota is the number 0, expected a number from 1 to 1000000`},
		{full("mta", `require_auth = true`), `f:8: listener[0].require_auth is true and auth is not, so that nobody could send, expected auth = true or require_auth = false`},
		{full("mta", `sender = "a@b.example"`), `f:8: listener[0].sender is for kind "device"; whom logged-in users may send as, relay.sender_binding says`},
		{full("mta", `tls = "implicit"`), `f:8: listener[0].tls is "implicit", expected kind = "smtps" with it`},
		{full("smtps", `tls = "may"`), `f:8: listener[0].tls is "may", but kind "smtps" is TLS from the first byte, expected "implicit" or no tls`},
		{full("submission", `min_tls = "1.1"`), `f:8: listener[0].min_tls is older than "1.2", which only a listener of kind "device" may have: passwords and mail would be open to known attacks`},
		{full("mta", "tls = \"none\"\nmin_tls = \"1.2\""), `f:9: listener[0].min_tls means nothing without TLS`},
		{full("submission", `tls = "none"`), `f:4: listener[0] has AUTH and tls = "none", by which passwords would be sent in the clear, expected tls = "required"; or allow_plaintext_auth = true, and networks that it is fenced to`},
		{full("submission", `tls = "may"`), `f:4: listener[0] has AUTH and tls = "may", by which passwords would be sent in the clear, expected tls = "required"; or allow_plaintext_auth = true, and networks that it is fenced to`},
		{full("submission", "tls = \"none\"\nallow_plaintext_auth = true"), `f:9: listener[0].allow_plaintext_auth is true for everybody, expected networks = [...], whose wires you trust, or loopback addresses in listen`},
		{full("submission", "allow_plaintext_auth = true"), `f:8: listener[0].allow_plaintext_auth means nothing where there is no AUTH, or only after TLS`},
		{full("device", ""), `f:4: listener[0] is of kind "device", which needs an envelope sender for all its mail, expected sender = "scanner@example.com"` + "\n" +
			`f:4: listener[0] is of kind "device", which takes mail for everybody without a login, and needs networks, expected networks = ["192.0.2.64/26"], those of the devices`},
		{full("device", "sender = \"a@b.example\"\nnetworks = [\"0.0.0.0/1\", \"128.0.0.0/1\"]"), `f:9: listener[0].networks[0] is "0.0.0.0/1", which is a good part of the internet, expected the networks of hosts that you run` + "\n" +
			`f:9: listener[0].networks[1] is "128.0.0.0/1", which is a good part of the internet, expected the networks of hosts that you run`},
		{full("device", "sender = \"a\"\nnetworks = \"10.0.0.0/8\""), `f:8: listener[0].sender is "a", expected an address such as "scanner@example.com"`},
		{full("device", "sender = \"a@b.example\"\nnetworks = \"10.0.0.0/8\"\nauth = true"), `f:4: listener[0] is of kind "device", which has no AUTH, expected kind = "submission" or "smtps" for clients that can log in`},
		{full("device", "sender = \"a@b.example\"\nnetworks = \"10.0.0.0/8\"\ntls = \"required\""), `f:10: listener[0].tls is "required", expected "none" or "may" for kind "device"; kind "submission" for clients that can do better`},
		{full("device", "sender = \"a@b.example\"\nnetworks = \"10.0.0.0/8\"\nmin_tls = \"1.0\""), `f:10: listener[0].min_tls means nothing without TLS`},
		{full("mta", "[[listener]]\nname = \"X\"\nkind = \"mta\"\nlisten = \":587\""), `f:9: listener[1] has the name "X", which another one has` + "\n" + `f:11: listener[1].listen has ":587" which listener[0].listen has too`},
	} {
		_, err := Parse("f", []byte(withCert+"[[listener]]\n"+tc.text+"\n"))
		if err == nil || err.Error() != tc.want {
			t.Errorf("%q\n got %v\nwant %s", tc.text, err, tc.want)
		}
	}
}

// full is a table with what it must have.
func full(kind, more string) string {
	return "name = \"x\"\nkind = \"" + kind + "\"\nlisten = \":587\"\n" + more
}

func TestSecureFaults(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{`server_cert = "/c"`, `f:2: relay.server_cert has no relay.server_key, expected server_key = "/etc/mail/certs/host.key"`},
		{`server_key = "/c"`, `f:2: relay.server_key has no relay.server_cert, expected server_cert = "/etc/mail/certs/host.cert"`},
		{`ca_cert = "/c"`, `f:2: relay.ca_cert means nothing without relay.server_cert: clients show certificates in TLS only`},
		{`tls_min = "1.0"`, `f:2: relay.tls_min is "1.0", expected "1.2" or "1.3"`},
		{`auth_mechanisms = ["PLAIN", "plain"]`, `f:2: relay.auth_mechanisms[1] is "plain", expected "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN", "DIGEST-MD5", "CRAM-MD5" or "EXTERNAL"`},
		{`auth_mechanisms = ["PLAIN", "PLAIN"]`, `f:2: relay.auth_mechanisms[1] is "PLAIN", which stands in the list already`},
		{`auth_mechanisms = "EXTERNAL"`, `f:2: relay.auth_mechanisms has EXTERNAL, which needs relay.ca_cert: it logs in who has a certificate`},
		{`sasldb = "/etc/sasldb"`, `f:2: relay.sasldb is "/etc/sasldb", which is the file of SASL version 1, expected "/etc/sasldb2": convert the old one with Cyrus's dbconverter-2 once, or make its accounts anew with saslpasswd2 or "gatepost user add"`},
		{`auth_realm = "a b"`, `f:2: relay.auth_realm is "a b", expected a name such as "example.com"`},
		{`sender_binding = true`, `f:2: relay.sender_binding is true, expected a string such as "/etc/gatepost/senders"`},
		{`listen = []`, `f:2: relay.listen is an empty list and there is no [[listener]], expected one of them`},
		{"smart_host = \"localhost:587\"\n[[listener]]\nname = \"x\"\nkind = \"mta\"\nlisten = \":587\"", `f:2: relay.smart_host is "localhost:587", where listener[0].listen has us ourselves: mail would go round in circles`},
		{"[[listener]]\nname = \"x\"\nkind = \"smtps\"\nlisten = \":465\"", `f:2: listener[0] is of kind "smtps" with tls = "implicit", which needs relay.server_cert and relay.server_key`},
		{"[[listener]]\nname = \"x\"\nkind = \"submission\"\nlisten = \":587\"", `f:2: listener[0] is of kind "submission" with tls = "required", which needs relay.server_cert and relay.server_key`},
		{"listen = \":25\"\n[[listener]]\nname = \"mta\"\nkind = \"mta\"\nlisten = \":26\"", `f:4: listener[0] has the name "mta", which relay.listen has`},
		{"[listener]\nname = \"x\"", `f:2: listener is a table, expected tables, each beginning with [[listener]]`},
	} {
		_, err := Parse("f", []byte("[relay]\n"+tc.text+"\n"))
		if err == nil || err.Error() != tc.want {
			t.Errorf("%q\n got %v\nwant %s", tc.text, err, tc.want)
		}
	}
}
