package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestNamesAreNotTakenTwice has the log vanish, since all its segments failed, while a
// message has a file of its own: the next run must not write over it.
func TestNamesAreNotTakenTwice(t *testing.T) {
	dir := t.TempDir()
	d := &faultDisk{disk: dirDisk(dir)}
	o := small()
	o.d = d
	s := open(t, dir, o)
	old := mustPut(t, s, envelope(1), text(50_000))
	d.set(func(op, name string) error {
		if op == "write" && strings.HasPrefix(name, "log/") {
			return unix.EIO
		}
		return nil
	})
	until(t, "the log to be empty", func() bool {
		put(s, envelope(2), text(100))
		names, err := os.ReadDir(filepath.Join(dir, logDir))
		return err == nil && len(names) == 0
	})
	s.Close()
	s = open(t, dir, small())
	if m := mustPut(t, s, envelope(3), text(40_000)); m.ID() == old.ID() {
		t.Errorf("%s is given again", m.ID())
	}
	s = reopen(t, s, dir, small())
	if all := s.Messages(); len(all) != 2 {
		t.Fatalf("%d messages", len(all))
	}
	check(t, s.Messages()[0], envelope(1), text(50_000))
}

// TestFailedSegmentIsNotUsedAgain: what was given up by one run is not written by the
// next ones, whether or not it could be said in the log.
func TestFailedSegmentIsNotUsedAgain(t *testing.T) {
	for _, dead := range []bool{false, true} {
		dir := t.TempDir()
		d := &faultDisk{disk: dirDisk(dir)}
		o := small()
		o.d = d
		s := open(t, dir, o)
		m := mustPut(t, s, envelope(1), text(100))
		bad := segmentName(m.atSegment.number)
		d.set(func(op, name string) error {
			if name == bad && op == "sync" || dead && op != "read" {
				return unix.EIO
			}
			return nil
		})
		if _, err := put(s, envelope(2), text(100)); !errors.Is(err, unix.EIO) {
			t.Errorf("commit: %v", err)
		}
		s.Close()
		d.set(nil)
		s = open(t, dir, o)
		s = reopen(t, s, dir, o)
		for _, m := range s.Messages() {
			m.Remove()
		}
		for i := range 60 {
			mustPut(t, s, envelope(i), text(5000)).Remove()
		}
		until(t, "the segment to go", func() bool { _, err := os.Stat(filepath.Join(dir, bad)); return err != nil })
		all, _ := filepath.Glob(filepath.Join(dir, logDir, "*"))
		for _, name := range all {
			if strings.HasPrefix(filepath.Base(name), filepath.Base(bad)) {
				t.Errorf("%s is to be used again", name)
			}
		}
		s.Close()
	}
}

// TestUnreadableCopyGoesToo: a message is in the log and, moved by a run that was killed,
// in a file of its own that cannot be read just now. It must not come back.
func TestUnreadableCopyGoesToo(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small())
	m := mustPut(t, s, envelope(1), text(100))
	mv, err := s.copyOut(m)
	if err == nil {
		err = s.settleMoved([]moved{mv})
	}
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	d := &faultDisk{disk: dirDisk(dir)}
	d.set(func(op, name string) error {
		if op == "open" && strings.HasPrefix(name, "mail/") {
			return &os.PathError{Op: "open", Path: name, Err: unix.EMFILE}
		}
		return nil
	})
	o := small()
	o.d = d
	s = open(t, dir, o)
	if len(s.Messages()) != 1 {
		t.Fatalf("%d messages", len(s.Messages()))
	}
	d.set(nil)
	check(t, s.Messages()[0], envelope(1), text(100))
	s.Messages()[0].Remove()
	for i := range 100 {
		mustPut(t, s, envelope(i), text(5000)).Remove()
	}
	time.Sleep(20 * time.Millisecond)
	if s = reopen(t, s, dir, small()); len(s.Messages()) != 0 {
		t.Errorf("%d messages are back", len(s.Messages()))
	}
}

// TestCloseWhileItWaits: a disk that works again is used at the end, however long it
// was to be left alone.
func TestCloseWhileItWaits(t *testing.T) {
	dir := t.TempDir()
	d := &faultDisk{disk: dirDisk(dir)}
	o := small()
	o.d = d
	s := open(t, dir, o)
	m := mustPut(t, s, envelope(1), text(100))
	d.set(func(op, _ string) error {
		if op != "read" {
			return unix.ENOSPC
		}
		return nil
	})
	for range 4 {
		put(s, envelope(2), text(100))
		time.Sleep(60 * time.Millisecond)
	}
	m.Remove()
	d.set(nil)
	if s = reopen(t, s, dir, small()); len(s.Messages()) != 0 {
		t.Errorf("%d messages", len(s.Messages()))
	}
}

// TestClockGoesBack: the room on the disk is asked for all the same.
func TestClockGoesBack(t *testing.T) {
	dir := t.TempDir()
	free := int64(1 << 30)
	o := small()
	o.d, o.MinFree = &freeDisk{dirDisk(dir), &free}, 1<<20
	s := open(t, dir, o)
	now := time.Now()
	if err := s.room(now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	free = 0
	if err := s.room(now); !errors.Is(err, ErrFull) {
		t.Errorf("the disk is full: %v", err)
	}
	free = 1 << 30
	if err := s.room(now.Add(-time.Hour)); err != nil {
		t.Errorf("there is room: %v", err)
	}
}

// TestDirectoryIsRemoved must be noticed: what is written now is gone with the process.
func TestDirectoryIsRemoved(t *testing.T) {
	for _, what := range []string{".", logDir} {
		dir := filepath.Join(t.TempDir(), "made", "with", "it")
		s := open(t, dir, Options{Log: small().Log}) // a new segment would fail soon
		mustPut(t, s, envelope(1), text(100))
		if err := os.RemoveAll(filepath.Join(dir, what)); err != nil {
			t.Fatal(err)
		}
		until(t, "mail to be refused", func() bool {
			_, err := put(s, envelope(2), text(100))
			return err != nil && !errors.Is(err, ErrFull)
		})
	}
}

// TestFilesAreClosed counts open files with many messages of each kind.
func TestFilesAreClosed(t *testing.T) {
	dir := paperDir(t)
	o := small()
	o.d, o.inline = lazyDisk{dirDisk(dir)}, 500
	s := open(t, dir, o)
	opened := func() int {
		names, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Error(err)
		}
		return len(names)
	}
	before := opened()
	for i := range 10_000 {
		m := mustPut(t, s, envelope(i), text(600))
		if i%10 == 0 {
			if _, err := bodyOf(m); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := opened(); n > before+5 {
		t.Errorf("%d files are open, %d were before", n, before)
	}
	s = reopen(t, s, dir, o)
	if n := opened(); n > before+5 || len(s.Messages()) != 10_000 {
		t.Errorf("%d files are open, %d were before; %d messages", n, before, len(s.Messages()))
	}
}

// TestUpdatesWhileMoved has messages change while they are moved, and the spool closed in
// the middle of it.
func TestUpdatesWhileMoved(t *testing.T) {
	dir := paperDir(t)
	o := small()
	o.d = lazyDisk{dirDisk(dir)}
	at := map[string]int{}
	for life := range 8 {
		s := open(t, dir, o)
		all := s.Messages()
		for _, m := range all {
			if m.Attempts() != at[m.ID()] {
				t.Fatalf("life %d: %s has %d attempts, want %d", life, m.ID(), m.Attempts(), at[m.ID()])
			}
			e, err := m.Envelope()
			if err != nil || e.Recipients[1].Reply != fmt.Sprint("reply ", at[m.ID()]) && at[m.ID()] > 0 {
				t.Fatalf("life %d: %s: %v, reply %q", life, m.ID(), err, e.Recipients[1].Reply)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
		for i := 0; ctx.Err() == nil; i++ {
			m := mustPut(t, s, envelope(i), text(4000+i%500))
			if i%20 == 0 {
				all = append(all, m)
			} else {
				m.Remove()
			}
			for k := range min(len(all), 4) {
				m := all[(i+k*7)%len(all)]
				n := at[m.ID()] + 1
				if err := m.Update(Update{Attempts: &n, Recipients: []Change{{Index: 1, Reply: fmt.Sprint("reply ", n)}}}); err != nil {
					t.Fatal(err)
				}
				at[m.ID()] = n
			}
		}
		cancel()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReadWhileReplaced reads a message at the moment when another file has got its name.
func TestReadWhileReplaced(t *testing.T) {
	dir := t.TempDir()
	d := &faultDisk{disk: dirDisk(dir)}
	o := small()
	o.d = d
	s := open(t, dir, o)
	e := envelope(1)
	m := mustPut(t, s, e, text(50_000))
	e.Recipients[0].Reply = strings.Repeat("long ", 50)
	if err := m.Update(Update{Recipients: []Change{{Index: 0, Reply: e.Recipients[0].Reply}}}); err != nil {
		t.Fatal(err)
	}
	until(t, "the state to be written", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.pending[m] == nil
	})
	before, err := m.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	read := 0
	d.set(func(op, name string) error {
		if op == "syncDir" && name == mailFolder(m.id) {
			read++
			check(t, m, e, text(50_000))
		}
		return nil
	})
	m.spoilt = true
	if err := s.appendStates(m.latestSegment, []*Message{m}); err != nil {
		t.Fatal(err)
	}
	d.set(nil)
	if read != 1 || m.Held() {
		t.Errorf("read %d times, held %v", read, m.Held())
	}
	check(t, m, e, text(50_000))
	if body, err := io.ReadAll(before); err != nil || len(body) != 50_000 {
		t.Errorf("%d bytes of the old file, %v", len(body), err)
	}
}

// TestEverythingAtOnce has many change, read, remove and list messages while they are
// moved, until the spool is closed under them. What was removed stays away, and what was
// committed and not removed is there.
func TestEverythingAtOnce(t *testing.T) {
	dir := paperDir(t)
	o := small()
	o.d = lazyDisk{dirDisk(dir)}
	kept := map[string]int{}
	for life := range 4 {
		s := open(t, dir, o)
		if all := s.Messages(); len(all) != len(kept) {
			t.Fatalf("life %d: %d messages, want %d", life, len(all), len(kept))
		}
		for _, m := range s.Messages() {
			if _, ok := kept[m.ID()]; !ok {
				t.Fatalf("life %d: %s is back", life, m.ID())
			}
			check(t, m, envelope(kept[m.ID()]), text(sizeOf(kept[m.ID()])))
		}
		var mu sync.Mutex
		var wait sync.WaitGroup
		for k := range 4 {
			wait.Go(func() {
				for i := 10_000*life + 1000*k; ; i++ {
					m, err := put(s, envelope(i), text(sizeOf(i)))
					if errors.Is(err, ErrClosed) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					kept[m.ID()] = i
					mu.Unlock()
					all := s.Messages()
					other := all[(i*31)%len(all)]
					_, envErr := other.Envelope()
					_, bodyErr := bodyOf(other)
					for _, err := range []error{envErr, bodyErr, other.Update(Update{Attempts: &i})} {
						if err != nil && !errors.Is(err, ErrRemoved) && !errors.Is(err, ErrClosed) {
							t.Error(err)
						}
					}
					if i%8 == 0 {
						continue
					}
					mu.Lock()
					if m.Remove() == nil {
						delete(kept, m.ID())
					}
					mu.Unlock()
				}
			})
		}
		time.Sleep(100 * time.Millisecond)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		wait.Wait()
	}
}
