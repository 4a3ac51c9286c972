package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatepost/internal/dns/dnsfake"
	"gatepost/internal/dns/dnstest"
)

// routeSite is a folder with a configuration and a mailertable; the result is the path of
// the configuration.
func routeSite(t *testing.T, relay string) string {
	t.Helper()
	server := dnstest.Serve(t, dnsfake.Zone{
		"far.example":    {MX: []dnsfake.MX{{Preference: 20, Host: "b.far.example"}, {Preference: 10, Host: "a.far.example"}}},
		"a.far.example":  {A: []string{"192.0.2.1"}, AAAA: []string{"2001:db8::1"}},
		"b.far.example":  {A: []string{"192.0.2.2"}},
		"alias.example":  {CNAME: "far.example"},
		"null.example":   {MX: []dnsfake.MX{{Host: ""}}},
		"down.example":   {Fail: "SERVFAIL"},
		"x.lan":          {A: []string{"10.0.0.7"}},
		"mx.example.com": {A: []string{"192.0.2.25"}},
	})
	dir := t.TempDir()
	for name, text := range map[string]string{
		"gatepost.toml": "host_name = \"mx.example.com\"\ndont_probe_interfaces = true\n[tables]\nlocal_host_names = \"local\"\n" +
			"[dns]\nservers = [\"" + server + "\"]\ntimeout = \"500ms\"\nattempts = 1\n[relay]\n" + relay,
		"local":       "example.com\n",
		"mailertable": ".lan\tsmtp:[%1.lan]\ngone.example error:5.1.2:550 no more\nkept.example local:joe\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "gatepost.toml")
}

func TestRoute(t *testing.T) {
	cfg := routeSite(t, "mailertable = \"mailertable\"\nlocal_mail = \"lmtp:127.0.0.1:24\"\n")
	for _, tc := range []struct {
		to, want string
		code     int
	}{
		{"bob@x.lan", "mailer smtp, host [x.lan], user bob@x.lan by DIR/mailertable:1: .lan smtp:[%1.lan] keys of the mailertable: x.lan, .lan server x.lan, port 25: 10.0.0.7", 0},
		{"<bob@far.example>", "mailer esmtp, host far.example, user bob@far.example keys of the mailertable: far.example, .example, . server a.far.example, port 25: ADDRESSES server b.far.example, port 25: 192.0.2.2", 0},
		{"bob@alias.example", "mailer esmtp, host far.example, user bob@far.example keys of the mailertable: far.example, .example, . server a.far.example, port 25: ADDRESSES server b.far.example, port 25: 192.0.2.2", 0},
		{"bob@[192.0.2.9]", "mailer esmtp, host [192.0.2.9], user bob@[192.0.2.9] server 192.0.2.9, port 25: 192.0.2.9", 0},
		{"bob%far.example@example.com", "mailer esmtp, host far.example, user bob@far.example keys of the mailertable: far.example, .example, . server a.far.example, port 25: ADDRESSES server b.far.example, port 25: 192.0.2.2", 0},
		{"bob", "mailer local, user bob@mx.example.com local_mail: lmtp:127.0.0.1:24", 0},
		{"bob@kept.example", "mailer local, user joe@mx.example.com by DIR/mailertable:3: kept.example local:joe keys of the mailertable: kept.example local_mail: lmtp:127.0.0.1:24", 0},
		{"bob@gone.example", "mailer error, host 5.1.2, user bob@gone.example by DIR/mailertable:2: gone.example error:5.1.2:550 no more keys of the mailertable: gone.example refused: 550 5.1.2 no more", 1},
		{"bob@null.example", "mailer esmtp, host null.example, user bob@null.example keys of the mailertable: null.example, .example, . refused: 5.1.10 null.example takes no mail (null MX)", 1},
		{"bob@none.example", "mailer esmtp, host none.example, user bob@none.example keys of the mailertable: none.example, .example, . refused: 5.1.2 Host unknown: none.example has neither MX records nor an address", 1},
		{"bob@a+b.example", `no way to bob@a+b.example refused: 5.1.2 "a+b.example" is no host name`, 1},
		{"bob@a..b", "no way to bob@a..b refused: 553 5.1.2 Invalid host name", 1},
	} {
		got := call(t, "route", "--config", cfg, tc.to)
		plain := strings.Join(strings.Fields(strings.ReplaceAll(got.out, filepath.Dir(cfg), "DIR")), " ")
		for _, order := range []string{"192.0.2.1, 2001:db8::1", "2001:db8::1, 192.0.2.1"} { // chance says which
			plain = strings.Replace(plain, order, "ADDRESSES", 1)
		}
		if got.code != tc.code || plain != tc.want {
			t.Errorf("gatepost route %s ended with %d:\n got %s\nwant %s\nand %d; %s", tc.to, got.code, plain, tc.want, tc.code, got.stderr)
		}
	}
	got := call(t, "route", "--config", cfg, "bob@down.example")
	if got.code != 75 || !strings.Contains(got.out, "not known now: cannot look up the mail exchangers of down.example: ") {
		t.Errorf("when the DNS is down it ends with %d and prints\n%s", got.code, got.out)
	}
}

func TestRouteSmartHost(t *testing.T) {
	cfg := routeSite(t, "smart_host = \"far.example:[10.0.0.1]\"\nrelay_mailer_port = 587\n")
	got := call(t, "route", "--config", cfg, "--json", "bob@else.example")
	var ways []wayOut
	if err := json.Unmarshal([]byte(got.out), &ways); err != nil {
		t.Fatalf("%v: %s%s", err, got.out, got.stderr)
	}
	if len(ways) != 1 || len(ways[0].Servers) != 3 {
		t.Fatalf("printed %s", got.out)
	}
	w := ways[0]
	if w.Mailer != "relay" || w.Host != "far.example:[10.0.0.1]" || w.Destination != "far.example:587,[10.0.0.1]:587" || w.Source != cfg+":10" ||
		w.Servers[0].Host != "a.far.example" || w.Servers[0].Port != 587 || w.Servers[2].Host != "10.0.0.1" {
		t.Errorf("printed %s", got.out)
	}
	got = call(t, "route", "--config", cfg, "--no-mx", "bob@else.example", "bob@example.com")
	if want := "mailer relay, host far.example:[10.0.0.1], user bob@else.example\n  by " + cfg + ":10: smart_host far.example:[10.0.0.1]\n\n" +
		"mailer local, user bob@example.com\n  local_mail: refuse\n"; got.out != want || got.code != 1 {
		t.Errorf("ended with %d and printed\n%swant\n%s", got.code, got.out, want)
	}
}

// TestRouteBadTable: a line that makes no sense is named, and nothing is printed.
func TestRouteBadTable(t *testing.T) {
	cfg := routeSite(t, "mailertable = \"mailertable\"\n")
	got := call(t, "route", "--config", cfg, "bob@x.lan")
	if got.code != 2 || got.out != "" || !strings.Contains(got.stderr, "mailertable:3: value \"local:joe\": relay.local_mail refuses local mail") {
		t.Errorf("ended with %d: %s%s", got.code, got.out, got.stderr)
	}
}

func TestLookupMailertable(t *testing.T) {
	cfg := routeSite(t, "mailertable = \"mailertable\"\nlocal_mail = \"lmtp:127.0.0.1:24\"\n")
	got := call(t, "lookup", "--config", cfg, "mailertable", "<bob@a.x.LAN>")
	if want := "a.x.lan  miss\n.x.lan   miss\n.lan     hit  smtp:[%1.lan]  " + filepath.Dir(cfg) + "/mailertable:1\n"; got.out != want || got.code != 0 {
		t.Errorf("ended with %d and printed\n%swant\n%s", got.code, got.out, want)
	}
	if got := call(t, "lookup", "--config", routeSite(t, ""), "mailertable", "a.lan"); got.code != 2 || !strings.Contains(got.stderr, "no mailertable") {
		t.Errorf("without one it ended with %d: %s", got.code, got.stderr)
	}
}

// TestRouteDatabase: the table may be what makemap makes, and is checked all the same.
func TestRouteDatabase(t *testing.T) {
	cfg := routeSite(t, "mailertable = \"hash:mt\"\n")
	for _, tc := range []struct {
		text, want string
		code       int
	}{
		{".lan\tsmtp:[%1.lan]\n", "mailer smtp, host [x.lan], user bob@x.lan", 0},
		{".lan\tuucp:x\n", "mt.db: key .lan: value \"uucp:x\": unknown mailer uucp", 2},
	} {
		db := filepath.Join(filepath.Dir(cfg), "mt")
		var out strings.Builder
		if code := run(t.Context(), []string{programName, "makemap", "hash", db}, strings.NewReader(tc.text), &out, &out); code != 0 {
			t.Fatalf("makemap ended with %d: %s", code, out.String())
		}
		got := call(t, "route", "--no-mx", "--config", cfg, "bob@x.lan")
		if got.code != tc.code || !strings.Contains(got.out+got.stderr, tc.want) {
			t.Errorf("with %q it ended with %d: %s%s, want %d and %s", tc.text, got.code, got.out, got.stderr, tc.code, tc.want)
		}
	}
}
