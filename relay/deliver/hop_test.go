package deliver

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func TestParseDestination(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []Hop
	}{
		{"example.org", []Hop{{"example.org", true, 0}}},
		{"Example.ORG.:26", []Hop{{"example.org", true, 26}}},
		{"[mx.example.org]", []Hop{{"mx.example.org", false, 0}}},
		{"[mx.example.org]:587,b.example,[192.0.2.1]", []Hop{{"mx.example.org", false, 587}, {"b.example", true, 0}, {"192.0.2.1", false, 0}}},
		{"192.0.2.1:2525", []Hop{{"192.0.2.1", false, 2525}}},
		{"[2001:DB8::1]:25", []Hop{{"2001:db8::1", false, 25}}},
		{"[IPv6:2001:db8::1]", []Hop{{"2001:db8::1", false, 0}}},
		{"[::ffff:192.0.2.1]", []Hop{{"192.0.2.1", false, 0}}},
		{"[fe80::1%eth0]:25", []Hop{{"fe80::1%eth0", false, 25}}},
		{"unix:/run/dovecot/lmtp", []Hop{{"unix:/run/dovecot/lmtp", false, 0}}},
	} {
		got, err := ParseDestination(c.in)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v; want %+v", c.in, got, err, c.want)
		}
		if again, err := ParseDestination(FormatDestination(got)); err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%s is written as %s", c.in, FormatDestination(got))
		}
	}
}

func TestParseDestinationFaults(t *testing.T) {
	for in, want := range map[string]string{
		"":                                  `"" is no host, host:port or [host]:port`,
		"a,":                                `"" is no host, host:port or [host]:port`,
		"a,,b":                              `"" is no host, host:port or [host]:port`,
		"a b:25":                            `"a b:25" is no host, host:port or [host]:port`,
		"[]:25":                             `"[]:25" is no host, host:port or [host]:port`,
		"[a":                                `"[a" is no host, host:port or [host]:port`,
		"[a]25":                             `"[a]25" is no host, host:port or [host]:port`,
		"[a]:":                              `"[a]:" is no host, host:port or [host]:port`,
		".a":                                `".a" is no host, host:port or [host]:port`,
		"a..b":                              `"a..b" is no host, host:port or [host]:port`,
		"a:":                                `no port after the colon in "a:"`,
		"a:smtp":                            `"smtp" is no port, 1 to 65535`,
		"a:0":                               `"0" is no port, 1 to 65535`,
		"a:65536":                           `"65536" is no port, 1 to 65535`,
		"2001:db8::1":                       `the IPv6 address in "2001:db8::1" must be in brackets`,
		"unix:lmtp":                         `"lmtp" is no absolute path of at most 107 bytes`,
		"unix:/" + strings.Repeat("x", 107): `"/` + strings.Repeat("x", 107) + `" is no absolute path of at most 107 bytes`,
		strings.Repeat("a,", 20) + "a":      "a destination of more than 20 next hops",
		strings.Repeat("a", 5000):           "a destination of more than 4096 bytes",
	} {
		if got, err := ParseDestination(in); fmt.Sprint(err) != want {
			t.Errorf("%.80s: %v, %v; want %s", in, got, err, want)
		}
	}
}

// FuzzDestination: what is read is written as what is read as the same, and nothing in
// it can be more than it looks like.
func FuzzDestination(f *testing.F) {
	for _, seed := range []string{"example.org", "[mx.example.org]:587,a:26", "[IPv6:2001:db8::1]:465", "[fe80::1%eth0]", "unix:/run/lmtp", "[a", "a:b:c", "1.2.3.4:5"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		hops, err := ParseDestination(in)
		if err != nil {
			return
		}
		out := FormatDestination(hops)
		again, err := ParseDestination(out)
		if err != nil || !reflect.DeepEqual(hops, again) || FormatDestination(again) != out {
			t.Fatalf("%q: %+v is written as %q, which is %+v, %v", in, hops, out, again, err)
		}
		for _, h := range hops {
			addr, err := netip.ParseAddr(h.Host)
			if h.socket() == "" && strings.ContainsAny(h.Host, " \r\n,[]") || h.MX && (err == nil || h.socket() != "") {
				t.Errorf("%q: %+v, %v", in, h, addr)
			}
		}
	})
}

func TestPeerString(t *testing.T) {
	for want, p := range map[string]Peer{
		"mx.example.org[192.0.2.1]:25": {Host: "mx.example.org", Addr: netip.MustParseAddr("192.0.2.1"), Port: 25},
		"[2001:db8::1]:587":            {Host: "2001:db8::1", Addr: netip.MustParseAddr("2001:db8::1"), Port: 587},
		"unix:/run/lmtp":               {Hop: Hop{Host: "unix:/run/lmtp"}, Host: "unix:/run/lmtp", Port: 24},
	} {
		if got := p.String(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
