package queue

import (
	"errors"
	"math/rand/v2"
	"sync/atomic"
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
// There may be very many.
type entry struct {
	m     *spool.Message
	next  int64         // when it is due, Unix nanoseconds; under Queue.mu, like at. In a round: its spot
	at    int32         // its place in Queue.later, or one of those below
	flags atomic.Uint32 // of the ones below
}

// Where an entry is that is not in Queue.later.
const (
	isFresh = -1 - iota // in Queue.fresh
	inRound             // in lanes, or with those who work on it
)

// Flags of an entry.
const (
	owing   = 1 << iota // something of it is in Queue.owed
	again               // the operator wants it tried at once, with what the spool says of it then
	urgent              // and no pause of its destination to keep it
	stopped             // the operator has put it on hold, or removed it: nothing more is to be begun
	gone                // it is forgotten
	warned              // its sender has been told that it is late, or need not be
)

func (e *entry) set(flag uint32)      { e.flags.Or(flag) }
func (e *entry) has(flag uint32) bool { return e.flags.Load()&flag != 0 }

// take tells whether a flag was set; it is not any more.
func (e *entry) take(flag uint32) bool { return e.has(flag) && e.flags.And(^flag)&flag != 0 }

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
func (s schedule) Less(i, j int) bool { return s[i].next < s[j].next }
func (s schedule) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].at, s[j].at = int32(i), int32(j)
}

func (s *schedule) Push(x any) {
	e := x.(*entry)
	e.at = int32(len(*s))
	*s = append(*s, e)
}

func (s *schedule) Pop() any {
	last := len(*s) - 1
	e := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	e.at = inRound
	return e
}

// shift has all of it due sooner.
func (s schedule) shift(by time.Duration) {
	if by == 0 {
		return
	}
	for _, e := range s {
		e.next -= int64(by)
	}
}

// clock finds out whether the system's clock has been put back: what is due by it would
// wait for longer than it was to.
type clock struct {
	begun time.Time
	ahead time.Duration // of the time that has passed since
}

// putBack tells by how much since it was last asked; now is of time.Now.
func (c *clock) putBack(now time.Time) time.Duration {
	if c.begun.IsZero() {
		c.begun = now
	}
	return c.step(now.Round(0).Sub(c.begun.Round(0)) - now.Sub(c.begun))
}

// step is putBack for what the clock is ahead now. Adjustments by less than a second add up.
func (c *clock) step(ahead time.Duration) (back time.Duration) {
	if moved := ahead - c.ahead; moved > -time.Second && moved < time.Second {
		return 0
	}
	back = max(0, c.ahead-ahead)
	c.ahead = ahead
	return back
}
