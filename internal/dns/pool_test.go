package dns_test

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"gatepost/internal/dns"
	"gatepost/internal/dns/dnstest"
)

// many has n workers look up different names until all have been asked for.
func many(t *testing.T, c dns.Resolver, workers, names int, check func(dns.Answer, error)) {
	t.Helper()
	var next atomic.Int64
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := next.Add(1); i <= int64(names); i = next.Add(1) {
				check(lookup(c, fmt.Sprintf("n%d.example", i), dns.TypeA))
			}
		})
	}
	all.Wait()
}

// patient makes a client that waits as long as a busy machine may need.
func patient(t *testing.T, server string) *dns.Client {
	t.Helper()
	c, err := dns.NewClient(dns.Config{Servers: []string{server}, Timeout: 5 * time.Second, Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// wild answers every name with an address that says which it is.
func wild(e *dnstest.Exchange) {
	var n uint32
	if _, err := fmt.Sscanf(e.Name(), "n%d.example", &n); err != nil {
		return
	}
	e.Reply.Rcode, e.Reply.Ns = mdns.RcodeSuccess, nil
	e.Reply.Answer = []mdns.RR{&mdns.A{
		Hdr: mdns.RR_Header{Name: e.Query.Question[0].Name, Rrtype: mdns.TypeA, Class: mdns.ClassINET, Ttl: 60},
		A:   []byte{10, byte(n >> 16), byte(n >> 8), byte(n)},
	}}
}

// traffic notes ports and ids.
type traffic struct {
	mu    sync.Mutex
	ports map[string]int
	ids   []uint16
}

func (w *traffic) note(e *dnstest.Exchange) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ports[e.Client]++
	w.ids = append(w.ids, e.Query.Id)
}

// Ports are used for a bounded number of questions, and ids do not follow from those before.
func TestPortsAndIDs(t *testing.T) {
	const names = 20 * dns.SocketUses
	seen := traffic{ports: map[string]int{}}
	c := patient(t, dnstest.Serve(t, zone(), seen.note))
	many(t, c, 32, names, func(ans dns.Answer, err error) {
		if err != nil || !ans.Empty() {
			t.Errorf("Lookup = %+v, %v, want nothing", ans, err)
		}
	})
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if len(seen.ids) != names || len(seen.ports) < names/dns.SocketUses {
		t.Errorf("%d questions from %d ports, want %d from %d at least", len(seen.ids), len(seen.ports), names, names/dns.SocketUses)
	}
	for port, n := range seen.ports {
		if n > dns.SocketUses {
			t.Errorf("%d questions from %s, want %d at most", n, port, dns.SocketUses)
		}
	}
	checkIDs(t, seen.ids)
}

// checkIDs has the ids of 2560 questions look like random ones: there are about
// 50 that come twice, and neighbours are anywhere.
func checkIDs(t *testing.T, ids []uint16) {
	distinct := map[uint16]bool{}
	steps := map[uint16]int{}
	for i, id := range ids {
		distinct[id] = true
		if i > 0 {
			steps[id-ids[i-1]]++
		}
	}
	if len(distinct) < len(ids)*9/10 {
		t.Errorf("%d different ids in %d questions", len(distinct), len(ids))
	}
	for step, n := range steps {
		if n > 10 {
			t.Errorf("%d ids are the one before plus %d", n, step)
		}
	}
	var above int
	for _, id := range ids {
		if id >= 1<<15 {
			above++
		}
	}
	if above < len(ids)*2/5 || above > len(ids)*3/5 {
		t.Errorf("%d of %d ids have the top bit", above, len(ids))
	}
}

// Every asker gets the answer to its own question, whatever else comes in between.
func TestSharedSockets(t *testing.T) {
	junk := make([]byte, 40)
	c := patient(t, dnstest.Serve(t, zone(), wild,
		dnstest.OnUDP(dnstest.Junk(junk)), dnstest.Before(dnstest.WrongID()), dnstest.Before(dnstest.WrongQuestion("n7.example"))))
	var all sync.Map
	many(t, c, 64, 3000, func(ans dns.Answer, err error) {
		var n uint32
		if _, scan := fmt.Sscanf(ans.Name, "n%d.example", &n); err != nil || scan != nil {
			t.Errorf("Lookup = %+v, %v", ans, err)
			return
		}
		want := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
		if len(ans.Addrs) != 1 || ans.Addrs[0] != want {
			t.Errorf("%s = %v, want %v", ans.Name, ans.Addrs, want)
		}
		all.Store(n, true)
	})
	if s := c.Stats(); s.Sockets > dns.MaxSockets {
		t.Errorf("%d sockets open, want %d at most", s.Sockets, dns.MaxSockets)
	}
}

// Sockets that are old are closed, also when nothing more is asked.
func TestSocketsEnd(t *testing.T) {
	c := client(t, dnstest.Serve(t, zone()))
	c.SetSocketLife(200 * time.Millisecond)
	if _, err := lookup(c, "mx.example.com", dns.TypeA); err != nil || c.Stats().Sockets != 1 {
		t.Errorf("after one lookup: %v, %d sockets, want 1", err, c.Stats().Sockets)
	}
	waitFor(t, func() bool { return c.Stats().Sockets == 0 })
	if _, err := lookup(c, "example.com", dns.TypeMX); err != nil {
		t.Errorf("after that: %v", err)
	}
}

// A question that is under way when its socket gets old still has its answer.
func TestOldSocketWaits(t *testing.T) {
	c := client(t, dnstest.Serve(t, zone(), dnstest.Late(150*time.Millisecond)))
	c.SetSocketLife(50 * time.Millisecond)
	if ans, err := lookup(c, "mx.example.com", dns.TypeA); err != nil || len(ans.Addrs) != 2 {
		t.Errorf("Lookup = %+v, %v, want 2 addresses", ans, err)
	}
	waitFor(t, func() bool { return c.Stats().Sockets == 0 })
}

// Where nobody listens the host says so, and nothing is waited for.
func TestClosedPortIsQuick(t *testing.T) {
	c, err := dns.NewClient(dns.Config{Servers: []string{closedPort(t)}, Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	many(t, c, 50, 500, func(ans dns.Answer, err error) {
		if err == nil {
			t.Errorf("Lookup = %+v, want an error", ans)
		}
	})
	if d := time.Since(begin); d > 10*time.Second {
		t.Errorf("500 refusals took %v", d)
	}
}

// Ten thousand questions to a server that is silent take a bounded number of
// goroutines and sockets, and do not keep others from their answers.
func TestTenThousand(t *testing.T) {
	dead := dnstest.Serve(t, zone(), dnstest.Silent())
	good := dnstest.Serve(t, zone())
	c, err := dns.NewClient(dns.Config{Servers: []string{dead, good}, Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	lone := client(t, dead)
	other := client(t, good)
	if _, err := lookup(other, "mx.example.com", dns.TypeA); err != nil {
		t.Fatal(err)
	}
	const askers = 10000
	before := runtime.NumGoroutine()
	var all sync.WaitGroup
	var failed, late atomic.Int64
	for i := range askers {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			if _, err := c.Lookup(ctx, fmt.Sprintf("n%d.example", i), dns.TypeA); err != nil {
				failed.Add(1)
			}
			if _, err := lone.Lookup(ctx, fmt.Sprintf("n%d.example", i), dns.TypeA); err == nil {
				late.Add(1)
			}
		})
	}
	time.Sleep(200 * time.Millisecond)
	// One for each asker, one for each question with its socket, and some of the servers'.
	if n, most := runtime.NumGoroutine()-before, askers+2*(dns.MaxFlights+dns.MaxSockets)+1000; n > most {
		t.Errorf("%d goroutines, want %d at most", n, most)
	}
	begin := time.Now()
	if _, err := lookup(other, "mx.example.com", dns.TypeA); err != nil || time.Since(begin) > time.Second {
		t.Errorf("a known name: %v after %v", err, time.Since(begin))
	}
	if n := c.Stats().Sockets; n > 2*dns.MaxSockets {
		t.Errorf("%d sockets, want %d at most", n, 2*dns.MaxSockets)
	}
	all.Wait()
	// A burst may overrun the good server's socket, twice for some.
	if failed.Load() > askers/100 || late.Load() > 0 {
		t.Errorf("%d of %d got no answer although one server is good, and %d one from a silent server", failed.Load(), askers, late.Load())
	}
	waitFor(t, func() bool { return runtime.NumGoroutine()-before < 100 })
}

// Those who leave while their questions are gathered and sent, and those who come
// then, do not disturb what is sent for others.
func TestLeavers(t *testing.T) {
	c := patient(t, dnstest.Serve(t, zone(), wild))
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			for j := range 50 {
				ctx, leave := context.WithTimeout(context.Background(), time.Duration(j)*10*time.Microsecond)
				_, _ = c.Lookup(ctx, fmt.Sprintf("n%d.example", i<<8|j), dns.TypeA)
				leave()
			}
		})
	}
	all.Wait()
	var lost atomic.Int64
	many(t, c, 64, 64<<8, func(ans dns.Answer, err error) {
		if err != nil { // the burst of those who left may have overrun the server's socket
			lost.Add(1)
			return
		}
		var n int
		if _, err := fmt.Sscanf(ans.Name, "n%d.example", &n); err != nil || len(ans.Addrs) != 1 ||
			ans.Addrs[0] != netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}) {
			t.Errorf("Lookup = %+v", ans)
		}
	})
	if n := lost.Load(); n > 64<<8/10 {
		t.Errorf("%d of %d questions had no answer", n, 64<<8)
	}
}
