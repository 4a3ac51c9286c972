package config

import (
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"gatepost/internal/smtp"
)

func TestRelay(t *testing.T) {
	path := write(t, `
[relay]
listen = ["127.0.0.1:2525", ":25", "[::1]:25", "localhost:0"]
spool = "spool"
smart_host = "[smtp.isp.example]:587"
local_mail = "maildir:mail"
local_users = ["users", "cdb:/srv/users"]
bare_newline = "reject"
normalize_bare_newline = ["10.1.2.0/24", "2001:db8::1"]
proxy_protocol = "192.0.2.1"
xclient = "127.0.0.0/8"
max_message_size = "20 MB"
max_recipients = 100
max_connections = 10
max_connections_per_client = 3
max_errors = 4
max_commands = 50
max_line_length = 1000
idle_timeout = "10s"
session_timeout = "20s"
decision_timeout = "7s"
max_hops = 30
min_free = "1GiB"
max_deliveries = 5
retry = ["10s", "1h"]
queue_lifetime = "48h"
`)
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	want := Relay{
		Listen: []string{"127.0.0.1:2525", ":25", "[::1]:25", "localhost:0"}, Spool: filepath.Join(dir, "spool"),
		Given: true, LocalMail: LocalMail{LocalMaildir, filepath.Join(dir, "mail")},
		LocalUsers: Table{Named: true, Line: 7, Maps: []Map{
			{Kind: "text", Path: filepath.Join(dir, "users")}, {Kind: "cdb", Path: "/srv/users.cdb", Text: "/srv/users"}}},
		NormalizeFrom: []netip.Prefix{netip.MustParsePrefix("10.1.2.0/24"), netip.MustParsePrefix("2001:db8::1/128")},
		ProxyProtocol: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}, XClient: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		MaxMessageSize: 20_000_000, MaxRecipients: 100, MaxConnections: 10, MaxConnectionsPerClient: 3, MaxErrors: 4,
		MaxCommands: 50, MaxLineLength: 1000, IdleTimeout: 10 * time.Second, SessionTimeout: 20 * time.Second,
		DecisionTimeout: 7 * time.Second, MaxHops: 30, MinFree: 1 << 30, MaxDeliveries: 5,
		Retry: []time.Duration{10 * time.Second, time.Hour}, QueueLifetime: 48 * time.Hour,
		Routes: defaultRoutes(), Queue: defaultQueue(), Secure: defaultSecure(), TLSOut: defaultTLSOut(), Sockets: defaultSockets(),
	}
	want.SmartHost = SmartHost{Hosts: "[smtp.isp.example]:587", Hops: []smtp.NextHop{{Host: "smtp.isp.example", Port: 587}}}
	if diff := cmp.Diff(want, c.Relay, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("[relay] gave (-want +got):\n%s", diff)
	}
}

func TestLocalMail(t *testing.T) {
	for in, want := range map[string]LocalMail{
		"refuse":                      {},
		"smart_host":                  {Kind: LocalSmartHost},
		"maildir:/var/mail/%d/%u":     {LocalMaildir, "/var/mail/%d/%u"},
		"lmtp:127.0.0.1:24":           {LocalLMTP, "127.0.0.1:24"},
		"lmtp:[::1]:24":               {LocalLMTP, "[::1]:24"},
		"lmtp:unix:/run/dovecot/lmtp": {LocalLMTPUnix, "/run/dovecot/lmtp"},
	} {
		text := "[relay]\nsmart_host = \"192.0.2.25\"\nlocal_mail = \"" + in + "\"\n"
		if want.Kind == LocalMaildir {
			text += "local_users = \"/u\"\n"
		}
		c, err := Parse("f", []byte(text))
		if err != nil || c.Relay.LocalMail != want || want.String() != in {
			t.Errorf("%q gave %v, want %v", in, err, want)
		}
	}
}

func TestSize(t *testing.T) {
	for in, want := range map[string]int64{
		`1000`: 1000, `"1000"`: 1000, `"7 B"`: 7, `"7KB"`: 7000, `"7 KiB"`: 7168, `"3 MB"`: 3_000_000, `"3MiB"`: 3 << 20, `"1 GB"`: 1e9, `"0"`: 0,
		`"1 mb"`: -1, `"MB"`: -1, `"1.5 MB"`: -1, `"-1"`: -1, `-1`: -1, `"1  MB"`: -1, `"99999999999 GiB"`: -1, `""`: -1, `true`: -1, `"2000000 GiB"`: -1,
	} {
		c, err := Parse("f", []byte("[relay]\nmin_free = "+in+"\n"))
		if (err != nil) != (want < 0) || err == nil && c.Relay.MinFree != want {
			t.Errorf("%s gave %v, want %d", in, err, want)
		}
	}
}

func TestRelayFaults(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"listen = \"inet:25@127.0.0.1\"", `f:2: relay.listen is "inet:25@127.0.0.1", expected HOST:PORT such as "127.0.0.1:25", "[::1]:25", or ":25" for every address`},
		{"listen = [\n\"127.0.0.1:25\",\n\"127.0.0.1\"]", `f:4: relay.listen[1] is "127.0.0.1", expected HOST:PORT such as "127.0.0.1:25", "[::1]:25", or ":25" for every address`},
		{"listen = [\n\":25\",\n\":25\"]", `f:4: relay.listen has ":25" twice`},
		{"local_mail = \"mbox:/var/mail\"", `f:2: relay.local_mail is "mbox:/var/mail", expected "refuse", "smart_host", "maildir:PATH", "lmtp:HOST:PORT" or "lmtp:unix:/PATH"`},
		{"local_mail = \"lmtp:127.0.0.1\"", `f:2: relay.local_mail is "lmtp:127.0.0.1", expected HOST:PORT after lmtp:, such as "lmtp:127.0.0.1:24"`},
		{"local_mail = \"lmtp:unix:x\"", `f:2: relay.local_mail is "lmtp:unix:x", expected a path of at most 107 bytes that begins with / after lmtp:unix:`},
		{"local_users = \"/x\"", `f:2: relay.local_users means nothing while relay.local_mail refuses all local mail`},
		{"local_mail = \"maildir:/m/%u\"", `f:2: relay.local_mail is a maildir, which needs relay.local_users, a list of the users: without it any name gets a folder`},
		{"local_users = \"/u\"\nlocal_mail = \"maildir:/m/%n\"", `f:3: relay.local_mail is "maildir:/m/%n", expected %u for the user, %d for the domain or %% after %`},
		{"bare_newline = \"accept\"", `f:2: relay.bare_newline is "accept", expected "reject" or "normalize"`},
		{"bare_newline = \"normalize\"\nnormalize_bare_newline = \"10.0.0.0/8\"", `f:3: relay.normalize_bare_newline means nothing when relay.bare_newline is "normalize", expected one of the two`},
		{"xclient = \"10.0.0.1/8\"", `f:2: relay.xclient is "10.0.0.1/8", which has bits set beyond its length, expected "10.0.0.0/8"`},
		{"xclient = \"0.0.0.0/0\"", `f:2: relay.xclient is "0.0.0.0/0", which is everybody, expected the networks of hosts that you run`},
		{"xclient = [\"0.0.0.0/1\", \"128.0.0.0/1\"]", "f:2: relay.xclient[0] is \"0.0.0.0/1\", which is a good part of the internet, expected the networks of hosts that you run\nf:2: relay.xclient[1] is \"128.0.0.0/1\", which is a good part of the internet, expected the networks of hosts that you run"},
		{"proxy_protocol = [\"10\"]", `f:2: relay.proxy_protocol[0] is "10", expected a network such as "10.0.0.0/8" or "2001:db8::/32", or an address`},
		{"proxy_protocol = [\"::ffff:10.0.0.0/104\"]", `f:2: relay.proxy_protocol[0] is "::ffff:10.0.0.0/104", expected an IPv4 network to be written without ::ffff:`},
		{"max_message_size = \"1 KB\"", `f:2: relay.max_message_size is "1 KB", expected a size from 64 KiB to 2 GiB, such as "50 MiB" or "500 KB"`},
		{"max_recipients = 99", `f:2: relay.max_recipients is the number 99, expected a number from 100 to 10000`},
		{"idle_timeout = \"2h\"", `f:2: relay.idle_timeout is "2h", expected a time from "1s" to "1h0m0s", such as "2s" or "500ms"`},
		{"session_timeout = \"1m\"", `f:2: relay.session_timeout is "1m0s", expected at least relay.idle_timeout, "5m0s"`},
		{"retry = [\"5\"]", `f:2: relay.retry[0] is "5", expected a time from "1s" to "24h0m0s", such as "2s" or "500ms"`},
		{"smarthost = \"x\"", `f:2: unknown key relay.smarthost, did you mean relay.smart_host?`},
	} {
		_, err := Parse("f", []byte("[relay]\n"+tc.text+"\n"))
		if err == nil || err.Error() != tc.want {
			t.Errorf("%q\n got %v\nwant %s", tc.text, err, tc.want)
		}
	}
}
