package dns_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"gatepost/internal/dns"
	"gatepost/internal/dns/dnstest"
)

func TestResolveClient(t *testing.T) {
	hosts := dns.ParseHosts([]byte("127.0.0.1 localhost\n::1 localhost\n198.51.100.1 printer printer.example.com\n198.51.100.3 half.example\n"))
	zone := dnstest.Zone{
		"7.100.51.198.in-addr.arpa":  {PTR: []string{"mail.example.net."}},
		"mail.example.net":           {A: []string{"198.51.100.9", "198.51.100.7"}, AAAA: []string{"2001:db8::9"}},
		"8.100.51.198.in-addr.arpa":  {PTR: []string{"other.example.net"}},
		"other.example.net":          {A: []string{"198.51.100.9"}},
		"9.100.51.198.in-addr.arpa":  {Fail: "SERVFAIL"},
		"10.100.51.198.in-addr.arpa": {PTR: []string{"broken.example.net"}},
		"broken.example.net":         {Fail: "SERVFAIL"},
		"11.100.51.198.in-addr.arpa": {PTR: []string{"nowhere.example.net"}},
		"12.100.51.198.in-addr.arpa": {PTR: []string{"alias.example.net"}},
		"alias.example.net":          {CNAME: "end.example.net"},
		"end.example.net":            {A: []string{"198.51.100.12"}},
		"13.100.51.198.in-addr.arpa": {PTR: []string{"nowhere.example.net", "two.example.net"}},
		"two.example.net":            {A: []string{"198.51.100.13"}},
		"9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa": {PTR: []string{"mail.example.net"}},
	}
	for _, tc := range []struct {
		name, addr string
		want       dns.ClientName
		failed     bool
		asked      []string
	}{
		{"verified", "198.51.100.7", dns.ClientName{Name: "mail.example.net", Ptr: "mail.example.net", Resolve: "OK"}, false,
			[]string{"PTR 7.100.51.198.in-addr.arpa", "A mail.example.net"}},
		{"verified, IPv4-mapped", "::ffff:198.51.100.7", dns.ClientName{Name: "mail.example.net", Ptr: "mail.example.net", Resolve: "OK"}, false,
			[]string{"PTR 7.100.51.198.in-addr.arpa", "A mail.example.net"}},
		{"verified, IPv6", "2001:db8::9", dns.ClientName{Name: "mail.example.net", Ptr: "mail.example.net", Resolve: "OK"}, false,
			[]string{"PTR 9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", "AAAA mail.example.net"}},
		{"leads elsewhere", "198.51.100.8", dns.ClientName{Ptr: "other.example.net", Resolve: "FORGED"}, false,
			[]string{"PTR 8.100.51.198.in-addr.arpa", "A other.example.net"}},
		{"leads nowhere", "198.51.100.11", dns.ClientName{Ptr: "nowhere.example.net", Resolve: "FORGED"}, false,
			[]string{"PTR 11.100.51.198.in-addr.arpa", "A nowhere.example.net"}},
		{"forward lookup fails", "198.51.100.10", dns.ClientName{Ptr: "broken.example.net", Resolve: "FORGED"}, true,
			[]string{"PTR 10.100.51.198.in-addr.arpa", "A broken.example.net"}},
		{"reverse lookup fails", "198.51.100.9", dns.ClientName{Resolve: "TEMP"}, true,
			[]string{"PTR 9.100.51.198.in-addr.arpa"}},
		{"no reverse name", "198.51.100.99", dns.ClientName{Resolve: "FAIL"}, false,
			[]string{"PTR 99.100.51.198.in-addr.arpa"}},
		{"an alias keeps its name", "198.51.100.12", dns.ClientName{Name: "alias.example.net", Ptr: "alias.example.net", Resolve: "OK"}, false,
			[]string{"PTR 12.100.51.198.in-addr.arpa", "A alias.example.net"}},
		{"only the first name counts", "198.51.100.13", dns.ClientName{Ptr: "nowhere.example.net", Resolve: "FORGED"}, false,
			[]string{"PTR 13.100.51.198.in-addr.arpa", "A nowhere.example.net"}},
		{"hosts file", "127.0.0.1", dns.ClientName{Name: "localhost", Ptr: "localhost", Resolve: "OK"}, false, nil},
		{"hosts file, IPv6", "::1", dns.ClientName{Name: "localhost", Ptr: "localhost", Resolve: "OK"}, false, nil},
		{"hosts file, first name", "198.51.100.1", dns.ClientName{Name: "printer", Ptr: "printer", Resolve: "OK"}, false, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fake := dnstest.NewFake(zone)
			got := dns.ResolveClient(t.Context(), fake, hosts, netip.MustParseAddr(tc.addr))
			if (got.Err != nil) != tc.failed {
				t.Errorf("ResolveClient(%s): error %v, want one: %v", tc.addr, got.Err, tc.failed)
			}
			got.Err = nil
			if got != tc.want {
				t.Errorf("ResolveClient(%s) = %+v, want %+v", tc.addr, got, tc.want)
			}
			if asked := fake.Asked(); !reflect.DeepEqual(asked, tc.asked) {
				t.Errorf("ResolveClient(%s) asked %q, want %q", tc.addr, asked, tc.asked)
			}
		})
	}
}

// TestResolveClientRecorded compares with what real sendmail made of each
// recorded client and its DNS.
func TestResolveClientRecorded(t *testing.T) {
	files, err := filepath.Glob("../../integration/testdata/oracle/*.jsonl.gz")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded clients: %v", err)
	}
	hosts := dns.ParseHosts([]byte("127.0.0.1 localhost\n::1 localhost\n"))
	clients := 0
	for _, file := range files {
		eachRecorded(t, file, func(p *recordedPolicy) {
			fake := dnstest.NewFake(p.DNS)
			for _, s := range p.Sessions {
				addr, err := netip.ParseAddr(s.Client.Address)
				if err != nil {
					continue
				}
				clients++
				want := s.Client
				got := dns.ResolveClient(t.Context(), fake, hosts, addr)
				name, ptr := got.Name, got.Ptr
				if strings.HasPrefix(want.Name, "[") {
					want.Name = ""
				}
				if strings.HasPrefix(want.Ptr, "[") {
					want.Ptr = ""
				}
				if name != want.Name || ptr != want.Ptr || got.Resolve != want.Resolve {
					t.Errorf("%s, client %s: got %q %q %s, sendmail %q %q %s", p.ID, addr, name, ptr, got.Resolve, want.Name, want.Ptr, want.Resolve)
				}
			}
		})
	}
	if clients < 5000 {
		t.Errorf("only %d clients were compared", clients)
	}
	t.Logf("%d clients", clients)
}

type recordedPolicy struct {
	ID       string       `json:"policy_id"`
	DNS      dnstest.Zone `json:"dns"`
	Sessions []struct {
		Client struct {
			Address string `json:"address"`
			Name    string `json:"client_name"`
			Ptr     string `json:"client_ptr"`
			Resolve string `json:"client_resolve"`
		} `json:"client"`
	} `json:"sessions"`
}

func eachRecorded(t *testing.T, file string, look func(*recordedPolicy)) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var p recordedPolicy
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		look(&p)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}
