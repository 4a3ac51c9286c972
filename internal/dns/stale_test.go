package dns_test

import (
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"gatepost/internal/dns"
	"gatepost/internal/dns/dnstest"
)

func TestServeStale(t *testing.T) {
	var broken, gone atomic.Bool
	var k clock
	server := dnstest.Serve(t, zone(),
		dnstest.While(&broken, dnstest.Rcode(mdns.RcodeServerFailure)), dnstest.While(&gone, dnstest.Rcode(mdns.RcodeNameError)))
	c, err := dns.NewClient(dns.Config{Servers: []string{server}, ServeStale: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	c.SetNow(k.now)
	stale := dns.AllowStale(t.Context())
	ask := func(name string) (dns.Answer, error) { return c.Lookup(stale, name, dns.TypeA) }

	for _, name := range []string{"mx.example.com", "nosuch.example"} {
		if _, err := ask(name); err != nil {
			t.Fatal(err)
		}
	}
	k.advance(dnstest.TTL + time.Second)
	broken.Store(true)
	for range 2 { // the second from the memory of the failure
		ans, err := ask("mx.example.com")
		if err != nil || len(ans.Addrs) != 2 || ans.TTL != dns.StaleTTL || ans.Server != "stale cache of "+server {
			t.Errorf("Lookup = %+v, %v, want the old addresses", ans, err)
		}
		if ans, err := c.Lookup(t.Context(), "mx.example.com", dns.TypeA); err == nil {
			t.Errorf("not marked: Lookup = %+v, want an error", ans)
		}
		if ans, err := ask("nosuch.example"); err == nil {
			t.Errorf("Lookup = %+v: an old absence stands in for an answer", ans)
		}
	}
	k.advance(time.Minute)
	if ans, err := ask("mx.example.com"); err != nil || len(ans.Addrs) != 2 {
		t.Errorf("after another failure: %+v, %v, want the old addresses", ans, err)
	}
	if n := c.Stats().Stale; n != 3 {
		t.Errorf("%d stale answers counted, want 3", n)
	}
	k.advance(time.Hour)
	if ans, err := ask("mx.example.com"); err == nil {
		t.Errorf("Lookup = %+v, older than may be", ans)
	}
}

// An answer that there is comes first, and takes the old one's place.
func TestFreshBeforeStale(t *testing.T) {
	var broken, gone atomic.Bool
	var k clock
	c, err := dns.NewClient(dns.Config{ServeStale: time.Hour, Servers: []string{dnstest.Serve(t, zone(),
		dnstest.While(&broken, dnstest.Rcode(mdns.RcodeServerFailure)), dnstest.While(&gone, dnstest.Rcode(mdns.RcodeNameError)))}})
	if err != nil {
		t.Fatal(err)
	}
	c.SetNow(k.now)
	stale := dns.AllowStale(t.Context())
	for _, step := range []struct {
		broken, gone bool
		found, fails bool
	}{
		{false, false, true, false},
		{false, true, false, false}, // taken out of the DNS
		{true, false, false, true},  // what it was before does not come back
	} {
		broken.Store(step.broken)
		gone.Store(step.gone)
		ans, err := c.Lookup(stale, "mx.example.com", dns.TypeA)
		if (err != nil) != step.fails || ans.Empty() == step.found {
			t.Errorf("%+v: Lookup = %+v, %v", step, ans, err)
		}
		k.advance(dnstest.TTL + time.Second)
	}
}

// A silent server is waited for only as long as RFC 8767 has it.
func TestStaleIsSoon(t *testing.T) {
	var silent atomic.Bool
	var k clock
	c, err := dns.NewClient(dns.Config{ServeStale: time.Hour, Timeout: 10 * time.Second,
		Servers: []string{dnstest.Serve(t, zone(), dnstest.While(&silent, dnstest.Silent()))}})
	if err != nil {
		t.Fatal(err)
	}
	c.SetNow(k.now)
	stale := dns.AllowStale(t.Context())
	if _, err := c.Lookup(stale, "mx.example.com", dns.TypeA); err != nil {
		t.Fatal(err)
	}
	k.advance(dnstest.TTL + time.Second)
	silent.Store(true)
	begin := time.Now()
	ans, err := c.Lookup(stale, "mx.example.com", dns.TypeA)
	if d := time.Since(begin); err != nil || len(ans.Addrs) != 2 || d > 2*dns.StaleWait {
		t.Errorf("Lookup = %+v, %v after %v, want the old addresses after %v", ans, err, d, dns.StaleWait)
	}
}

// Off by default.
func TestStaleIsOff(t *testing.T) {
	var broken atomic.Bool
	var k clock
	c := client(t, dnstest.Serve(t, zone(), dnstest.While(&broken, dnstest.Rcode(mdns.RcodeServerFailure))))
	c.SetNow(k.now)
	stale := dns.AllowStale(t.Context())
	if _, err := c.Lookup(stale, "mx.example.com", dns.TypeA); err != nil {
		t.Fatal(err)
	}
	k.advance(dnstest.TTL + time.Second)
	broken.Store(true)
	if ans, err := c.Lookup(stale, "mx.example.com", dns.TypeA); err == nil {
		t.Errorf("Lookup = %+v, want an error", ans)
	}
}
