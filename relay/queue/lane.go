package queue

import (
	"slices"
	"time"

	"gatepost/relay/deliver"
)

// startWindow is how many deliveries go at once to a destination that has just answered.
const startWindow = 5

// class of a destination: each has places of its own, so that those that do not answer
// keep none from those that do.
type class uint8

const (
	known   class = iota // has answered
	fresh                // nothing is known of it yet: one attempt finds out
	dead                 // could not be reached: one attempt after each pause
	classes = iota
)

// lane is where the jobs for one destination wait, in their order. All of it is under
// lanes.mu.
type lane struct {
	q     *Queue
	route Route

	slot   int32   // in lanes.slots
	jobs   []place // from head; those without an entry were taken out
	head   int
	holes  int      // of those
	base   uint32   // the number of jobs[0]; see spot
	doing  []*entry // attempts under way, those from before a failure included
	listed bool     // it is in lanes.ready
	used   time.Time

	heard    time.Time // an answer
	window   float64   // attempts that may be under way; 0: it has not answered yet
	failures int       // in a row; over 0 the destination is down
	since    time.Time
	until    time.Time
	planned  time.Time // when the ways of those that wait were looked up last
	reason   string
	probing  bool // the one attempt of a destination that is not known is under way
	timer    *time.Timer
}

// place is a job in a lane. While many wait there is no more of it than its entry; what
// else belongs to it is found again when its turn comes.
type place struct {
	e *entry
	j *job // nil: to be made of e, for all of its recipients
}

func (l *lane) class() class {
	switch {
	case l.failures > 0:
		return dead
	case l.window == 0:
		return fresh
	}
	return known
}

func (l *lane) waiting() int { return len(l.jobs) - l.head - l.holes }

// ready tells whether an attempt may begin.
func (l *lane) ready() bool {
	if l.waiting() == 0 {
		return false
	}
	switch l.class() {
	case known:
		return len(l.doing) < int(l.window) && (len(l.doing) == 0 || !l.q.lanes.pressed() || l.lively())
	case fresh:
		return !l.probing
	}
	return !l.probing && !time.Now().Before(l.until)
}

// shift takes the first job.
func (l *lane) shift() place {
	for l.jobs[l.head].e == nil {
		l.head++
		l.holes--
	}
	p := l.jobs[l.head]
	l.jobs[l.head] = place{}
	if p.e.next != spread {
		p.e.next = nowhere
	}
	if l.head++; l.head > 64 && l.head > len(l.jobs)/2 {
		n := copy(l.jobs, l.jobs[l.head:])
		clear(l.jobs[n:])
		l.base += uint32(l.head)
		l.jobs, l.head = l.jobs[:n], 0
		if cap(l.jobs) > 1024 && cap(l.jobs) > 4*n {
			l.jobs = slices.Clone(l.jobs)
		}
	}
	return p
}

// paused tells whether the destination is left alone at the moment.
func (l *lane) paused(now time.Time) bool { return l.failures > 0 && now.Before(l.until) }

// push adds a job.
func (q *Queue) push(r Route, j *job) {
	s := &q.lanes
	now := time.Now()
	s.mu.Lock()
	l := s.get(r)
	l.used = now
	paused := l.paused(now)
	if paused && j.round.entry.has(urgent) {
		l.lift(now)
		paused = false
	}
	if paused && (j.round.parts > 1 || q.mustEnd(j.round.entry, now)) {
		until, reason, name := l.until, l.reason, l.String()
		s.mu.Unlock()
		q.postpone(j, until, name, reason)
		return
	}
	p := place{j.round.entry, j}
	if paused || q.waiting.Load() >= loaded {
		p.unload(q)
	} else {
		q.waiting.Add(1)
		j.counted = true
	}
	l.jobs = append(l.jobs, p)
	l.number(len(l.jobs) - 1)
	s.list(l)
	s.mu.Unlock()
}

// unload forgets what can be found again.
func (p *place) unload(q *Queue) {
	if p.j == nil {
		return
	}
	p.j.uncount(q)
	if p.j.round.parts > 1 {
		p.j.round.unload()
		return
	}
	p.j = nil
}

// reach is what an attempt tells of its destination.
type reach uint8

const (
	unknown reach = iota // it was not asked
	up
	crowded // it answers, and wants fewer connections at once (421)
	hung    // it did not answer in time
	down
)

// reachOf is what results tell, and the words of a failure.
func reachOf(results []deliver.Result) (state reach, reason string) {
	for i := range results {
		switch r := &results[i]; {
		case r.Down:
			state, reason = down, r.Reply
		case r.Silent && state != down:
			state, reason = hung, r.Reply
		case r.Code == 421 && state < crowded:
			state = crowded
		case r.Relay != "" && state == unknown:
			state = up
		}
	}
	return state, reason
}

// settle learns from an attempt. While the destination is down, or nothing is known of it,
// only the probe counts: what began before can tell nothing new.
func (l *lane) settle(e *entry, begun time.Time, probe bool, state reach, reason string) {
	s := &l.q.lanes
	s.mu.Lock()
	if i := slices.Index(l.doing, e); i >= 0 {
		l.doing = slices.Delete(l.doing, i, i+1)
	}
	if probe {
		l.probing = false
	}
	now := time.Now()
	l.used = now
	if state == hung && (l.class() != known || !l.heard.After(begun)) {
		state, l.window = down, min(l.window, 1) // nobody else has heard from it in all that time
	}
	if state == up || state == crowded {
		l.heard = now
	}
	switch {
	case l.class() != known && !probe, state == unknown:
		s.list(l)
		s.mu.Unlock()
	case l.class() != known && state != down:
		l.answered(now)
	case state == up:
		// One more when each of those under way has been answered.
		l.window = min(l.window+1/l.window, float64(l.q.config.PerDestination))
		s.list(l)
		s.mu.Unlock()
	case state < down || l.class() == known && l.window >= 2:
		l.window = max(1, l.window/2)
		s.list(l)
		s.mu.Unlock()
	default:
		l.pause(reason, now)
	}
}

// answered begins with a destination that has answered for the first time, or again. It is
// called with lanes.mu held, and lets it go.
func (l *lane) answered(now time.Time) {
	back := l.failures > 0
	l.failures, l.window = 0, float64(min(startWindow, l.q.config.PerDestination))
	since, waiting, name := l.since, l.waiting(), l.String()
	l.q.lanes.list(l)
	l.q.lanes.mu.Unlock()
	if back {
		l.q.config.Log.Info("destination is up again", "destination", name, "down", now.Sub(since).Round(time.Second), "waiting", waiting)
	}
}

// pause leaves the destination alone for a while. It is called with lanes.mu held, and
// lets it go.
func (l *lane) pause(reason string, now time.Time) {
	if l.failures++; l.failures == 1 {
		l.since, l.planned = now, now
	}
	failures, pause, name := l.failures, l.q.config.Pause(l.failures), l.String()
	until := now.Add(pause)
	l.until, l.reason, l.window = until, reason, 0
	l.wakeAfter(pause)
	gone, waiting := l.sift(now), l.waiting()
	var out []*entry
	if since := now.Sub(l.planned); failures > 1 && since >= l.q.config.Schedule(failures) {
		// There may be another way for them by now.
		l.planned, out = now, l.empty()
	}
	l.q.lanes.mu.Unlock()
	l.q.config.Log.Warn("destination is down", "destination", name, "reason", reason, "failures", failures, "pause", pause.Round(time.Millisecond), "waiting", waiting)
	for _, p := range gone {
		l.q.leave(p, until, name, reason)
	}
	l.q.redispatch(out)
}

func (l *lane) wakeAfter(d time.Duration) {
	if l.timer != nil {
		l.timer.Stop()
	}
	l.timer = time.AfterFunc(d, func() {
		l.q.lanes.mu.Lock()
		l.q.lanes.list(l)
		l.q.lanes.mu.Unlock()
	})
}

// lift ends a pause: one attempt may find out now.
func (l *lane) lift(now time.Time) {
	if l.paused(now) {
		l.until = now
		l.timer.Stop()
		l.q.lanes.list(l)
	}
}

// sift takes out the jobs that must not wait here for as long as the destination is down:
// those that are to be ended or warned of, and those that keep other recipients of their
// message waiting.
func (l *lane) sift(now time.Time) (gone []place) {
	kept := l.jobs[:0]
	for _, p := range l.jobs[l.head:] {
		if p.e == nil {
			continue
		}
		if p.j != nil && p.j.round.parts > 1 || l.q.mustEnd(p.e, now) {
			gone = append(gone, p)
			if p.e.next != spread {
				p.e.next = nowhere
			}
			continue
		}
		p.unload(l.q)
		kept = append(kept, p)
	}
	l.keep(kept)
	return gone
}

func (l *lane) String() string { return l.route.String() }
