package maps

import (
	"context"
	"net/netip"
	"strings"
	"testing"
)

func lookupText(t testing.TB, m Map, key string) string {
	t.Helper()
	e, found, err := m.Lookup(context.Background(), key)
	switch {
	case err != nil:
		return "error: " + err.Error()
	case !found:
		return "-"
	}
	return e.Value + " @" + e.Source.String()
}

func TestNetworks(t *testing.T) {
	n, err := parseNetworks("/n", FormatAccess, strings.Join([]string{
		"# networks", "",
		"192.0.2.0/24\t\tREJECT",
		"192.0.2.128/25 OK",
		"Connect:192.0.2.7 RELAY",
		"Connect:198.51.100.0/22   550 5.7.1 go away  ",
		"2001:db8::/32 REJECT",
		"Connect:IPv6:2001:db8:1::/48 RELAY",
		"dead:beef::/32 DISCARD",
	}, "\n")+"\r\n")
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"192.0.2.1":                         "REJECT @/n:3",
		"192.0.2.200":                       "OK @/n:4",
		"Connect:192.0.2.7":                 "RELAY @/n:5",
		"CONNECT:192.0.2.7":                 "RELAY @/n:5",
		"Connect:192.0.2.8":                 "-",
		"From:192.0.2.7":                    "-",
		"Connect:198.51.103.255":            "550 5.7.1 go away @/n:6",
		"IPv6:2001:db8:0:0:0:0:0:1":         "REJECT @/n:7",
		"2001:db8::1":                       "REJECT @/n:7",
		"Connect:IPv6:2001:db8:1:0:0:0:0:1": "RELAY @/n:8",
		"IPv6:dead:beef:0:0:0:0:0:1":        "DISCARD @/n:9",
		"IPv6:2001:db8":                     "-",
		"192.0.2":                           "-",
		"192.0.2.0/24":                      "-",
		"[192.0.2.1]":                       "-",
		"Connect:":                          "-",
		"":                                  "-",
		"fe80::1%eth0":                      "-",
	} {
		if got := lookupText(t, n, key); got != want {
			t.Errorf("Lookup(%q) = %s, want %s", key, got, want)
		}
	}
	if n.Len() != 7 {
		t.Errorf("Len() = %d, want 7", n.Len())
	}
	for key, e := range n.All() {
		if key != "192.0.2.0/24" || e.Value != "REJECT" || e.Source.Line != 3 {
			t.Errorf("All() begins with %s %+v", key, e)
		}
		break
	}
}

func TestNetworksRefused(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.0/24 OK\n192.0.2/24 OK":  `/n:2: "192.0.2/24" is no network, expected an address with or without /LENGTH and a tag, such as 192.0.2.0/24 or Connect:2001:db8::/32`,
		"192.0.2.1/24 OK":                 `/n:1: network 192.0.2.1/24 has bits beyond its length, expected 192.0.2.0/24`,
		"192.0.2.0/24":                    `/n:1: network 192.0.2.0/24 has no value`,
		"192.0.2.1 OK\n\n192.0.2.1/32 OK": `/n:3: network 192.0.2.1/32 stands in line 1 already`,
		" 192.0.2.1 OK":                   `/n:1: the line begins with a blank`,
		"spam.example REJECT":             `/n:1: "spam.example" is no network, expected an address with or without /LENGTH and a tag, such as 192.0.2.0/24 or Connect:2001:db8::/32`,
		"192.0.2.1 O\x00K":                `/n:1: NUL byte, this is no text file`,
	} {
		if _, err := parseNetworks("/n", FormatAccess, text); err == nil || err.Error() != want {
			t.Errorf("%q gave %v, want %s", text, err, want)
		}
	}
}

func FuzzNetworks(f *testing.F) {
	f.Add("192.0.2.0/24 OK\nConnect:2001:db8::/32 REJECT\n", "Connect:IPv6:2001:db8:0:0:0:0:0:1")
	f.Add("0.0.0.0/0 x\n::/0 y", "::ffff:1.2.3.4")
	f.Add("a:1.2.3.4 x", "a:1.2.3.4")
	f.Fuzz(func(t *testing.T, text, key string) {
		n, err := parseNetworks("/n", FormatAccess, text)
		if err != nil {
			return
		}
		lookupText(t, n, key)
		for k, e := range n.All() {
			tag, p, err := ParseNetwork(k)
			if err != nil {
				t.Fatalf("key %q is no network: %v", k, err)
			}
			if p.Addr().Is4In6() || p.Addr() != p.Masked().Addr() {
				continue
			}
			// The first address of a network is in it, or in a longer one.
			if got, found, _ := n.Lookup(t.Context(), tag+addrText(p.Addr())); !found || got.Source.Line == 0 {
				t.Fatalf("%q of %v is not found", k, e)
			}
		}
	})
}

func addrText(a netip.Addr) string {
	if a.Is4() {
		return a.String()
	}
	return "IPv6:" + a.StringExpanded()
}
