package dnstest_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"sort"
	"strings"
	"testing"
	"time"

	"gatepost/internal/dns"
	"gatepost/internal/dns/dnstest"
)

// recorded reads the zones of the first n recorded policies.
func recorded(t *testing.T, n int) []dnstest.Zone {
	t.Helper()
	file, err := os.Open("../../../integration/testdata/oracle/named.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	var zones []dnstest.Zone
	lines := bufio.NewReader(unzipped)
	for range n {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		var policy struct {
			DNS dnstest.Zone `json:"dns"`
		}
		if err := json.Unmarshal(line, &policy); err != nil {
			t.Fatal(err)
		}
		zones = append(zones, policy.DNS)
	}
	return zones
}

// The fake and the real server say the same about every name, its parents and
// its neighbours that do not exist.
func TestAgreement(t *testing.T) {
	zones := recorded(t, 3)
	zones = append(zones, dnstest.Zone{
		"Mixed.Example.":          {A: []string{"192.0.2.1"}},
		"up.example":              {CNAME: "MIXED.example."},
		"a.b.c.example":           {TXT: []string{"x"}},
		"loop.example":            {CNAME: "loop.example"},
		"_25._tcp.signed.example": {TLSA: []string{"3 1 1 00ff", "2 0 0 " + strings.Repeat("a1", 700)}, Authentic: true},
		"signed.example":          {CNAME: "_25._tcp.signed.example", Authentic: true},
		"half.example":            {CNAME: "_25._tcp.signed.example"},
		"refused.org":             {Fail: "REFUSED"},
		"half.org":                {MX: []dnstest.MX{{Preference: 5, Host: "m."}}, Fail: "A:SERVFAIL"},
	})
	for i, zone := range zones {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			c, err := dns.NewClient(dns.Config{Servers: []string{dnstest.Serve(t, zone)}})
			if err != nil {
				t.Fatal(err)
			}
			fake := dnstest.NewFake(zone)
			found := 0
			for _, name := range namesAround(zone) {
				for _, typ := range []dns.Type{dns.TypeA, dns.TypeAAAA, dns.TypeMX, dns.TypePTR, dns.TypeTXT, dns.TypeTLSA} {
					found += compare(t, fake, c, name, typ)
				}
			}
			if found < len(zone)/2 {
				t.Errorf("only %d answers with records in a zone of %d names", found, len(zone))
			}
		})
	}
}

func namesAround(zone dnstest.Zone) []string {
	names := []string{"nosuch.example", "com", ""}
	for name := range zone {
		names = append(names, name, "x."+name, "UPPER."+name)
	}
	sort.Strings(names)
	return names
}

// compare asks both, and tells whether there were records.
func compare(t *testing.T, fake, real dns.Resolver, name string, typ dns.Type) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	want, wantErr := fake.Lookup(ctx, name, typ)
	got, err := real.Lookup(ctx, name, typ)
	want.Server, got.Server = "", ""
	want.TTL, got.TTL = 0, 0
	if (err == nil) != (wantErr == nil) || !reflect.DeepEqual(got, want) {
		t.Errorf("%v of %q: the server says %+v, %v, the fake %+v, %v", typ, name, got, err, want, wantErr)
	}
	if want.Empty() {
		return 0
	}
	return 1
}
