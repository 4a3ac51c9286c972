package queue

import (
	"container/heap"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gatepost/relay/spool"
)

// Errors of the operator's commands.
var (
	ErrUnknown = errors.New("there is no such message in the queue")
	ErrBusy    = errors.New("the message is being delivered")
	ErrNotHeld = errors.New("the message is not on hold")
)

// find returns a message by its queue id.
func (q *Queue) find(id string) (*spool.Message, error) {
	if m, ok := q.config.Spool.Find(id); ok {
		return m, nil
	}
	return nil, ErrUnknown
}

// known makes the spool's word about a message that has gone meanwhile ours.
func (q *Queue) known(err error) error {
	if errors.Is(err, spool.ErrRemoved) {
		return ErrUnknown
	}
	return err
}

// Hold keeps a message from being delivered until Release, as quarantine does. An attempt
// under way goes on, and what it comes to counts; no other is begun. The error is
// ErrUnknown, or the spool's.
func (q *Queue) Hold(id, reason string) error {
	q.ops.Lock()
	defer q.ops.Unlock()
	m, err := q.find(id)
	if err != nil {
		return err
	}
	if reason == "" {
		reason = "by the operator"
	}
	if err := q.known(m.Update(spool.Update{Hold: &reason})); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if e := q.entries[m]; e != nil {
		switch {
		case e.has(owing) && e.at >= 0: // which is paid first
			e.set(stopped)
		case q.withdraw(e):
			q.forget(e)
		default:
			e.set(stopped)
		}
	}
	return nil
}

// Release has a message delivered that is on hold, at once. The error is ErrUnknown,
// ErrNotHeld, or the spool's.
func (q *Queue) Release(id string) error {
	q.ops.Lock()
	defer q.ops.Unlock()
	m, err := q.find(id)
	if err != nil {
		return err
	}
	if !m.Held() {
		return ErrNotHeld
	}
	if err := q.known(m.Update(spool.Update{Hold: new("")})); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if e := q.entries[m]; e != nil {
		// It was put on hold during an attempt that has not ended, or that is not written down.
		e.take(stopped)
		if e.at >= 0 && q.withdraw(e) {
			q.hurry(e)
		} else {
			e.set(again)
		}
	} else {
		q.add(m)
	}
	q.rouse()
	return nil
}

// Delete removes a message from the queue; nobody is told. An attempt under way goes on to
// its end: the next hop gets the message whole, or not at all. The error is ErrUnknown,
// or the spool's.
func (q *Queue) Delete(id string) error {
	q.ops.Lock()
	defer q.ops.Unlock()
	m, err := q.find(id)
	if err != nil {
		return err
	}
	if err := m.Remove(); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if e := q.entries[m]; e != nil {
		q.withdraw(e)
		e.set(stopped)
		q.forget(e)
	}
	return nil
}

// Requeue has a message begin anew, as if it had come just now: no attempts, all of the
// lifetime, and another attempt at once for recipients who had failed and whose sender
// has not been told. One on hold stays there. The error is ErrUnknown, ErrBusy while it is
// being delivered or that waits to be written down, or the spool's.
func (q *Queue) Requeue(id string) error {
	q.ops.Lock()
	defer q.ops.Unlock()
	m, err := q.find(id)
	if err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.entries[m]
	switch {
	case e != nil && e.has(owing), e == nil && !m.Held(), e != nil && e.at == inRound && !q.withdraw(e):
		return ErrBusy
	case e != nil && e.at >= 0:
		q.withdraw(e)
	}
	// Nobody else can take it now: a recipient's report cannot be on its way.
	err = q.anew(m)
	if e == nil {
		return q.known(err)
	}
	if err == nil {
		e.take(warned)
	}
	q.hurry(e)
	return q.known(err)
}

// anew writes down that a message begins anew.
func (q *Queue) anew(m *spool.Message) error {
	env, err := m.Envelope()
	if err != nil {
		return err
	}
	now := time.Now()
	u := spool.Update{Attempts: new(0), NextTry: new(time.Time{}), Since: &now, Warned: new(false)}
	for i, to := range env.Recipients {
		if to.State == spool.Failed {
			u.Recipients = append(u.Recipients, spool.Change{Index: i, State: spool.Pending, Reply: to.Reply, Status: to.Status})
		}
	}
	return m.Update(u)
}

// withdraw takes an entry from where it waits; q.mu is held. It does nothing, and says so,
// when an attempt is under way, or may begin at any moment.
func (q *Queue) withdraw(e *entry) bool {
	switch {
	case e.at >= 0:
		heap.Remove(&q.later, int(e.at))
		return true
	case e.at == inRound:
		return q.lanes.withdraw(e)
	}
	return false
}

// hurry has an entry looked at next that waits nowhere else; q.mu is held.
func (q *Queue) hurry(e *entry) {
	if e.at != isFresh {
		e.at = isFresh
		q.fresh = append(q.fresh, e)
	}
	q.rouse()
}

// withdraw takes an entry out of the lane that it waits in. One whose message has several
// parts stays: others of them may be under way.
func (s *lanes) withdraw(e *entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, i := s.find(e)
	if l == nil {
		return false
	}
	l.takeOut(i)
	return true
}

// Flush has messages tried now that wait for their time or for their destination; without
// ids, all of them. Destinations that are left alone because they were down are tried too.
// It returns how many messages this is about; ids that are unknown, on hold or being
// delivered are not.
func (q *Queue) Flush(ids ...string) int {
	q.ops.Lock()
	defer q.ops.Unlock()
	now := time.Now()
	if len(ids) == 0 {
		lifted := q.lift(now, func(*lane) bool { return true })
		q.mu.Lock()
		defer q.mu.Unlock()
		n := len(q.later)
		for _, e := range q.later {
			q.urge(e)
		}
		q.later = nil
		return n + lifted
	}
	n := 0
	for _, id := range ids {
		if m, err := q.find(id); err == nil && q.flush(m, now) {
			n++
		}
	}
	return n
}

func (q *Queue) flush(m *spool.Message, now time.Time) bool {
	q.mu.Lock()
	e := q.entries[m]
	if e != nil && e.at >= 0 {
		q.withdraw(e)
		q.urge(e)
		q.mu.Unlock()
		return true
	}
	defer q.mu.Unlock()
	if e == nil || e.at != inRound {
		return false
	}
	waiting, out := q.lanes.liftOf(e, now)
	if out && !e.has(gone) {
		q.hurry(e)
	}
	return waiting
}

// urge is hurry, and lets no pause of its destination keep the message.
func (q *Queue) urge(e *entry) {
	e.set(urgent)
	q.hurry(e)
}

// lift ends the pauses of the lanes that are meant, and has the ways of the messages in
// them looked up again: the operator may have changed something. It returns how many
// messages wait in these lanes.
func (q *Queue) lift(now time.Time, lanes func(*lane) bool) (waiting int) {
	s := &q.lanes
	var out []*entry
	s.mu.Lock()
	for _, l := range s.all {
		if l.failures > 0 && lanes(l) {
			waiting += l.waiting()
			l.lift(now)
			out = append(out, l.empty()...)
		}
	}
	s.mu.Unlock()
	q.redispatch(out)
	return waiting
}

// redispatch has entries dispatched anew that were taken out of their lanes.
func (q *Queue) redispatch(all []*entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range all {
		if !e.has(gone) {
			q.hurry(e)
		}
	}
}

// liftOf is lift for the lanes that an entry waits in; it tells whether there are any, and
// whether the entry was taken out of its lane. Queue.mu is held.
func (s *lanes) liftOf(e *entry, now time.Time) (waiting, out bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.of(e) {
		if l.failures > 0 {
			waiting = true
			l.lift(now)
		}
	}
	if l, i := s.find(e); waiting && l != nil {
		l.takeOut(i)
		out = true
	}
	return waiting, out
}

// FlushDestination is Flush for what goes to a destination, as Down and Place name it, or
// to recipients at a domain. It asks for the route of each message that waits.
func (q *Queue) FlushDestination(name string) int {
	q.ops.Lock()
	defer q.ops.Unlock()
	now := time.Now()
	q.mu.Lock()
	all := slices.Clone(q.later)
	q.mu.Unlock()
	all = append(all, q.lanes.delayed()...)
	n := 0
	meant, lanesOf := map[*entry]bool{}, map[Route]bool{}
	var p patience
	defer p.end()
	for _, e := range all {
		if !q.goesTo(&p, e.m, name, lanesOf) {
			continue
		}
		meant[e] = true
		q.mu.Lock()
		if e.at >= 0 {
			q.withdraw(e)
			q.urge(e)
			n++
		}
		q.mu.Unlock()
	}
	return n + q.lift(now, func(l *lane) bool {
		return lanesOf[l.route] || strings.EqualFold(l.String(), name) || slices.ContainsFunc(l.jobs[l.head:], func(p place) bool { return meant[p.e] })
	})
}

// delayed are the messages that wait for destinations which are down.
func (s *lanes) delayed() (all []*entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.all {
		if l.failures == 0 {
			continue
		}
		for _, p := range l.jobs[l.head:] {
			if p.e != nil {
				all = append(all, p.e)
			}
		}
	}
	return all
}

// goesTo tells whether a message is for a destination or a domain. The routes of the
// domain's recipients are added to those that are meant.
func (q *Queue) goesTo(p *patience, m *spool.Message, name string, meant map[Route]bool) (found bool) {
	env, err := m.Envelope()
	if err != nil {
		return false
	}
	for i := range env.Recipients {
		to := &env.Recipients[i]
		if to.State != spool.Pending {
			continue
		}
		r, err := q.route(p.of(q.deliver, q.config.RouteWait), env.Sender, to.Address)
		switch at := strings.LastIndexByte(to.Address, '@'); {
		case strings.EqualFold(to.Address[at+1:], name):
			found = true
			if err == nil {
				meant[r] = true
			}
		case err == nil && strings.EqualFold(r.String(), name):
			found = true
		}
	}
	return found
}

// String is the destination's name.
func (r Route) String() string {
	if r.Destination != "" {
		return r.Destination
	}
	return fmt.Sprint(r.Transport)
}
