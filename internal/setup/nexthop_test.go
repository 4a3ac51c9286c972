package setup

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"gatepost/internal/dns"
)

// hostsDNS has addresses by type and name; "broken" cannot be asked about.
type hostsDNS map[dns.Type]map[string]string

func (d hostsDNS) Lookup(_ context.Context, name string, t dns.Type) (dns.Answer, error) {
	switch text := d[t][name]; text {
	case "broken":
		return dns.Answer{}, errors.New("no server answered")
	case "":
		return dns.Answer{Name: name}, nil
	default:
		return dns.Answer{Name: name, Addrs: []netip.Addr{netip.MustParseAddr(text)}}, nil
	}
}

func TestAddresses(t *testing.T) {
	e := newPlace(t).open()
	s := *e.current.Load()
	s.resolver = hostsDNS{
		dns.TypeA:    {"both.example": "192.0.2.1", "half.example": "broken", "down.example": "broken"},
		dns.TypeAAAA: {"both.example": "2001:db8::1", "half.example": "2001:db8::2", "four.example": "broken"},
	}
	e.current.Store(&s)
	for host, want := range map[string][]string{
		"mx.example.com": {"192.0.2.25", "2001:db8::25"}, // of the hosts file
		"both.example":   {"192.0.2.1", "2001:db8::1"},
		"half.example":   {"2001:db8::2"},
		"none.example":   {},
		"down.example":   nil,
		"four.example":   nil,
	} {
		got, err := e.Addresses(t.Context(), host)
		var texts []string
		for _, a := range got {
			texts = append(texts, a.String())
		}
		if !slices.Equal(texts, want) || (err != nil) != (want == nil) {
			t.Errorf("%s has %v, %v, want %v", host, texts, err, want)
		}
	}
}
