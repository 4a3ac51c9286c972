package spool

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// ErrFull is the error of Create, Write and Commit when the disk has no room: 452 4.3.1.
var ErrFull = errors.New("no room in the spool")

// full marks errors that are for want of room.
func full(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// space is what is known of the room on the disk. It is asked for once in a second at
// most, and when much was written; not for each message.
type space struct {
	free atomic.Int64
	next atomic.Int64          // when to ask again, Unix nanoseconds
	lost atomic.Pointer[error] // that of the last question
}

const (
	askEvery     = time.Second
	askEveryFull = 100 * time.Millisecond
)

// room is an error if the disk is full.
func (s *Spool) room(now time.Time) error {
	next := s.space.next.Load()
	wait := next - now.UnixNano() // more than that if the clock was put back
	if (wait <= 0 || wait > int64(askEvery)) && s.space.next.CompareAndSwap(next, now.Add(askEvery).UnixNano()) {
		s.askRoom(now)
	}
	return s.enough()
}

func (s *Spool) askRoom(now time.Time) {
	free, err := s.d.free()
	if err != nil {
		err = fmt.Errorf("spool: asking for the free space: %w", err)
		if s.space.lost.Swap(&err) == nil {
			s.complain("nothing is taken", err)
		}
		s.space.next.Store(now.Add(askEveryFull).UnixNano())
		return
	}
	s.space.lost.Store(nil)
	s.space.free.Store(free)
	if free < s.o.MinFree {
		s.space.next.Store(now.Add(askEveryFull).UnixNano())
	}
}

func (s *Spool) enough() error {
	if err := s.space.lost.Load(); err != nil {
		return *err
	}
	if free := s.space.free.Load(); free < s.o.MinFree {
		return fmt.Errorf("spool: %w: %d bytes are free, %d are to stay free", ErrFull, free, s.o.MinFree)
	}
	return nil
}

// claimRoom is asked before n bytes of a file of its own are written.
func (s *Spool) claimRoom(n int64) error {
	s.space.free.Add(-n)
	return s.room(time.Now())
}
