package dns_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"gatepost/internal/dns"
)

const hostsFile = `# comment
127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback # loopback

192.0.2.10 printer Printer.Example.COM lp
192.0.2.11 relay.example.com. relay
192.0.2.12 relay
::ffff:192.0.2.13 mapped
fe80::1%eth0 link
192.0.2.10 later
not-an-address name
192.0.2.99
   192.0.2.14 indented
`

func TestHostsFind(t *testing.T) {
	h := dns.ParseHosts([]byte(hostsFile))
	for _, tc := range []struct {
		ask       string
		canonical string
		addrs     []netip.Addr
	}{
		{"localhost", "localhost", addrs("127.0.0.1", "::1")},
		{"LocalHost.", "localhost", addrs("127.0.0.1", "::1")},
		{"ip6-loopback", "localhost", addrs("::1")},
		{"lp", "Printer.Example.COM", addrs("192.0.2.10")},
		{"printer.example.com", "Printer.Example.COM", addrs("192.0.2.10")},
		{"relay", "relay.example.com", addrs("192.0.2.11", "192.0.2.12")},
		{"mapped", "mapped", addrs("192.0.2.13")},
		{"link", "link", addrs("fe80::1")},
		{"indented", "indented", addrs("192.0.2.14")},
		{"name", "", nil},
		{"comment", "", nil},
		{"six", "", nil},
		{"", "", nil},
	} {
		canonical, got, found := h.Find(tc.ask)
		if canonical != tc.canonical || !reflect.DeepEqual(got, tc.addrs) || found != (tc.addrs != nil) {
			t.Errorf("Find(%q) = %q, %v, %v, want %q, %v", tc.ask, canonical, got, found, tc.canonical, tc.addrs)
		}
	}
}

func TestHostsName(t *testing.T) {
	h := dns.ParseHosts([]byte(hostsFile))
	for addr, want := range map[string]string{
		"127.0.0.1": "localhost", "::1": "localhost", "192.0.2.10": "printer", "192.0.2.11": "relay.example.com",
		"::ffff:192.0.2.11": "relay.example.com", "192.0.2.13": "mapped", "fe80::1": "link", "fe80::1%eth1": "link",
		"192.0.2.99": "", "2001:db8::1": "",
	} {
		if got, found := h.Name(netip.MustParseAddr(addr)); got != want || found != (want != "") {
			t.Errorf("Name(%s) = %q, %v, want %q", addr, got, found, want)
		}
	}
}

func TestNoHosts(t *testing.T) {
	read, err := dns.ReadHosts(filepath.Join(t.TempDir(), "none"))
	if err != nil {
		t.Fatalf("ReadHosts of no file: %v, want it empty", err)
	}
	for name, h := range map[string]*dns.Hosts{"nil": nil, "zero": {}, "no file": read, "empty": dns.ParseHosts(nil)} {
		if _, _, found := h.Find("localhost"); found {
			t.Errorf("%s: localhost is found", name)
		}
		if got, found := h.Name(netip.MustParseAddr("127.0.0.1")); found {
			t.Errorf("%s: 127.0.0.1 is %q", name, got)
		}
		if got, found := h.Name(netip.Addr{}); found {
			t.Errorf("%s: no address is %q", name, got)
		}
	}
}

func TestReadHosts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(path, []byte(hostsFile), 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := dns.ReadHosts(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, found := h.Find("lp"); !found {
		t.Error("lp is not found in the file")
	}
	if _, err := dns.ReadHosts(t.TempDir()); err == nil {
		t.Error("ReadHosts of a folder: no error")
	}
}

func TestReadResolvConf(t *testing.T) {
	dir := t.TempDir()
	one := []string{"192.0.2.53:53"}
	for _, tc := range []struct {
		name, text string
		want       dns.Config
	}{
		{"usual", "# made by hand\nsearch example.com\nnameserver 192.0.2.53\nnameserver 2001:db8::53\n", dns.Config{Servers: []string{"192.0.2.53:53", "[2001:db8::53]:53"}}},
		{"options", "nameserver 192.0.2.53\noptions edns0 timeout:2 attempts:3\noptions rotate use-vc ndots:2\n", dns.Config{Servers: one, Timeout: 2 * time.Second, Attempts: 3, Rotate: true, TCP: true}},
		{"options out of bounds", "nameserver 192.0.2.53\noptions timeout:99999999999999999999 attempts:100\n", dns.Config{Servers: one, Timeout: 30 * time.Second, Attempts: 5}},
		{"options of no use", "nameserver 192.0.2.53\noptions timeout:0 attempts:-4 rotate-not\n", dns.Config{Servers: one, Timeout: time.Second, Attempts: 1}},
		{"far below", "nameserver 192.0.2.53\noptions timeout:-99999999999999999999 attempts:x\n", dns.Config{Servers: one, Timeout: time.Second, Attempts: 1}},
		{"link-local", "nameserver fe80::1%eth0\n", dns.Config{Servers: []string{"[fe80::1%eth0]:53"}}},
		{"a name, comments, nothing", "nameserver ns.example.com\n;nameserver 192.0.2.1\nnameserver\n\tnameserver 192.0.2.53 # first\n", dns.Config{Servers: one}},
		{"too many", "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n", dns.Config{Servers: []string{"192.0.2.1:53", "192.0.2.2:53", "192.0.2.3:53"}}},
		{"empty", "", dns.Config{Servers: []string{"127.0.0.1:53"}}},
	} {
		path := filepath.Join(dir, "resolv.conf")
		if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := dns.ReadResolvConf(path)
		if err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: ReadResolvConf = %+v, %v, want %+v", tc.name, got, err, tc.want)
		}
		if _, err := dns.NewClient(got); err != nil {
			t.Errorf("%s: NewClient: %v", tc.name, err)
		}
	}
	if got, err := dns.ReadResolvConf(filepath.Join(dir, "none")); err != nil || !reflect.DeepEqual(got.Servers, []string{"127.0.0.1:53"}) {
		t.Errorf("no file: %+v, %v, want the server on this host", got, err)
	}
	if got, err := dns.ReadResolvConf(dir); err == nil {
		t.Errorf("a folder: %+v, want an error", got)
	}
}

func TestReverseName(t *testing.T) {
	for addr, want := range map[string]string{
		"203.0.113.9":        "9.113.0.203.in-addr.arpa",
		"::ffff:203.0.113.9": "9.113.0.203.in-addr.arpa",
		"2001:db8::567:89ab": "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
		"fe80::1%eth0":       "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.e.f.ip6.arpa",
	} {
		if got := dns.ReverseName(netip.MustParseAddr(addr)); got != want {
			t.Errorf("ReverseName(%s) = %q, want %q", addr, got, want)
		}
	}
	if got := dns.ReverseName(netip.Addr{}); got != "" {
		t.Errorf("ReverseName of no address = %q, want nothing", got)
	}
}
