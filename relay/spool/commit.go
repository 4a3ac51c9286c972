package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"
)

// maxBatch bounds what is written with one sync, so that nobody waits for too much.
const maxBatch = 4 << 20

// batch is what one write and one sync make durable.
type batch struct {
	seg     *segment
	start   int64
	seq     uint32
	ends    int // how many of Spool.ends
	states  []written
	done    []uint64
	writers []*Writer
	syncers []chan error // of Sync, whose states and removals are all in this batch
	small   []byte       // records other than messages
	parts   [][]byte     // all of it, for the system
	n       int64
}

// written is a state on its way to the disk.
type written struct {
	m *Message
	p *pending
	place
}

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

// gather takes what fits into the current segment. Messages leave a reserve unless
// the next segment is ready.
func (s *Spool) gather() *batch {
	b := &s.batch
	b.reset()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return b
	}
	b.seg, b.start, b.seq = s.current, s.current.end, s.current.seq
	b.ends = len(s.ends)
	b.n = int64(b.ends) * headerSize
	room := b.seg.size - b.start
	s.gatherStates(b, room)
	s.gatherDone(b, room)
	if len(s.states)+len(s.done) == 0 {
		b.syncers = s.takeSyncers()
	}
	if s.next == nil {
		room -= b.seg.size / 16
	}
	room = min(room, maxBatch)
	taken := 0
	for _, w := range s.waiting {
		if w.claim.Load() == abandoned {
			s.chunks.give(w.pooled)
			taken++
			continue
		}
		if b.n+w.head.size() > room {
			break
		}
		b.writers = append(b.writers, w)
		b.n += w.head.size()
		taken++
	}
	s.waiting = append(s.waiting[:0], s.waiting[taken:]...)
	clear(s.waiting[len(s.waiting):cap(s.waiting)])
	return b
}

func (b *batch) reset() {
	clear(b.states)
	clear(b.writers)
	clear(b.parts)
	*b = batch{states: b.states[:0], done: b.done[:0], writers: b.writers[:0], small: b.small[:0], parts: b.parts[:0]}
}

func (s *Spool) gatherStates(b *batch, room int64) {
	taken := 0
	for _, m := range s.states {
		if p := s.pending[m]; p != nil {
			n := headerSize + int64(len(p.head))
			if b.n+n > room {
				break
			}
			b.n += n
			b.states = append(b.states, written{m: m, p: p})
			p.queued = false
		}
		taken++
	}
	rest := copy(s.states, s.states[taken:])
	clear(s.states[rest:])
	s.states = s.states[:rest]
}

func (s *Spool) gatherDone(b *batch, room int64) {
	fit := min(int64(len(s.done)), (room-b.n-headerSize)/8, maxHead/8)
	if fit <= 0 {
		return
	}
	b.done = append(b.done, s.done[:fit]...)
	b.n += headerSize + 8*fit
	s.done = append(s.done[:0], s.done[fit:]...)
}

// write lays out the batch and makes it durable. It begins and ends with a page, so
// that no page is written again that has once been synced.
func (s *Spool) write(b *batch) error {
	s.layOut(b)
	if err := b.seg.f.writeAt(b.parts, b.start); err != nil {
		return fmt.Errorf("spool: %w", full(err))
	}
	if err := b.seg.f.sync(); err != nil {
		return fmt.Errorf("spool: %w", full(err))
	}
	s.syncs.Add(1)
	return nil
}

var padding [page]byte

func (s *Spool) layOut(b *batch) {
	for _, e := range s.ends[:b.ends] {
		h := header{kind: kindEnd, flags: e.flags, id: e.segment, body: e.at}
		b.add(s.mark, &h, nil)
	}
	for i := range b.states {
		w := &b.states[i]
		w.place = place{b.seg, b.start + int64(len(b.small))}
		b.add(s.mark, &header{kind: kindState, id: w.m.id}, w.p.head)
	}
	if len(b.done) > 0 {
		s.ids = s.ids[:0]
		for _, id := range b.done {
			s.ids = binary.LittleEndian.AppendUint64(s.ids, id)
		}
		b.add(s.mark, &header{kind: kindDone}, s.ids)
	}
	if len(b.small) > 0 {
		b.parts = append(b.parts, b.small)
	}
	at := b.start + int64(len(b.small))
	for _, w := range b.writers {
		h := w.head
		b.place(&h, at)
		h.put(w.parts[0], s.mark)
		w.m.setAt(place{b.seg, at})
		b.parts = append(b.parts, w.parts...)
		at += h.size()
	}
	if rest := roundUp(at) - at; rest > 0 {
		b.parts = append(b.parts, padding[:rest])
	}
	b.n = roundUp(at) - b.start
}

// place numbers a record.
func (b *batch) place(h *header, at int64) {
	h.segment, h.seq, h.batch, h.at = b.seg.number, b.seq, uint32(b.start), uint32(at)
	b.seq++
}

func (b *batch) add(m mark, h *header, head []byte) {
	at := len(b.small)
	h.head, h.headCRC = uint32(len(head)), checksum(head)
	b.place(h, b.start+int64(at))
	b.small = append(b.small, padding[:headerSize]...)
	h.put(b.small[at:], m)
	b.small = append(b.small, head...)
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
