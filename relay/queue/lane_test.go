package queue

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatepost/relay/deliver"
	"gatepost/relay/spool"
)

// nobody is an address at which nobody listens.
func nobody(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// TestDown: while the next hop is down it is asked once for each pause, however many
// messages wait for it. When it is up again all are delivered.
func TestDown(t *testing.T) {
	addr := nobody(t)
	s := openSpool(t, t.TempDir())
	x := &counting{Transport: smtpTo(t, addr)}
	const messages, pause = 200, 100 * time.Millisecond
	for range messages {
		commit(t, s, spool.Envelope{}, "bob@example.net")
	}
	q, _ := run(t, Config{Spool: s, Route: one(x), PerDestination: 5, Pause: func(int) time.Duration { return pause }})
	begun := time.Now()
	time.Sleep(5 * pause)
	attempts, most := x.count(), 5+int(time.Since(begun)/pause)
	if attempts > most || attempts < 3 {
		t.Errorf("%d attempts, at most %d were to be made", attempts, most)
	}
	st := q.Stats()
	if len(st.Down) != 1 || st.Down[0].Destination != "counting" || st.Down[0].Reason != "cannot connect: connection refused" || st.Down[0].Waiting < messages-attempts {
		t.Errorf("%+v", st)
	}
	p := &peer{}
	p.start(t, addr)
	eventually(t, "all are delivered", func() bool { return q.Stats().Delivered == messages })
	if st := q.Stats(); len(st.Down) != 0 || len(p.all()) != messages || len(s.Messages()) != 0 {
		t.Errorf("%+v, %d at the peer", st, len(p.all()))
	}
}

// TestDownAlone: another destination, and other recipients of the same message, do not
// wait for the one that is down.
func TestDownAlone(t *testing.T) {
	s := openSpool(t, t.TempDir())
	down := smtpTo(t, nobody(t))
	base := t.TempDir()
	local, err := deliver.NewMaildir(base+"/%u", "mx")
	if err != nil {
		t.Fatal(err)
	}
	busy := true
	var mu sync.Mutex
	odd := &counting{does: func(context.Context, string, []int) []deliver.Result {
		mu.Lock()
		defer mu.Unlock()
		if busy {
			busy = false
			return []deliver.Result{{Reply: "450 busy"}}
		}
		return []deliver.Result{{Outcome: deliver.Delivered, Reply: "250 ok"}}
	}}
	route := func(_ context.Context, _, to string) (Route, error) {
		switch {
		case strings.HasSuffix(to, ".org"):
			return Route{Transport: down}, nil
		case strings.HasSuffix(to, ".com"):
			return Route{Transport: odd}, nil
		}
		return Route{Transport: local}, nil
	}
	q, _ := run(t, Config{Spool: s, Route: route, Pause: func(int) time.Duration { return time.Minute }})
	q.Add(commit(t, s, spool.Envelope{}, "first@example.org"))
	eventually(t, "the destination is down", func() bool { return len(q.Stats().Down) == 1 })
	m := commit(t, s, spool.Envelope{}, "x@example.org", "bob@example.net", "y@example.com")
	q.Add(m)
	eventually(t, "all but one are delivered", func() bool { return q.Stats().Delivered == 2 })
	if got := states(t, m); !strings.HasPrefix(got, "x@example.org pending \nbob@example.net delivered stored as ") {
		t.Errorf("the spool says %s", got)
	}
	files, _ := filepath.Glob(base + "/bob/new/*")
	if len(files) != 1 {
		t.Fatalf("bob has %v", files)
	}
	if got, err := os.ReadFile(files[0]); err != nil || !strings.HasSuffix(string(got), strings.ReplaceAll(body4k, "\r\n", "\n")) {
		t.Errorf("bob has %q, %v", got, err)
	}
}

// TestDownExpires: a message is ended when its time is over, though its destination is
// asked for others only.
func TestDownExpires(t *testing.T) {
	s := openSpool(t, t.TempDir())
	for range 20 {
		commit(t, s, spool.Envelope{}, "bob@example.net")
	}
	r := &told{}
	q, _ := run(t, Config{
		Spool: s, Route: one(smtpTo(t, nobody(t))), Report: r.report, PerDestination: 1,
		Lifetime: 200 * time.Millisecond, Schedule: func(int) time.Duration { return time.Hour },
	})
	eventually(t, "all that had no attempt are ended", func() bool { return q.Stats().Failed >= 10 && q.Stats().Ready == 0 })
	eventually(t, "all are counted", func() bool { return uint64(len(s.Messages())) == 20-q.Stats().Failed })
	for _, line := range strings.Split(r.String(), "\n") {
		if line != "failure bob@example.net failed 4.4.7 not delivered within 200ms: cannot connect: connection refused" {
			t.Errorf("the sender is told %s", line)
		}
	}
	if q.Stats().Held != 0 {
		t.Errorf("%+v", q.Stats())
	}
}

// TestConcurrency: no more than the limit go to one destination at once, and a
// destination that hangs delays no other.
func TestConcurrency(t *testing.T) {
	s := openSpool(t, t.TempDir())
	var mu sync.Mutex
	now, most := 0, 0
	var answered atomic.Bool
	hang := &counting{does: func(ctx context.Context, _ string, _ []int) []deliver.Result {
		if !answered.Swap(true) {
			return []deliver.Result{{Outcome: deliver.Delivered, Reply: "250 ok", Relay: "hang"}}
		}
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		<-ctx.Done()
		mu.Lock()
		now--
		mu.Unlock()
		return []deliver.Result{{Reply: "given up"}}
	}}
	p := &peer{}
	p.start(t, "127.0.0.1:0")
	x := smtpTo(t, p.addr)
	for i := range 60 {
		commit(t, s, spool.Envelope{}, fmt.Sprintf("%d@example.%d", i, i%2))
	}
	q, stop := run(t, Config{Spool: s, PerDestination: 3, Drain: 50 * time.Millisecond, Route: func(_ context.Context, _, to string) (Route, error) {
		if strings.HasSuffix(to, "0") {
			return Route{Transport: hang}, nil
		}
		return Route{Transport: x}, nil
	}})
	eventually(t, "the others are delivered", func() bool { return q.Stats().Delivered == 31 })
	eventually(t, "the limit is reached", func() bool { return q.Stats().Active == 3 })
	if st := q.Stats(); st.Ready != 26 {
		t.Errorf("%+v", st)
	}
	begun := time.Now()
	stop()
	if most != 3 || time.Since(begun) > 5*time.Second {
		t.Errorf("%d at once; stopped after %v", most, time.Since(begun))
	}
	// Those that were given up are written down as deferred, and the rest is as it was.
	if left := s.Messages(); len(left) != 29 || q.Stats().Retried != 3 {
		t.Errorf("%d left, %+v", len(left), q.Stats())
	}
}

// TestStopWaits: a delivery that ends in time is waited for and written down.
func TestStopWaits(t *testing.T) {
	s := openSpool(t, t.TempDir())
	commit(t, s, spool.Envelope{}, "bob@example.net")
	x := &counting{does: func(ctx context.Context, _ string, _ []int) []deliver.Result {
		time.Sleep(100 * time.Millisecond)
		if ctx.Err() != nil {
			t.Error("it was given up")
		}
		return []deliver.Result{{Outcome: deliver.Delivered, Reply: "250 ok"}}
	}}
	q, stop := run(t, Config{Spool: s, Route: one(x)})
	eventually(t, "it is under way", func() bool { return q.Stats().Active == 1 })
	stop()
	if len(s.Messages()) != 0 || q.Stats().Delivered != 1 {
		t.Errorf("%+v", q.Stats())
	}
}

// TestForgetLanes: a destination that is not used any more is forgotten, one that is down
// later.
func TestForgetLanes(t *testing.T) {
	s := openSpool(t, t.TempDir())
	commit(t, s, spool.Envelope{}, "bob@example.net")
	x := &counting{does: func(context.Context, string, []int) []deliver.Result {
		return []deliver.Result{{Outcome: deliver.Delivered, Reply: "250 ok"}}
	}}
	q, stop := run(t, Config{Spool: s, Route: one(x)})
	eventually(t, "it is delivered", func() bool { return len(s.Messages()) == 0 && q.Stats().Active == 0 })
	stop()
	l := q.lanes.all[Route{Transport: x}]
	now := time.Now()
	for _, step := range []struct {
		failures int
		idle     time.Duration
		left     int
	}{{0, laneIdle / 2, 1}, {1, 2 * laneIdle, 1}, {1, 2 * downIdle, 0}, {0, 2 * laneIdle, 0}} {
		q.lanes.all[l.route] = l
		l.failures, l.used, q.lanes.looked = step.failures, now.Add(-step.idle), time.Time{}
		if q.lanes.forget(now); len(q.lanes.all) != step.left {
			t.Errorf("%+v: %d lanes", step, len(q.lanes.all))
		}
	}
}

func TestSchedule(t *testing.T) {
	within := func(got, want time.Duration) bool { return got >= want && got <= want+want/10 }
	for i, want := range []time.Duration{time.Minute, time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, time.Hour} {
		if got := DefaultSchedule(i); !within(got, want) {
			t.Errorf("after attempt %d: %v", i, got)
		}
	}
	for i, want := range []time.Duration{15 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 5 * time.Minute} {
		if got := DefaultPause(i); !within(got, want) {
			t.Errorf("after failure %d: %v", i, got)
		}
	}
}
