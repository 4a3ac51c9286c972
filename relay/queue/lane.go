package queue

import (
	"sync"
	"time"
)

// longLane is how many jobs may wait with their envelopes in memory.
const longLane = 1000

// lane is where the jobs for one destination wait, in their order, with those who work on
// them. While the destination is down nothing moves but one probe for each pause.
type lane struct {
	q     *Queue
	route Route

	mu      sync.Mutex
	cond    sync.Cond
	jobs    []job // from head
	head    int
	workers int
	idle    int       // of the workers
	used    time.Time // when a job last came
	closed  bool

	failures int // in a row; over 0 the destination is down
	since    time.Time
	until    time.Time
	reason   string
	probing  bool
	timer    *time.Timer
}

// lane returns that of a route. Only Run may call it.
func (q *Queue) lane(r Route) *lane {
	if l := q.lanes[r]; l != nil {
		return l
	}
	l := &lane{q: q, route: r}
	l.cond.L = &l.mu
	q.lanesMu.Lock()
	q.lanes[r] = l
	q.lanesMu.Unlock()
	return l
}

// forgetLanes ends those that have had nothing to do for a while.
func (q *Queue) forgetLanes() {
	for r, l := range q.lanes {
		if l.unused() {
			l.close()
			q.lanesMu.Lock()
			delete(q.lanes, r)
			q.lanesMu.Unlock()
		}
	}
}

func (l *lane) unused() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting() == 0 && l.idle == l.workers && l.failures == 0 && time.Since(l.used) > laneIdle
}

func (l *lane) waiting() int { return len(l.jobs) - l.head }

// push adds a job.
func (l *lane) push(j job) {
	now := time.Now()
	l.mu.Lock()
	paused := l.failures > 0 && now.Before(l.until)
	if paused && j.round.parts > 1 {
		until, reason := l.until, l.reason
		l.mu.Unlock()
		l.q.postpone(j, until, l.String(), reason)
		return
	}
	if paused || l.waiting() > longLane {
		j.round.forget()
	}
	l.jobs = append(l.jobs, j)
	l.used = now
	switch {
	case l.idle > 0:
		l.cond.Signal()
	case l.workers < l.q.config.Concurrency:
		l.workers++
		l.q.workers.Go(l.work)
	}
	l.mu.Unlock()
}

// work does one job after another, until the lane is closed.
func (l *lane) work() {
	for {
		j, probe, ok := l.next()
		if !ok {
			return
		}
		state, reason := l.q.attempt(l, j)
		l.settle(probe, state, reason)
	}
}

// next waits for a job that may be done.
func (l *lane) next() (j job, probe, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.closed && !l.ready() {
		l.idle++
		l.cond.Wait()
		l.idle--
	}
	if l.closed {
		return job{}, false, false
	}
	j = l.jobs[l.head]
	l.jobs[l.head] = job{}
	if l.head++; l.head > 64 && l.head > len(l.jobs)/2 {
		n := copy(l.jobs, l.jobs[l.head:])
		clear(l.jobs[n:])
		l.jobs, l.head = l.jobs[:n], 0
	}
	l.probing = l.failures > 0
	return j, l.probing, true
}

func (l *lane) ready() bool {
	if l.waiting() == 0 {
		return false
	}
	return l.failures == 0 || !l.probing && !time.Now().Before(l.until)
}

// reach is what an attempt tells of its destination.
type reach uint8

const (
	unknown reach = iota // it was not asked
	up
	down
)

// settle learns from an attempt whether the destination is up. While it is down, only the
// probe counts: what began before can tell nothing new.
func (l *lane) settle(probe bool, state reach, reason string) {
	l.mu.Lock()
	if probe {
		l.probing = false
	}
	switch {
	case l.failures > 0 && !probe, l.failures == 0 && state != down:
		l.mu.Unlock()
	case state == unknown:
		l.cond.Signal() // another one is the probe
		l.mu.Unlock()
	case state == up:
		l.failures = 0
		l.cond.Broadcast()
		since, waiting := l.since, l.waiting()
		l.mu.Unlock()
		l.q.config.Log.Info("destination is up again", "destination", l.String(), "down", time.Since(since).Round(time.Second), "waiting", waiting)
	default:
		l.pause(reason)
	}
}

// pause leaves the destination alone for a while. It is called with l.mu held, and
// lets it go.
func (l *lane) pause(reason string) {
	now := time.Now()
	if l.failures++; l.failures == 1 {
		l.since = now
	}
	failures, pause := l.failures, l.q.config.Pause(l.failures)
	until := now.Add(pause)
	l.until, l.reason = until, reason
	if l.timer != nil {
		l.timer.Stop()
	}
	l.timer = time.AfterFunc(pause, l.stir)
	gone, waiting := l.sift(now), l.waiting()
	l.mu.Unlock()
	l.q.config.Log.Warn("destination is down", "destination", l.String(), "reason", reason, "failures", failures, "pause", pause.Round(time.Millisecond), "waiting", waiting)
	for _, j := range gone {
		l.q.postpone(j, until, l.String(), reason)
	}
}

// stir has the workers look again.
func (l *lane) stir() {
	l.mu.Lock()
	l.cond.Broadcast()
	l.mu.Unlock()
}

// sift takes out the jobs that must not wait here for as long as the destination is down:
// those whose time is over, and those that keep other recipients of their message waiting.
func (l *lane) sift(now time.Time) (gone []job) {
	kept := l.jobs[:0]
	for _, j := range l.jobs[l.head:] {
		if j.round.parts > 1 || l.q.expired(j.round.entry.m, now) {
			gone = append(gone, j)
			continue
		}
		j.round.forget()
		kept = append(kept, j)
	}
	clear(l.jobs[len(kept):])
	l.jobs, l.head = kept, 0
	return gone
}

func (l *lane) close() {
	l.mu.Lock()
	l.closed = true
	if l.timer != nil {
		l.timer.Stop()
	}
	l.cond.Broadcast()
	l.mu.Unlock()
}

func (l *lane) stats() (waiting int, down *Down) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failures > 0 {
		down = &Down{Destination: l.String(), Since: l.since, Until: l.until, Reason: l.reason, Waiting: l.waiting()}
	}
	return l.waiting(), down
}

func (l *lane) String() string {
	if l.route.Destination != "" {
		return l.route.Destination
	}
	return l.route.Transport.String()
}
