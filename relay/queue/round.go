package queue

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"gatepost/relay/deliver"
	"gatepost/relay/spool"
)

// round is one turn of a message: an attempt for all of its recipients that are not dealt
// with, in as many parts as they have routes.
type round struct {
	entry  *entry
	parts  int
	number int // of the attempt, from 1

	mu      sync.Mutex
	env     *spool.Envelope // nil: to be read
	left    int             // parts that have not ended
	pending int             // recipients that are still to be delivered
	failed  int             // recipients that never will be
	reason  string          // why, for one of them
	changes []spool.Change  // not written down yet
	tried   bool            // an attempt was made for one of them
	until   time.Time       // when those that were not may be tried; zero: there are none
}

// job is a part of a round.
type job struct {
	round *round
	to    []int // of the envelope's recipients
}

// envelope is the message's. It is not read while the message waits for long.
func (r *round) envelope() (*spool.Envelope, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.env == nil {
		env, err := r.entry.m.Envelope()
		if err != nil {
			return nil, err
		}
		r.env = &env
	}
	return r.env, nil
}

func (r *round) forget() {
	r.mu.Lock()
	r.env = nil
	r.mu.Unlock()
}

// dispatch begins a round: each part goes to its lane.
func (q *Queue) dispatch(e *entry) {
	if e.owed != nil && !q.settleDebt(e) {
		return
	}
	env, err := e.m.Envelope()
	if errors.Is(err, spool.ErrRemoved) {
		return
	}
	if err != nil {
		q.unreadable(e, err)
		return
	}
	if env.Hold != "" {
		q.held.Add(1)
		return
	}
	r := &round{entry: e, env: &env, number: e.m.Attempts() + 1}
	routes, jobs, lost := q.plan(r)
	r.parts, r.left = len(jobs), len(jobs)
	end := len(lost) > 0 || r.pending == 0 // a part ends here, with nobody asked
	if end {
		r.parts, r.left = r.parts+1, r.left+1
	}
	for i, j := range jobs {
		q.lane(routes[i]).push(j)
	}
	if end {
		q.unrouted(r, &env, lost)
	}
}

// unreadable has a message wait whose envelope cannot be read just now. One that is
// damaged is held: nothing can be written down of it, but the spool knows.
func (q *Queue) unreadable(e *entry, err error) {
	if errors.Is(err, spool.ErrDamaged) {
		q.held.Add(1)
		q.config.Log.Error("message is held", "queue", e.m.ID(), "reason", "the envelope cannot be read: "+err.Error())
		return
	}
	q.config.Log.Error("cannot read an envelope", "queue", e.m.ID(), "error", err)
	q.defers(e, time.Now().Add(q.config.Schedule(e.m.Attempts()+1)))
}

// unroutable is a recipient whose route could not be found.
type unroutable struct {
	recipient int
	err       error
}

// plan makes a job of the pending recipients for each route.
func (q *Queue) plan(r *round) (routes []Route, jobs []job, lost []unroutable) {
	for i := range r.env.Recipients {
		to := &r.env.Recipients[i]
		switch to.State {
		case spool.Delivered:
			continue
		case spool.Failed:
			r.failed++
			r.reason = to.Reply
			continue
		}
		r.pending++
		route, err := q.config.Route(to.Address)
		if err != nil {
			lost = append(lost, unroutable{i, err})
			continue
		}
		routes, jobs = assign(routes, jobs, route, i)
	}
	for n := range jobs {
		jobs[n].round = r
	}
	return routes, jobs, lost
}

// assign adds a recipient to the job of its route.
func assign(routes []Route, jobs []job, route Route, recipient int) ([]Route, []job) {
	for n := range routes {
		if routes[n] == route {
			jobs[n].to = append(jobs[n].to, recipient)
			return routes, jobs
		}
	}
	return append(routes, route), append(jobs, job{to: []int{recipient}})
}

// settleDebt writes down what could not be before; until then nothing may be tried, or it
// would be delivered twice.
func (q *Queue) settleDebt(e *entry) (further bool) {
	if !q.write(e, e.owed) {
		return false
	}
	over := e.owed.over
	e.owed = nil
	return !over
}

// unrouted ends a part that nobody can be asked to deliver.
func (q *Queue) unrouted(r *round, env *spool.Envelope, lost []unroutable) {
	j := job{round: r}
	var results []deliver.Result
	for _, u := range lost {
		j.to = append(j.to, u.recipient)
		results = append(results, deliver.Result{Status: statusNoRoute, Reply: deliver.Sanitise([]byte("no route: " + u.err.Error()))})
	}
	q.ended(j, env, results, 0)
}

// work is a message as a transport sees it.
type work struct {
	*spool.Message
	env *spool.Envelope
}

func (w work) Envelope() spool.Envelope { return *w.env }

// attempt makes one attempt, writes down what it came to, and says what it tells of the
// destination.
func (q *Queue) attempt(l *lane, j job) (state reach, reason string) {
	q.active.Add(1)
	defer q.active.Add(-1)
	begun := time.Now()
	env, err := j.round.envelope()
	if err != nil {
		// The end of the round finds out whether it has been removed.
		q.config.Log.Error("cannot read an envelope", "queue", j.round.entry.m.ID(), "error", err)
		q.postpone(j, begun.Add(q.config.Schedule(j.round.number)), l.String(), "cannot read the envelope")
		return unknown, ""
	}
	results := q.deliverTo(l.route, work{j.round.entry.m, env}, j.to)
	for i := range results {
		switch {
		case results[i].Down:
			state, reason = down, results[i].Reply
		case results[i].Relay != "" && state == unknown:
			state = up
		}
	}
	q.ended(j, env, results, time.Since(begun))
	return state, reason
}

// deliverTo is the transport's Deliver, whose panic costs one attempt.
func (q *Queue) deliverTo(r Route, w work, to []int) (results []deliver.Result) {
	defer func() {
		if p := recover(); p != nil {
			q.config.Log.Error("panic while delivering", "queue", w.ID(), "panic", p, "stack", string(debug.Stack()))
			results = make([]deliver.Result, len(to))
			for i := range results {
				results[i] = deliver.Result{Status: statusInternal, Reply: "internal error"}
			}
		}
	}()
	return r.Transport.Deliver(q.deliver, r.Destination, w, to)
}

// postpone ends a part without an attempt.
func (q *Queue) postpone(j job, until time.Time, destination, reason string) {
	env, err := j.round.envelope()
	if err != nil || !q.expired(j.round.entry.m, time.Now()) {
		j.round.mu.Lock()
		if j.round.until.IsZero() || until.Before(j.round.until) {
			j.round.until = until
		}
		j.round.mu.Unlock()
		q.ended(j, env, nil, 0)
		return
	}
	results := make([]deliver.Result, len(j.to))
	for i := range results {
		results[i] = deliver.Result{Reply: reason, Relay: destination}
	}
	q.ended(j, env, results, 0)
}

func (q *Queue) expired(m *spool.Message, now time.Time) bool {
	return now.Sub(m.Arrived()) >= q.config.Lifetime
}

// ended takes the results of a part, and at the last one decides what becomes of the
// message. What was delivered is written down before anything else.
func (q *Queue) ended(j job, env *spool.Envelope, results []deliver.Result, took time.Duration) {
	r, now := j.round, time.Now()
	if q.expired(r.entry.m, now) {
		for i := range results {
			if results[i].Outcome == deliver.Deferred {
				results[i].Outcome = deliver.Failed
				results[i].Reply = fmt.Sprintf("not delivered within %v: %s", q.config.Lifetime, results[i].Reply)
			}
		}
	}
	r.mu.Lock()
	q.record(j, results, now)
	r.mu.Unlock()
	if len(results) > 0 {
		q.report(j, env, results, took, now)
	}
}

// record writes down what a part came to. r.mu is held, so that one part's failure to be
// written is known to the last.
func (q *Queue) record(j job, results []deliver.Result, now time.Time) {
	r := j.round
	for i := range results {
		r.changes = append(r.changes, r.count(&results[i], j.to[i]))
	}
	r.tried = r.tried || len(results) > 0
	if r.left--; r.left > 0 {
		if len(r.changes) == 0 {
			return
		}
		n := note{update: spool.Update{Recipients: r.changes}}
		if err := n.write(r.entry.m); err != nil {
			q.config.Log.Error("cannot write down a delivery", "queue", r.entry.m.ID(), "error", err)
			return
		}
		r.changes = nil
		return
	}
	q.finish(r.entry, q.conclude(r, now))
}

// count takes a result into account, and says how the recipient has changed.
func (r *round) count(result *deliver.Result, recipient int) spool.Change {
	c := spool.Change{Index: recipient, Reply: result.Reply}
	if result.Relay != "" {
		c.Reply = result.Relay + ": " + result.Reply
	}
	switch result.Outcome {
	case deliver.Delivered:
		c.State = spool.Delivered
		r.pending--
	case deliver.Failed:
		c.State = spool.Failed
		r.pending--
		r.failed++
		r.reason = c.Reply
	}
	return c
}

// conclude says what becomes of a message at the end of a round.
func (q *Queue) conclude(r *round, now time.Time) *note {
	n := &note{update: spool.Update{Recipients: r.changes}}
	switch {
	case r.pending == 0 && r.failed == 0:
		n.remove, n.over = true, true
	case r.pending == 0:
		hold := fmt.Sprintf("undeliverable to %d of its recipients: %s", r.failed, r.reason)
		n.update.Hold, n.over = &hold, true
	default:
		next := r.until
		if r.tried {
			attempts := r.number
			n.update.Attempts = &attempts
			if again := now.Add(q.config.Schedule(attempts)); next.IsZero() || again.Before(next) {
				next = again
			}
		}
		n.update.NextTry = &next
		n.idle = !r.tried
	}
	return n
}

// finish writes down what becomes of a message, and has it tried again if it must be.
func (q *Queue) finish(e *entry, n *note) {
	if !n.idle && !q.write(e, n) || n.over {
		return
	}
	q.defers(e, *n.update.NextTry)
}

// write writes down a note. What cannot be written is tried again later, before anything
// else is done for the message.
func (q *Queue) write(e *entry, n *note) bool {
	err := n.write(e.m)
	if errors.Is(err, spool.ErrDamaged) {
		q.unreadable(e, err)
		return false
	}
	if err != nil {
		wait := q.config.Schedule(e.m.Attempts() + 1)
		q.config.Log.Error("cannot write down what became of a message", "queue", e.m.ID(), "error", err, "again", wait.Round(time.Second))
		e.owed = n
		q.defers(e, time.Now().Add(wait))
		return false
	}
	if n.update.Hold != nil {
		q.held.Add(1)
		q.config.Log.Warn("message is held", "queue", e.m.ID(), "reason", *n.update.Hold)
	}
	return true
}
