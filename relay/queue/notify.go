package queue

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"gatepost/relay/bounce"
	"gatepost/relay/spool"
)

// reportWait bounds the wait for the disk to take a report.
const reportWait = time.Minute

// late tells whether it is time to tell a message's sender that it is late. Whether that
// was done in another life of the program is in the envelope.
func (q *Queue) late(e *entry, now time.Time) bool {
	return q.config.Warn > 0 && !e.has(warned) && now.Sub(e.m.Since()) >= q.config.Warn
}

// news are the recipients of whom a message's sender is to be told.
type news struct {
	pending int
	ended   []int // for good, and now to be written down as such
	of      [bounce.Kinds][]int
}

// newsOf sorts an envelope's recipients.
func newsOf(env *spool.Envelope, late bool) (n news) {
	for i := range env.Recipients {
		to := &env.Recipients[i]
		asks := func(what spool.Notify) bool { return to.Notify == 0 || to.Notify&what != 0 }
		switch {
		case to.State == spool.Failed:
			n.ended = append(n.ended, i)
			// Those of the null sender are for the postmaster.
			if env.Sender == "" || asks(spool.NotifyFailure) {
				n.of[bounce.Failure] = append(n.of[bounce.Failure], i)
			}
		case to.State == spool.Delivered && to.Notify&spool.NotifySuccess != 0:
			n.ended = append(n.ended, i)
			if env.Sender != "" {
				n.of[bounce.Success] = append(n.of[bounce.Success], i)
			}
		case to.State == spool.Pending:
			n.pending++
			if late && env.Sender != "" && asks(spool.NotifyDelay) {
				n.of[bounce.Delay] = append(n.of[bounce.Delay], i)
			}
		}
	}
	return n
}

// tell writes the reports that are due at the end of a round, and into the note what they
// make of the message. The reports are on the disk then: a crash before the note is written
// down repeats them, and loses none. It returns how many recipients are to be tried again,
// and whether all went well. r.mu is held.
func (q *Queue) tell(r *round, n *note, now time.Time) (pending int, ok bool) {
	e := r.entry
	env, err := e.m.Envelope()
	if err != nil {
		q.config.Log.Error("cannot read an envelope", "queue", e.m.ID(), "error", err)
		return r.pending, false
	}
	for _, c := range r.changes {
		to := &env.Recipients[c.Index]
		to.State, to.Reply, to.Status = c.State, c.Reply, c.Status
	}
	late := q.late(e, now) && !env.Warned
	all := newsOf(&env, late)
	ok = true
	told := all.ended
	for kind, recipients := range all.of {
		if len(recipients) == 0 || q.config.Report == nil {
			continue
		}
		err := q.send(&bounce.Report{
			Kind: bounce.Kind(kind), Envelope: &env, Message: e.m, Recipients: recipients, Final: r.final,
			RetryUntil: e.m.Since().Add(q.config.Lifetime),
		})
		if err != nil {
			q.config.Log.Error("cannot write a report", "queue", env.ID, "kind", bounce.Kind(kind).String(), "error", err)
			told = without(told, recipients)
			ok, late = false, late && bounce.Kind(kind) != bounce.Delay
		}
	}
	n.update.Recipients = append([]spool.Change(nil), n.update.Recipients...)
	for _, i := range told {
		to := &env.Recipients[i]
		n.update.Recipients = append(n.update.Recipients, spool.Change{Index: i, State: spool.Reported, Reply: to.Reply, Status: to.Status})
	}
	if late {
		n.update.Warned = new(true)
	}
	if late || env.Warned {
		e.set(warned)
	}
	return all.pending, ok
}

// without is what of all is not in some; both are in ascending order.
func without(all, some []int) (rest []int) {
	for _, i := range all {
		if _, found := slices.BinarySearch(some, i); !found {
			rest = append(rest, i)
		}
	}
	return rest
}

// send writes a report and has it delivered.
func (q *Queue) send(r *bounce.Report) (err error) {
	defer func() {
		if p := recover(); p != nil {
			q.config.Log.Error("panic while writing a report", "queue", r.Envelope.ID, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("internal error")
		}
	}()
	ctx, cancel := context.WithTimeout(q.deliver, reportWait)
	defer cancel()
	written, err := q.config.Report(ctx, r)
	if err != nil {
		return err
	}
	for _, m := range written {
		q.reports[r.Kind].Add(1)
		q.Add(m)
	}
	return nil
}
