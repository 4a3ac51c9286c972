package spool

import (
	"errors"
	"fmt"
	"io"
)

// view is a message's places at one moment; its segments are held until closed.
type view struct {
	s          *Spool
	m          *Message
	at, latest place
	head       uint32
	stated     bool // there is a state apart from the record, at latest
	pend       *pending
	own        file
}

// view opens what is needed to read the message. The caller closes it.
func (m *Message) view() (*view, error) {
	for {
		v, err := m.look()
		if err != nil || v.own == nil || !v.moved() {
			return v, err
		}
		v.close() // the file may be another one than that of which the places are
	}
}

func (m *Message) look() (*view, error) {
	s := m.s
	s.mu.Lock()
	if m.is(gone) || s.closed {
		removed := m.is(gone)
		s.mu.Unlock()
		if removed {
			return nil, ErrRemoved
		}
		return nil, ErrClosed
	}
	v := &view{s: s, m: m, at: m.at(), head: m.head, latest: m.latest(), pend: s.pending[m]}
	v.stated = v.latest != place{}
	if !v.stated {
		v.latest = v.at
	}
	for _, g := range []*segment{v.at.segment, v.latest.segment} {
		if g != nil {
			g.readers++
		}
	}
	s.mu.Unlock()
	if v.at.segment == nil {
		var err error
		if v.own, err = s.d.open(mailName(m.id)); err != nil {
			v.close()
			if m.removed() {
				return nil, ErrRemoved
			}
			return nil, err
		}
	}
	return v, nil
}

func (m *Message) removed() bool {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	return m.is(gone)
}

func (v *view) close() {
	for _, g := range []*segment{v.at.segment, v.latest.segment} {
		if g != nil {
			v.s.release(g)
		}
	}
	if v.own != nil {
		v.s.complain("closing "+mailName(v.m.id), v.own.close())
	}
}

// file that a place is in, and the number of its segment.
func (v *view) file(p place) (file, uint64) {
	if p.segment != nil {
		return p.segment.f, p.segment.number
	}
	return v.own, 0
}

// header reads that of the record at p.
func (v *view) header(p place, k kind) (header, error) {
	buf := make([]byte, headerSize)
	f, number := v.file(p)
	if err := f.readAt(buf, p.off); err != nil {
		return header{}, err
	}
	h, ok := parseHeader(buf, v.s.mark, number, p.off)
	if !ok || h.kind != k || h.id != v.m.id || k == kindMessage && h.head != v.head {
		return header{}, fmt.Errorf("%w: record at byte %d of segment %d", ErrDamaged, p.off, number)
	}
	return h, nil
}

// record reads the head of the record at p.
func (v *view) record(p place, k kind) ([]byte, error) {
	h, err := v.header(p, k)
	if err != nil {
		return nil, err
	}
	head := make([]byte, h.head)
	f, number := v.file(p)
	if err := f.readAt(head, p.off+headerSize); err != nil {
		return nil, err
	}
	if checksum(head) != h.headCRC {
		return nil, fmt.Errorf("%w: head of the record at byte %d of segment %d", ErrDamaged, p.off, number)
	}
	return head, nil
}

func (v *view) envelope() (Envelope, state, error) {
	head, err := v.record(v.at, kindMessage)
	if err != nil {
		return Envelope{}, state{}, err
	}
	e, st, err := decodeMessage(head)
	if err != nil {
		return Envelope{}, state{}, errors.Join(ErrDamaged, err)
	}
	head = nil
	if v.pend != nil {
		head = v.pend.head
	} else if v.stated {
		if head, err = v.record(v.latest, kindState); err != nil {
			return Envelope{}, state{}, err
		}
	}
	if head != nil {
		if st, err = decodeState(head); err != nil {
			return Envelope{}, state{}, errors.Join(ErrDamaged, err)
		}
	}
	return e, st, nil
}

// read gives envelope and state as of now. The message may be moved meanwhile, its own
// file replaced; then it is read again.
func (m *Message) read() (Envelope, state, error) {
	for {
		v, err := m.view()
		if err != nil {
			return Envelope{}, state{}, err
		}
		e, st, err := v.envelope()
		v.close()
		if err == nil || !v.stale() {
			if errors.Is(err, ErrDamaged) {
				m.spoil()
			}
			return e, st, err
		}
	}
}

// spoil holds a message that can be neither delivered nor changed: nothing of it can be
// written down, and the next start finds the damage itself.
func (m *Message) spoil() {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	if !m.is(gone | held) {
		m.s.count(m, -1)
		m.set(held, true)
		m.s.count(m, 1)
	}
}

// stale reports whether the message is elsewhere now.
func (v *view) stale() bool {
	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	latest := v.m.latest()
	return v.at != v.m.at() || v.head != v.m.head || v.stated != (latest != place{}) || v.stated && v.latest != latest
}

// moved reports whether the message's file is not the one that the places are of.
func (v *view) moved() bool {
	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	return v.head != v.m.head
}

// Open gives the message's bytes. They are checked on the way: read from the beginning
// to the end, the last Read has the error ErrDamaged instead of io.EOF if they are not
// those that were written. A Reader is for one goroutine.
func (m *Message) Open() (io.ReadSeekCloser, error) {
	v, err := m.view()
	if err != nil {
		return nil, fmt.Errorf("spool: %s: %w", m.ID(), err)
	}
	r := &reader{v: v}
	if err := r.begin(); err != nil {
		v.close()
		return nil, fmt.Errorf("spool: %s: %w", m.ID(), err)
	}
	return r, nil
}

type reader struct {
	v      *view
	pos    int64
	summed int64 // how much of the beginning is in sum
	sum    uint32
	want   uint32 // the sum of all
}

// begin reads what the sum must be.
func (r *reader) begin() error {
	h, err := r.v.header(r.v.at, kindMessage)
	r.want = h.bodyCRC
	return err
}

func (r *reader) Read(p []byte) (int, error) {
	if r.v == nil {
		return 0, errors.New("spool: read of a closed message")
	}
	m := r.v.m
	if r.pos >= m.size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), m.size-r.pos)]
	f, _ := r.v.file(r.v.at)
	if err := f.readAt(p, r.v.at.off+headerSize+int64(r.v.head)+r.pos); err != nil {
		return 0, fmt.Errorf("spool: %s: %w", m.ID(), err)
	}
	if r.summed == r.pos {
		r.sum = update(r.sum, p)
		r.summed += int64(len(p))
		if r.summed == m.size && r.sum != r.want {
			return 0, fmt.Errorf("spool: %s: %w", m.ID(), ErrDamaged)
		}
	}
	r.pos += int64(len(p))
	return len(p), nil
}

func (r *reader) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += r.pos
	case io.SeekEnd:
		if r.v != nil {
			off += r.v.m.size
		}
	}
	if off < 0 {
		return r.pos, errors.New("spool: seek to before the message")
	}
	if r.pos = off; off == 0 {
		r.summed, r.sum = 0, 0
	}
	return off, nil
}

func (r *reader) Close() error {
	if r.v != nil {
		r.v.close()
		r.v = nil
	}
	return nil
}
