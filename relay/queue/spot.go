package queue

import "slices"

// The spot of an entry that is in a round says where in the lanes it is, so that it need
// not be looked for. It is written with lanes.mu held while the entry is in a lane, with
// Queue.mu otherwise, and read with both.
const (
	nowhere int64 = 0  // it is in no lane
	spread  int64 = -1 // its message has several parts, each in a lane of its own
)

// number has the i-th job's entry know where it is.
func (l *lane) number(i int) {
	p := &l.jobs[i]
	if p.j != nil && p.j.round.parts > 1 {
		p.e.next = spread
		return
	}
	p.e.next = (int64(l.slot)+1)<<32 | int64(l.base+uint32(i))
}

// find is the lane that an entry waits in, and its index there; nil if it waits in none, or
// if its message has several parts.
func (s *lanes) find(e *entry) (l *lane, i int) {
	if e.next == nowhere || e.next == spread {
		return nil, 0
	}
	l = s.slots[e.next>>32-1]
	return l, int(uint32(e.next) - l.base)
}

// of are all lanes that an entry waits in.
func (s *lanes) of(e *entry) (all []*lane) {
	if l, _ := s.find(e); l != nil {
		return []*lane{l}
	}
	if e.next != spread {
		return nil
	}
	for _, l := range s.all {
		if slices.ContainsFunc(l.jobs[l.head:], func(p place) bool { return p.e == e }) {
			all = append(all, l)
		}
	}
	return all
}

// takeOut takes the i-th job out of the lane. It leaves a hole, until there are many.
func (l *lane) takeOut(i int) {
	p := &l.jobs[i]
	if p.j != nil {
		p.j.uncount(l.q)
	}
	p.e.next = nowhere
	*p = place{}
	if l.holes++; l.holes > 64 && l.holes > l.waiting() {
		kept := l.jobs[:0]
		for _, p := range l.jobs[l.head:] {
			if p.e != nil {
				kept = append(kept, p)
			}
		}
		l.keep(kept)
	}
}

// empty takes all jobs out of the lane whose messages wait for nothing else.
func (l *lane) empty() (out []*entry) {
	kept := l.jobs[:0]
	for _, p := range l.jobs[l.head:] {
		switch {
		case p.e == nil:
			continue
		case p.j != nil && p.j.round.parts > 1:
			kept = append(kept, p)
			continue
		case p.j != nil:
			p.j.uncount(l.q)
		}
		p.e.next = nowhere
		out = append(out, p.e)
	}
	l.keep(kept)
	return out
}

// keep makes those the jobs of the lane, which are at the beginning of the same array.
func (l *lane) keep(kept []place) {
	clear(l.jobs[len(kept):])
	l.jobs, l.head, l.holes, l.base = kept, 0, 0, 0
	if cap(kept) > 1024 && cap(kept) > 4*len(kept) {
		l.jobs = slices.Clone(kept)
	}
	for i := range l.jobs {
		l.number(i)
	}
}
