package spool

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// usedSpool is a directory in which there is something of everything: messages in the log
// and in files of their own, some moved, states, removals, and a batch that was not answered.
func usedSpool(t *testing.T, dir string) *promised {
	t.Helper()
	o := small()
	d := &faultDisk{disk: lazyDisk{dirDisk(dir)}}
	o.d = d
	p := newPromised()
	s := open(t, dir, o)
	p.work(s, 0, 60)
	d.set(func(op, _ string) error {
		if op == "sync" {
			return unix.EIO
		}
		return nil
	})
	p.work(s, 200, 203)
	d.set(nil)
	s = reopen(t, s, dir, o)
	p.work(s, 60, 90)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestEachOperationOfRecoveryFails has the k-th operation fail, or some from it on, when a
// spool is opened in which there is much, and while it puts that in order. Whether or not
// that could be opened, the next one must have all.
func TestEachOperationOfRecoveryFails(t *testing.T) {
	base := paperDir(t)
	used := base + "/used"
	p := usedSpool(t, used)
	all := recoverFailing(t, base, used, p, 1<<60, 0, unix.EIO)
	if all < 50 {
		t.Fatalf("only %d operations", all)
	}
	var at atomic.Int64
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for k := at.Add(1) - 1; k < 2*all && !t.Failed(); k = at.Add(1) - 1 {
				fault := []unix.Errno{unix.EIO, unix.ENOSPC}[k/2%2]
				recoverFailing(t, base, used, p, k/2, []int64{1, 1000}[k%2], fault)
			}
		})
	}
	wait.Wait()
	t.Logf("%d operations, each failed once, and with all behind it", all)
}

func recoverFailing(t *testing.T, base, used string, before *promised, k, many int64, fault unix.Errno) (ops int64) {
	dir, err := os.MkdirTemp(base, "")
	if err != nil {
		t.Error(err)
		return 0
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(dir, os.DirFS(used)); err != nil {
		t.Error(err)
		return 0
	}
	p := newPromised()
	p.kept, p.refused, p.removing = maps.Clone(before.kept), maps.Clone(before.refused), maps.Clone(before.removing)
	d := &faultDisk{disk: lazyDisk{dirDisk(dir)}}
	o := small()
	o.d = d
	var n atomic.Int64
	d.set(func(op, name string) error {
		if op == "read" || op == "open" {
			return nil // what cannot be read is another matter
		}
		if i := n.Add(1) - 1; i >= k && i < k+many {
			return &os.PathError{Op: op, Path: name, Err: fault}
		}
		return nil
	})
	what := fmt.Sprintf("%v of %d operations from %d on", fault, many, k)
	if s, err := Open(dir, o); err == nil {
		p.work(s, 1000, 1010)
		time.Sleep(3 * time.Millisecond)
		d.set(nil)
		recovers(t, p, s)
		s.Close()
	} else if !errors.Is(err, fault) {
		t.Errorf("%s: %v", what, err)
	}
	o.d = lazyDisk{dirDisk(dir)}
	for range 2 {
		s, err := Open(dir, o)
		if err != nil {
			t.Errorf("%s: open after it: %v", what, err)
			return 0
		}
		p.verify(t, s, false)
		s.Close()
	}
	if t.Failed() {
		t.Errorf("failed was %s", what)
	}
	return n.Load()
}
