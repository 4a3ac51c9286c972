package setup

import (
	"errors"
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatepost/internal/dns"
	"gatepost/internal/dns/dnsfake"
)

// TestLocalWordsFromDNS has a host whose names and addresses are only in the DNS.
func TestLocalWordsFromDNS(t *testing.T) {
	p := newPlace(t)
	p.hostname = func() (string, error) { return "short", nil }
	p.addresses = func() ([]net.Addr, error) {
		return []net.Addr{
			&net.IPNet{IP: net.ParseIP("127.0.0.1"), Mask: net.CIDRMask(8, 32)},
			&net.IPNet{IP: net.ParseIP("198.51.100.1"), Mask: net.CIDRMask(24, 32)},
			&net.IPNet{IP: net.ParseIP("198.51.100.2"), Mask: net.CIDRMask(24, 32)},
			&net.IPNet{IP: net.ParseIP("198.51.100.3"), Mask: net.CIDRMask(24, 32)},
		}, nil
	}
	fake := dnsfake.NewFake(dnsfake.Zone{
		"short":                      {CNAME: "short.example.org"},
		"short.example.org":          {A: []string{"198.51.100.9"}, AAAA: []string{"2001:db8::9"}},
		"1.100.51.198.in-addr.arpa.": {PTR: []string{"eth0.example.org"}},
		"3.100.51.198.in-addr.arpa.": {Fail: "SERVFAIL"},
	})
	n := names{resolver: fake}
	name, err := p.fullName(t.Context(), n, p.logger())
	if err != nil || name != "short.example.org" {
		t.Errorf("full name %q, error %v, want short.example.org", name, err)
	}
	want := []string{
		"localhost", "short.example.org", "[198.51.100.9]", "[IPv6:2001:db8:0:0:0:0:0:9]",
		"[127.0.0.1]", "[198.51.100.1]", "eth0.example.org", "[198.51.100.2]", "[198.51.100.3]",
	}
	if diff := cmp.Diff(want, p.localWords(t.Context(), n, name, true, p.logger())); diff != "" {
		t.Errorf("class w (-want +got):\n%s", diff)
	}
}

func TestInterfacesUnknown(t *testing.T) {
	p := newPlace(t)
	p.addresses = func() ([]net.Addr, error) { return nil, errors.New("unheard of") }
	got := p.localWords(t.Context(), names{resolver: dnsfake.NewFake(nil)}, "mx.example.com", true, p.logger())
	if diff := cmp.Diff([]string{"localhost", "mx.example.com"}, got); diff != "" {
		t.Errorf("class w (-want +got):\n%s", diff)
	}
}

// TestThisHost asks the real machine: at least the loopback interface is up.
func TestThisHost(t *testing.T) {
	addrs, err := thisHost().addresses()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if prefix, ok := a.(*net.IPNet); ok && prefix.IP.IsLoopback() {
			return
		}
	}
	t.Errorf("interfaces have the addresses %v, want a loopback one among them", addrs)
}

var _ dns.Resolver = (*dnsfake.Fake)(nil)
