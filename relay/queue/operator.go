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
		if q.withdraw(e) {
			q.forget(e)
		} else {
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
		// It was put on hold during an attempt that has not ended.
		e.take(stopped)
		e.set(again)
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
// being delivered, or the spool's.
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
	case e == nil && !m.Held(), e != nil && e.at == inRound && !q.withdraw(e):
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
		lifted := q.lanes.lift(now, func(*lane) bool { return true })
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
	return e != nil && e.at == inRound && q.lanes.liftOf(e, now) > 0
}

// urge is hurry, and lets no pause of its destination keep the message.
func (q *Queue) urge(e *entry) {
	e.set(urgent)
	q.hurry(e)
}

// lift ends the pauses of the lanes that are meant. It returns how many messages wait in
// them.
func (s *lanes) lift(now time.Time, meant func(*lane) bool) (waiting int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.all {
		if l.paused(now) && meant(l) {
			waiting += l.waiting()
			l.lift(now)
		}
	}
	return waiting
}

// liftOf is lift for the lanes that an entry waits in.
func (s *lanes) liftOf(e *entry, now time.Time) (waiting int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.of(e) {
		if l.paused(now) {
			waiting += l.waiting()
			l.lift(now)
		}
	}
	return waiting
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
	n := 0
	lanesOf := map[Route]bool{}
	var p patience
	defer p.end()
	for _, e := range all {
		if !q.goesTo(&p, e.m, name, lanesOf) {
			continue
		}
		q.mu.Lock()
		if e.at >= 0 {
			q.withdraw(e)
			q.urge(e)
			n++
		}
		q.mu.Unlock()
	}
	return n + q.lanes.lift(now, func(l *lane) bool { return lanesOf[l.route] || strings.EqualFold(l.String(), name) })
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
