package spool

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// ownFile is a file of mail/ and what was found in it.
type ownFile struct {
	name string
	id   uint64
	m    *Message
	bad  error // why m is nil
}

// readOwn reads the files of mail/.
func (r *recovery) readOwn() error {
	all, err := r.listOwn()
	if err != nil {
		return err
	}
	r.loadAll(all)
	for i := range all {
		if err := r.take(&all[i]); err != nil {
			return err
		}
	}
	return nil
}

// listOwn gives the files of mail/ that are to be read.
func (r *recovery) listOwn() ([]ownFile, error) {
	s := r.s
	folders, err := s.d.names(mailDir)
	if err == nil {
		err = s.d.syncDir(mailDir)
	}
	if err != nil {
		return nil, err
	}
	var all []ownFile
	for _, folder := range folders {
		folder = mailDir + "/" + folder
		names, err := s.d.names(folder)
		if err == nil {
			// See readSegment; segments are given up on the strength of these names.
			err = s.d.syncDir(folder)
		}
		if errors.Is(err, unix.ENOTDIR) {
			s.o.Log.Warn("spool: a file that is not ours is left alone", "file", folder)
			continue
		}
		if err != nil {
			return nil, err
		}
		s.folders[folder] = true
		for _, name := range names {
			all = r.sortOwn(all, folder, name)
		}
	}
	// In the order in which they were written they are near each other on the disk.
	slices.SortFunc(all, func(a, b ownFile) int { return cmp.Compare(a.id, b.id) })
	return all, nil
}

// sortOwn adds a file to those that are to be read, if it is one.
func (r *recovery) sortOwn(all []ownFile, folder, name string) []ownFile {
	full := folder + "/" + name
	id, ok := parseID(name)
	if ok = ok && mailName(id) == full; ok {
		// The log that knew it may be gone.
		r.s.lastNumber = max(r.s.lastNumber, id>>32)
	}
	switch {
	case !ok:
		r.s.o.Log.Warn("spool: a file that is not ours is left alone", "file", full)
	case r.done[id]:
		r.s.unlinks = append(r.s.unlinks, id)
	default:
		all = append(all, ownFile{name: full, id: id})
	}
	return all
}

// readers at once; a disk that is not in memory answers several sooner.
const readers = 32

func (r *recovery) loadAll(all []ownFile) {
	var next atomic.Int64
	var wait sync.WaitGroup
	for range readers {
		wait.Go(func() {
			buf := make([]byte, firstRead)
			for i := next.Add(1) - 1; i < int64(len(all)); i = next.Add(1) - 1 {
				o := &all[i]
				f, err := r.s.d.open(o.name)
				if err != nil {
					o.bad = err
					continue
				}
				o.m, err = r.loadOwn(f, o.id, buf)
				o.bad = errors.Join(err, f.close())
			}
		})
	}
	wait.Wait()
}

// take puts a message that has a file of its own into the queue.
func (r *recovery) take(o *ownFile) error {
	if o.bad == nil {
		r.adopt(o.m)
		return nil
	}
	s := r.s
	if path := (*os.PathError)(nil); errors.As(o.bad, &path) {
		if m := r.messages[o.id]; m != nil {
			m.set(copied, true) // the log has it too, and it goes with that
			return nil
		}
		s.o.Log.Error("spool: the file of a message cannot be read; it is left out until the next start", "file", o.name, "error", o.bad)
		return nil
	}
	s.o.Log.Error("spool: the file of a message is damaged; it is kept in aside/", "file", o.name, "error", o.bad)
	if err := s.d.rename(o.name, asideDir+"/"+idText(o.id)); err != nil {
		return err
	}
	return s.d.syncDir(asideDir)
}

// firstRead is enough for header and head of most messages.
const firstRead = 1024

// loadOwn reads header, head, and the states that were added, by way of buf. The body is checked when
// it is read: a file has its name only after it was synced.
func (r *recovery) loadOwn(f file, id uint64, buf []byte) (*Message, error) {
	size, err := f.size()
	if err != nil {
		return nil, err
	}
	buf = buf[:min(size, int64(len(buf)))]
	if err := f.readAt(buf, 0); err != nil {
		return nil, err
	}
	h, ok := parseHeader(buf, r.s.mark, 0, 0)
	if !ok || h.kind != kindMessage || h.id != id || h.size() > size {
		return nil, fmt.Errorf("%d bytes do not begin with a whole record of this message", size)
	}
	if n := headerSize + int64(h.head); n > int64(len(buf)) {
		buf = make([]byte, n)
		if err := f.readAt(buf, 0); err != nil {
			return nil, err
		}
	}
	head := buf[headerSize:][:h.head]
	if checksum(head) != h.headCRC {
		return nil, errors.New("checksum of the envelope")
	}
	arrived, b, err := skimMessage(head)
	if err != nil {
		return nil, err
	}
	m := &Message{s: r.s, id: id, arrived: arrived, size: h.body, head: h.head}
	m.setState(b)
	return m, r.addedStates(f, m, roundUp(h.size()), size)
}

// addedStates finds the newest state at the end of the file. A torn one was not synced:
// the log still has it.
func (r *recovery) addedStates(f file, m *Message, from, size int64) error {
	if from >= size {
		return nil
	}
	if err := f.sync(); err != nil {
		return err
	}
	data := make([]byte, min(size-from, maxSegment))
	if err := f.readAt(data, from); err != nil {
		return err
	}
	scan(data, from, r.s.mark, 0, func(h *header, head, _ []byte) {
		if h.kind != kindState || h.id != m.id || h.off%page != 0 {
			return
		}
		if b, err := skimState(head); err == nil {
			m.take(b, place{nil, h.off})
		}
	})
	return nil
}

// adopt has the file take the place of what the log says of the same message, except
// that the newest state counts.
func (r *recovery) adopt(m *Message) {
	if old := r.messages[m.id]; old != nil {
		if old.version > m.version {
			m.version, m.nextTry, m.since, m.attempts = old.version, old.nextTry, old.since, old.attempts
			m.set(held, old.is(held))
			m.setLatest(old.latest())
		}
		old.home().remove(old)
		old.setLatest(place{})
	} else if st, ok := r.states[m.id]; ok {
		m.take(st.state, st.place)
	}
	m.home().push(m)
	r.messages[m.id] = m
}

// cleanTmp removes what was not finished.
func (r *recovery) cleanTmp() error {
	names, err := r.s.d.names(tmpDir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := r.s.d.unlink(tmpDir + "/" + name); err != nil {
			return err
		}
	}
	if len(names) > 0 {
		r.s.o.Log.Info("spool: messages that were not finished are removed", "files", len(names))
	}
	return nil
}
