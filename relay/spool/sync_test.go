package spool

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// TestSync: what was said before Sync is on the disk when it returns, without waiting for
// the delay; those that call it at the same time share a sync.
func TestSync(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{delay: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	var all []*Message
	for range 200 {
		all = append(all, putOne(t, s))
	}
	before := s.Stats().Syncs
	var workers sync.WaitGroup
	for i := range 20 {
		workers.Go(func() {
			for _, m := range all[i*10 : i*10+10] {
				if err := errors.Join(m.Remove(), s.Sync()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	workers.Wait()
	if n := s.Stats().Syncs - before; n > 150 {
		t.Errorf("%d syncs for 200 removals by 20 workers", n)
	}
	if left := inCopy(t, dir); left != 0 {
		t.Errorf("after a crash %d messages are there again", left)
	}
	start := time.Now()
	if err := s.Sync(); err != nil || time.Since(start) > 5*time.Second {
		t.Errorf("with nothing to write: %v after %v", err, time.Since(start))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Sync(); !errors.Is(err, ErrClosed) {
		t.Errorf("of a closed spool: %v", err)
	}
}

// inCopy is how many messages a spool has that another process would find now.
func inCopy(t *testing.T, dir string) int {
	t.Helper()
	twin := filepath.Join(t.TempDir(), "twin")
	if err := os.CopyFS(twin, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	s, err := Open(twin, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return len(s.Messages())
}

func putOne(t *testing.T, s *Spool) *Message {
	t.Helper()
	m, err := put(s, Envelope{Recipients: []Recipient{{Address: "a@b.example"}}}, []byte("Subject: x\r\n\r\nx\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}
