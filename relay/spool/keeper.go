package spool

import (
	"errors"
	"fmt"
	"time"
)

func (s *Spool) wakeKeeper() { signal(s.wakeKeep) }

// keepLoop does what nobody waits for: files of removed messages go, segments are
// emptied and used again, and the next one is made ready.
func (s *Spool) keepLoop() {
	defer close(s.kept)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var pause time.Duration
	said := ""
	for {
		select {
		case <-s.wakeKeep:
			if pause > 0 {
				continue // the timer is running
			}
		case <-timer.C:
		case <-s.stop:
			return
		}
		err := s.keep()
		if err == nil {
			if said != "" {
				s.o.Log.Info("spool: the queue's files are in order again")
			}
			pause, said = 0, ""
			continue
		}
		pause = longer(pause)
		timer.Reset(pause)
		if text := err.Error(); text != said {
			s.o.Log.Error("spool: the queue's files cannot be put in order; tried again every few seconds", "error", err)
			said = text
		}
	}
}

func (s *Spool) keep() error {
	if err := s.unlinkRemoved(); err != nil {
		return errors.Join(err, s.prepare())
	}
	for {
		g, move := s.oldest()
		var err error
		switch {
		case g == nil:
			return s.prepare()
		case move:
			err = s.evacuate(g)
		default:
			err = s.retire(g)
		}
		if err != nil {
			return errors.Join(err, s.prepare())
		}
		select {
		case <-s.stop:
			return nil
		default:
		}
	}
}

// oldest gives the oldest segment if something is to be done with it: if nothing in
// it is needed, it goes. If more than half of a log of several segments is not
// needed, what is needed in the oldest is moved out. Each message is moved at most once,
// and no more is moved than has gone.
func (s *Spool) oldest() (g *segment, move bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.segments) == 0 || s.segments[0] == s.current {
		return nil, false
	}
	g = s.segments[0]
	if g.live.n == 0 && g.states == 0 {
		return g, false
	}
	var live, all int64
	for _, h := range s.segments {
		live += h.live.bytes
		all += h.size
	}
	if len(s.segments) > s.o.segments && live < all/2 {
		return g, true
	}
	return nil, false
}

// unlinkRemoved removes the files of removed messages. Until the folder is synced the
// record in the log that the message is done must stay; s.unlinked remembers that.
func (s *Spool) unlinkRemoved() error {
	s.mu.Lock()
	ids := s.unlinks
	s.unlinks = nil
	s.mu.Unlock()
	for i, id := range ids {
		if err := s.d.unlink(mailName(id)); err != nil {
			s.mu.Lock()
			s.unlinks = append(s.unlinks, ids[i:]...)
			s.mu.Unlock()
			return err
		}
		s.unlinked[mailFolder(id)] = append(s.unlinked[mailFolder(id)], id)
	}
	return nil
}

// syncUnlinked makes those removals durable. After a failed sync another one proves
// nothing, so what it was for is written into the log once more.
func (s *Spool) syncUnlinked() error {
	for folder, ids := range s.unlinked {
		if err := s.d.syncDir(folder); err != nil {
			s.mu.Lock()
			s.done = append(s.done, ids...)
			s.mu.Unlock()
			signal(s.wake)
			return err
		}
		delete(s.unlinked, folder)
	}
	return nil
}

// retire takes the oldest segment out of the log: nothing in it is needed.
//   - Its messages are removed or in files of their own, synced under their names.
//   - Its states are of such, or replaced by newer ones.
//   - What it says is done was in it or in an older segment, which is gone for good
//     (log/ is synced before the next one goes), or in a file whose unlink is synced.
//   - Where it says an older segment ends no longer matters.
func (s *Spool) retire(g *segment) error {
	if err := s.unlinkRemoved(); err != nil {
		return err
	}
	if err := s.syncUnlinked(); err != nil {
		return err
	}
	s.mu.Lock()
	// No message is here, so readers can only become fewer.
	reuse := !g.failed && g.readers == 0 && g.size == s.o.segmentSize && len(s.spares) < maxSpares
	s.mu.Unlock()
	err := s.rename(g, reuse)
	if err == nil {
		err = s.d.syncDir(logDir)
	}
	if err != nil {
		g.failed = true // its names are uncertain: it is not used again
		return err
	}
	s.mu.Lock()
	s.segments = s.segments[1:]
	if reuse && !g.keep {
		s.spares = append(s.spares, g.number)
	}
	g.retired = true
	closing := g.readers == 0
	s.mu.Unlock()
	if closing {
		s.complain("closing a segment", g.f.close())
	}
	return nil
}

func (s *Spool) rename(g *segment, reuse bool) error {
	name := segmentName(g.number)
	switch {
	case g.keep && !g.aside:
		aside := fmt.Sprintf("%s/%010d", asideDir, g.number)
		if err := s.d.rename(name, aside); err != nil {
			return err
		}
		g.aside = true
		s.o.Log.Warn("spool: a damaged segment is kept aside; remove it when you have looked at it", "file", aside)
		return s.d.syncDir(asideDir)
	case g.keep:
		return s.d.syncDir(asideDir)
	case reuse:
		return s.d.rename(name, spareName(g.number))
	}
	return errors.Join(s.d.unlink(name), s.d.unlink(spareName(g.number)))
}
