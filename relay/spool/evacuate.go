package spool

import (
	"errors"
	"io"
)

// moved is a message on its way from a segment to a file of its own.
type moved struct {
	m       *Message
	version uint32
	head    uint32
}

// evacuateAtOnce is how many messages share the sync of their folder.
const evacuateAtOnce = 64

// evacuate moves some of the messages and states of the oldest segment out of it.
func (s *Spool) evacuate(g *segment) error {
	s.mu.Lock()
	var some []*Message
	for m := g.live.first; m != nil && len(some) < evacuateAtOnce; m = m.next {
		some = append(some, m)
	}
	if len(some) == 0 {
		for i := range s.own {
			for m := s.own[i].first; m != nil; m = m.next {
				if m.latestSegment == g {
					some = append(some, m)
				}
			}
		}
	}
	inLog := g.live.n > 0
	s.mu.Unlock()
	if !inLog {
		return s.appendStates(g, some)
	}
	return s.moveOut(g, some)
}

func (s *Spool) moveOut(g *segment, some []*Message) error {
	var all []moved
	var failed error
	for _, m := range some {
		mv, err := s.copyOut(m)
		switch {
		case err == nil:
			all = append(all, mv)
		case errors.Is(err, ErrRemoved):
		case errors.Is(err, ErrDamaged):
			s.lose(g, m, err)
		default:
			failed = errors.Join(failed, err)
		}
		if failed != nil {
			break
		}
	}
	return errors.Join(failed, s.settleMoved(all))
}

// lose gives up a message that cannot be read; its segment is kept for the operator.
func (s *Spool) lose(g *segment, m *Message, err error) {
	s.o.Log.Error("spool: a message is damaged and cannot be delivered; its segment is kept aside",
		"id", m.ID(), "segment", segmentName(g.number), "error", err)
	s.mu.Lock()
	g.keep = true
	s.mu.Unlock()
	s.forget(m)
}

// loseOwn gives up a message whose own file cannot be used; the file is kept for the
// operator. The next start would do the same.
func (s *Spool) loseOwn(m *Message, cause error) error {
	aside := asideDir + "/" + m.ID()
	err := s.d.rename(mailName(m.id), aside)
	if err == nil {
		err = errors.Join(s.d.syncDir(asideDir), s.d.syncDir(mailFolder(m.id)))
	}
	if err != nil {
		return err
	}
	s.o.Log.Error("spool: a message is damaged and cannot be delivered; its file is kept aside", "id", m.ID(), "file", aside, "error", cause)
	s.forget(m)
	return nil
}

// forget takes a message out of the queue that is still somewhere on the disk.
func (s *Spool) forget(m *Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !m.is(gone) {
		s.takeOut(m)
	}
}

// copyOut writes a synced file in tmp/ with the message and its newest state.
func (s *Spool) copyOut(m *Message) (moved, error) {
	v, err := m.view()
	if err != nil {
		return moved{}, err
	}
	r := &reader{v: v}
	defer r.Close()
	e, st, err := v.envelope()
	if err == nil {
		err = r.begin()
	}
	if err != nil {
		return moved{}, err
	}
	record := make([]byte, headerSize, 1024)
	record = appendState(appendEnvelope(record, &e), &st)
	h := header{kind: kindMessage, id: m.id, head: uint32(len(record) - headerSize), headCRC: checksum(record[headerSize:]), body: m.size, bodyCRC: r.want}
	h.put(record, s.mark)
	if err := s.d.unlink(tmpName(m.id)); err != nil {
		return moved{}, err
	}
	f, err := s.d.create(tmpName(m.id))
	if err != nil {
		return moved{}, err
	}
	if err = copyTo(f, record, r); err == nil {
		err = f.sync()
	}
	if err = errors.Join(err, f.close()); err != nil {
		return moved{}, errors.Join(err, s.d.unlink(tmpName(m.id)))
	}
	s.syncs.Add(1)
	return moved{m, st.version, h.head}, nil
}

func copyTo(f file, record []byte, r io.Reader) error {
	var off int64
	parts := [][]byte{record}
	buf := make([]byte, bigChunk)
	for {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			parts = append(parts, buf[:n])
		}
		if len(parts) > 0 {
			if err := f.writeAt(parts, off); err != nil {
				return err
			}
			for _, p := range parts {
				off += int64(len(p))
			}
			parts = parts[:0]
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// settleMoved gives the files their names, syncs those, and only then says where the
// messages are.
func (s *Spool) settleMoved(all []moved) error {
	folders := map[string]bool{}
	for _, mv := range all {
		if !mv.m.markCopied() {
			if err := s.d.unlink(tmpName(mv.m.id)); err != nil {
				return err
			}
			continue
		}
		folder := mailFolder(mv.m.id)
		err := s.makeFolder(folder)
		if err == nil {
			err = s.giveName(mv)
		}
		if err != nil {
			return err // the segment stays, and its messages in it; all is done again
		}
		folders[folder] = true
	}
	for folder := range folders {
		if err := s.d.syncDir(folder); err != nil {
			return err
		}
		s.syncs.Add(1)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, mv := range all {
		m := mv.m
		if m.is(gone) {
			continue
		}
		m.home().remove(m)
		m.setAt(place{})
		m.head, m.spoilt = mv.head, false
		m.home().push(m)
		if m.version == mv.version {
			m.setLatest(place{})
		}
	}
	return nil
}

// giveName has the new file take the name of the message's own. Who reads the message by
// that name must know at once that its head is another one.
func (s *Spool) giveName(mv moved) error {
	if mv.m.atSegment != nil {
		return s.d.rename(tmpName(mv.m.id), mailName(mv.m.id))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.d.rename(tmpName(mv.m.id), mailName(mv.m.id))
	if err == nil {
		mv.m.head = mv.head
	}
	return err
}

// markCopied says that from now on there may be a file of the message's own, which goes
// with it. It reports false if the message is gone already.
func (m *Message) markCopied() bool {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	m.set(copied, !m.is(gone))
	return m.is(copied)
}

// appendStates writes the states of messages that have files of their own into those.
func (s *Spool) appendStates(g *segment, some []*Message) error {
	for _, m := range some {
		var err error
		if !m.spoilt {
			err = s.appendState(g, m)
		}
		if m.spoilt || err != nil && !errors.Is(err, ErrRemoved) {
			// What is in the file is unknown: a new one takes its place.
			m.spoilt = true
			mv, again := s.copyOut(m)
			if again == nil {
				again = s.settleMoved([]moved{mv})
			}
			if errors.Is(again, ErrDamaged) {
				again = s.loseOwn(m, again)
			}
			if again != nil && !errors.Is(again, ErrRemoved) {
				return errors.Join(err, again)
			}
		}
	}
	return nil
}

func (s *Spool) appendState(g *segment, m *Message) error {
	v, err := m.view()
	if err != nil {
		return err
	}
	defer v.close()
	_, st, err := v.envelope()
	if err != nil {
		return err
	}
	size, err := v.own.size()
	if err != nil {
		return err
	}
	at := roundUp(size)
	record := appendState(make([]byte, headerSize, 256), &st)
	h := header{kind: kindState, id: m.id, head: uint32(len(record) - headerSize), headCRC: checksum(record[headerSize:]), at: uint32(at), seq: st.version}
	h.put(record, s.mark)
	if err := v.own.writeAt([][]byte{record}, at); err != nil {
		return err
	}
	if err := v.own.sync(); err != nil {
		return err
	}
	s.syncs.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !m.is(gone) && m.latestSegment == g && m.version == st.version {
		m.setLatest(place{nil, at})
	}
	return nil
}
