package queue

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"gatepost/relay/deliver"
	"gatepost/relay/spool"
)

// ledger counts what each recipient of each message has got, and now and then is down,
// slow, or has no time.
type ledger struct {
	name string
	mu   sync.Mutex
	got  map[string]int
}

func (l *ledger) String() string { return l.name }

func (l *ledger) Deliver(ctx context.Context, _ string, m deliver.Message, to []int) []deliver.Result {
	env := m.Envelope()
	results := make([]deliver.Result, len(to))
	down := rand.IntN(40) == 0
	for n, i := range to {
		time.Sleep(rand.N(200 * time.Microsecond))
		switch {
		case down || ctx.Err() != nil:
			results[n] = deliver.Result{Reply: "cannot connect", Relay: l.name, Down: down}
		case rand.IntN(4) == 0:
			results[n] = deliver.Result{Reply: "450 later", Relay: l.name}
		default:
			l.mu.Lock()
			l.got[env.ID+" "+env.Recipients[i].Address]++
			l.mu.Unlock()
			results[n] = deliver.Result{Outcome: deliver.Delivered, Reply: "250 yes", Relay: l.name}
		}
	}
	return results
}

// TestNothingTwice ends and starts the queue again and again, with its spool, while it
// delivers to several destinations that are not always up. In the end everybody has
// everything, once.
func TestNothingTwice(t *testing.T) {
	dir := t.TempDir()
	hops := [3]*ledger{}
	for i := range hops {
		hops[i] = &ledger{name: fmt.Sprint("hop", i), got: map[string]int{}}
	}
	route := func(_ context.Context, _, to string) (Route, error) {
		if rand.IntN(100) == 0 {
			return Route{}, fmt.Errorf("the table cannot be asked")
		}
		return Route{Transport: hops[int(to[1]-'0')%len(hops)]}, nil
	}
	const recipients = 4
	want := 0
	for life := 0; ; life++ {
		s := openSpool(t, dir)
		q := New(Config{
			Spool: s, Route: route, PerDestination: 3, Log: slog.New(slog.DiscardHandler), Drain: rand.N(3 * time.Millisecond),
			Schedule: func(int) time.Duration { return rand.N(3 * time.Millisecond) },
			Pause:    func(int) time.Duration { return rand.N(3 * time.Millisecond) },
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { q.Run(ctx); close(done) }()
		for range 20 {
			if life >= 15 {
				break
			}
			q.Add(commit(t, s, spool.Envelope{}, "u0@a.example", "u1@a.example", "u2@a.example", "u3@a.example"))
			want++
		}
		if life == 25 {
			eventually(t, "all are delivered", func() bool { return len(s.Messages()) == 0 })
		} else {
			time.Sleep(rand.N(30 * time.Millisecond))
		}
		cancel()
		<-done
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if life == 25 {
			break
		}
	}
	all := 0
	for _, l := range hops {
		for to, n := range l.got {
			if all++; n != 1 {
				t.Errorf("%s got it %d times", to, n)
			}
		}
	}
	if all != want*recipients {
		t.Errorf("%d recipients have their message, want %d", all, want*recipients)
	}
}
