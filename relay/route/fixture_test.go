package route

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"gatepost/internal/dns"
	"gatepost/internal/dns/dnsfake"
	"gatepost/internal/smtp"
	"gatepost/maps"
	"gatepost/relay/deliver"
)

// site is mx.example.com.
type site struct {
	dns.Resolver
	table maps.Map
	hosts *dns.Hosts
	local func(domain string) (bool, error)
}

func (s *site) HostName() string      { return "mx.example.com" }
func (s *site) Mailertable() maps.Map { return s.table }
func (s *site) Hosts() *dns.Hosts     { return s.hosts }
func (s *site) IsLocal(_ context.Context, domain string) (bool, error) {
	if s.local != nil {
		return s.local(domain)
	}
	return slices.Contains([]string{"mx.example.com", "example.com", "[192.0.2.25]"}, strings.ToLower(domain)), nil
}

func newSite(t *testing.T, zone dnsfake.Zone, mailertable string) *site {
	t.Helper()
	if err := zone.Check(); err != nil {
		t.Fatal(err)
	}
	s := &site{Resolver: dnsfake.NewFake(zone), hosts: dns.ParseHosts([]byte("192.0.2.70 hosted.lan\n2001:db8::70 hosted.lan\n"))}
	if mailertable != "" {
		m, _, err := maps.Parse("mt", maps.FormatAccess, []byte(mailertable))
		if err != nil {
			t.Fatal(err)
		}
		s.table = m
	}
	return s
}

// takesMail is where mx.example.com listens.
func takesMail(_ context.Context, addr netip.Addr) bool {
	return addr == netip.MustParseAddr("192.0.2.25") || addr.IsLoopback()
}

func hops(t *testing.T, text string) []smtp.NextHop {
	t.Helper()
	h, err := smtp.ParseNextHops(text)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// word is an error as the tests write it.
func word(err error) string {
	var none deliver.NoRoute
	if errors.As(err, &none) {
		return none.Outcome.String() + " " + none.Status.String()
	}
	return "unknown"
}
