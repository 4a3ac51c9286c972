package spool

import (
	"encoding/binary"
	"fmt"
)

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
