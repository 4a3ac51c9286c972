package queue

import (
	"slices"
	"time"
)

// places are those for the attempts of a class. An attempt that takes long leaves its place
// to others, and has one of as many again for the slow: so servers that have begun to hang
// do not keep those waiting that answer. While there are such attempts a destination that
// does not answer just now has one at a time.
type places struct {
	most  int
	taken []*turn
	slow  int
	look  time.Time // none of those in taken is slow before
	timer *time.Timer
}

// free tells whether an attempt may begin; s.mu is held.
func (s *lanes) free(c class) bool {
	p := &s.places[c]
	if len(p.taken) < p.most {
		return true
	}
	if p.slow >= p.most {
		return false
	}
	now, after := time.Now(), s.q.config.Slow
	if now.Before(p.look) {
		return false
	}
	p.look = now.Add(after)
	p.taken = slices.DeleteFunc(p.taken, func(t *turn) bool {
		if at := t.begun.Add(after); at.After(now) || p.slow >= p.most {
			p.look = earlier(p.look, at)
			return false
		}
		t.slow = true
		p.slow++
		return true
	})
	s.lookAgain(p, p.look.Sub(now))
	return len(p.taken) < p.most
}

// lookAgain has those called who wait for a place when the next attempt is slow.
func (s *lanes) lookAgain(p *places, wait time.Duration) {
	if p.timer != nil {
		p.timer.Reset(wait)
		return
	}
	p.timer = time.AfterFunc(wait, func() {
		s.mu.Lock()
		s.call()
		s.mu.Unlock()
	})
}

// leave ends an attempt; s.mu is held.
func (p *places) leave(t *turn) {
	if t.slow {
		p.slow--
	} else if i := slices.Index(p.taken, t); i >= 0 {
		p.taken = slices.Delete(p.taken, i, i+1)
	}
}

// pressed tells that destinations that are known have begun to hang, and took all places.
func (s *lanes) pressed() bool { return s.places[known].slow > 0 }

// lively tells that the destination has answered just now.
func (l *lane) lively() bool { return time.Since(l.heard) < l.q.config.Slow/10 }

// crowded tells that so many attempts are slow that others must not wait for long.
func (p *places) crowded() bool { return p.slow >= (p.most+1)/2 }

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
