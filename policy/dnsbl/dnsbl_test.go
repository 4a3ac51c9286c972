package dnsbl

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatepost/internal/dns"
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func ips(list ...string) (all []netip.Addr) {
	for _, s := range list {
		all = append(all, ip(s))
	}
	return all
}

func TestFilter(t *testing.T) {
	exact := Filter{First: ip("127.0.0.2"), Last: ip("127.0.0.2")}
	some := Filter{First: ip("127.0.0.2"), Last: ip("127.0.1.5")}
	bits := Everything(0)
	bits.Mask = 6
	for _, tc := range []struct {
		name   string
		filter Filter
		takes  []netip.Addr
		leaves []netip.Addr
	}{
		{"exact", exact, ips("127.0.0.2"), ips("127.0.0.3", "127.0.0.1", "::ffff:127.0.0.2", "::2")},
		{"range", some, ips("127.0.0.2", "127.0.0.255", "127.0.1.5"), ips("127.0.0.1", "127.0.1.6")},
		{"bits", bits, ips("127.0.0.6", "127.0.0.7", "127.1.1.14"), ips("127.0.0.2", "127.0.0.4", "128.0.0.6")},
	} {
		for _, a := range tc.takes {
			if !tc.filter.Matches(a) {
				t.Errorf("%s does not take %v", tc.name, a)
			}
		}
		for _, a := range tc.leaves {
			if tc.filter.Matches(a) {
				t.Errorf("%s takes %v", tc.name, a)
			}
		}
	}
	two := []Filter{exact, some}
	if got := First(two, ips("127.0.0.9", "127.0.0.2")); got != &two[0] {
		t.Errorf("of two filters that match %+v is taken, want the first", got)
	}
}

func TestNames(t *testing.T) {
	v4, v6 := Zone{Name: "bl.example", IPv4Only: true}, Zone{Name: "bl.example"}
	keyed := Zone{Name: "bl.example", Key: "sesame"}
	domains := Zone{Name: "bl.example", Domains: true}
	for _, tc := range []struct {
		zone Zone
		of   string
		want string
	}{
		{v4, "192.0.2.99", "99.2.0.192.bl.example"},
		{v4, "::ffff:192.0.2.99", "99.2.0.192.bl.example"},
		{v4, "2001:db8::1", ""},
		{v6, "2001:db8:1:2:3:4:567:89ab", "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.bl.example"}, // RFC 5782, 2.4
		{v6, "fe80::1%eth0", "1." + strings.Repeat("0.", 28) + "8.e.f.bl.example"},
		{keyed, "192.0.2.99", "99.2.0.192.sesame.bl.example"},
		{domains, "192.0.2.99", ""},
		{domains, "Mail.Example.ORG.", "mail.example.org.bl.example"},
		{domains, "[192.0.2.99]", ""},
		{domains, "localhost", ""},
		{domains, "a..b", ""},
		{domains, "a b.example", ""},
		{domains, "b\xfccher.example", ""},
		{domains, "evil.example\n.org", ""},
		{domains, strings.Repeat("a.", 125) + "example", ""},
		{domains, strings.Repeat("a", 64) + ".example", ""},
	} {
		n, ok := tc.zone.DomainName(tc.of)
		if addr, err := netip.ParseAddr(tc.of); err == nil {
			n, ok = tc.zone.AddrName(addr)
		}
		if n.Asked != tc.want || ok != (tc.want != "") {
			t.Errorf("%s in %+v is %q, %v, want %q", tc.of, tc.zone, n.Asked, ok, tc.want)
		}
		if ok && n.Shown != strings.ReplaceAll(tc.want, "sesame", "(key)") {
			t.Errorf("%s is shown as %q", tc.of, n.Shown)
		}
	}
}

// TestKeyIsSecret prints a zone with a key in every way that a log might.
func TestKeyIsSecret(t *testing.T) {
	z := Zone{Name: "bl.example", Key: "sesame"}
	hidden := z.Key.HideIn(&dns.Error{Name: "2.0.0.127.sesame.bl.example", Reason: "SERVFAIL"})
	asJSON, err := json.Marshal(fmt.Sprint(z))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		fmt.Sprint(z), fmt.Sprintf("%+v", z), fmt.Sprintf("%#v", z), fmt.Sprintf("%s %q %v", z.Key, z.Key, z.Key), string(asJSON),
		hidden.Error(), fmt.Sprint(fmt.Errorf("in between: %w", hidden)),
		Reason(dns.Answer{Texts: []string{"see https://sesame.example/"}}, z.Key),
	} {
		if strings.Contains(text, "sesame") {
			t.Errorf("the key shows in %q", text)
		}
	}
	var cause *dns.Error
	if !errors.As(hidden, &cause) {
		t.Error("the cause of a hidden error is lost")
	}
}

func TestCodes(t *testing.T) {
	one := []Filter{{First: ip("127.0.0.1"), Last: ip("127.0.0.1")}}
	for _, tc := range []struct {
		answer  []netip.Addr
		filters []Filter
		want    []netip.Addr
		err     string
	}{
		{nil, nil, nil, ""},
		{ips("127.0.0.2", "127.0.0.9"), nil, ips("127.0.0.2", "127.0.0.9"), ""},
		{ips("127.255.255.254"), nil, nil, "answered 127.255.255.254: the list refuses queries by way of a public or open resolver; ask it through a resolver of your own"},
		{ips("127.255.255.255"), nil, nil, "answered 127.255.255.255: the list has had too many queries from you"},
		{ips("127.255.255.7"), nil, nil, "answered 127.255.255.7: an error of the list"},
		{ips("192.0.2.1"), nil, nil, "answered 192.0.2.1: no list does; the zone belongs to somebody else, or a resolver on the way makes answers up"},
		{ips("127.0.0.1"), nil, nil, "answered 127.0.0.1: the list refuses the query"},
		{ips("127.0.0.1"), one, ips("127.0.0.1"), ""},
		{ips("127.255.255.254", "127.0.0.4"), nil, ips("127.0.0.4"), ""},
		{ips("127.0.0.3", "192.0.2.1", "127.0.0.4"), nil, ips("127.0.0.3", "127.0.0.4"), ""},
	} {
		before := append([]netip.Addr(nil), tc.answer...)
		got, err := Codes(dns.Answer{Addrs: tc.answer}, tc.filters)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if diff := cmp.Diff(fmt.Sprint(tc.want), fmt.Sprint(got)); diff != "" || text != tc.err {
			t.Errorf("of %v count %v, %q, want %v, %q", tc.answer, got, text, tc.want, tc.err)
		}
		if fmt.Sprint(before) != fmt.Sprint(tc.answer) {
			t.Errorf("the answer %v became %v; it is shared", before, tc.answer)
		}
	}
}

func TestReason(t *testing.T) {
	long := strings.Repeat("x", 300)
	for text, want := range map[string]string{
		"":                           "",
		"see https://bl.example/?1%": "see https://bl.example/?1%",
		"a\r\n250 OK\x00\x1b[31m":    "a 250 OK [31m",
		"  a \t b  ":                 "a b",
		"gr\u00fc\u00dfe":            "gr e",
		"\xff\xfe":                   "",
		long:                         long[:maxReason-3] + "...",
	} {
		if got := Reason(dns.Answer{Texts: []string{text, "second"}}, ""); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
	if got := Reason(dns.Answer{}, ""); got != "" {
		t.Errorf("no text becomes %q", got)
	}
}

func FuzzReason(f *testing.F) {
	for _, s := range []string{"a\r\nb", strings.Repeat("\xc3\x9f", 300), "(key)key", "%s%n"} {
		f.Add(s, "key")
	}
	f.Fuzz(func(t *testing.T, text, key string) {
		got := Reason(dns.Answer{Texts: []string{text}}, Key(key))
		if len(got) > maxReason || strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%q becomes %q", text, got)
		}
	})
}

func FuzzDomainName(f *testing.F) {
	for _, s := range []string{"a.b", "A.B.", "[1.2.3.4]", "a\\.b.c", "..", "\x00.x"} {
		f.Add(s)
	}
	z := Zone{Name: "bl.example", Key: "k", Domains: true}
	f.Fuzz(func(t *testing.T, domain string) {
		n, ok := z.DomainName(domain)
		if ok && (len(n.Asked) > maxName || !hostName(n.Asked) || !strings.HasSuffix(n.Asked, ".k.bl.example")) {
			t.Errorf("%q is asked as %q", domain, n.Asked)
		}
	})
}

func TestMemory(t *testing.T) {
	var m Memory
	for i := range 1000 {
		m.Remember(fmt.Sprint(i), dns.TypeA, dns.Answer{Name: fmt.Sprint(i)}, nil)
	}
	if a, known, err := m.Recall("999", dns.TypeA); !known || err != nil || a.Name != "999" {
		t.Errorf("the last answer is remembered as %+v, %v, %v", a, known, err)
	}
	if _, known, _ := m.Recall("999", dns.TypeTXT); known {
		t.Error("an answer of another type is remembered")
	}
	if len(m.known) > maxMemory {
		t.Errorf("%d answers are remembered, want at most %d", len(m.known), maxMemory)
	}
	var none *Memory
	none.Remember("a", dns.TypeA, dns.Answer{}, nil)
	if _, known, _ := none.Recall("a", dns.TypeA); known {
		t.Error("no memory remembers")
	}
}
