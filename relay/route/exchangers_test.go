package route

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"gatepost/internal/dns"
	"gatepost/internal/dns/dnsfake"
)

func mx(list ...any) (all []dnsfake.MX) {
	for i := 0; i < len(list); i += 2 {
		all = append(all, dnsfake.MX{Preference: uint16(list[i].(int)), Host: list[i+1].(string)})
	}
	return all
}

func address(a string) dnsfake.Records { return dnsfake.Records{A: []string{a}} }

func mailZone() dnsfake.Zone {
	return dnsfake.Zone{
		"order.example":    {MX: mx(20, "b.example", 10, "A.example.", 30, "c.example")},
		"a.example":        address("192.0.2.1"),
		"b.example":        {AAAA: []string{"2001:db8::2"}},
		"c.example":        {CNAME: "a.example"},
		"null.example":     {MX: mx(0, "")},
		"nearly.example":   {MX: mx(0, "", 10, "a.example")},
		"bare.example":     address("192.0.2.3"),
		"txt.example":      {TXT: []string{"v=spf1 -all"}},
		"alias.example":    {CNAME: "order.example"},
		"down.example":     {Fail: "MX:SERVFAIL", A: []string{"192.0.2.1"}},
		"halfdown.example": {Fail: "A:SERVFAIL"},
		"mxdown.example":   {MX: mx(10, "halfdown.example", 20, "a.example")},
		"deadmx.example":   {MX: mx(10, "none.example", 20, "txt.example")},
		"partmx.example":   {MX: mx(10, "none.example", 20, "a.example")},
		"numbers.example":  {MX: mx(10, "192.0.2.1", 20, "a b.example", 30, "-")},
		"twice.example":    {MX: mx(10, "a.example", 20, "a.example", 30, "b.example")},
		"backup.example":   {MX: mx(10, "a.example", 20, "MX.example.com", 20, "b.example", 30, "c.example")},
		"best.example":     {MX: mx(10, "mx.example.com", 20, "a.example")},
		"only.example":     {MX: mx(10, "mx.example.com")},
		"alsous.example":   address("192.0.2.25"),
		"byaddr.example":   {MX: mx(10, "a.example", 20, "alsous.example", 30, "b.example")},
		"loop.example":     {MX: mx(10, "lo.example")},
		"lo.example":       address("127.0.0.1"),
		"zero.example":     {MX: mx(10, "zz.example")},
		"zz.example":       address("0.0.0.0"),
		"selfa.example":    address("192.0.2.25"),
		"mx.example.com":   address("192.0.2.25"),
		"hosted.lan":       {MX: nil, TXT: []string{"x"}},
	}
}

func TestExchangers(t *testing.T) {
	zone := mailZone()
	many := dnsfake.Records{}
	for i := range 40 {
		many.MX = append(many.MX, dnsfake.MX{Preference: uint16(i), Host: fmt.Sprintf("h%02d.example", i)})
		zone[fmt.Sprintf("h%02d.example", i)] = address("192.0.2.1")
	}
	zone["many.example"] = many
	r := New(Config{Site: newSite(t, zone, ""), Listening: takesMail})
	for domain, want := range map[string]string{
		"order.example":    "a.example b.example c.example",
		"ORDER.example":    "a.example b.example c.example",
		"alias.example":    "a.example b.example c.example",
		"null.example":     "Failed 5.1.10",
		"nearly.example":   "a.example",
		"bare.example":     "bare.example",
		"txt.example":      "Failed 5.1.2",
		"none.example":     "Failed 5.1.2",
		"down.example":     "unknown",
		"halfdown.example": "unknown",
		"mxdown.example":   "halfdown.example a.example",
		"deadmx.example":   "Failed 5.4.4",
		"partmx.example":   "a.example",
		"numbers.example":  "Failed 5.4.4",
		"twice.example":    "a.example b.example",
		"backup.example":   "a.example",
		"best.example":     "Failed 5.4.6",
		"only.example":     "Failed 5.4.6",
		"byaddr.example":   "a.example",
		"loop.example":     "Failed 5.4.6",
		"zero.example":     "Failed 5.4.6",
		"selfa.example":    "Failed 5.4.6",
		"hosted.lan":       "hosted.lan",
	} {
		found, err := r.Exchangers(t.Context(), domain)
		got := strings.Join(found.Hosts, " ")
		if err != nil {
			got = word(err)
		}
		if got != want {
			t.Errorf("%s: got %s (%v), want %s", domain, got, err, want)
		}
	}
	found, err := r.Exchangers(t.Context(), "many.example")
	if err != nil || len(found.Hosts) != maxExchangers || found.Hosts[19] != "h19.example" {
		t.Errorf("of many mail exchangers it takes %v, %v", found.Hosts, err)
	}
}

// TestExchangersShuffled: hosts of the same preference share the mail, and stay before those
// of the next.
func TestExchangersShuffled(t *testing.T) {
	zone := dnsfake.Zone{"d.example": {MX: mx(10, "a.example", 10, "b.example", 10, "c.example", 20, "z.example")}}
	for _, h := range []string{"a.example", "b.example", "c.example", "z.example"} {
		zone[h] = address("192.0.2.1")
	}
	r := New(Config{Site: newSite(t, zone, "")})
	first := map[string]int{}
	for range 300 {
		found, err := r.Exchangers(t.Context(), "d.example")
		if err != nil || len(found.Hosts) != 4 || found.Hosts[3] != "z.example" {
			t.Fatalf("gave %v, %v", found, err)
		}
		first[found.Hosts[0]]++
	}
	for _, h := range []string{"a.example", "b.example", "c.example"} {
		if first[h] < 50 {
			t.Errorf("%s was first %d times of 300", h, first[h])
		}
	}
}

// TestExchangersOfSmartHost: a fault of the smart host's name is the administrator's, and
// fails no mail.
func TestExchangersOfSmartHost(t *testing.T) {
	r := New(Config{Site: newSite(t, mailZone(), ""), SmartHost: SmartHost{Host: "only.example", Hops: hops(t, "only.example")}})
	if _, err := r.Exchangers(t.Context(), "Only.example"); word(err) != "Deferred 4.4.6" {
		t.Errorf("gave %v", err)
	}
}

// TestExchangersUnknown: whether a host is this one must be known, or mail goes in circles.
func TestExchangersUnknown(t *testing.T) {
	s := newSite(t, mailZone(), "")
	s.local = func(domain string) (bool, error) { return false, errors.New("no server") }
	if found, err := New(Config{Site: s}).Exchangers(t.Context(), "order.example"); word(err) != "unknown" {
		t.Errorf("gave %v, %v", found, err)
	}
}

func TestResolve(t *testing.T) {
	zone := dnsfake.Zone{
		"both.example": {A: []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}, AAAA: []string{"2001:db8::1", "2001:db8::2"}},
		"half.example": {Fail: "A:SERVFAIL", AAAA: []string{"2001:db8::1"}},
		"down.example": {Fail: "SERVFAIL"},
		"four.example": {A: []string{"192.0.2.1"}},
		"part.example": {Fail: "AAAA:SERVFAIL"},
	}
	for _, tc := range []struct {
		v4, v6     bool
		host, want string
	}{
		{true, true, "both.example", "192.0.2.1 2001:db8::1 192.0.2.2 2001:db8::2 192.0.2.3"},
		{true, false, "both.example", "192.0.2.1 192.0.2.2 192.0.2.3"},
		{false, true, "both.example", "2001:db8::1 2001:db8::2"},
		{true, true, "half.example", "2001:db8::1"},
		{true, true, "down.example", "unknown"},
		{true, true, "part.example", "unknown"},
		{true, false, "part.example", ""},
		{true, true, "four.example", "192.0.2.1"},
		{false, true, "four.example", ""},
		{true, true, "none.example", ""},
		{true, true, "hosted.lan", "192.0.2.70 2001:db8::70"},
		{false, true, "hosted.lan", "2001:db8::70"},
	} {
		r := New(Config{Site: newSite(t, zone, ""), IPv4: tc.v4, IPv6: tc.v6})
		seen := map[string]bool{}
		for range 64 {
			found, err := r.Resolve(t.Context(), tc.host)
			if err != nil {
				seen[word(err)] = true
				continue
			}
			var texts []string
			for _, a := range found.Addrs {
				texts = append(texts, a.String())
			}
			seen[strings.Join(texts, " ")] = true
		}
		mirrored := tc.v4 && tc.v6 && tc.host == "both.example"
		if !seen[tc.want] || len(seen) != 1 && !mirrored {
			t.Errorf("%s (%v, %v) has %v, want %q", tc.host, tc.v4, tc.v6, seen, tc.want)
		}
		if mirrored && (len(seen) != 2 || !seen["2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2 192.0.2.3"]) {
			t.Errorf("%s never begins with IPv6: %v", tc.host, seen)
		}
	}
}

// TestResolveShared: answers are shared, and are not changed.
func TestResolveShared(t *testing.T) {
	h := dns.ParseHosts([]byte("192.0.2.1 x.example\n2001:db8::1 x.example\n192.0.2.2 x.example\n"))
	s := newSite(t, dnsfake.Zone{}, "")
	s.hosts = h
	if _, err := New(Config{Site: s, IPv4: true}).Resolve(t.Context(), "x.example"); err != nil {
		t.Fatal(err)
	}
	_, addrs, _ := h.Find("x.example")
	want := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.2")}
	if !slices.Equal(addrs, want) {
		t.Errorf("the hosts file has %v now, want %v", addrs, want)
	}
}
