package queue

import (
	"errors"
	"fmt"
	"slices"
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

	mu       sync.Mutex
	env      *spool.Envelope // nil: to be read
	left     int             // parts that have not ended
	pending  int             // recipients that are still to be delivered
	failed   int             // recipients that never will be, whose sender does not know yet
	receipts int             // recipients that have it, whose sender is to be told
	changes  []spool.Change  // what the round has come to
	written  int             // of them, from the beginning, are written down
	final    []int           // recipients that were delivered to their mailboxes
	tried    bool            // an attempt was made for one of them
	damaged  bool            // the message is not what it was
	until    time.Time       // when those that were not may be tried; zero: there are none
}

// job is a part of a round.
type job struct {
	round   *round
	to      []int // of the envelope's recipients
	counted bool  // in Queue.waiting; under lanes.mu until an attempt begins
}

// uncount takes a job out of those that wait with all that is known of them.
func (j *job) uncount(q *Queue) {
	if j.counted {
		j.counted = false
		q.waiting.Add(-1)
	}
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

func (r *round) unload() {
	r.mu.Lock()
	r.env = nil
	r.mu.Unlock()
}

// tally counts a recipient as it is before the round.
func (r *round) tally(to *spool.Recipient) {
	switch to.State {
	case spool.Pending:
		r.pending++
	case spool.Failed:
		r.failed++
	case spool.Delivered:
		if to.Notify&spool.NotifySuccess != 0 {
			r.receipts++
		}
	}
}

// attempt makes one attempt, writes down what it came to, and says what it tells of the
// destination.
func (q *Queue) attempt(t *turn) (state reach, reason string) {
	begun, p := t.begun, t.place
	j := p.j
	if j == nil {
		if j = q.whole(p.e); j == nil {
			return unknown, ""
		}
	}
	j.uncount(q)
	if p.e.has(stopped|gone) || len(j.to) == 0 {
		q.putOff(j, begun)
		return unknown, ""
	}
	env, err := j.round.envelope()
	if err != nil {
		// The end of the round finds out whether it has been removed.
		q.config.Log.Error("cannot read an envelope", "queue", p.e.m.ID(), "error", err)
		q.putOff(j, begun.Add(q.config.Schedule(j.round.number)))
		return unknown, ""
	}
	results := q.deliverTo(t, &work{p.e.m, env, q, j}, j.to)
	state, reason = reachOf(results)
	q.ended(j, env, results, time.Since(begun))
	if slices.ContainsFunc(results, func(r deliver.Result) bool { return r.Outcome == deliver.Delivered }) {
		q.sync(j.round.entry.m)
	}
	return state, reason
}

// sync waits until deliveries are written down on the disk. Nothing else is begun before
// in their stead, so that a crash repeats no more than what is under way.
func (q *Queue) sync(m *spool.Message) {
	if err := q.config.Spool.Sync(); err != nil {
		q.config.Log.Error("a crash now would have a message delivered again", "queue", m.ID(), "error", err)
	}
}

// leave is postpone for a job that may have to be made first.
func (q *Queue) leave(p place, until time.Time, destination, reason string) {
	j := p.j
	if j == nil {
		if j = q.whole(p.e); j == nil {
			return
		}
	}
	j.uncount(q)
	q.postpone(j, until, destination, reason)
}

// postpone ends a part without an attempt: its destination is down, for the reason given.
func (q *Queue) postpone(j *job, until time.Time, destination, reason string) {
	env, err := j.round.envelope()
	if err != nil || !q.expired(j.round.entry.m, time.Now()) {
		q.putOff(j, until)
		return
	}
	results := make([]deliver.Result, len(j.to))
	for i := range results {
		results[i] = deliver.Result{Reply: reason, Relay: destination}
	}
	q.ended(j, env, results, 0)
}

// putOff ends a part with nothing done.
func (q *Queue) putOff(j *job, until time.Time) {
	r := j.round
	r.mu.Lock()
	if r.until.IsZero() || until.Before(r.until) {
		r.until = until
	}
	r.mu.Unlock()
	q.ended(j, nil, nil, 0)
}

func (q *Queue) expired(m *spool.Message, now time.Time) bool {
	return now.Sub(m.Since()) >= q.config.Lifetime
}

// mustEnd tells whether a message must not wait longer for its destination: it has
// expired, or its sender is to be told that it is late.
func (q *Queue) mustEnd(e *entry, now time.Time) bool {
	return q.expired(e.m, now) || q.late(e, now)
}

// ended takes the results of a part, and at the last one decides what becomes of the
// message. What was delivered is written down before anything else.
func (q *Queue) ended(j *job, env *spool.Envelope, results []deliver.Result, took time.Duration) {
	r, now := j.round, time.Now()
	if q.expired(r.entry.m, now) {
		for i := range results {
			if results[i].Outcome == deliver.Deferred {
				results[i].Outcome, results[i].Status = deliver.Failed, statusExpired
				results[i].Reply = fmt.Sprintf("not delivered within %v: %s", q.config.Lifetime, results[i].Reply)
			}
		}
	}
	for n := range results { // before the lines of what it leads to
		a := attemptOf(j, env, results, n, took, now)
		q.log(&a)
	}
	q.record(j, env, results, now)
	for n := range results {
		a := attemptOf(j, env, results, n, took, now)
		q.account(&a)
	}
}

// record writes down what a part came to. r.mu is held, so that one part's failure to be
// written is known to the last.
func (q *Queue) record(j *job, env *spool.Envelope, results []deliver.Result, now time.Time) {
	r := j.round
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range results {
		r.count(&results[i], &env.Recipients[j.to[i]], j.to[i])
	}
	r.tried = r.tried || len(results) > 0
	if r.left--; r.left == 0 {
		q.finish(r.entry, q.conclude(r, now))
		return
	}
	if r.written == len(r.changes) {
		return
	}
	n := note{update: spool.Update{Recipients: r.changes[r.written:]}}
	if err := n.write(r.entry.m); err != nil {
		q.config.Log.Error("cannot write down a delivery", "queue", r.entry.m.ID(), "error", err)
		return
	}
	r.written = len(r.changes)
}

// changeOf is what a result makes of a recipient.
func changeOf(result *deliver.Result, to *spool.Recipient, index int) spool.Change {
	c := spool.Change{Index: index, Reply: result.Reply}
	if result.Relay != "" {
		c.Reply = result.Relay + ": " + result.Reply
	}
	if !result.Status.IsZero() {
		c.Status = result.Status.String()
	}
	switch result.Outcome {
	case deliver.Delivered:
		c.State = spool.Delivered
		if to.Notify&spool.NotifySuccess != 0 && result.Notifies {
			c.State = spool.Reported // the next hop tells
		}
	case deliver.Failed:
		c.State = spool.Failed
	}
	return c
}

// count takes a result into account.
func (r *round) count(result *deliver.Result, to *spool.Recipient, index int) {
	c := changeOf(result, to, index)
	r.changes = append(r.changes, c)
	switch c.State {
	case spool.Pending:
		return
	case spool.Failed:
		r.failed++
	case spool.Delivered:
		if to.Notify&spool.NotifySuccess != 0 {
			r.receipts++
		}
	}
	r.pending--
	if result.Final {
		r.final = append(r.final, index)
	}
}

// conclude says what becomes of a message at the end of a round.
func (q *Queue) conclude(r *round, now time.Time) *note {
	n := &note{update: spool.Update{Recipients: r.changes[r.written:]}}
	if r.damaged {
		hold := spool.ErrDamaged.Error()
		n.update.Hold, n.over = &hold, true
		return n
	}
	if r.entry.has(again) {
		n.update.NextTry, n.idle = &now, len(n.update.Recipients) == 0
		return n
	}
	pending, told := r.pending, true
	if r.failed+r.receipts > 0 || pending > 0 && q.late(r.entry, now) {
		pending, told = q.tell(r, n, now)
	}
	if pending == 0 && told {
		n.remove, n.over = true, true
		return n
	}
	next := r.until
	if r.tried || !told {
		attempts := r.number
		if r.tried {
			n.update.Attempts = &attempts
		}
		if retry := now.Add(q.config.Schedule(attempts)); next.IsZero() || retry.Before(next) {
			next = retry
		}
	}
	n.update.NextTry = &next
	n.idle = !r.tried && len(n.update.Recipients) == 0 && n.update.Warned == nil
	return n
}

// finish writes down what becomes of a message, and has it tried again if it must be.
func (q *Queue) finish(e *entry, n *note) {
	if !n.idle && !q.write(e, n) {
		return
	}
	if n.over {
		q.drop(e)
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
		q.mu.Lock()
		q.owed[e] = n
		q.mu.Unlock()
		e.set(owing)
		q.defers(e, time.Now().Add(wait))
		return false
	}
	if n.update.Hold != nil {
		q.config.Log.Warn("message is held", "queue", e.m.ID(), "reason", *n.update.Hold)
	}
	return true
}
