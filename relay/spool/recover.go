package spool

import (
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
)

// found is what a record of the log says.
type found struct {
	kind    kind
	id      uint64
	at      int64
	head    uint32
	body    int64
	arrived int64
	state   brief
	done    []uint64
}

// scanned is a segment as it was found.
type scanned struct {
	*segment
	records []found
	ends    []end // that it says
	gaps    []gap
	last    int64 // behind its last whole record
}

// recovery is what Open gathers.
type recovery struct {
	s        *Spool
	segments []*scanned
	spares   []uint64
	ends     map[uint64]end
	messages map[uint64]*Message
	states   map[uint64]placed // newest, of messages that the log does not have
	done     map[uint64]bool
}

type placed struct {
	*found
	place
}

func newRecovery(s *Spool) *recovery {
	return &recovery{s: s, ends: map[uint64]end{}, messages: map[uint64]*Message{}, states: map[uint64]placed{}, done: map[uint64]bool{}}
}

// recover rebuilds the queue from what is on the disk.
func (s *Spool) recover() error {
	r := newRecovery(s)
	if err := r.readLog(); err != nil {
		return err
	}
	for _, n := range r.spares {
		if err := r.keepSpare(n); err != nil {
			return err
		}
	}
	if err := r.spareEmpty(); err != nil {
		return err
	}
	for _, g := range r.segments {
		r.judge(g)
		r.apply(g)
		s.segments = append(s.segments, g.segment)
		e, known := r.ends[g.number]
		// An earlier run may have been unable to say that it gave this one up.
		g.failed = !known || e.flags != 0
		if !known {
			s.ends = append(s.ends, end{g.number, roundUp(g.last), flagRecovered})
		}
	}
	if err := r.readOwn(); err != nil {
		return err
	}
	for _, m := range r.messages {
		s.count(m, 1)
	}
	return r.cleanTmp()
}

// readLog scans the segments, oldest first.
func (r *recovery) readLog() error {
	s := r.s
	names, err := s.d.names(logDir)
	if err != nil {
		return err
	}
	var numbers []uint64
	for _, name := range names {
		n, spare, ok := segmentNumber(name)
		switch {
		case !ok:
			s.o.Log.Warn("spool: a file that is not ours is left alone", "file", logDir+"/"+name)
			continue
		case spare:
			r.spares = append(r.spares, n)
		default:
			numbers = append(numbers, n)
		}
		s.lastNumber = max(s.lastNumber, n)
	}
	slices.Sort(numbers)
	return r.readSegments(numbers)
}

// readAtOnce is how many segments are read at the same time, each into memory of its own.
const readAtOnce = 4

func (r *recovery) readSegments(numbers []uint64) error {
	for _, n := range numbers {
		f, err := r.s.d.open(segmentName(n))
		if err != nil {
			return err
		}
		r.segments = append(r.segments, &scanned{segment: &segment{number: n, f: f}})
	}
	failed := make([]error, len(numbers))
	var next atomic.Int64
	var wait sync.WaitGroup
	for range min(readAtOnce, len(numbers)) {
		wait.Go(func() {
			var buf []byte
			for i := next.Add(1) - 1; i < int64(len(numbers)); i = next.Add(1) - 1 {
				buf, failed[i] = r.readSegment(r.segments[i], buf)
			}
		})
	}
	wait.Wait()
	for _, g := range r.segments {
		for _, e := range g.ends {
			r.ends[e.segment] = e
		}
	}
	return errors.Join(failed...)
}

// keepSpare takes note of a file to be used again.
func (r *recovery) keepSpare(n uint64) error {
	f, err := r.s.d.open(spareName(n))
	if err != nil {
		return err
	}
	size, err := f.size()
	r.s.complain("closing "+spareName(n), f.close())
	if err != nil {
		return err
	}
	if size != r.s.o.segmentSize || len(r.s.spares) >= maxSpares {
		r.s.complain("removing a spare segment", r.s.d.unlink(spareName(n)))
		return nil
	}
	r.s.spares = append(r.s.spares, n)
	return nil
}

// spareEmpty has the last segments used again in which nothing was ever written: a full
// disk may have no room for others.
func (r *recovery) spareEmpty() error {
	s := r.s
	for n := len(r.segments) - 1; n >= 0 && len(s.spares) < maxSpares; n-- {
		g := r.segments[n]
		_, known := r.ends[g.number]
		if known || g.last > 0 || len(g.gaps) > 0 || g.keep || g.size != s.o.segmentSize {
			break
		}
		err := s.d.rename(segmentName(g.number), spareName(g.number))
		if err == nil {
			err = s.d.syncDir(logDir)
		}
		if err = errors.Join(err, g.f.close()); err != nil {
			return err
		}
		s.spares = append(s.spares, g.number)
		r.segments = r.segments[:n]
	}
	return nil
}

// readSegment reads a segment by way of buf, or of what it returns for the next one.
func (r *recovery) readSegment(g *scanned, buf []byte) (_ []byte, err error) {
	n := g.number
	if g.size, err = g.f.size(); err != nil {
		return buf, err
	}
	// A process that was killed may have left what is not on the disk yet; what follows
	// from it must not get there first.
	if err := g.f.sync(); err != nil {
		return buf, err
	}
	size := min(g.size, maxSegment)
	if int64(cap(buf)) < size {
		buf = make([]byte, size)
	}
	data := buf[:size]
	bad := readAll(g.f, data)
	if bad != nil {
		g.keep = true
		r.s.o.Log.Error("spool: a segment cannot be read in places", "segment", segmentName(n), "error", bad)
	}
	g.last, g.gaps = scan(data, 0, r.s.mark, n, func(h *header, head, _ []byte) { r.note(g, h, head) })
	g.end = roundUp(g.last)
	return buf, nil
}

// maxSegment bounds what is read of a file that is called a segment.
const maxSegment = 1 << 30

// readAll reads what can be read; the rest is zeros, and there is an error.
func readAll(f file, data []byte) error {
	err := f.readAt(data, 0)
	if err == nil {
		return nil
	}
	for at := 0; at < len(data); at += page {
		part := data[at:min(at+page, len(data))]
		if f.readAt(part, int64(at)) != nil {
			clear(part)
		}
	}
	return err
}

// note remembers a record. A head that cannot be decoded is damage.
func (r *recovery) note(g *scanned, h *header, head []byte) {
	n := found{kind: h.kind, id: h.id, at: int64(h.at), head: h.head, body: h.body}
	var err error
	switch h.kind {
	case kindMessage:
		n.arrived, n.state, err = skimMessage(head)
	case kindState:
		n.state, err = skimState(head)
	case kindDone:
		for ; len(head) >= 8; head = head[8:] {
			n.done = append(n.done, binary.LittleEndian.Uint64(head))
		}
	case kindEnd:
		g.ends = append(g.ends, end{h.id, h.body, h.flags})
		return
	}
	if err != nil {
		g.keep = true
		r.s.o.Log.Error("spool: an envelope is damaged", "segment", segmentName(g.number), "offset", h.at, "id", idText(h.id), "error", err)
		return
	}
	g.records = append(g.records, n)
}

// judge says which of the gaps are torn, by a crash while they were being written, and
// which are damaged: a batch is begun only after the one before it was synced.
func (r *recovery) judge(g *scanned) {
	e, known := r.ends[g.number]
	for _, p := range g.gaps {
		if known && p.from >= e.at {
			continue // it was never answered, or was logged by an earlier run
		}
		attrs := []any{"segment", segmentName(g.number), "offset", p.from, "bytes", p.to - p.from}
		if p.id != 0 {
			attrs = append(attrs, "id", idText(p.id))
		}
		if !p.last && p.batch > p.from || known && e.flags&flagRecovered == 0 {
			g.keep = true
			r.s.o.Log.Error("spool: a record is damaged; the segment will be kept in aside/", attrs...)
		} else {
			r.s.o.Log.Warn("spool: a record is torn; it was not answered, and is dropped", attrs...)
		}
	}
	if known && e.flags&flagRecovered == 0 && roundUp(g.last) < e.at {
		g.keep = true
		r.s.o.Log.Error("spool: the end of a segment is missing; it will be kept in aside/", "segment", segmentName(g.number), "from", g.last, "to", e.at)
	}
}

// apply puts the records of a segment into the queue.
func (r *recovery) apply(g *scanned) {
	e, known := r.ends[g.number]
	if known {
		g.end = min(g.end, e.at)
	}
	for i := range g.records {
		n := &g.records[i]
		if known && n.at >= e.at {
			r.s.o.Log.Info("spool: a record that was not answered is dropped", "segment", segmentName(g.number), "offset", n.at, "id", idText(n.id))
			continue
		}
		switch n.kind {
		case kindMessage:
			r.message(g.segment, n)
		case kindState:
			if m := r.messages[n.id]; m != nil {
				m.take(n.state, place{g.segment, n.at})
			} else {
				r.state(n, place{g.segment, n.at})
			}
		case kindDone:
			for _, id := range n.done {
				r.finish(id)
			}
		}
	}
}

func (r *recovery) message(g *segment, n *found) {
	if r.done[n.id] || r.messages[n.id] != nil {
		return
	}
	m := &Message{s: r.s, id: n.id, arrived: n.arrived, size: n.body, head: n.head}
	m.setAt(place{g, n.at})
	m.setState(n.state)
	g.live.push(m)
	r.messages[n.id] = m
}

// take notes a newer state.
func (m *Message) take(b brief, p place) {
	if b.version <= m.version {
		return
	}
	m.setState(b)
	m.setLatest(p)
}

func (r *recovery) state(n *found, p place) {
	if old, ok := r.states[n.id]; !ok || n.state.version > old.state.version {
		r.states[n.id] = placed{n, p}
	}
}

func (r *recovery) finish(id uint64) {
	r.done[id] = true
	if m := r.messages[id]; m != nil {
		m.home().remove(m)
		m.setLatest(place{})
		delete(r.messages, id)
	}
}
