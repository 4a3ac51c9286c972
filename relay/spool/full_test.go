package spool

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tinyDisk mounts a file system of 4 MiB. Without the right to do so the test runs
// itself again as root of namespaces of its own, and gives "".
func tinyDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m")
	if err == nil {
		t.Cleanup(func() {
			if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
		return dir
	}
	const again = "SPOOL_TEST_IN_NAMESPACE"
	if !errors.Is(err, unix.EPERM) || os.Getenv(again) != "" {
		t.Fatalf("mounting a tmpfs: %v", err)
	}
	cmd := exec.Command("unshare", "--user", "--map-root-user", "--mount", os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), again+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("in a namespace: %v\n%s", err, out)
	}
	t.Log("passed in a namespace of its own")
	return ""
}

// TestFullDisk fills a real file system from inside, with everything that the spool
// does, and from outside; it must refuse with ErrFull, let go, and recover by itself.
func TestFullDisk(t *testing.T) {
	mounted := tinyDisk(t)
	if mounted == "" {
		return
	}
	dir := filepath.Join(mounted, "spool")
	s := open(t, dir, small())
	var all []*Message
	kept := map[string]int{}
	fill := func() {
		t.Helper()
		for i := range 4000 {
			m, err := put(s, envelope(i), text(sizeOf(i)))
			if err != nil {
				if !errors.Is(err, ErrFull) {
					t.Fatalf("message %d: %v", i, err)
				}
				if i > 20 {
					return
				}
				continue
			}
			all, kept[m.ID()] = append(all, m), i
		}
		t.Fatal("the disk does not become full")
	}
	for range 3 {
		fill()
		// Another program takes the last byte.
		other, err := os.Create(filepath.Join(mounted, "other"))
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = other.Write(make([]byte, 4096))
		}
		other.Close()
		for i, m := range all {
			if err := m.Update(Update{Attempts: new(i)}); err != nil {
				t.Fatal(err)
			}
			if i%2 == 0 || i < len(all)/2 {
				if err := m.Remove(); err != nil {
					t.Fatal(err)
				}
				delete(kept, m.ID())
			}
		}
		all = nil
		os.Remove(other.Name())
		until(t, "room", func() bool {
			m, err := put(s, envelope(1), text(sizeOf(1)))
			if err == nil {
				all, kept[m.ID()] = append(all, m), 1
			}
			return err == nil
		})
	}
	for range 2 {
		s = reopen(t, s, dir, small())
		if len(s.Messages()) != len(kept) {
			t.Errorf("%d messages, want %d", len(s.Messages()), len(kept))
		}
		for _, m := range s.Messages() {
			check(t, m, envelope(kept[m.ID()]), text(sizeOf(kept[m.ID()])))
		}
	}
}

// TestOpenOnFullDisk must come up, so that deliveries make room.
func TestOpenOnFullDisk(t *testing.T) {
	mounted := tinyDisk(t)
	if mounted == "" {
		return
	}
	dir := filepath.Join(mounted, "spool")
	s := open(t, dir, small())
	for i := range 30 {
		mustPut(t, s, envelope(i), text(sizeOf(i)))
	}
	s.Close()
	spares, _ := filepath.Glob(dir + "/log/*" + spareSuffix)
	for _, name := range spares {
		os.Remove(name)
	}
	other, err := os.Create(filepath.Join(mounted, "other"))
	for err == nil {
		_, err = other.Write(make([]byte, 4096))
	}
	other.Close()
	s = open(t, dir, small())
	err = nil
	for n := 0; err == nil && n < 100; n++ { // there is room in the segment that was ready
		_, err = put(s, envelope(1), text(1000))
	}
	if !errors.Is(err, ErrFull) {
		t.Errorf("commit on a full disk: %v", err)
	}
	// What is removed is written down, though the oldest segment stays.
	for _, m := range s.Messages()[1:] {
		if err := m.Remove(); err != nil {
			t.Fatal(err)
		}
	}
	if s = reopen(t, s, dir, small()); len(s.Messages()) != 1 {
		t.Fatalf("%d messages, want 1", len(s.Messages()))
	}
	s.Messages()[0].Remove()
	until(t, "room made by removals", func() bool { _, err := put(s, envelope(1), text(100)); return err == nil })
	if s = reopen(t, s, dir, small()); len(s.Messages()) != 1 {
		t.Errorf("%d messages, want 1", len(s.Messages()))
	}
}

// TestMinFree refuses before the disk is full.
func TestMinFree(t *testing.T) {
	dir := t.TempDir()
	free := int64(1 << 20)
	d := &freeDisk{dirDisk(dir), &free}
	o := small()
	o.d, o.MinFree = d, 1<<19
	s := open(t, dir, o)
	w, err := s.Create(envelope(1))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = w.Write(text(20_000))
		free -= 20_000
	}
	if !errors.Is(err, ErrFull) {
		t.Errorf("write: %v", err)
	}
	if _, err := w.Commit(t.Context()); !errors.Is(err, ErrFull) {
		t.Errorf("commit: %v", err)
	}
	free = 1000
	s.space.next.Store(0)
	if _, err := s.Create(envelope(1)); !errors.Is(err, ErrFull) {
		t.Errorf("create: %v", err)
	}
	free = 1 << 20
	time.Sleep(askEveryFull)
	mustPut(t, s, envelope(1), text(100))
}

type freeDisk struct {
	disk
	n *int64
}

func (d *freeDisk) free() (int64, error) { return *d.n, nil }
