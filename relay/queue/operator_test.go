package queue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"gatepost/relay/deliver"
	"gatepost/relay/spool"
)

// gate is a transport that lets nothing pass until it is opened.
type gate struct {
	counting
	open chan struct{}
}

func newGate(result deliver.Result) *gate {
	g := &gate{open: make(chan struct{})}
	g.does = func(ctx context.Context, _ string, to []int) []deliver.Result {
		select {
		case <-g.open:
		case <-ctx.Done():
		}
		return []deliver.Result{result}
	}
	return g
}

var (
	taken  = deliver.Result{Outcome: deliver.Delivered, Reply: "250 ok", Relay: "mx"}
	later4 = deliver.Result{Reply: "450 later", Relay: "mx"}
)

func hour(int) time.Duration { return time.Hour }

func where(t *testing.T, q *Queue, m *spool.Message) Place {
	t.Helper()
	p, ok := q.Where(m.ID())
	if all := q.Places(); ok && all[m].State != p.State {
		t.Errorf("Where says %v, Places %v", p.State, all[m].State)
	}
	return p
}

// TestDeferredCommands: what the operator can do with a message that waits for its time.
func TestDeferredCommands(t *testing.T) {
	s := openSpool(t, t.TempDir())
	x := &counting{Transport: answering{"a": later4}}
	q, _ := run(t, Config{Spool: s, Route: one(x), Schedule: hour})
	m := commit(t, s, spool.Envelope{}, "a-1@example.net")
	deferred := func(n int) {
		t.Helper()
		eventually(t, fmt.Sprintf("attempt %d has ended", n), func() bool { return x.count() == n && where(t, q, m).State == Deferred })
	}
	q.Add(m)
	deferred(1)
	if p := where(t, q, m); p.Reason != "mx: 450 later" || time.Until(p.Next) < 50*time.Minute {
		t.Errorf("%+v", p)
	}
	if n := q.Flush(); n != 1 {
		t.Errorf("Flush is about %d", n)
	}
	deferred(2)
	if n := q.Flush(m.ID(), "nonsense"); n != 1 {
		t.Errorf("Flush(id) is about %d", n)
	}
	deferred(3)
	if n := q.FlushDestination("Example.net"); n != 1 {
		t.Errorf("FlushDestination(domain) is about %d", n)
	}
	deferred(4)
	if n := q.FlushDestination("counting"); n != 1 {
		t.Errorf("FlushDestination(hop) is about %d", n)
	}
	deferred(5)
	if n := q.FlushDestination("example.org"); n != 0 {
		t.Errorf("FlushDestination(another) is about %d", n)
	}
	if err := q.Hold(m.ID(), "look at it"); err != nil {
		t.Fatal(err)
	}
	if p := where(t, q, m); p.State != Held || p.Reason != "look at it" || q.Stats().Deferred != 0 || q.Flush() != 0 {
		t.Errorf("%+v, %+v", p, q.Stats())
	}
	if err := q.Requeue(m.ID()); err != nil || m.Attempts() != 0 || !m.Held() {
		t.Errorf("%v, %d attempts", err, m.Attempts())
	}
	if err := q.Release(m.ID()); err != nil {
		t.Fatal(err)
	}
	deferred(6)
	if err := q.Release(m.ID()); !errors.Is(err, ErrNotHeld) || m.Attempts() != 1 {
		t.Errorf("%v, %d attempts", err, m.Attempts())
	}
	if err := q.Requeue(m.ID()); err != nil {
		t.Fatal(err)
	}
	deferred(7)
	if m.Attempts() != 1 || time.Since(m.Since()) > time.Minute || !m.Since().After(m.Arrived()) {
		t.Errorf("%d attempts, since %v", m.Attempts(), m.Since())
	}
	if err := q.Delete(m.ID()); err != nil || len(s.Messages()) != 0 || q.Stats().Deferred != 0 {
		t.Errorf("%v, %+v", err, q.Stats())
	}
	for name, err := range map[string]error{"Hold": q.Hold(m.ID(), ""), "Release": q.Release(m.ID()), "Delete": q.Delete(m.ID()), "Requeue": q.Requeue("?")} {
		if !errors.Is(err, ErrUnknown) {
			t.Errorf("%s of one that is gone: %v", name, err)
		}
	}
	if _, ok := q.Where(m.ID()); ok {
		t.Error("it is somewhere")
	}
}

// TestActiveCommands: a command during an attempt counts when the attempt has ended.
func TestActiveCommands(t *testing.T) {
	for _, test := range []struct {
		name   string
		result deliver.Result
		does   func(q *Queue, id string) error
		is     func(q *Queue, s *spool.Spool, x *gate) bool
	}{
		{"hold", later4, func(q *Queue, id string) error { return q.Hold(id, "") }, func(q *Queue, s *spool.Spool, x *gate) bool {
			return q.Stats().Held == 1 && q.Stats().Deferred == 0 && s.Messages()[0].Attempts() == 1
		}},
		{"hold, delivered", taken, func(q *Queue, id string) error { return q.Hold(id, "") }, func(q *Queue, s *spool.Spool, x *gate) bool {
			return len(s.Messages()) == 0 && q.Stats().Delivered == 1
		}},
		{"hold and release", later4, func(q *Queue, id string) error { return errors.Join(q.Hold(id, ""), q.Release(id)) }, func(q *Queue, s *spool.Spool, x *gate) bool {
			return x.count() == 2 && q.Stats().Deferred == 1 && q.Stats().Held == 0
		}},
		{"delete", later4, (*Queue).Delete, func(q *Queue, s *spool.Spool, x *gate) bool { return len(s.Messages()) == 0 && q.Stats().Deferred == 0 }},
		{"requeue", later4, func(q *Queue, id string) error {
			if err := q.Requeue(id); !errors.Is(err, ErrBusy) {
				return fmt.Errorf("not busy: %v", err)
			}
			return nil
		}, func(q *Queue, s *spool.Spool, x *gate) bool { return q.Stats().Deferred == 1 }},
		{"flush", later4, func(q *Queue, id string) error {
			if n := q.Flush(id); n != 0 {
				return errors.New("flushed")
			}
			return nil
		}, func(q *Queue, s *spool.Spool, x *gate) bool { return q.Stats().Deferred == 1 && x.count() == 1 }},
	} {
		s := openSpool(t, t.TempDir())
		x := newGate(test.result)
		q, _ := run(t, Config{Spool: s, Route: one(x), Schedule: hour})
		m := commit(t, s, spool.Envelope{}, "a@example.net")
		q.Add(m)
		eventually(t, "it is under way", func() bool { return x.count() == 1 })
		if p := where(t, q, m); p.State != Active || p.Destination != "counting" {
			t.Errorf("%s: %+v", test.name, p)
		}
		if err := test.does(q, m.ID()); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		close(x.open)
		eventually(t, test.name, func() bool { return q.Stats().Active == 0 && test.is(q, s, x) })
	}
}

// TestLaneCommands: what the operator can do with messages that wait for a destination
// which is down.
func TestLaneCommands(t *testing.T) {
	s := openSpool(t, t.TempDir())
	var mu sync.Mutex
	down := true
	x := &counting{does: func(context.Context, string, []int) []deliver.Result {
		mu.Lock()
		defer mu.Unlock()
		if down {
			return []deliver.Result{{Reply: "no answer", Relay: "mx", Down: true}}
		}
		return []deliver.Result{taken}
	}}
	q, _ := run(t, Config{Spool: s, Route: one(x), Schedule: hour, Pause: hour})
	var all []*spool.Message
	for i := range 6 {
		all = append(all, commit(t, s, spool.Envelope{}, fmt.Sprint(i, "@example.net")))
		q.Add(all[i])
	}
	eventually(t, "five wait", func() bool { st := q.Stats(); return len(st.Down) == 1 && st.Down[0].Waiting == 5 && st.Deferred == 1 })
	if p := where(t, q, all[5]); p.State != Deferred || p.Reason != "no answer" || p.Destination != "counting" || time.Until(p.Next) < 50*time.Minute {
		t.Errorf("%+v", p)
	}
	if err := errors.Join(q.Hold(all[1].ID(), ""), q.Delete(all[2].ID()), q.Requeue(all[3].ID())); err != nil {
		t.Fatal(err)
	}
	eventually(t, "three wait", func() bool { return q.Stats().Down[0].Waiting == 3 && q.Stats().Held == 1 && len(s.Messages()) == 5 })
	if n := q.Flush(all[5].ID()); n == 0 {
		t.Error("nothing is flushed")
	}
	eventually(t, "one has found that it is still down", func() bool { return x.count() == 2 && q.Stats().Down[0].Waiting == 2 })
	mu.Lock()
	down = false
	mu.Unlock()
	if n := q.Flush(); n != 4 {
		t.Errorf("Flush is about %d", n)
	}
	eventually(t, "all but the one on hold are delivered", func() bool { return q.Stats().Delivered == 4 && len(s.Messages()) == 1 })
	if err := q.Release(all[1].ID()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all are delivered", func() bool { return len(s.Messages()) == 0 })
}

// TestCommandsWhileDelivering has all commands given at random while messages are
// delivered, fail, wait and are late. In the end everybody has his message once, or it was
// deleted, or its sender has been told; and nothing is forgotten.
func TestCommandsWhileDelivering(t *testing.T) {
	s := openSpool(t, t.TempDir())
	hops := [3]*ledger{}
	for i := range hops {
		hops[i] = &ledger{name: fmt.Sprint("hop", i), got: map[string]int{}}
	}
	r := &told{}
	q, _ := run(t, Config{
		Spool: s, Report: r.report, MaxDeliveries: 8, PerDestination: 4,
		Route: func(_ context.Context, _, to string) (Route, error) {
			return Route{Transport: hops[int(to[1]-'0')%len(hops)]}, nil
		},
		Schedule: func(int) time.Duration { return rand.N(3 * time.Millisecond) },
		Pause:    func(int) time.Duration { return rand.N(3 * time.Millisecond) },
	})
	const messages = 300
	var mu sync.Mutex
	var ids []string
	deleted := map[string]bool{}
	some := func() string {
		mu.Lock()
		defer mu.Unlock()
		if len(ids) == 0 {
			return "none"
		}
		return ids[rand.IntN(len(ids))]
	}
	var done sync.WaitGroup
	stop := make(chan struct{})
	for worker := range 4 {
		done.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				switch id := some(); rand.IntN(8) {
				case 0:
					q.Flush()
				case 1:
					q.Flush(id, some())
				case 2:
					q.Hold(id, "by chance")
				case 3:
					q.Release(id)
				case 4:
					q.Requeue(id)
				case 5:
					if worker == 0 && rand.IntN(10) == 0 && q.Delete(id) == nil {
						mu.Lock()
						deleted[id] = true
						mu.Unlock()
					}
				case 6:
					q.Where(id)
					q.Places()
				case 7:
					q.FlushDestination([]string{"hop1", "a.example", "b.example"}[rand.IntN(3)])
				}
			}
		})
	}
	for range messages {
		m := commit(t, s, spool.Envelope{}, "u0@a.example", "u1@a.example", "u2@b.example")
		mu.Lock()
		ids = append(ids, m.ID())
		mu.Unlock()
		q.Add(m)
	}
	time.Sleep(300 * time.Millisecond)
	close(stop)
	done.Wait()
	for _, m := range s.Messages() {
		if err := q.Release(m.ID()); err != nil && !errors.Is(err, ErrNotHeld) && !errors.Is(err, ErrUnknown) {
			t.Error(err)
		}
	}
	eventually(t, "nothing is left", func() bool { return len(s.Messages()) == 0 })
	eventually(t, "the queue knows of nothing", func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		return len(q.entries) == 0 && len(q.later) == 0 && len(q.owed) == 0 && q.waiting.Load() == 0
	})
	got := map[string]int{}
	for _, l := range hops {
		for to, n := range l.got {
			if n != 1 {
				t.Errorf("%s got it %d times", to, n)
			}
			id, _, _ := strings.Cut(to, " ")
			got[id] += n
		}
	}
	for _, id := range ids {
		if got[id] != 3 && !deleted[id] {
			t.Errorf("%s was delivered to %d of 3", id, got[id])
		}
	}
	if len(r.String()) > 0 {
		t.Errorf("senders were told %s", r)
	}
}
