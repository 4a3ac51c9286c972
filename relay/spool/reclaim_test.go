package spool

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// TestLogStaysSmall has messages come and go, and some stay.
func TestLogStaysSmall(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small())
	kept := map[string]int{}
	var wait sync.WaitGroup
	var mu sync.Mutex
	for k := range 4 {
		wait.Go(func() {
			for i := k; i < 800; i += 4 {
				m, err := put(s, envelope(i), text(3000+i))
				if err != nil {
					t.Error(err)
					return
				}
				if i%50 == 0 {
					err = m.Update(Update{Attempts: new(i)})
					mu.Lock()
					kept[m.ID()] = i
					mu.Unlock()
				} else {
					err = m.Remove()
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	until(t, "the log to become small", func() bool { return s.Stats().Segments <= 3 })
	verify := func() {
		t.Helper()
		if len(s.Messages()) != len(kept) {
			t.Errorf("%d messages, want %d", len(s.Messages()), len(kept))
		}
		for _, m := range s.Messages() {
			i := kept[m.ID()]
			check(t, m, envelope(i), text(3000+i))
			if m.Attempts() != i {
				t.Errorf("%d attempts, want %d", m.Attempts(), i)
			}
		}
	}
	verify()
	for range 3 {
		s = reopen(t, s, dir, small())
		verify()
	}
	names, _ := filepath.Glob(dir + "/log/*")
	if len(names) > 12 {
		t.Errorf("%d files in the log: %v", len(names), names)
	}
}

// TestReaderOutlivesMessage reads on while its segment is used again.
func TestReaderOutlivesMessage(t *testing.T) {
	s := open(t, t.TempDir(), small())
	m := mustPut(t, s, envelope(1), text(10_000))
	r, err := m.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	m.Remove()
	for i := range 200 {
		if err := mustPut(t, s, envelope(i), text(9000)).Remove(); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the log to become small", func() bool { return s.Stats().Segments <= 2 })
	if data, err := io.ReadAll(r); err != nil || !bytes.Equal(data, text(10_000)) {
		t.Errorf("read %d bytes, %v", len(data), err)
	}
}

// TestUnlinkIsSyncedBeforeItsRecordGoes crashes when the segment that says that a message
// with a file of its own is done has been used again, without any other sync of names.
func TestUnlinkIsSyncedBeforeItsRecordGoes(t *testing.T) {
	dir := t.TempDir()
	r := newRecorder(lazyDisk{dirDisk(dir)})
	o := small()
	o.d = r
	s := open(t, dir, o)
	large := mustPut(t, s, envelope(1), text(50_000))
	if err := large.Remove(); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if err := mustPut(t, s, envelope(i), text(5000)).Remove(); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the log to become small", func() bool { return s.Stats().Segments == 1 })
	s.Close()
	disk := newCrashDisk(rand.New(rand.NewPCG(1, 1)))
	for _, op := range r.ops {
		disk.do(op)
	}
	crashed := t.TempDir()
	if err := disk.build(crashed, nothing, nothing); err != nil {
		t.Fatal(err)
	}
	if n := len(open(t, crashed, small()).Messages()); n != 0 {
		t.Errorf("%d messages are back", n)
	}
}

// TestDamagedMessageIsNotMovedOn has a message spoilt that is to be moved out of the
// oldest segment: its segment is kept for the operator.
func TestDamagedMessageIsNotMovedOn(t *testing.T) {
	dir := t.TempDir()
	s, log := logged(t, dir, small())
	m := mustPut(t, s, envelope(1), text(5000))
	good := mustPut(t, s, envelope(2), text(5000))
	name := segmentName(m.atSegment.number)
	spoil(t, filepath.Join(dir, name), m.at().off+1000, []byte("damage"))
	for i := range 60 {
		if err := mustPut(t, s, envelope(i), text(5000)).Remove(); err != nil {
			t.Fatal(err)
		}
	}
	aside := filepath.Join(dir, asideDir, filepath.Base(name))
	until(t, "the segment to be kept aside", func() bool { _, err := os.Stat(aside); return err == nil })
	check(t, good, envelope(2), text(5000))
	if _, err := m.Envelope(); !errors.Is(err, ErrRemoved) {
		t.Errorf("envelope of what is lost: %v", err)
	}
	s = reopen(t, s, dir, small())
	if all := s.Messages(); len(all) != 1 || all[0].ID() != good.ID() {
		t.Errorf("%d messages", len(all))
	}
	mustContain(t, log.String(), "level=ERROR", "cannot be delivered; its segment is kept aside", m.ID(), aside[len(dir)+1:])
}

// TestDamagedFileIsNotInTheWay has the file of a message spoilt whose state is in the
// oldest segment: the log must not grow for ever because of it.
func TestDamagedFileIsNotInTheWay(t *testing.T) {
	dir := t.TempDir()
	s, log := logged(t, dir, small())
	m := mustPut(t, s, envelope(1), text(50_000))
	if err := m.Update(Update{Attempts: new(3)}); err != nil {
		t.Fatal(err)
	}
	good := mustPut(t, s, envelope(2), text(50_000))
	if err := good.Update(Update{Attempts: new(4)}); err != nil {
		t.Fatal(err)
	}
	until(t, "the states to be written", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return m.latest() != place{} && good.latest() != place{}
	})
	s.mu.Lock()
	name := segmentName(m.latestSegment.number)
	s.mu.Unlock()
	spoil(t, filepath.Join(dir, mailName(m.id)), headerSize+3, []byte("damage"))
	for i := range 60 {
		if err := mustPut(t, s, envelope(i), text(5000)).Remove(); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the segment to go", func() bool { _, err := os.Stat(filepath.Join(dir, name)); return err != nil })
	if _, err := os.Stat(filepath.Join(dir, asideDir, m.ID())); err != nil {
		t.Error(err)
	}
	if good.Attempts() != 4 || len(s.Messages()) != 1 {
		t.Errorf("%d attempts, %d messages", good.Attempts(), len(s.Messages()))
	}
	if s = reopen(t, s, dir, small()); len(s.Messages()) != 1 || s.Messages()[0].Attempts() != 4 {
		t.Errorf("%d messages", len(s.Messages()))
	}
	mustContain(t, log.String(), "level=ERROR", "its file is kept aside", m.ID())
}
