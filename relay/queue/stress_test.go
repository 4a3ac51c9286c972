package queue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"gatepost/relay/bounce"
	"gatepost/relay/deliver"
	"gatepost/relay/spool"
)

// TestCommandsWhileFailing has commands given at random while recipients are delivered,
// put off and refused, and while reports fail. In the end each recipient has the message
// once and nobody was told, or his sender was told that he will not get it.
func TestCommandsWhileFailing(t *testing.T) {
	s := openSpool(t, t.TempDir())
	var mu sync.Mutex
	delivered, told := map[string]int{}, map[string]int{}
	key := func(id string, to int) string { return fmt.Sprint(id, " ", to) }
	x := &counting{does: func(_ context.Context, id string, to []int) []deliver.Result {
		results := make([]deliver.Result, len(to))
		mu.Lock()
		defer mu.Unlock()
		down := rand.IntN(6) == 0
		for n, i := range to {
			results[n] = deliver.Result{Relay: "mx", Reply: "450 later", Down: down}
			switch k := rand.IntN(4); {
			case down:
			case k == 0:
				results[n] = deliver.Result{Relay: "mx", Outcome: deliver.Failed, Reply: "550 no"}
			case k == 1:
				results[n] = deliver.Result{Relay: "mx", Outcome: deliver.Delivered, Reply: "250 ok"}
				delivered[key(id, i)]++
			}
		}
		return results
	}}
	q, _ := run(t, Config{
		Spool: s, Route: func(_ context.Context, _, to string) (Route, error) {
			return Route{x, string(to[1])}, nil
		},
		Report: func(_ context.Context, r *bounce.Report) ([]*spool.Message, error) {
			if rand.IntN(2) == 0 {
				return nil, spool.ErrFull
			}
			mu.Lock()
			defer mu.Unlock()
			for _, i := range r.Recipients {
				told[key(r.Envelope.ID, i)]++
			}
			return nil, nil
		},
		Schedule: func(int) time.Duration { return rand.N(3 * time.Millisecond) },
		Pause:    func(int) time.Duration { return rand.N(3 * time.Millisecond) },
	})
	const messages, recipients = 200, 3
	var all []*spool.Message
	for range messages {
		m := commit(t, s, spool.Envelope{}, "u0@a.example", "u1@a.example", "u2@b.example")
		all = append(all, m)
		q.Add(m)
	}
	stop := make(chan struct{})
	var done sync.WaitGroup
	for range 3 {
		done.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				switch id := all[rand.IntN(messages)].ID(); rand.IntN(6) {
				case 0:
					q.Flush()
				case 1:
					q.Hold(id, "by chance")
				case 2, 3:
					q.Release(id)
				case 4:
					q.Requeue(id)
				case 5:
					q.FlushDestination("a.example")
				}
			}
		})
	}
	time.Sleep(200 * time.Millisecond)
	close(stop)
	done.Wait()
	for _, m := range s.Messages() {
		if err := q.Release(m.ID()); err != nil && !errors.Is(err, ErrNotHeld) && !errors.Is(err, ErrUnknown) {
			t.Error(err)
		}
	}
	eventually(t, "nothing is left", func() bool { return len(s.Messages()) == 0 })
	mu.Lock()
	defer mu.Unlock()
	for _, m := range all {
		for i := range recipients {
			if d, n := delivered[key(m.ID(), i)], told[key(m.ID(), i)]; d+n != 1 {
				t.Errorf("recipient %d of %s: delivered %d times, told of %d times", i, m.ID(), d, n)
			}
		}
	}
}
