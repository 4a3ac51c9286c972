package dnsfake_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"os"
	"reflect"
	"testing"
	"time"

	"gatepost/internal/dns"
	"gatepost/internal/dns/dnsfake"
)

// recorded reads the zones of the first n recorded policies.
func recorded(t *testing.T, n int) []dnsfake.Zone {
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
	var zones []dnsfake.Zone
	lines := bufio.NewReader(unzipped)
	for range n {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		var policy struct {
			DNS dnsfake.Zone `json:"dns"`
		}
		if err := json.Unmarshal(line, &policy); err != nil {
			t.Fatal(err)
		}
		zones = append(zones, policy.DNS)
	}
	return zones
}

func TestZoneJSON(t *testing.T) {
	for _, zone := range recorded(t, 20) {
		text, err := json.Marshal(zone)
		if err != nil {
			t.Fatal(err)
		}
		var again dnsfake.Zone
		if err := json.Unmarshal(text, &again); err != nil || !reflect.DeepEqual(again, zone) {
			t.Errorf("zone %s comes back as %+v, %v", text, again, err)
		}
	}
	for _, bad := range []string{`{"a":{"MX":[[10]]}}`, `{"a":{"MX":[["x","y"]]}}`, `{"a":{"MX":[[70000,"y"]]}}`, `{"a":{"MX":["m"]}}`} {
		var zone dnsfake.Zone
		if err := json.Unmarshal([]byte(bad), &zone); err == nil {
			t.Errorf("%s is read as %+v, want an error", bad, zone)
		}
	}
}

func TestFake(t *testing.T) {
	fake := dnsfake.NewFake(dnsfake.Zone{"example.com": {A: []string{"192.0.2.1"}}, "slow.example": {}})
	fake.Hang = func(name string, _ dns.Type) bool { return name == "slow.example" }
	if ans, err := fake.Lookup(t.Context(), "EXAMPLE.com.", dns.TypeA); err != nil || len(ans.Addrs) != 1 || ans.Name != "EXAMPLE.com" {
		t.Errorf("Lookup(EXAMPLE.com.) = %+v, %v", ans, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if ans, err := fake.Lookup(ctx, "slow.example", dns.TypeMX); err == nil {
		t.Errorf("Lookup(slow.example) = %+v, want it to fail in the end", ans)
	}
	want := []string{"A example.com", "MX slow.example"}
	if got := fake.Asked(); !reflect.DeepEqual(got, want) || fake.Calls() != len(want) {
		t.Errorf("Asked() = %q, Calls() = %d, want %q", got, fake.Calls(), want)
	}
}

func TestFail(t *testing.T) {
	fake := dnsfake.NewFake(dnsfake.Zone{
		"all.example":  {A: []string{"192.0.2.1"}, Fail: "REFUSED"},
		"one.example":  {A: []string{"192.0.2.1"}, Fail: "MX:SERVFAIL"},
		"some.example": {A: []string{"192.0.2.1"}, Fail: "MX:SERVFAIL,AAAA:REFUSED"},
	})
	for _, tc := range []struct {
		name  string
		typ   dns.Type
		fails bool
	}{
		{"all.example", dns.TypeA, true}, {"all.example", dns.TypeMX, true},
		{"one.example", dns.TypeA, false}, {"one.example", dns.TypeMX, true}, {"one.example", dns.TypeAAAA, false},
		{"some.example", dns.TypeA, false}, {"some.example", dns.TypeMX, true}, {"some.example", dns.TypeAAAA, true},
	} {
		if ans, err := fake.Lookup(t.Context(), tc.name, tc.typ); (err != nil) != tc.fails {
			t.Errorf("%v of %s gave %+v, %v, want failure: %v", tc.typ, tc.name, ans, err, tc.fails)
		}
	}
}

func TestZoneCheck(t *testing.T) {
	for _, tc := range []struct {
		name    string
		records dnsfake.Records
		want    string
	}{
		{"good", dnsfake.Records{A: []string{"192.0.2.1"}, AAAA: []string{"2001:db8::1"}}, ""},
		{"no address", dnsfake.Records{A: []string{"192.0.2.256"}}, `x.example: A "192.0.2.256", expected an IPv4 address`},
		{"IPv6 as A", dnsfake.Records{A: []string{"::1"}}, `x.example: A "::1", expected an IPv4 address`},
		{"IPv4 as AAAA", dnsfake.Records{AAAA: []string{"192.0.2.1"}}, `x.example: AAAA "192.0.2.1", expected an IPv6 address`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := ""
			if err := (dnsfake.Zone{"x.example": tc.records}).Check(); err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("Check of %+v gave %q, want %q", tc.records, got, tc.want)
			}
		})
	}
}
