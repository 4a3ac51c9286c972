package setup

import (
	"fmt"
	"net/netip"
	"testing"

	"gatepost/internal/config"
	"gatepost/internal/dns/dnstest"
	"gatepost/policy"
)

// TestResolveClient asks the hosts file and a name server about clients.
func TestResolveClient(t *testing.T) {
	p := newPlace(t)
	p.cfg.DNS = config.DNS{Servers: []string{dnstest.Serve(t, dnstest.Zone{
		"1.100.51.198.in-addr.arpa": {PTR: []string{"good.example"}},
		"good.example":              {A: []string{"198.51.100.1"}},
		"2.100.51.198.in-addr.arpa": {PTR: []string{"good.example"}},
		"3.100.51.198.in-addr.arpa": {Fail: "SERVFAIL"},
		"4.100.51.198.in-addr.arpa": {PTR: []string{"failing.example"}},
		"failing.example":           {Fail: "SERVFAIL"},
	})}}
	e := p.open()
	for _, tc := range []struct {
		addr      string
		want      policy.Resolve
		name, ptr string
	}{
		{"198.51.100.1", policy.ResolveOK, "good.example", "good.example"},
		{"198.51.100.2", policy.ResolveForged, "", "good.example"},
		{"198.51.100.3", policy.ResolveTemp, "", ""},
		{"198.51.100.4", policy.ResolveForged, "", "failing.example"},
		{"198.51.100.5", policy.ResolveFail, "", ""},
		{"192.0.2.26", policy.ResolveOK, "inside.example.com", "inside.example.com"},
	} {
		r, name, ptr := e.ResolveClient(t.Context(), netip.MustParseAddr(tc.addr))
		if r != tc.want || name != tc.name || ptr != tc.ptr {
			t.Errorf("ResolveClient(%s) = %v, %q, %q, want %v, %q, %q", tc.addr, r, name, ptr, tc.want, tc.name, tc.ptr)
		}
	}
}

// TestResolverConfig: the configuration comes before the options of resolv.conf.
func TestResolverConfig(t *testing.T) {
	p := newPlace(t)
	p.write("resolv.conf", "nameserver 192.0.2.1\noptions timeout:4 attempts:3 rotate use-vc\n")
	yes, no := true, false
	for _, tc := range []struct {
		name string
		cfg  config.DNS
		want string
	}{
		{"resolv.conf alone", config.DNS{CacheSize: 5}, "[192.0.2.1:53] 4s 3 true true"},
		{"both", config.DNS{Timeout: 1e9, Attempts: 1, Rotate: &no, TCP: &no}, "[192.0.2.1:53] 1s 1 false false"},
		{"servers of its own", config.DNS{Servers: []string{"192.0.2.2:53"}}, "[192.0.2.2:53] 0s 0 false false"},
		{"all of its own", config.DNS{Servers: []string{"192.0.2.2:53"}, Rotate: &yes, TCP: &yes}, "[192.0.2.2:53] 0s 0 true true"},
	} {
		got, err := resolverConfig(tc.cfg, p.path("resolv.conf"))
		if err != nil {
			t.Fatal(err)
		}
		if text := fmt.Sprintln(got.Servers, got.Timeout, got.Attempts, got.Rotate, got.TCP); text != tc.want+"\n" {
			t.Errorf("%s: %s, want %s", tc.name, text, tc.want)
		}
		if got.CacheSize != tc.cfg.CacheSize {
			t.Errorf("%s: cache of %d, want %d", tc.name, got.CacheSize, tc.cfg.CacheSize)
		}
	}
}

// TestReloadKeepsResolver: what was learned is kept unless the settings change.
func TestReloadKeepsResolver(t *testing.T) {
	p := newPlace(t)
	e := p.open()
	first := e.current.Load().client
	reload := func() *config.Config {
		c := *p.cfg
		return &c
	}
	if err := e.Reload(t.Context(), func() (*config.Config, error) { return reload(), nil }); err != nil || e.current.Load().client != first {
		t.Errorf("reload: %v, another resolver %v", err, e.current.Load().client != first)
	}
	p.cfg.DNS.Attempts++
	if err := e.Reload(t.Context(), func() (*config.Config, error) { return reload(), nil }); err != nil || e.current.Load().client == first {
		t.Errorf("reload with other settings: %v, the same resolver", err)
	}
}
