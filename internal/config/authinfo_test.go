package config

import (
	"net/netip"
	"strings"
	"testing"
)

func TestAuthInfo(t *testing.T) {
	c, err := Parse("f", []byte(`[relay]
authinfo = "hash:/etc/mail/authinfo"
auth_allow_clear = ["SMTP.lan.", "192.0.2.1", "10.0.0.0/8", "::1"]

[[oauth2]]
name = "gmail"
token_url = "https://oauth2.googleapis.com/token"
grant = "refresh_token"
client_id = "id"
client_secret_file = "/s"
refresh_token_file = "/r"

[[oauth2]]
name = "local"
token_url = "http://127.0.0.1:8080/token"
grant = "client_credentials"
client_id = "id"
client_secret_file = "/s"
auth_method = "client_secret_basic"
scope = "https://mail.example/ b"
`))
	if err != nil {
		t.Fatal(err)
	}
	if m := c.Relay.AuthInfo; m.Kind != kindDB || m.Path != "/etc/mail/authinfo.db" || m.Text != "/etc/mail/authinfo" || c.Relay.AuthInfoLine != 2 {
		t.Errorf("authinfo: %+v, line %d", m, c.Relay.AuthInfoLine)
	}
	if o := c.OAuth2; len(o) != 2 || strings.Join(o[1].Scope, "|") != "https://mail.example/|b" || o[0].Basic || !o[1].Basic || o[1].Line != 13 {
		t.Errorf("oauth2: %+v", o)
	}
	for _, tc := range []struct {
		host, addr string
		want       bool
	}{
		{"smtp.LAN", "203.0.113.1", true}, {"x.smtp.lan", "203.0.113.1", false}, {"", "192.0.2.1", true}, {"x", "192.0.2.2", false},
		{"x", "::ffff:10.1.2.3", true}, {"x", "::1", true}, {"x", "", false}, {"", "", false},
	} {
		addr, _ := netip.ParseAddr(tc.addr)
		if got := c.Relay.ClearAllowed(tc.host, addr); got != tc.want {
			t.Errorf("%q %q: in clear %v", tc.host, tc.addr, got)
		}
	}
}

func TestAuthInfoFaults(t *testing.T) {
	const good = "[[oauth2]]\nname = \"a\"\ntoken_url = \"https://a.example/\"\ngrant = \"client_credentials\"\nclient_id = \"i\"\nclient_secret_file = \"/s\"\n"
	for _, tc := range []struct{ text, want string }{
		{"[relay]\nauthinfo = \"redis://h/0\"", `f:2: relay.authinfo is "redis://h/0", expected a file such as "/etc/mail/authinfo" or "/etc/mail/authinfo.db"`},
		{"[relay]\nauth_allow_clear = \"0.0.0.0/0\"", `f:2: relay.auth_allow_clear is "0.0.0.0/0", which is everybody`},
		{"[relay]\nauth_allow_clear = [\"a b\"]", `f:2: relay.auth_allow_clear[0] is "a b", expected a server's name such as "smtp.lan", an address or a network`},
		{"[[oauth2]]\nname = \"a\"", "f:1: oauth2[0] has no token_url, expected token_url = "},
		{strings.Replace(good, "https://a.example/", "http://a.example/", 1), `f:3: oauth2[0].token_url is "http://a.example/", expected a URL that begins with https://`},
		{strings.Replace(good, "https://a.example/", "a.example", 1), `f:3: oauth2[0].token_url is "a.example", expected a URL such as`},
		{strings.Replace(good, "client_credentials", "password", 1), `f:4: oauth2[0].grant is "password", expected "client_credentials" or "refresh_token"`},
		{strings.Replace(good, "client_credentials", "refresh_token", 1), `f:1: oauth2[0] has no refresh_token_file, expected refresh_token_file = "/var/lib/gatepost/oauth2.refresh"`},
		{strings.Replace(good, "client_secret_file", "refresh_token_file", 1), `f:1: oauth2[0] has no client_secret_file, expected`},
		{strings.Replace(good, "client_credentials", "refresh_token", 1) + "refresh_token_file = \"/r\"\nscope = \"s\"\n", `f:8: oauth2[0].scope means nothing with grant = "refresh_token"`},
		{good + good, `f:7: oauth2[1] has the name "a", which another one has`},
		{good + "secret = \"x\"\n", `f:7: unknown key oauth2[0].secret`},
	} {
		_, err := Parse("f", []byte(tc.text+"\n"))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q\n got %v\nwant %s", tc.text, err, tc.want)
		}
	}
}
