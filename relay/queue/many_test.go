package queue

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatepost/relay/deliver"
	"gatepost/relay/spool"
)

var many = flag.Int("many", 10_000, "messages of the tests that have very many of them")

// fill commits n small messages, to a user at d0.example, d1.example and so on in turn.
func fill(t testing.TB, s *spool.Spool, n, destinations int) {
	t.Helper()
	var next atomic.Int64
	var done sync.WaitGroup
	for range 64 {
		done.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				w, err := s.Create(spool.Envelope{Sender: "alice@example.com", Recipients: []spool.Recipient{{Address: fmt.Sprintf("bob@d%d.example", i%int64(destinations))}}})
				if err == nil {
					if _, err = io.WriteString(w, "Subject: x\r\n\r\nx\r\n"); err == nil {
						_, err = w.Commit(context.Background())
					}
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	done.Wait()
}

// hops is a transport to many destinations: dN.example. The first ones never answer.
type hops struct {
	dead       int
	wait, hang time.Duration
	now, most  atomic.Int64
}

func (*hops) String() string { return "hops" }
func (h *hops) Deliver(ctx context.Context, destination string, _ deliver.Message, to []int) []deliver.Result {
	now := h.now.Add(1)
	defer h.now.Add(-1)
	for most := h.most.Load(); now > most && !h.most.CompareAndSwap(most, now); most = h.most.Load() {
	}
	r, wait := deliver.Result{Outcome: deliver.Delivered, Reply: "250 ok", Relay: destination}, h.wait
	if h.isDead(destination) {
		r, wait = deliver.Result{Reply: "cannot connect: timeout", Relay: destination, Down: true}, h.hang
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		r = deliver.Result{Reply: "given up"}
	}
	results := make([]deliver.Result, len(to))
	for i := range results {
		results[i] = r
	}
	return results
}

func (h *hops) isDead(destination string) bool {
	n, err := strconv.Atoi(strings.TrimPrefix(strings.TrimSuffix(destination, ".example"), "d"))
	return err == nil && n < h.dead
}

func (h *hops) route(_ context.Context, _, to string) (Route, error) {
	return Route{Transport: h, Destination: to[strings.IndexByte(to, '@')+1:]}, nil
}

// drain says how long it takes until the living destinations have their messages.
func drain(t testing.TB, messages, destinations, atOnce int, h *hops) time.Duration {
	t.Helper()
	s := openSpool(t, t.TempDir())
	fill(t, s, messages, destinations)
	begun := time.Now()
	q, stop := run(t, Config{Spool: s, Route: h.route, MaxDeliveries: atOnce, Schedule: hour, Pause: DefaultPause, Drain: time.Millisecond})
	want := uint64(messages / destinations * (destinations - h.dead))
	for end := begun.Add(5 * time.Minute); q.delivered.Load() < want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d of %d are delivered", q.delivered.Load(), want)
		}
	}
	took := time.Since(begun)
	stop()
	if most := h.most.Load(); most > int64(2*atOnce+1) {
		t.Errorf("%d at once", most)
	}
	return took
}

// TestDeadDestinations: a tenth of the destinations, which never answer, takes less than a
// fifth of their pace from the others.
func TestDeadDestinations(t *testing.T) {
	const messages, destinations, dead, atOnce = 4000, 50, 5, 40
	for try := 1; ; try++ {
		alone := drain(t, messages, destinations, atOnce, &hops{wait: 10 * time.Millisecond})
		alone = alone * (destinations - dead) / destinations
		beside := drain(t, messages, destinations, atOnce, &hops{dead: dead, wait: 10 * time.Millisecond, hang: 30 * time.Second})
		rate := alone.Seconds() / beside.Seconds()
		t.Logf("%v without the dead, %v beside them: %.2f of the rate", alone, beside, rate)
		switch {
		case rate >= 0.8:
			return
		case try == 3: // the machine does other things too
			t.Fatalf("%.2f of the rate", rate)
		}
	}
}

// BenchmarkDrain is 50,000 messages to 500 destinations, of which 50 never answer, and the
// same with all of them alive.
func BenchmarkDrain(b *testing.B) {
	for _, dead := range []int{0, 50} {
		b.Run(fmt.Sprintf("dead=%d", dead), func(b *testing.B) {
			for range b.N {
				h := &hops{dead: dead, wait: 50 * time.Millisecond, hang: 30 * time.Second}
				took := drain(b, 50_000, 500, DefaultMaxDeliveries, h)
				b.ReportMetric(float64(100*(500-dead))/took.Seconds(), "messages/s")
				b.ReportMetric(float64(h.most.Load()), "at-once")
			}
		})
	}
}

// inUse is what of the heap is in use.
func inUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestMemory: what a message takes while it waits, for its time or for its destination,
// and how soon very many of them are there at the start.
func TestMemory(t *testing.T) {
	const most = 200
	dir := t.TempDir()
	s := openSpool(t, dir)
	fill(t, s, *many, 100)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	begun, before := time.Now(), inUse()
	opening := time.Now()
	s = openSpool(t, dir)
	opened := time.Since(opening)
	h := &hops{dead: 100}
	c := Config{Spool: s, Route: h.route, Schedule: hour, Pause: hour, MaxDeliveries: 20, PerDestination: 1, Log: slog.New(slog.DiscardHandler)}

	q := New(c)
	started := time.Since(opening)
	t.Logf("%d messages: spool open after %v, queue after %v (%v)", *many, opened, started, time.Since(begun))
	each := func() int { return int(inUse()-before) / *many }
	if n := each(); n > most {
		t.Errorf("%d bytes for a message at the start", n)
	} else {
		t.Logf("%d bytes at the start", n)
	}
	if limit := 3 * time.Second * time.Duration(max(1, *many/100_000)); started > limit {
		t.Errorf("the start took %v", started)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { q.Run(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		st := q.Stats()
		if len(st.Down) == 100 && st.Ready == *many-100 && st.Active == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%+v", st)
		}
	}
	if n := each(); n > most {
		t.Errorf("%d bytes for a message that waits for its destination", n)
	} else {
		t.Logf("%d bytes while they wait for their destinations, %d goroutines", n, runtime.NumGoroutine())
	}
	if n := runtime.NumGoroutine(); n > 100 {
		t.Errorf("%d goroutines", n)
	}
}
