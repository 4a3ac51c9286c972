package routes

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gatepost/internal/config"
	"gatepost/internal/setup"
	"gatepost/internal/smtp"
)

func open(t *testing.T, relay string) *setup.Engine {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"gatepost.toml": "host_name = \"mx.example.com\"\ndont_probe_interfaces = true\n[tables]\nlocal_host_names = \"local\"\n" +
			"[dns]\nservers = [\"127.0.0.1:9\"]\ntimeout = \"50ms\"\nattempts = 1\n[relay]\n" + relay,
		"local":       "example.com\n[203.0.113.5]\n",
		"users":       "joe\n",
		"mailertable": "gone.example error:5.1.2:550 no more\nkept.example local:joe\nodd.example local:nobody\nsame.example local:\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := config.Load(filepath.Join(dir, "gatepost.toml"))
	if err != nil {
		t.Fatal(err)
	}
	e, err := setup.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestConfigured(t *testing.T) {
	e := open(t, "listen = [\":25\", \"192.0.2.1:2525\", \"localhost:26\", \"mx.example.com:27\", \"[::1]:28\"]\n")
	got := fmt.Sprint(Configured(e.Config()))
	if want := "[[::]:25 192.0.2.1:2525 127.0.0.1:26 [::1]:28]"; got != want {
		t.Errorf("it listens on %s, want %s", got, want)
	}
}

// TestOwn: which addresses are this host's, as far as mail there would come back.
func TestOwn(t *testing.T) {
	e := open(t, "")
	everywhere := []string{"[::]:25"}
	for _, tc := range []struct {
		listen []string
		addr   string
		want   bool
	}{
		{everywhere, "127.0.0.1", true},
		{everywhere, "127.9.9.9", true},
		{everywhere, "::1", true},
		{everywhere, "::ffff:127.0.0.1", true},
		{everywhere, "192.0.2.77", false},
		{everywhere, "203.0.113.5", true}, // in local-host-names: a router's
		{everywhere, ownAddress(t), true},
		{[]string{"127.0.0.1:25"}, "127.0.0.1", true},
		{[]string{"127.0.0.1:25"}, "127.0.0.2", false},
		{[]string{"127.0.0.1:25"}, "203.0.113.5", true},
		{[]string{"127.0.0.1:2525"}, "127.0.0.1", false},
		{[]string{"127.0.0.1:2525"}, "203.0.113.5", false},
		{[]string{ownAddress(t) + ":25"}, "127.0.0.1", false},
		{[]string{ownAddress(t) + ":25"}, ownAddress(t), true},
		{nil, "127.0.0.1", false},
	} {
		var at []netip.AddrPort
		for _, l := range tc.listen {
			at = append(at, netip.MustParseAddrPort(l))
		}
		o := own{e, onPort(at, 25)}
		if got := o.has(t.Context(), netip.MustParseAddr(tc.addr)); got != tc.want {
			t.Errorf("listening on %v, %s is its own: %v, want %v", tc.listen, tc.addr, got, tc.want)
		}
	}
}

// ownAddress is an IPv4 address of this machine, if it can be no loopback address.
func ownAddress(t *testing.T) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			return n.IP.String()
		}
	}
	return "127.0.0.5" // a machine that has no other
}

func TestRefusal(t *testing.T) {
	e := open(t, "mailertable = \"mailertable\"\nlocal_mail = \"lmtp:127.0.0.1:24\"\nlocal_users = \"users\"\nsmart_host = \"smtp:[a.example]:26\"\n")
	r := New(e, nil)
	for to, want := range map[string]string{
		"bob@gone.example":  "550 5.1.2 no more",
		"bob@kept.example":  "",
		"bob@odd.example":   "550 5.1.1 User unknown",
		"bob@same.example":  "550 5.1.1 User unknown",
		"joe@same.example":  "",
		"bob@other.example": "",
		"bob@a..b":          `550 5.1.2 "a..b" is no host name`,
		"bob@a+b.example":   `550 5.1.2 "a+b.example" is no host name`,
	} {
		if got := Refusal(t.Context(), e, r, smtp.ParseMailbox(to, smtp.Syntax{})).String(); got != want {
			t.Errorf("%s is answered %q, want %q", to, got, want)
		}
	}
	direct := New(open(t, ""), []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:25")})
	if got := Refusal(t.Context(), e, direct, smtp.ParseMailbox("bob@[127.0.0.1]", smtp.Syntax{})).String(); got != "550 5.4.6 mail for [127.0.0.1] loops back to this host" {
		t.Errorf("mail for ourselves is answered %q", got)
	}
	a, err := r.Route(t.Context(), "", "bob@other.example")
	if err != nil || a.Mailer != "smtp" || a.Destination != "[a.example]:26" || !strings.HasSuffix(a.Source, "gatepost.toml:13") {
		t.Errorf("gave %+v, %v", a, err)
	}
	found, err := r.Resolve(t.Context(), "localhost")
	if err != nil || !slices.ContainsFunc(found.Addrs, netip.Addr.IsLoopback) {
		t.Errorf("localhost has %v, %v", found.Addrs, err)
	}
}
