package spool

import "time"

// index finds messages by their ids. It is there only while many are looked for, as by an
// operator's command about all of them: it would take as much memory as all the rest of a
// small message. All of it is under Spool.mu.
type index struct {
	all   map[uint64]*Message // nil: there is none
	finds int                 // lately
	used  bool                // since the last look of forgetIndex
	timer *time.Timer
}

const (
	indexFinds = 16              // the lists are gone through for so many
	indexIdle  = 5 * time.Second // without a look the index is forgotten
)

func (x *index) add(m *Message) {
	if x.all != nil {
		x.all[m.id] = m
	}
}

func (x *index) remove(m *Message) { delete(x.all, m.id) }

// find gives the message of that id, nil if there is none; s.mu is held.
func (s *Spool) find(id uint64) *Message {
	x := &s.index
	x.used = true
	if x.timer == nil {
		x.timer = time.AfterFunc(indexIdle, s.forgetIndex)
	}
	if x.all == nil {
		if x.finds++; x.finds <= indexFinds {
			return s.walk(id)
		}
		x.all = make(map[uint64]*Message, s.total.Messages)
		s.each(x.add)
	}
	return x.all[id]
}

func (s *Spool) forgetIndex() {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := &s.index
	if x.used {
		x.used = false
		x.timer.Reset(indexIdle)
		return
	}
	s.index = index{}
}

// walk goes through the lists for a message.
func (s *Spool) walk(id uint64) *Message {
	m := s.ownList(id).find(id)
	for i := 0; m == nil && i < len(s.segments); i++ {
		m = s.segments[i].live.find(id)
	}
	return m
}

// each is called with every message; s.mu is held.
func (s *Spool) each(f func(*Message)) {
	for i := range s.own {
		for m := s.own[i].first; m != nil; m = m.next {
			f(m)
		}
	}
	for _, g := range s.segments {
		for m := g.live.first; m != nil; m = m.next {
			f(m)
		}
	}
}
