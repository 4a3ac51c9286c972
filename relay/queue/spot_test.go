package queue

import (
	"math/rand/v2"
	"slices"
	"testing"

	"gatepost/relay/spool"
)

// TestSpots: entries know where in a lane they wait, whatever is taken out of it.
func TestSpots(t *testing.T) {
	q := New(Config{Spool: openSpool(t, t.TempDir()), Log: quiet()})
	q.lanes.closed = true // nobody works
	q.lanes.get(Route{Destination: "other"})
	l := q.lanes.get(Route{Destination: "mx"})
	l.base = ^uint32(0) - 500 // numbers begin anew after the greatest
	var want []*entry
	random := rand.New(rand.NewPCG(1, 2))
	for step := range 30_000 {
		growing := step/3000%2 == 0
		switch n := random.IntN(10); {
		case n < 5 && growing, n == 0, len(want) == 0:
			e := &entry{m: &spool.Message{}, at: inRound}
			q.push(l.route, &job{round: &round{entry: e, parts: 1}, to: []int{0}})
			want = append(want, e)
		case n < 7:
			if p := l.shift(); p.e != want[0] || p.e.next != nowhere {
				t.Fatalf("step %d: another one is the first", step)
			} else if p.j != nil {
				p.j.uncount(q)
			}
			want = want[1:]
		default:
			i := random.IntN(len(want))
			if e := want[i]; !q.lanes.withdraw(e) || q.lanes.withdraw(e) {
				t.Fatalf("step %d: it is not found, or twice", step)
			}
			want = slices.Delete(want, i, i+1)
		}
		if l.waiting() != len(want) || int(q.waiting.Load()) != min(len(want), loaded) && len(want) < loaded {
			t.Fatalf("step %d: %d wait, %d are counted, want %d", step, l.waiting(), q.waiting.Load(), len(want))
		}
	}
	for i, e := range want {
		if at, k := q.lanes.find(e); at != l || l.jobs[k].e != e || i > 0 && k <= slices.IndexFunc(l.jobs, func(p place) bool { return p.e == want[i-1] }) {
			t.Fatalf("the %d-th one is not where it says", i)
		}
	}
	if len(l.jobs)-l.head > 2*len(want)+200 {
		t.Errorf("room for %d, %d wait", len(l.jobs)-l.head, len(want))
	}
}
