package spool

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// segment is a file of the log. What is not said otherwise is under Spool.mu.
type segment struct {
	number  uint64
	f       file
	size    int64 // the file's; it is filled beforehand and does not grow
	end     int64 // everything before it is synced; only the committer moves it
	seq     uint32
	live    list // the messages whose record is here
	states  int  // the newest states here of messages
	readers int  // who has it open; without the lock of the spool it is not closed
	keep    bool // damaged: for the operator, in aside/
	failed  bool // a write or sync failed, or may have: never written again
	retired bool // gone from the log; closed by the last reader
	aside   bool // has been moved there
}

const (
	logDir, mailDir, tmpDir, asideDir = "log", "mail", "tmp", "aside"

	spareSuffix = ".spare"
	maxSpares   = 4
)

func segmentName(n uint64) string { return fmt.Sprintf("%s/%010d", logDir, n) }
func spareName(n uint64) string   { return segmentName(n) + spareSuffix }

// segmentNumber reads the base name of a segment or spare.
func segmentNumber(name string) (n uint64, spare, ok bool) {
	name, spare = strings.CutSuffix(name, spareSuffix)
	n, err := strconv.ParseUint(name, 10, 63)
	return n, spare, err == nil && len(name) >= 10
}

// end says where a segment ends; a record of it is the first of the next one.
type end struct {
	segment uint64
	at      int64
	flags   uint8
}

// roll makes a new segment the current one.
func (s *Spool) roll() error {
	next, err := s.takeNext()
	if err != nil {
		return err
	}
	s.mu.Lock()
	if s.current != nil {
		s.ends = append(s.ends, end{s.current.number, s.current.end, 0})
	}
	s.current = next
	s.segments = append(s.segments, next)
	s.mu.Unlock()
	s.wakeKeeper()
	return nil
}

// takeNext gives the segment that was prepared, or prepares one.
func (s *Spool) takeNext() (*segment, error) {
	s.preparing.Lock()
	defer s.preparing.Unlock()
	s.mu.Lock()
	next := s.next
	s.next = nil
	s.mu.Unlock()
	if next != nil {
		return next, nil
	}
	return s.newSegment()
}

// prepare has a next segment ready before it is needed: it is also the reserve in
// which removals are written down on a full disk.
func (s *Spool) prepare() error {
	s.preparing.Lock()
	defer s.preparing.Unlock()
	s.mu.Lock()
	there := s.next != nil
	s.mu.Unlock()
	if there {
		return nil
	}
	next, err := s.newSegment()
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.next = next
	s.mu.Unlock()
	return nil
}

// newSegment makes a segment whose name and blocks are on the disk. The caller has
// s.preparing.
func (s *Spool) newSegment() (*segment, error) {
	number := s.lastNumber + 1
	f, err := s.recycle(number)
	if f == nil && err == nil {
		f, err = s.fill(number)
	}
	if err != nil {
		return nil, fmt.Errorf("spool: new segment: %w", full(err))
	}
	s.lastNumber = number
	return &segment{number: number, f: f, size: s.o.segmentSize}, nil
}

// recycle gives a spare the number; nil without one.
func (s *Spool) recycle(number uint64) (file, error) {
	s.mu.Lock()
	var from uint64
	if n := len(s.spares); n > 0 {
		from, s.spares = s.spares[n-1], s.spares[:n-1]
	}
	s.mu.Unlock()
	if from == 0 {
		return nil, nil
	}
	f, err := s.d.open(spareName(from))
	if err != nil {
		return nil, err
	}
	err = s.d.rename(spareName(from), segmentName(number))
	if err == nil {
		err = s.d.syncDir(logDir)
	}
	if err != nil {
		// Which of the names it has is unknown. The number is not used again.
		s.lastNumber = number
		return nil, errors.Join(err, f.close(), s.d.unlink(segmentName(number)), s.d.unlink(spareName(from)))
	}
	return f, nil
}

// fill makes a file of zeros, so that later writes only replace what is there and
// their sync needs no change to the file system's own data.
func (s *Spool) fill(number uint64) (file, error) {
	name := segmentName(number)
	f, err := s.d.create(name)
	if err != nil {
		return nil, err
	}
	zeros := make([]byte, min(1<<20, s.o.segmentSize))
	for off := int64(0); off < s.o.segmentSize && err == nil; off += int64(len(zeros)) {
		err = f.writeAt([][]byte{zeros[:min(int64(len(zeros)), s.o.segmentSize-off)]}, off)
	}
	if err == nil {
		err = f.sync()
	}
	if err == nil {
		err = s.d.syncDir(logDir)
	}
	if err != nil {
		s.lastNumber = number
		return nil, errors.Join(err, f.close(), s.d.unlink(name))
	}
	return f, nil
}

// release ends a use of a segment.
func (s *Spool) release(g *segment) {
	s.mu.Lock()
	g.readers--
	closing := g.readers == 0 && g.retired
	s.mu.Unlock()
	if closing {
		s.complain("closing a segment", g.f.close())
	}
}

// pauses between attempts after a failure.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
)

func longer(pause time.Duration) time.Duration {
	return min(max(2*pause, firstPause), lastPause)
}
