package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatepost/relay/deliver"
	"gatepost/relay/spool"
)

// TestWindow: how many deliveries go at once follows the answers.
func TestWindow(t *testing.T) {
	q := New(Config{Spool: openSpool(t, t.TempDir()), PerDestination: 8, Pause: hour, Log: quiet()})
	q.lanes.closed = true // nobody works
	l := q.lanes.get(Route{Destination: "mx"})
	defer func() { l.timer.Stop() }()
	begun := time.Now()
	for i, step := range []struct {
		state reach
		times int
		want  float64
		class class
	}{
		{unknown, 1, 0, fresh},
		{up, 1, 5, known},
		{up, 5, 6, known}, // one more when five have been answered
		{unknown, 9, 6, known},
		{up, 100, 8, known},
		{crowded, 1, 4, known},
		{crowded, 9, 1, known}, // it answers
		{up, 1, 2, known},
		{down, 1, 1, known},
		{down, 1, 0, dead},
		{up, 1, 5, known},
		{down, 3, 0, dead},
		{down, 1, 0, dead},
		{crowded, 1, 5, known},
		{hung, 1, 2.5, known}, // others have been answered
		{hung, 9, 1, known},
	} {
		for range step.times {
			l.settle(nil, begun, l.class() != known, step.state, "words")
		}
		if got := l.window; l.class() != step.class || got > step.want+0.3 || got < step.want-0.5 {
			t.Errorf("step %d: window %.2f, class %d", i, got, l.class())
		}
	}
}

// TestHung: a destination of which nobody has heard while an attempt timed out is down.
func TestHung(t *testing.T) {
	q := New(Config{Spool: openSpool(t, t.TempDir()), Pause: hour, Log: quiet()})
	q.lanes.closed = true // nobody works
	l := q.lanes.get(Route{Destination: "mx"})
	l.settle(nil, time.Now(), true, up, "")
	l.settle(nil, time.Now(), false, hung, "timeout")
	if l.class() != dead || l.reason != "timeout" {
		t.Errorf("class %d, window %v", l.class(), l.window)
	}
	l.timer.Stop()
}

func TestReachOf(t *testing.T) {
	answer := deliver.Result{Relay: "mx", Reply: "250 ok", Code: 250}
	full := deliver.Result{Relay: "mx", Reply: "421 too many", Code: 421}
	none := deliver.Result{Relay: "mx", Reply: "no answer", Down: true}
	silent := deliver.Result{Relay: "mx", Reply: "no answer", Silent: true}
	for name, test := range map[string]struct {
		results []deliver.Result
		want    reach
	}{
		"nothing": {nil, unknown}, "not asked": {[]deliver.Result{{Reply: "too large"}}, unknown},
		"answer": {[]deliver.Result{{}, answer}, up}, "421": {[]deliver.Result{answer, full, answer}, crowded},
		"hung": {[]deliver.Result{answer, silent, full}, hung},
		"down": {[]deliver.Result{full, none, answer}, down},
	} {
		if got, reason := reachOf(test.results); got != test.want || got >= hung && reason != "no answer" {
			t.Errorf("%s: %d, %q", name, got, reason)
		}
	}
}

// TestCrowded: a next hop that takes three connections and answers others with 421 gets all
// that there is, and is never taken for down.
func TestCrowded(t *testing.T) {
	s := openSpool(t, t.TempDir())
	var now, refused atomic.Int64
	x := &counting{does: func(context.Context, string, []int) []deliver.Result {
		defer now.Add(-1)
		if now.Add(1) > 3 {
			refused.Add(1)
			return []deliver.Result{{Reply: "421 too many connections", Code: 421, Relay: "mx"}}
		}
		time.Sleep(2 * time.Millisecond)
		return []deliver.Result{taken}
	}}
	const messages = 300
	for range messages {
		commit(t, s, spool.Envelope{}, "bob@example.net")
	}
	q, _ := run(t, Config{Spool: s, Route: one(x), Pause: hour})
	eventually(t, "all are delivered", func() bool { return q.Stats().Delivered == messages })
	if n := refused.Load(); n == 0 || n > messages/2 {
		t.Errorf("%d were refused", n)
	}
}

// TestSlowRoute: a domain whose route takes too long keeps others waiting once, not with
// every message.
func TestSlowRoute(t *testing.T) {
	s := openSpool(t, t.TempDir())
	const wait = 100 * time.Millisecond
	var slow atomic.Int64
	x := &counting{does: func(context.Context, string, []int) []deliver.Result { return []deliver.Result{taken} }}
	for i := range 50 {
		commit(t, s, spool.Envelope{}, fmt.Sprintf("%d@Slow.example", i))
		commit(t, s, spool.Envelope{}, fmt.Sprintf("%d@example.net", i))
	}
	begun := time.Now()
	q, _ := run(t, Config{Spool: s, RouteWait: wait, Schedule: hour, Route: func(ctx context.Context, sender, to string) (Route, error) {
		if sender != "alice@example.com" {
			t.Errorf("the sender is %q", sender)
		}
		if strings.HasSuffix(to, "Slow.example") {
			slow.Add(1)
			<-ctx.Done()
			return Route{}, errors.New("no answer in time")
		}
		return Route{Transport: x}, nil
	}})
	eventually(t, "the others are delivered", func() bool { return q.Stats().Delivered == 50 })
	eventually(t, "the slow ones wait", func() bool { return q.Stats().Deferred == 50 })
	if n := slow.Load(); n != 1 || time.Since(begun) > 20*wait {
		t.Errorf("%d lookups took %v", n, time.Since(begun))
	}
}
