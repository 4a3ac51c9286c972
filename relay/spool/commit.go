package spool

import (
	"errors"
	"slices"
	"time"
)

// maxBatch bounds what is written with one sync, so that nobody waits for too much.
const maxBatch = 4 << 20

// commitLoop is the only one that writes to segments.
func (s *Spool) commitLoop() {
	defer close(s.committed)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var rings time.Time // zero: never
	for {
		late := false
		select {
		case <-s.wake:
		case <-timer.C:
			rings, late = time.Time{}, true
		case <-s.stop:
			s.commitAll()
			return
		}
		for s.commitSome(late) {
		}
		if due := s.due(); !due.IsZero() && (rings.IsZero() || due.Before(rings)) {
			timer.Reset(time.Until(due))
			rings = due
		}
	}
}

// due is when states and removals are to be written at the latest; zero: there are none.
func (s *Spool) due() time.Time {
	s.mu.Lock()
	unwritten, awaited := len(s.states)+len(s.done) > 0, len(s.syncers) > 0
	s.mu.Unlock()
	delay := s.o.delay
	switch {
	case !unwritten && !awaited:
		return time.Time{}
	case awaited:
		delay = min(delay, company)
	}
	due := time.Now().Add(delay)
	if due.Before(s.notBefore) {
		due = s.notBefore
	}
	return due
}

// commitAll writes what is there at the end.
func (s *Spool) commitAll() {
	s.notBefore = time.Time{} // it is the last attempt
	for s.commitSome(true) {
	}
	s.mu.Lock()
	rest := s.waiting
	s.waiting = nil
	syncers := s.takeSyncers()
	s.mu.Unlock()
	s.answer(rest, ErrClosed)
	tell(syncers, ErrClosed)
}

// unwritten reports whether there are states or removals to write.
func (s *Spool) unwritten() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.states)+len(s.done) > 0
}

// commitSome writes one batch and reports whether there may be another. Without
// messages it writes only if late: states and removals wait for company.
func (s *Spool) commitSome(late bool) (more bool) {
	if !s.work(late) {
		return false
	}
	if time.Now().Before(s.notBefore) {
		s.refuse(s.lastErr)
		return false
	}
	b := s.gather()
	if b.empty() {
		tell(b.syncers, nil) // it is there already
		if !s.work(late) {
			return false // they have stopped waiting
		}
		if err := s.roll(); err != nil {
			s.refuse(err)
			s.paused(err)
			return false
		}
		return true
	}
	if err := s.write(b); err != nil {
		s.failed(b, err)
		return true
	}
	s.pause = 0
	s.settle(b)
	return true
}

func (s *Spool) work(late bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting) > 0 || late && len(s.states)+len(s.done)+len(s.syncers) > 0
}

func (b *batch) empty() bool { return len(b.states)+len(b.done)+len(b.writers) == 0 }

// paused puts off the next attempt, longer each time.
func (s *Spool) paused(err error) {
	s.pause = longer(s.pause)
	s.notBefore, s.lastErr = time.Now().Add(s.pause), err
	s.o.Log.Error("spool: cannot write", "error", err, "pause", s.pause)
}

// refuse answers all that wait.
func (s *Spool) refuse(err error) {
	s.mu.Lock()
	all := s.waiting
	s.waiting = nil
	syncers := s.takeSyncers()
	s.mu.Unlock()
	s.answer(all, err)
	tell(syncers, err)
}

// settle takes note of what is durable now, and answers.
func (s *Spool) settle(b *batch) {
	s.ends = s.ends[b.ends:]
	s.mu.Lock()
	b.seg.end, b.seg.seq = b.start+b.n, b.seq
	for _, w := range b.writers {
		b.seg.live.push(w.m)
		s.index.add(w.m)
		s.count(w.m, 1)
	}
	for i := range b.states {
		w := &b.states[i]
		if w.m.is(gone) {
			continue
		}
		w.m.setLatest(w.place)
		if s.pending[w.m] == w.p {
			delete(s.pending, w.m)
		}
	}
	s.mu.Unlock()
	s.commits.Add(uint64(len(b.writers)))
	s.answer(b.writers, nil)
	tell(b.syncers, nil)
	if len(b.done) > 0 {
		s.wakeKeeper()
	}
}

// failed is called when it is unknown what of a batch is on the disk. The segment is
// given up, and that nothing of the batch counts is written into the next one before
// anyone is told.
func (s *Spool) failed(b *batch, err error) {
	s.o.Log.Error("spool: write failed; the segment is given up", "segment", segmentName(b.seg.number), "offset", b.start, "error", err)
	writers, syncers := append([]*Writer(nil), b.writers...), b.syncers
	s.giveUp(b)
	if begin := s.begin(); begin != nil {
		s.paused(begin)
	}
	s.answer(writers, err)
	tell(syncers, err)
}

// begin makes a new segment the current one and writes into it where others end.
func (s *Spool) begin() error {
	if err := s.roll(); err != nil || len(s.ends) == 0 {
		return err
	}
	b := &s.batch
	b.reset()
	b.seg, b.ends = s.current, len(s.ends)
	err := s.write(b)
	if err != nil {
		s.giveUp(b)
		return err
	}
	s.settle(b)
	return nil
}

// giveUp leaves a segment for good, and puts back what may wait.
func (s *Spool) giveUp(b *batch) {
	if b.start > 0 || !s.unmake(b.seg) {
		s.ends = append(s.ends, end{b.seg.number, b.start, flagFailed})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b.seg.failed = true
	s.current = nil
	for _, w := range b.states {
		if p := s.pending[w.m]; p != nil && !p.queued {
			p.queued = true
			s.states = append(s.states, w.m)
		}
	}
	s.done = append(s.done, b.done...)
}

// unmake removes a segment in which nothing was ever synced, and reports whether it
// is gone for good.
func (s *Spool) unmake(g *segment) bool {
	if err := errors.Join(s.d.unlink(segmentName(g.number)), s.d.syncDir(logDir)); err != nil {
		s.complain("removing "+segmentName(g.number), err)
		return false
	}
	s.mu.Lock()
	s.segments = slices.DeleteFunc(s.segments, func(h *segment) bool { return h == g })
	s.mu.Unlock()
	s.complain("closing a segment", g.f.close())
	return true
}

// answer tells those who wait how it went. Who has stopped waiting has said that the
// message was not taken, so it is not kept.
func (s *Spool) answer(all []*Writer, err error) {
	for _, w := range all {
		s.chunks.give(w.pooled)
		w.pooled, w.parts = nil, nil
		if w.claim.CompareAndSwap(waiting, answered) {
			w.result <- err
		} else if err == nil {
			s.drop(w.m)
		}
	}
}
