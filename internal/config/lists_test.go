package config

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// addresses lets cmp compare them.
var addresses = cmpopts.EquateComparable(netip.Addr{})

func result(first, last string, mask uint32) Result {
	return Result{First: netip.MustParseAddr(first), Last: netip.MustParseAddr(last), Mask: mask}
}

func TestResults(t *testing.T) {
	weighted := result("127.0.0.2", "127.0.0.2", 0)
	weighted.Weight, weighted.Weighted = -3, true
	for text, want := range map[string]Result{
		"127.0.0.2":           result("127.0.0.2", "127.0.0.2", 0),
		"127.0.0.2.":          result("127.0.0.2", "127.0.0.2", 0),
		"127.0.0.2-11":        result("127.0.0.2", "127.0.0.11", 0),
		"127.0.0.2-127.0.1.9": result("127.0.0.2", "127.0.1.9", 0),
		"127.0.0.0/28":        result("127.0.0.0", "127.0.0.15", 0),
		"127.0.0.0/8":         result("127.0.0.0", "127.255.255.255", 0),
		"&0.0.0.4":            result("127.0.0.0", "127.255.255.255", 4),
		"&0.0.1.128":          result("127.0.0.0", "127.255.255.255", 384),
		"127.0.0.2*-3":        weighted,
	} {
		got, ok := parseResult(text)
		if diff := cmp.Diff(want, got, addresses); !ok || diff != "" {
			t.Errorf("%s is read as %+v, %v (-want +got):\n%s", text, got, ok, diff)
		}
	}
	for _, text := range []string{
		"", "-", "*", "&", "/", "2", "127.0.0", "127.0.0.256", "128.0.0.2", "127.0.0.9-2", "127.0.0.2-", "127.0.0.2-300", "-11", "127.0.0.2-11-12",
		"127.0.0.1/28", "126.0.0.0/7", "0.0.0.0/0", "::1", "::1/128", "&4", "&0.0.0.0", "&::4", "127.0.0.2*", "127.0.0.2*x", "127.0.0.2*1001", "127.0.0.2**2", "127.0.0.$-",
	} {
		if got, ok := parseResult(text); ok {
			t.Errorf("%q is read as %+v, want an error", text, got)
		}
	}
}

func FuzzResult(f *testing.F) {
	for _, s := range []string{"127.0.0.2-11*3", "127.0.0.0/28", "&0.0.0.4", "a-b", "127.0.0.2-\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, ok := parseResult(s)
		if ok && (!loopback4(r.First) || !loopback4(r.Last) || r.Last.Less(r.First) || r.Weight < -maxWeight || r.Weight > maxWeight) {
			t.Errorf("%q is read as %+v", s, r)
		}
	})
}

// TestListTable has all keys of [[dnsbl]].
func TestListTable(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte("SeCret77\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Parse(filepath.Join(dir, "gatepost.toml"), []byte(`
[features]
dnsbl_threshold = 4
dnsbl_timeout = "2s"
dnsbl_message = "550 too much"
[[dnsbl]]
zone = "a.example"
results = ["127.0.0.2*3", "127.0.0.3"]
weight = 2
reason = true
ipv6 = false
health = false
key = "Key-1"
[[dnsbl]]
zone = "b.example"
lookup = "sender"
weight = 1
key_file = "key"
[[dnsbl]]
zone = "c.example"
allow = true
`))
	if err != nil {
		t.Fatal(err)
	}
	first := result("127.0.0.2", "127.0.0.2", 0)
	first.Weight, first.Weighted = 3, true
	want := []DNSList{
		{Zone: "a.example", Enhanced: true, Table: &ListTable{
			Results: []Result{first, result("127.0.0.3", "127.0.0.3", 0)}, Weight: 2, Weighted: true, Reason: true, Key: "key-1"}},
		{Zone: "b.example", Table: &ListTable{Lookup: "sender", Weight: 1, Weighted: true, IPv6: true, Health: true, Key: "secret77"}},
		{Zone: "c.example", Table: &ListTable{Allow: true, IPv6: true, Health: true}},
	}
	if diff := cmp.Diff(want, c.Lists(), addresses); diff != "" {
		t.Errorf("lists (-want +got):\n%s", diff)
	}
	f := &c.Features
	if f.DNSBLThreshold != 4 || c.ListTimeout() != 2*time.Second || f.DNSBLMessage != "550 too much" {
		t.Errorf("threshold %d, timeout %v, message %q", f.DNSBLThreshold, c.ListTimeout(), f.DNSBLMessage)
	}
	if got := c.DNSLists[0].Table.WeightOf(&Result{}); got != 2 {
		t.Errorf("a result without weight counts %d, want that of its list, 2", got)
	}
}

// TestListTimeout stays below the time for a decision.
func TestListTimeout(t *testing.T) {
	c := Default()
	if got := c.ListTimeout(); got != 3*time.Second {
		t.Errorf("by default all lists may take %v, want 3 s", got)
	}
	c.Milter.Timeout = 2 * time.Second
	if got := c.ListTimeout(); got != time.Second {
		t.Errorf("with 2 s for a decision all lists may take %v, want 1 s", got)
	}
}

func TestListFaults(t *testing.T) {
	zone := "[[dnsbl]]\nzone = \"a.example\"\n"
	scored := "[features]\ndnsbl_threshold = 1\n" + zone
	for _, tc := range []struct{ name, text, want string }{
		{"result", zone + "results = [\"127.0.0.2\",\n\"127.0.0.x\"]\n", `FILE:4: dnsbl[0].results[1] is "127.0.0.x", ` + resultForms},
		{"error as result", zone + "results = \"127.255.255.254\"\n", `FILE:3: dnsbl[0].results is "127.255.255.254", expected another address: lists answer errors in 127.255.255.0/24, which never count`},
		{"lookup", zone + "lookup = \"rcpt\"\n", `FILE:3: dnsbl[0].lookup is "rcpt", expected "address", "client_name", "sender" or "helo"`},
		{"weight", zone + "weight = 2000\n", `FILE:3: dnsbl[0].weight is the number 2000, expected a number from -1000 to 1000`},
		{"weight alone", zone + "weight = 2\n", `FILE:1: dnsbl[0] has a weight, which means nothing without features.dnsbl_threshold, the sum that refuses`},
		{"threshold alone", "[features]\ndnsbl_threshold = 3\n", `FILE:2: features.dnsbl_threshold means nothing while no [[dnsbl]] has a weight`},
		{"threshold out of reach", "[features]\ndnsbl_threshold = 3\n" + zone + "weight = 2\n", `FILE:2: features.dnsbl_threshold is 3 but the weights of all lists sum up to 2, expected one that can be reached`},
		{"message alone", "[features]\ndnsbl_message = \"550 no\"\n", `FILE:2: features.dnsbl_message means nothing without features.dnsbl_threshold; a [[dnsbl]] without weight has a message of its own`},
		{"timeout", "[features]\ndnsbl_timeout = \"8s\"\n", `FILE:2: features.dnsbl_timeout is 8s and milter.timeout 8s, expected the first to be shorter: a list that is silent must not use up the time for a decision`},
		{"allow and weight", scored + "weight = 1\nallow = true\n", `FILE:6: dnsbl[0] has allow and a weight, expected one of the two`},
		{"allow and message", zone + "allow = true\nmessage = \"550 no\"\n", `FILE:4: dnsbl[0] has allow and a message, but refuses nobody`},
		{"weight and message", scored + "weight = 1\nmessage = \"550 no\"\n", `FILE:6: dnsbl[0] has a weight and a message, but does not refuse by itself, expected features.dnsbl_message`},
		{"forged allow", zone + "allow = true\nlookup = \"helo\"\n", `FILE:3: dnsbl[0] allows by what a client says of itself, which is easily forged, expected lookup = "address" or "client_name"`},
		{"forged weight", scored + "lookup = \"sender\"\nresults = [\"127.0.0.2*1\", \"127.0.0.3*-1\"]\nweight = 1\n", `FILE:7: dnsbl[0] has a negative weight for what a client says of itself, which is easily forged, expected lookup = "address" or "client_name"`},
		{"two keys", zone + "key = \"a\"\nkey_file = \"/nowhere\"\n", "FILE:4: dnsbl[0] has key and key_file, expected one of the two\nFILE:4: dnsbl[0].key_file cannot be read: open /nowhere: no such file or directory"},
		{"key", zone + "key = \"very secret\"\n", `FILE:3: dnsbl[0].key is no key of a DNS list, expected letters, digits and - in one word of at most 63`},
		{"key type", zone + "key = 77\n", `FILE:3: dnsbl[0].key is no key of a DNS list, expected letters, digits and - in one word of at most 63`},
		{"other key", zone + "key = \"a\"\n" + zone, `FILE:4: dnsbl[1] has the zone of dnsbl[0] but another key, ipv6 or health, expected the same`},
		{"key of a feature's zone", "[features]\ndnsbl = \"a.example\"\n" + zone + "key = \"a\"\n", `FILE:3: dnsbl[0] has a zone that features.dnsbl or enhdnsbl has without key and with health, expected one of the two`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := write(t, tc.text)
			_, err := Load(path)
			got := strings.Split(strings.ReplaceAll(fmt.Sprint(err), path, "FILE"), "\n")
			less := cmpopts.SortSlices(func(a, b string) bool { return a < b })
			if diff := cmp.Diff(strings.Split(tc.want, "\n"), got, less); diff != "" {
				t.Errorf("Load of %q (-want +got):\n%s", tc.text, diff)
			}
		})
	}
}
