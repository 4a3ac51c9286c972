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
	for _, tc := range []struct {
		name, text string
		servers    []string
		timeout    time.Duration
		attempts   int
	}{
		{"usual", "# made by hand\nsearch example.com\nnameserver 192.0.2.53\nnameserver 2001:db8::53\n", []string{"192.0.2.53:53", "[2001:db8::53]:53"}, 5 * time.Second, 2},
		{"options", "nameserver 192.0.2.53\noptions edns0 timeout:2 attempts:3\n", []string{"192.0.2.53:53"}, 2 * time.Second, 3},
		{"options out of bounds", "nameserver 192.0.2.53\noptions timeout:99999999999999999999 attempts:100\n", []string{"192.0.2.53:53"}, 30 * time.Second, 5},
		{"options of no use", "nameserver 192.0.2.53\noptions timeout:0 attempts:-4\n", []string{"192.0.2.53:53"}, time.Second, 1},
		{"too many", "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n", []string{"192.0.2.1:53", "192.0.2.2:53", "192.0.2.3:53"}, 5 * time.Second, 2},
		{"empty", "", []string{"127.0.0.1:53"}, 5 * time.Second, 2},
	} {
		path := filepath.Join(dir, "resolv.conf")
		if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		servers, timeout, attempts, err := dns.ReadResolvConf(path)
		if err != nil || !reflect.DeepEqual(servers, tc.servers) || timeout != tc.timeout || attempts != tc.attempts {
			t.Errorf("%s: ReadResolvConf = %v, %v, %d, %v, want %v, %v, %d", tc.name, servers, timeout, attempts, err, tc.servers, tc.timeout, tc.attempts)
		}
		if _, err := dns.NewClient(dns.Config{Servers: servers, Timeout: timeout, Attempts: attempts}); err != nil {
			t.Errorf("%s: NewClient: %v", tc.name, err)
		}
	}
	if servers, _, _, err := dns.ReadResolvConf(filepath.Join(dir, "none")); err != nil || !reflect.DeepEqual(servers, []string{"127.0.0.1:53"}) {
		t.Errorf("no file: %v, %v, want the server on this host", servers, err)
	}
	if servers, _, _, err := dns.ReadResolvConf(dir); err == nil {
		t.Errorf("a folder: %v, want an error", servers)
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
