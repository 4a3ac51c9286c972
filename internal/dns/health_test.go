package dns_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"gatepost/internal/dns"
	"gatepost/internal/dns/dnstest"
)

// impatient makes a Client with the time-out, two attempts and a short memory of silence.
func impatient(t *testing.T, timeout time.Duration, servers ...string) *dns.Client {
	t.Helper()
	c, err := dns.NewClient(dns.Config{Servers: servers, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	c.SetDownPause(300 * time.Millisecond)
	return c
}

// With all servers silent the time is lost once, not for each question, and the
// answers are there again soon after the servers are.
func TestAllServersSilent(t *testing.T) {
	var dead atomic.Bool
	dead.Store(true)
	silent := dnstest.While(&dead, dnstest.Silent())
	c := impatient(t, 200*time.Millisecond, dnstest.Serve(t, zone(), silent), dnstest.Serve(t, zone(), silent))
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
	defer cancel()
	begin := time.Now()
	if _, err := c.Lookup(ctx, "mx.example.com", dns.TypeA); err == nil {
		t.Error("an answer from silent servers")
	}
	waitFor(t, func() bool { return c.Stats().Down == 2 })
	if d := time.Since(begin); d > 4*time.Second {
		t.Errorf("the first question took %v", d)
	}
	c.SetDownPause(time.Hour)
	begin = time.Now()
	for i := range 100 {
		_, err := c.Lookup(ctx, fmt.Sprintf("n%d.example", i), dns.TypeA)
		checkError(t, err, "the server is silent|time-out")
	}
	if d := time.Since(begin); d > 2*time.Second {
		t.Errorf("100 questions to silent servers took %v, want no wait", d)
	}
}

func TestServersComeBack(t *testing.T) {
	var dead atomic.Bool
	c := impatient(t, 100*time.Millisecond, dnstest.Serve(t, zone(), dnstest.While(&dead, dnstest.Silent())))
	dead.Store(true)
	if _, err := lookup(c, "mx.example.com", dns.TypeA); err == nil {
		t.Error("an answer from a silent server")
	}
	waitFor(t, func() bool { return c.Stats().Down == 1 })
	dead.Store(false)
	n := 0
	waitFor(t, func() bool {
		n++
		_, err := lookup(c, fmt.Sprintf("n%d.example", n), dns.TypeA)
		return err == nil
	})
	if d := c.Stats().Down; d != 0 {
		t.Errorf("%d servers down, want none", d)
	}
}

// A domain whose own servers are dead does not make the resolver pass for dead.
func TestDeadDomain(t *testing.T) {
	unanswered := func(e *dnstest.Exchange) {
		if e.Name() == "mx.example.com" {
			e.Reply = nil
		}
	}
	c := impatient(t, 100*time.Millisecond, dnstest.Serve(t, zone(), unanswered))
	for range 3 {
		for _, typ := range []dns.Type{dns.TypeA, dns.TypeAAAA, dns.TypeMX} {
			_, err := lookup(c, "mx.example.com", typ)
			checkError(t, err, "time-out")
		}
	}
	time.Sleep(150 * time.Millisecond)
	if n := c.Stats().Down; n != 0 {
		t.Errorf("%d servers down, want none", n)
	}
	if ans, err := lookup(c, "example.com", dns.TypeMX); err != nil || len(ans.MX) != 2 {
		t.Errorf("another name: %+v, %v", ans, err)
	}
}

// The silent first of two costs its time-out once.
func TestSilentServerIsPassedOver(t *testing.T) {
	var asked atomic.Int64
	dead := dnstest.Serve(t, zone(), dnstest.Named(dnstest.Count(&asked)), dnstest.Silent())
	good := dnstest.Serve(t, zone())
	c := impatient(t, 200*time.Millisecond, dead, good)
	c.SetDownPause(time.Hour)
	if ans, err := lookup(c, "mx.example.com", dns.TypeA); err != nil || ans.Server != good {
		t.Errorf("Lookup = %+v, %v, want an answer from %s", ans, err, good)
	}
	waitFor(t, func() bool { return c.Stats().Down == 1 })
	before := asked.Load()
	for i := range 50 {
		if _, err := lookup(c, fmt.Sprintf("n%d.example", i), dns.TypeA); err != nil {
			t.Errorf("Lookup: %v", err)
		}
	}
	if n := asked.Load(); n != before {
		t.Errorf("the silent server was asked %d times more", n-before)
	}
}

// A server that is always slower than we wait is as good as none; what is late is not taken for another answer.
func TestFiveSecondsLate(t *testing.T) {
	c := impatient(t, 150*time.Millisecond, dnstest.Serve(t, zone(), wild, dnstest.Late(5*time.Second)))
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	begin := time.Now()
	for i := range 20 {
		if ans, err := c.Lookup(ctx, fmt.Sprintf("n%d.example", i), dns.TypeA); err == nil {
			t.Errorf("Lookup = %+v, want an error", ans)
		}
	}
	if d := time.Since(begin); d > 3*time.Second {
		t.Errorf("20 questions took %v with a second to spend", d)
	}
}

func TestRotate(t *testing.T) {
	var asked [3]atomic.Int64
	var servers []string
	for i := range asked {
		servers = append(servers, dnstest.Serve(t, zone(), dnstest.Count(&asked[i])))
	}
	for _, rotate := range []bool{false, true} {
		c, err := dns.NewClient(dns.Config{Servers: servers, Rotate: rotate})
		if err != nil {
			t.Fatal(err)
		}
		many(t, c, 1, 30, func(_ dns.Answer, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if a, b, c := asked[0].Load(), asked[1].Load(), asked[2].Load(); a != 40 || b != 10 || c != 10 {
		t.Errorf("%d, %d and %d questions, want 30 to the first and 10 to each", a, b, c)
	}
}

func TestTCPOnly(t *testing.T) {
	var udp atomic.Int64
	c, err := dns.NewClient(dns.Config{TCP: true, Servers: []string{dnstest.Serve(t, zone(), wild, dnstest.OnUDP(dnstest.Count(&udp)))}})
	if err != nil {
		t.Fatal(err)
	}
	many(t, c, 100, 300, func(ans dns.Answer, err error) {
		if err != nil || len(ans.Addrs) != 1 {
			t.Errorf("Lookup = %+v, %v, want an address", ans, err)
		}
	})
	if udp.Load() != 0 || c.Stats().Sockets != 0 {
		t.Errorf("%d questions by UDP, %d sockets, want none", udp.Load(), c.Stats().Sockets)
	}
}
