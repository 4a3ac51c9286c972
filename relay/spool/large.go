package spool

import (
	"errors"
	"fmt"
	"hash/crc32"
)

func update(sum uint32, p []byte) uint32 { return crc32.Update(sum, castagnoli, p) }

// largeFile is the file of a message's own while it is being written.
type largeFile struct {
	s    *Spool
	name string
	f    file
	off  int64
	buf  []byte
}

func tmpName(id uint64) string { return tmpDir + "/" + idText(id) }

// mailFolder is the same for neighbours, so that they share its sync.
func mailFolder(id uint64) string { return fmt.Sprintf("%s/%02x", mailDir, folderOf(id)) }

func folderOf(id uint64) byte { return byte(id >> 10) }

func mailName(id uint64) string { return mailFolder(id) + "/" + idText(id) }

// makeLarge moves what there is of the message from memory to a file.
func (w *Writer) makeLarge() error {
	f, err := w.s.d.create(tmpName(w.m.id))
	if err != nil {
		return fmt.Errorf("spool: %w", full(err))
	}
	l := &largeFile{s: w.s, name: tmpName(w.m.id), f: f}
	w.large = l
	for _, p := range w.parts {
		l.off += int64(len(p))
	}
	if err := l.f.writeAt(w.parts, 0); err != nil {
		return fmt.Errorf("spool: %w", full(err))
	}
	w.parts[0] = append([]byte(nil), w.parts[0][:headerSize]...)
	w.s.chunks.give(w.pooled)
	buf := w.s.chunks.take(smallChunk, true)
	w.pooled = append(w.pooled[:0], buf)
	l.buf = buf
	return nil
}

func (l *largeFile) write(p []byte) error {
	if len(l.buf)+len(p) <= cap(l.buf) {
		l.buf = append(l.buf, p...)
		return nil
	}
	if err := l.flush(p); err != nil {
		return err
	}
	return nil
}

// flush writes the buffer, and then p.
func (l *largeFile) flush(p []byte) error {
	if len(l.buf)+len(p) == 0 {
		return nil
	}
	if err := l.s.claimRoom(int64(len(l.buf) + len(p))); err != nil {
		return err
	}
	parts := make([][]byte, 0, 2)
	for _, q := range [][]byte{l.buf, p} {
		if len(q) > 0 {
			parts = append(parts, q)
		}
	}
	if err := l.f.writeAt(parts, l.off); err != nil {
		return fmt.Errorf("spool: %w", full(err))
	}
	l.off += int64(len(l.buf) + len(p))
	l.buf = l.buf[:0]
	return nil
}

// seal writes the header, now that lengths and checksums are known, and syncs.
func (l *largeFile) seal(h header, room []byte) error {
	if err := l.flush(nil); err != nil {
		return err
	}
	h.put(room[:headerSize], l.s.mark)
	if err := l.f.writeAt([][]byte{room[:headerSize]}, 0); err != nil {
		return fmt.Errorf("spool: %w", full(err))
	}
	if err := l.f.sync(); err != nil {
		return fmt.Errorf("spool: %w", full(err))
	}
	l.s.syncs.Add(1)
	f := l.f
	l.f = nil
	if err := f.close(); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}

// discard removes the file.
func (l *largeFile) discard() {
	var err error
	if l.f != nil {
		err = l.f.close()
		l.f = nil
	}
	l.s.complain("giving up "+l.name, errors.Join(err, l.s.d.unlink(l.name)))
}

// commitLarge syncs the file here, beside others; its name is made durable by fileLoop.
func (w *Writer) commitLarge() error {
	if err := w.large.seal(w.head, w.parts[0]); err != nil {
		w.discard()
		return err
	}
	return w.s.enqueue(&w.s.filing, w, w.s.wakeFiler)
}

// fileLoop gives sealed files their names. One sync of a folder serves all in it.
func (s *Spool) fileLoop() {
	defer close(s.filed)
	for stop := false; !stop; {
		select {
		case <-s.wakeFiler:
		case <-s.stop:
			stop = true
		}
		s.mu.Lock()
		all := s.filing
		s.filing = nil
		s.mu.Unlock()
		s.file(all)
	}
}

// file gives each of all its name.
func (s *Spool) file(all []*Writer) {
	failed := make([]error, len(all))
	folders := map[string]error{}
	for i, w := range all {
		folder := mailFolder(w.m.id)
		if failed[i] = s.makeFolder(folder); failed[i] == nil {
			failed[i] = s.d.rename(w.large.name, mailName(w.m.id))
		}
		if failed[i] == nil {
			folders[folder] = nil
		} else {
			w.large.discard()
		}
	}
	for folder := range folders {
		folders[folder] = s.d.syncDir(folder)
		s.syncs.Add(1)
	}
	for i, w := range all {
		err := failed[i]
		if err == nil {
			if err = folders[mailFolder(w.m.id)]; err != nil {
				s.unfile(w.m)
			} else {
				s.mu.Lock()
				w.m.home().push(w.m)
				s.index.add(w.m)
				s.count(w.m, 1)
				s.mu.Unlock()
				s.commits.Add(1)
			}
		}
		if err != nil {
			err = fmt.Errorf("spool: %w", full(err))
			s.o.Log.Error("spool: a large message was not taken", "id", w.m.ID(), "error", err)
		}
		s.answer([]*Writer{w}, err)
	}
}

// unfile takes back a file whose name may or may not be on the disk: the log says that
// the message is no more.
func (s *Spool) unfile(m *Message) {
	s.mu.Lock()
	m.set(gone, true)
	s.done = append(s.done, m.id)
	s.unlinks = append(s.unlinks, m.id)
	s.mu.Unlock()
	signal(s.wake)
	s.wakeKeeper()
}

// makeFolder makes a folder of mail/ that is not known to be on the disk.
func (s *Spool) makeFolder(name string) error {
	s.foldersLock.Lock()
	defer s.foldersLock.Unlock()
	if s.folders[name] {
		return nil
	}
	err := s.d.mkdir(name)
	if err == nil {
		err = s.d.syncDir(mailDir)
	}
	if err == nil {
		s.folders[name] = true
	}
	return err
}
