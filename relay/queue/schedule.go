package queue

import (
	"errors"
	"math/rand/v2"
	"time"

	"gatepost/relay/spool"
)

// DefaultSchedule waits 1, 5, 15 and 30 minutes after the first attempts, and then an
// hour after each.
func DefaultSchedule(attempt int) time.Duration {
	return jitter(step(attempt, time.Minute, 5*time.Minute, 15*time.Minute, 30*time.Minute, time.Hour))
}

// DefaultPause waits 15 and 30 seconds, 1 and 2 minutes, and then 5 minutes each time.
func DefaultPause(failures int) time.Duration {
	return jitter(step(failures, 15*time.Second, 30*time.Second, time.Minute, 2*time.Minute, 5*time.Minute))
}

// step is the n-th of them, from 1, or the last.
func step(n int, of ...time.Duration) time.Duration {
	return of[max(0, min(n, len(of))-1)]
}

// jitter adds up to a tenth, so that what failed together is not tried together.
func jitter(d time.Duration) time.Duration { return d + rand.N(d/10+1) }

// entry is a message that is not on hold: all that is kept of it while nothing is done.
type entry struct {
	m    *spool.Message
	next time.Time
	owed *note // what could not be written down
}

// note is what is to be written down of a message.
type note struct {
	update spool.Update
	remove bool
	over   bool // nothing more is to be done for it
	idle   bool // nothing has changed but the time, which need not be written
}

// write writes it down. A message that somebody else has removed needs nothing more.
func (n *note) write(m *spool.Message) error {
	if n.remove {
		return m.Remove()
	}
	err := m.Update(n.update)
	if errors.Is(err, spool.ErrRemoved) {
		n.over, n.update.Hold = true, nil
		return nil
	}
	return err
}

// schedule is a heap (container/heap), the earliest first.
type schedule []*entry

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].next.Before(s[j].next) }
func (s schedule) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *schedule) Push(x any)        { *s = append(*s, x.(*entry)) }
func (s *schedule) Pop() any {
	last := len(*s) - 1
	e := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	return e
}
