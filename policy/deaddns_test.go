package policy_test

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatepost/internal/dns"
	"gatepost/internal/dns/dnstest"
	"gatepost/policy"
)

// TestDeadServer: ten thousand sessions whose lists are on a server that has died
// cost the budget, once, and a bounded number of goroutines and sockets; a session
// that needs no list is decided meanwhile as ever.
func TestDeadServer(t *testing.T) {
	const (
		sessions = 10000
		lists    = 3
		budget   = 3 * time.Second
	)
	resolver, err := dns.NewClient(dns.Config{Servers: []string{dnstest.Serve(t, dnstest.Zone{}, dnstest.Silent())}})
	if err != nil {
		t.Fatal(err)
	}
	p := engine(t, func(c *policy.Config) {
		c.Resolver = resolver
		c.Features.DNSListTimeout = budget
		for i := range lists {
			c.Features.DNSLists = append(c.Features.DNSLists, policy.DNSList{Zone: fmt.Sprintf("bl%d.example", i)})
		}
	}, "Connect:127.0.0.1 OK")
	before := runtime.NumGoroutine()
	var all sync.WaitGroup
	var refused, late, most, sockets atomic.Int64
	for i := range sessions {
		all.Go(func() {
			begin := time.Now()
			f := facts(fmt.Sprintf("198.18.%d.%d", i>>8, i&255), "", "<u@from.example>", "<u@example.com>")
			f.Memory = &policy.Memory{}
			for _, stage := range []policy.Stage{policy.StageConnect, policy.StageRcpt, policy.StageRcpt} {
				if d := p.Decide(t.Context(), stage, f); d.Verdict.Action != policy.Accept {
					refused.Add(1)
				}
			}
			if time.Since(begin) > budget+2*time.Second { // for ten thousand on a busy machine
				late.Add(1)
			}
		})
	}
	ended := make(chan struct{})
	go func() { all.Wait(); close(ended) }()
	local := facts("127.0.0.1", "localhost", "", "")
	slowest, others := time.Duration(0), 0
	for over := false; !over; {
		begin := time.Now()
		d := p.Decide(t.Context(), policy.StageConnect, local)
		if d.Verdict.Action != policy.Accept {
			t.Fatalf("a local client: %s", describe(d))
		}
		slowest, others = max(slowest, time.Since(begin)), others+1
		most.Store(max(most.Load(), int64(runtime.NumGoroutine()-before)))
		sockets.Store(max(sockets.Load(), int64(resolver.Stats().Sockets)))
		select {
		case <-ended:
			over = true
		case <-time.After(5 * time.Millisecond):
		}
	}
	t.Logf("%d goroutines and %d sockets at most; slowest of %d other decisions %v", most.Load(), sockets.Load(), others, slowest)
	if refused.Load() > 0 || late.Load() > 0 {
		t.Errorf("%d sessions refused, %d late, of %d", refused.Load(), late.Load(), sessions)
	}
	if n := most.Load(); n > sessions*lists+2000 { // each asks its first list itself
		t.Errorf("%d goroutines, want %d at most", n, sessions*lists+2000)
	}
	if n := sockets.Load(); n > 256 {
		t.Errorf("%d sockets, want 256 at most", n)
	}
	if slowest > time.Second {
		t.Errorf("a decision without lists took %v", slowest)
	}
}
