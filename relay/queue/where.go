package queue

import (
	"slices"
	"time"

	"gatepost/relay/spool"
)

// PlaceState says what a message waits for.
type PlaceState uint8

// The states of a Place.
const (
	Ready    PlaceState = iota // it is to be tried as soon as there is room
	Active                     // an attempt is under way
	Deferred                   // for its time
	Held                       // for the operator
)

// String is the state in one word.
func (s PlaceState) String() string {
	return [...]string{"ready", "active", "deferred", "held"}[s]
}

// Place says where a message is, and why.
type Place struct {
	State       PlaceState
	Next        time.Time // Deferred: when it is tried next
	Destination string    // where to; "" when that is not known before the next attempt
	Reason      string    // Held: why. Deferred: the last answer, or why the destination is left alone
}

// Where says where a message is; false when there is no such message.
func (q *Queue) Where(id string) (Place, bool) {
	m, ok := q.config.Spool.Find(id)
	if !ok {
		return Place{}, false
	}
	q.mu.Lock()
	e := q.entries[m]
	p, at := q.place(m, e)
	if at == inRound {
		p = q.lanes.where(e)
	}
	q.mu.Unlock()
	p.explain(m)
	return p, true
}

// Places is Where for all messages at once, but without what only their envelopes say:
// the reason of those that are on hold, or wait for their time.
func (q *Queue) Places() map[*spool.Message]Place {
	all := q.config.Spool.Messages()
	places := make(map[*spool.Message]Place, len(all))
	busy := map[*entry]*spool.Message{}
	q.mu.Lock()
	for _, m := range all {
		e := q.entries[m]
		p, at := q.place(m, e)
		if at == inRound {
			busy[e] = m
		}
		places[m] = p
	}
	q.mu.Unlock()
	q.lanes.each(func(e *entry, p Place) {
		if m := busy[e]; m != nil {
			places[m] = p
		}
	})
	return places
}

// place says where an entry is that is in no lane; q.mu is held.
func (q *Queue) place(m *spool.Message, e *entry) (p Place, at int32) {
	switch {
	case e == nil && m.Held():
		return Place{State: Held}, isFresh
	case e == nil:
		return Place{}, isFresh
	case e.at >= 0:
		return Place{State: Deferred, Next: time.Unix(0, e.next)}, e.at
	}
	return Place{}, e.at
}

// explain adds what the envelope says.
func (p *Place) explain(m *spool.Message) {
	if p.Reason != "" || p.State != Held && p.State != Deferred {
		return
	}
	env, err := m.Envelope()
	if err != nil {
		p.Reason = err.Error()
		return
	}
	p.Reason = env.Hold
	for i := range env.Recipients {
		if to := &env.Recipients[i]; p.State == Deferred && to.State == spool.Pending && to.Reply != "" {
			p.Reason = to.Reply
			return
		}
	}
}

// where says where an entry is that is in a round; Queue.mu is held.
func (s *lanes) where(e *entry) Place {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l, _ := s.find(e); l != nil {
		return l.waits(time.Now())
	}
	for _, l := range s.all {
		if slices.Contains(l.doing, e) {
			return l.active()
		}
	}
	if all := s.of(e); len(all) > 0 {
		return all[0].waits(time.Now())
	}
	return Place{}
}

// each gives the place of every entry that is in a lane: those under way last.
func (s *lanes) each(f func(*entry, Place)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, l := range s.all {
		p := l.waits(now)
		for _, j := range l.jobs[l.head:] {
			if j.e != nil {
				f(j.e, p)
			}
		}
	}
	for _, l := range s.all {
		for _, e := range l.doing {
			f(e, l.active())
		}
	}
}

func (l *lane) active() Place { return Place{State: Active, Destination: l.String()} }

func (l *lane) waits(now time.Time) Place {
	if l.paused(now) {
		return Place{State: Deferred, Next: l.until, Destination: l.String(), Reason: l.reason}
	}
	return Place{Destination: l.String()}
}
