package queue

import (
	"sync"
	"time"
)

// lanes are all destinations, and those who work for them: a lane that may begin an
// attempt waits in a list for a worker, and each takes its turn with one attempt.
type lanes struct {
	q  *Queue
	mu sync.Mutex

	all    map[Route]*lane
	slots  []*lane // by lane.slot; nil: free
	spare  []int32 // free slots
	ready  [classes]line
	places [classes]places

	cond          sync.Cond // of idle workers
	workers, idle int
	closed        bool
	done          sync.WaitGroup
	looked        time.Time // for those to be forgotten
}

func (s *lanes) init(q *Queue) {
	s.q, s.all = q, map[Route]*lane{}
	s.cond.L = &s.mu
	n := q.config.MaxDeliveries
	s.places[known].most, s.places[fresh].most, s.places[dead].most = n, (n+1)/2, (n+1)/2
}

// get returns the lane of a route; s.mu is held.
func (s *lanes) get(r Route) *lane {
	l := s.all[r]
	if l == nil {
		l = &lane{q: s.q, route: r, slot: s.slot()}
		s.all[r], s.slots[l.slot] = l, l
	}
	return l
}

// slot is a free one.
func (s *lanes) slot() int32 {
	if n := len(s.spare); n > 0 {
		slot := s.spare[n-1]
		s.spare = s.spare[:n-1]
		return slot
	}
	s.slots = append(s.slots, nil)
	return int32(len(s.slots) - 1)
}

// list has a lane looked at when an attempt may begin; s.mu is held.
func (s *lanes) list(l *lane) {
	if l.listed || !l.ready() {
		return
	}
	l.listed = true
	s.ready[l.class()].push(l)
	s.call()
}

// call has a worker come if there is something to do for one.
func (s *lanes) call() {
	for c := range s.ready {
		if s.ready[c].n == 0 || s.closed || !s.free(class(c)) {
			continue
		}
		if s.idle > 0 {
			s.cond.Signal()
		} else if s.workers < s.mostWorkers() {
			s.workers++
			s.done.Go(s.work)
		}
		return
	}
}

// mostWorkers is how many attempts may be under way at once, those that are slow included.
func (s *lanes) mostWorkers() int {
	return 2 * (s.places[known].most + s.places[fresh].most + s.places[dead].most)
}

// work makes one attempt after another. There are never more workers than attempts under
// way at once, and they stay.
func (s *lanes) work() {
	for {
		t, ok := s.next()
		if !ok {
			return
		}
		state, reason := s.q.attempt(t)
		s.mu.Lock()
		s.places[t.class].leave(t)
		s.mu.Unlock()
		t.lane.settle(t.e, t.begun, t.probe, state, reason)
	}
}

// turn is an attempt to be made.
type turn struct {
	place
	lane  *lane
	class class
	probe bool
	begun time.Time
	slow  bool // under lanes.mu
	hurry bool // it must not wait for long
}

// next waits for one.
func (s *lanes) next() (*turn, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed {
		if t, ok := s.pick(); ok {
			s.call() // others may have something to do too
			return t, true
		}
		s.idle++
		s.cond.Wait()
		s.idle--
	}
	return nil, false
}

// pick takes the turn of the first lane that is ready.
func (s *lanes) pick() (*turn, bool) {
	for c := class(0); c < classes; {
		if s.ready[c].n == 0 || !s.free(c) {
			c++
			continue
		}
		l := s.ready[c].pop()
		l.listed = false
		switch now := l.class(); {
		case !l.ready():
			continue
		case now != c: // it has come up meanwhile, or gone down
			l.listed = true
			s.ready[now].push(l)
			c = min(c, now)
			continue
		}
		p := &s.places[c]
		t := &turn{place: l.shift(), lane: l, class: c, probe: c != known, begun: time.Now(), hurry: p.crowded()}
		l.doing = append(l.doing, t.e)
		l.probing = t.probe
		p.taken = append(p.taken, t)
		if l.ready() {
			l.listed = true
			s.ready[c].push(l)
		}
		return t, true
	}
	return nil, false
}

// close ends the workers, and waits for them.
func (s *lanes) close() {
	s.mu.Lock()
	s.closed = true
	for _, l := range s.all {
		if l.timer != nil {
			l.timer.Stop()
		}
	}
	for c := range s.places {
		if t := s.places[c].timer; t != nil {
			t.Stop()
		}
	}
	s.cond.Broadcast()
	s.mu.Unlock()
	s.done.Wait()
}

// forget drops those that have had nothing to do for a while.
func (s *lanes) forget(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.looked) < laneIdle/4 {
		return
	}
	s.looked = now
	for r, l := range s.all {
		idle := laneIdle
		if l.failures > 0 {
			idle = downIdle
		}
		if l.waiting() == 0 && len(l.doing) == 0 && now.Sub(l.used) > idle {
			if l.timer != nil {
				l.timer.Stop()
			}
			delete(s.all, r)
			s.slots[l.slot], s.spare = nil, append(s.spare, l.slot)
		}
	}
}

func (s *lanes) stats(st *Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Destinations = len(s.all)
	for c := range s.places {
		st.Active += len(s.places[c].taken) + s.places[c].slow
	}
	for _, l := range s.all {
		st.Ready += l.waiting()
		if l.failures > 0 {
			st.Down = append(st.Down, Down{Destination: l.String(), Since: l.since, Until: l.until, Reason: l.reason, Waiting: l.waiting()})
		}
	}
}

// line is a list of lanes, first come, first served.
type line struct {
	lanes   []*lane
	head, n int
}

func (q *line) push(l *lane) {
	q.lanes = append(q.lanes, l)
	q.n++
}

func (q *line) pop() *lane {
	l := q.lanes[q.head]
	q.lanes[q.head] = nil
	q.head++
	q.n--
	if q.head > 64 && q.head > len(q.lanes)/2 {
		k := copy(q.lanes, q.lanes[q.head:])
		clear(q.lanes[k:])
		q.lanes, q.head = q.lanes[:k], 0
	}
	return l
}
