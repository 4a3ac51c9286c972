package queue

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"gatepost/relay/deliver"
	"gatepost/relay/spool"
)

// TestFlushNewRoute: what waits for a next hop that is down takes the way that there is
// when it is flushed.
func TestFlushNewRoute(t *testing.T) {
	down := func(context.Context, string, []int) []deliver.Result {
		return []deliver.Result{{Reply: "no answer", Relay: "mx", Down: true}}
	}
	for name, flush := range map[string]func(*Queue, []*spool.Message){
		"all": func(q *Queue, _ []*spool.Message) { q.Flush() },
		"by id": func(q *Queue, all []*spool.Message) {
			for _, m := range all {
				q.Flush(m.ID())
			}
		},
		"by domain":   func(q *Queue, _ []*spool.Message) { q.FlushDestination("example.net") },
		"by next hop": func(q *Queue, _ []*spool.Message) { q.FlushDestination("old") },
	} {
		t.Run(name, func(t *testing.T) {
			s := openSpool(t, t.TempDir())
			x := &counting{does: down}
			y := &counting{does: func(context.Context, string, []int) []deliver.Result { return []deliver.Result{taken} }}
			var moved atomic.Bool
			q, _ := run(t, Config{Spool: s, Schedule: hour, Pause: hour, Route: func(context.Context, string, string) (Route, error) {
				if moved.Load() {
					return Route{y, "new"}, nil
				}
				return Route{x, "old"}, nil
			}})
			var all []*spool.Message
			for i := range 10 {
				all = append(all, commit(t, s, spool.Envelope{}, fmt.Sprint(i, "@example.net")))
				q.Add(all[i])
			}
			eventually(t, "they wait", func() bool { st := q.Stats(); return len(st.Down) == 1 && st.Down[0].Waiting == 9 && st.Deferred == 1 })
			moved.Store(true)
			flush(q, all)
			eventually(t, "all go the new way", func() bool { return len(s.Messages()) == 0 || name == "by next hop" && len(s.Messages()) == 1 })
			if x.count() != 1 {
				t.Errorf("the old next hop is asked %d times", x.count())
			}
		})
	}
}

// TestNewRouteByItself: what waits for a next hop that is down finds another way without
// the operator.
func TestNewRouteByItself(t *testing.T) {
	s := openSpool(t, t.TempDir())
	x := &counting{does: func(context.Context, string, []int) []deliver.Result {
		return []deliver.Result{{Reply: "no answer", Relay: "mx", Down: true}}
	}}
	y := &counting{does: func(context.Context, string, []int) []deliver.Result { return []deliver.Result{taken} }}
	var moved atomic.Bool
	q, _ := run(t, Config{Spool: s, Route: func(context.Context, string, string) (Route, error) {
		if moved.Load() {
			return Route{y, "new"}, nil
		}
		return Route{x, "old"}, nil
	}})
	const messages = 500
	for i := range messages {
		q.Add(commit(t, s, spool.Envelope{}, fmt.Sprint(i, "@example.net")))
	}
	eventually(t, "they wait", func() bool { st := q.Stats(); return len(st.Down) == 1 && x.count() > 5 })
	moved.Store(true)
	before := x.count()
	eventually(t, "all go the new way", func() bool { return len(s.Messages()) == 0 })
	if n := x.count() - before; n > 10 {
		t.Errorf("the old next hop is asked %d times more", n)
	}
}

// TestRoutePanic: a panic of the lookup of a route costs one message an attempt.
func TestRoutePanic(t *testing.T) {
	s := openSpool(t, t.TempDir())
	y := &counting{does: func(context.Context, string, []int) []deliver.Result { return []deliver.Result{taken} }}
	commit(t, s, spool.Envelope{}, "bad@example.net")
	commit(t, s, spool.Envelope{}, "good@example.net")
	q, _ := run(t, Config{Spool: s, Schedule: hour, Route: func(_ context.Context, _, to string) (Route, error) {
		if to == "bad@example.net" {
			panic("oops")
		}
		return Route{Transport: y}, nil
	}})
	eventually(t, "the other one is delivered", func() bool { st := q.Stats(); return st.Delivered == 1 && st.Deferred == 1 })
}
