//go:build integration

package spool

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	killDir  = "SPOOL_TEST_KILL_DIR" // the helper's spool
	killCall = "write,pwrite64,pwritev,pwritev2,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,openat,mkdirat,fallocate,ftruncate"
)

// TestMain is the helper too: it accepts messages until it is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(killDir); dir != "" {
		if err := accept(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// accept prints a line for each message after Commit has returned, and one before each
// removal. A line is one write.
func accept(dir string) error {
	o := small()
	o.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	s, err := Open(dir, o)
	if err != nil {
		return err
	}
	var wait sync.WaitGroup
	errs := make([]error, 3)
	for k := range errs {
		wait.Go(func() { errs[k] = acceptSome(s, 1000*k, 1000*k+60) })
	}
	wait.Wait()
	return errors.Join(append(errs, s.Close())...)
}

func acceptSome(s *Spool, from, to int) error {
	var last *Message
	for i := from; i < to; i++ {
		body := text(sizeOf(i))
		w, err := s.Create(envelope(i))
		if err != nil {
			return err
		}
		if _, err := w.Write(body); err != nil {
			return err
		}
		m, err := w.Commit(context.Background())
		if err != nil {
			return err
		}
		if _, err := fmt.Printf("kept %s %d %08x\n", m.ID(), i, checksum(body)); err != nil {
			return err
		}
		if i%2 == 0 && last != nil {
			if _, err := fmt.Printf("gone %s\n", last.ID()); err != nil {
				return err
			}
			if err := last.Remove(); err != nil {
				return err
			}
		} else if err := m.Update(Update{Attempts: new(i)}); err != nil {
			return err
		}
		last = m
	}
	return nil
}

// TestKilledAnywhere kills a spool with SIGKILL when one of its threads makes its K-th
// system call that changes something, for K from 1 on, and looks whether all it has
// accepted is there.
func TestKilledAnywhere(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Fatal("strace is missing: apt-get install strace")
	}
	const enough = 240
	end := time.Now().Add(50 * time.Second)
	var next, killed, kept atomic.Int64
	var most atomic.Int64 // so many calls none of the threads makes
	most.Store(1 << 30)
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for killed.Load() < enough && !t.Failed() && time.Now().Before(end) {
				n := 1 + next.Add(1)%most.Load()
				if dead, had := killAt(t, strace, int(n)); dead {
					killed.Add(1)
					kept.Add(int64(had))
				} else {
					most.Store(n) // again from 1 on: the threads share the work differently
				}
			}
		})
	}
	wait.Wait()
	if n := killed.Load(); n < 200 && !t.Failed() {
		t.Errorf("only %d kills, want 200", n)
	}
	t.Logf("%d kills; %d messages had been accepted and not removed", killed.Load(), kept.Load())
}

// killAt reports whether the helper was killed, and what it had accepted.
func killAt(t *testing.T, strace string, k int) (killed bool, kept int) {
	dir := filepath.Join(t.TempDir(), strconv.Itoa(k))
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace="+killCall,
		"-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", killCall, k), os.Args[0])
	cmd.Env = append(os.Environ(), killDir+"="+dir)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := cmd.Run()
	if err != nil && !strings.Contains(err.Error(), "killed") {
		t.Errorf("call %d: %v\n%s", k, err, complaints.String())
		return false, 0
	}
	accepted := map[string]string{}
	lines := bufio.NewScanner(&out)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) == 4 && words[0] == "kept":
			accepted[words[1]] = words[3]
		case len(words) == 2 && words[0] == "gone":
			delete(accepted, words[1])
		}
	}
	verifyKilled(t, dir, k, accepted)
	return err != nil, len(accepted)
}

// waitForDeath waits until what was killed uses the spool no more.
func waitForDeath(dir string) error {
	unlock, err := lockDir(dir)
	for end := time.Now().Add(5 * time.Second); errors.Is(err, errLocked) && time.Now().Before(end); unlock, err = lockDir(dir) {
		time.Sleep(time.Millisecond)
	}
	if err != nil {
		return err
	}
	return unlock()
}

func verifyKilled(t *testing.T, dir string, k int, accepted map[string]string) {
	t.Helper()
	o := small()
	o.d = lazyDisk{dirDisk(dir)}
	if err := waitForDeath(dir); err != nil {
		t.Errorf("call %d: %v", k, err)
		return
	}
	compare := func(*Spool) {}
	if hasFormat(dir) {
		compare = lookAt(t, dir, fmt.Sprint("call ", k))
	}
	for again := range 2 {
		s, err := Open(dir, o)
		for end := time.Now().Add(5 * time.Second); errors.Is(err, errLocked) && time.Now().Before(end); s, err = Open(dir, o) {
			time.Sleep(time.Millisecond) // one that was killed early takes the lock late
		}
		if err != nil {
			t.Errorf("call %d: %v", k, err)
			return
		}
		if again == 0 {
			compare(s)
		}
		there := map[string]bool{}
		for _, m := range s.Messages() {
			there[m.ID()] = true
			body, err := bodyOf(m)
			if err != nil {
				t.Errorf("call %d: %s: %v", k, m.ID(), err)
			}
			if e, err := m.Envelope(); err != nil || len(e.Recipients) != 2 {
				t.Errorf("call %d: %s: %d recipients, %v", k, m.ID(), len(e.Recipients), err)
			}
			sum := fmt.Sprintf("%08x", crc32.Checksum(body, castagnoli))
			if want, ok := accepted[m.ID()]; ok && want != sum {
				t.Errorf("call %d: %s is %s, was %s", k, m.ID(), sum, want)
			}
		}
		for id := range accepted {
			if !there[id] {
				t.Errorf("call %d: %s was accepted and is lost", k, id)
			}
		}
		if err := s.Close(); err != nil {
			t.Errorf("call %d: %v", k, err)
		}
	}
}
