package spool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// promised is what a workload was told: the messages that were committed and not
// removed, by id.
type promised struct {
	mu       sync.Mutex
	kept     map[string]int
	refused  map[string]bool
	removing map[string]bool // may come back
}

func newPromised() *promised {
	return &promised{kept: map[string]int{}, refused: map[string]bool{}, removing: map[string]bool{}}
}

func sizeOf(i int) int { return []int{200, 3000, 9000, 20_000, 5000}[i%5] + i }

// work has some messages come, change and go. Errors are expected.
func (p *promised) work(s *Spool, from, to int) {
	for i := from; i < to; i++ {
		w, err := s.Create(envelope(i))
		if err != nil {
			continue
		}
		if _, err := w.Write(text(sizeOf(i))); err != nil {
			w.Abort()
			continue
		}
		m, err := w.Commit(context.Background())
		p.mu.Lock()
		if err != nil {
			p.refused[w.ID()] = true
			p.mu.Unlock()
			continue
		}
		p.kept[m.ID()] = i
		p.mu.Unlock()
		m.Update(Update{Attempts: new(i)})
		if i%3 != 0 {
			p.mu.Lock()
			delete(p.kept, m.ID())
			p.removing[m.ID()] = true
			p.mu.Unlock()
			m.Remove()
		}
	}
}

// verify holds an opened spool to it.
func (p *promised) verify(t *testing.T, s *Spool, refusedToo bool) {
	t.Helper()
	there := map[string]bool{}
	for _, m := range s.Messages() {
		there[m.ID()] = true
		i, kept := p.kept[m.ID()]
		switch {
		case kept:
			check(t, m, envelope(i), text(sizeOf(i)))
		case refusedToo && p.refused[m.ID()]:
			t.Errorf("%s was refused, but is there", m.ID())
		case !p.removing[m.ID()] && !p.refused[m.ID()]:
			t.Errorf("%s is there, which nobody wrote", m.ID())
		}
	}
	for id := range p.kept {
		if !there[id] {
			t.Errorf("%s is lost", id)
		}
	}
}

// watch sees to it that no file is written after a write or sync of it has failed.
type watch struct {
	mu   sync.Mutex
	bad  map[string]bool
	ever []string
}

func (w *watch) saw(op, name string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	from, to, _ := strings.Cut(name, ">")
	switch {
	case op == "rename" && err == nil:
		w.bad[to] = w.bad[from]
		delete(w.bad, from)
	case op == "create":
		delete(w.bad, name) // the same name, another file
	case op == "write" || op == "sync":
		if w.bad[name] {
			w.ever = append(w.ever, op+" "+name)
		}
		if err != nil {
			w.bad[name] = true
		}
	}
}

// TestEachOperationFails has the k-th operation fail with EIO, once or from then on for
// a while, for every k.
func TestEachOperationFails(t *testing.T) {
	base := paperDir(t)
	none := int64(1) << 60
	all := failAt(t, base, none, 0)
	if all < 150 {
		t.Fatalf("the work is only %d operations", all)
	}
	var at atomic.Int64
	var wait sync.WaitGroup
	for range 12 {
		wait.Go(func() {
			for k := at.Add(1) - 1; k < 2*all && !t.Failed(); k = at.Add(1) - 1 {
				failAt(t, base, k/2, 1+3*(k%2))
			}
		})
	}
	wait.Wait()
	t.Logf("%d operations, each failed", all)
}

// failAt has many operations fail from the k-th on, and gives the number of all.
func failAt(t *testing.T, base string, k, many int64) int64 {
	dir, err := os.MkdirTemp(base, "")
	if err != nil {
		t.Error(err)
		return 0
	}
	defer os.RemoveAll(dir)
	d := &faultDisk{disk: lazyDisk{dirDisk(dir)}}
	o := small()
	o.d = d
	var n atomic.Int64
	var what atomic.Value
	w := &watch{bad: map[string]bool{}}
	d.set(func(op, name string) (err error) {
		if i := n.Add(1) - 1; i >= k && i < k+many {
			err = fmt.Errorf("%s %s: %w", op, name, unix.EIO)
			what.CompareAndSwap(nil, err.Error())
		}
		w.saw(op, name, err)
		return err
	})
	p := newPromised()
	if s, err := Open(dir, o); err == nil {
		p.work(s, 0, 25)
		s.wakeKeeper()
		time.Sleep(4 * time.Millisecond)
		d.set(func(op, name string) error { w.saw(op, name, nil); return nil })
		recovers(t, p, s)
		p.work(s, 100, 130)
		s.Close()
	} else if !errors.Is(err, unix.EIO) {
		t.Errorf("operation %d: %v", k, err)
	}
	d.set(nil)
	if len(w.ever) > 0 {
		t.Errorf("used after it failed: %v", w.ever)
	}
	o.d = lazyDisk{dirDisk(dir)}
	s, err := Open(dir, o)
	if err != nil {
		t.Errorf("open after a fault: %v", err)
		return 0
	}
	p.verify(t, s, many == 1)
	s.Close()
	if t.Failed() {
		t.Errorf("failed were %d operations from %d on, first %v", many, k, what.Load())
	}
	return n.Load()
}

// recovers has the spool take a message within its pause.
func recovers(t *testing.T, p *promised, s *Spool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		before := len(p.kept)
		p.work(s, 99, 100)
		if len(p.kept) > before {
			return
		}
		if time.Now().After(end) {
			t.Error("it does not take messages again")
			return
		}
	}
}

// TestFailedSyncIsTold has a sync fail: all who wait are told so, the segment is left,
// and what was not answered is not there after a crash.
func TestFailedSyncIsTold(t *testing.T) {
	dir := t.TempDir()
	d := &faultDisk{disk: dirDisk(dir)}
	o := small()
	o.d = d
	s := open(t, dir, o)
	first := mustPut(t, s, envelope(1), text(100))
	current := segmentName(first.atSegment.number)
	var fail atomic.Bool
	fail.Store(true)
	d.set(func(op, name string) error {
		if op == "sync" && name == current && fail.CompareAndSwap(true, false) {
			return unix.EIO
		}
		return nil
	})
	if _, err := put(s, envelope(2), text(100)); !errors.Is(err, unix.EIO) {
		t.Errorf("commit: %v", err)
	}
	third := mustPut(t, s, envelope(3), text(100))
	if first.atSegment == third.atSegment {
		t.Error("the segment was written to after its sync had failed")
	}
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	o2 := small()
	o2.Log = slog.New(slog.NewTextHandler(&log, nil))
	r := open(t, copied, o2)
	if all := r.Messages(); len(all) != 2 || all[0].ID() != first.ID() || all[1].ID() != third.ID() {
		t.Errorf("%d messages after the crash", len(all))
	}
	if !strings.Contains(log.String(), "was not answered is dropped") {
		t.Errorf("log: %s", log.String())
	}
}

// TestDeadDiskIsNotAskedAllTheTime counts attempts while everything fails.
func TestDeadDiskIsNotAskedAllTheTime(t *testing.T) {
	dir := t.TempDir()
	d := &faultDisk{disk: dirDisk(dir)}
	o := small()
	o.d = d
	s := open(t, dir, o)
	m := mustPut(t, s, envelope(1), text(100))
	var n atomic.Int64
	d.set(func(op, _ string) error {
		if op == "read" {
			return nil
		}
		n.Add(1)
		return unix.EIO
	})
	m.Update(Update{Attempts: new(7)})
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if _, err := put(s, envelope(2), text(100)); err == nil {
			t.Fatal("committed to a dead disk")
		}
	}
	if n.Load() > 200 {
		t.Errorf("%d operations in half a second", n.Load())
	}
	d.set(nil)
	until(t, "the disk to be used again", func() bool { _, err := put(s, envelope(3), text(100)); return err == nil })
	if s = reopen(t, s, dir, small()); len(s.Messages()) != 2 || s.Messages()[0].Attempts() != 7 {
		t.Errorf("%d messages; attempts %d", len(s.Messages()), s.Messages()[0].Attempts())
	}
}
