package users

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// journal is a log that can be read while it is written.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) count(what string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.buf.String(), what)
}

func TestFollow(t *testing.T) {
	t.Parallel()
	ctx, path := t.Context(), newPath(t)
	if err := Add(ctx, path, "joe", "pw", few); err != nil {
		t.Fatal(err)
	}
	var log journal
	a, err := Open(path, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	has := func(name string) bool {
		s, ok, err := a.Lookup(ctx, name, "")
		if err != nil || ok && s.Name != name {
			t.Errorf("%s: %+v, error %v", name, s, err)
		}
		return ok
	}
	await := func(what string, is func() bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("not within ten seconds: %s", what)
			}
		}
	}
	await("joe", func() bool { return has("joe") && !has("ann") })
	if err := Add(ctx, path, "ann", "pw", few); err != nil {
		t.Fatal(err)
	}
	await("ann", func() bool { return has("ann") })
	if err := Delete(ctx, path, "joe"); err != nil {
		t.Fatal(err)
	}
	await("no joe", func() bool { return !has("joe") })

	good := get(t, path)
	put(t, path, good+"bob\n")
	await("a complaint with the line", func() bool { has("ann"); return log.count(path+":4: ") > 0 })
	time.Sleep(1500 * time.Millisecond)
	if !has("ann") || log.count("cannot be taken over") != 1 {
		t.Errorf("after a bad edit: ann %v, %d complaints", has("ann"), log.count("cannot be taken over"))
	}
	before := log.count("read anew")
	put(t, path, good)
	await("good again", func() bool { has("ann"); return log.count("read anew") == before+1 })
	if err := os.Chmod(path, 0o604); err != nil {
		t.Fatal(err)
	}
	await("a complaint about the mode", func() bool { has("ann"); return log.count("its mode is 0604") == 1 })
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	await("a complaint that it is gone", func() bool { has("ann"); return log.count("no such file") == 1 })
	if !has("ann") {
		t.Error("ann is gone with the file")
	}
}

func TestOpenRefuses(t *testing.T) {
	path := newPath(t)
	if _, err := Open(path, nil); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("missing: error %v", err)
	}
	put(t, path, "")
	for _, mode := range []os.FileMode{0o604, 0o602, 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path, nil); err == nil || !strings.Contains(err.Error(), "by which everybody on this host can read or change it") {
			t.Errorf("mode %o: error %v", mode, err)
		}
	}
	if _, err := Open(t.TempDir(), nil); err == nil {
		t.Error("a folder: no error")
	}
	if err := os.Chmod(path, 0o660); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, nil); err != nil {
		t.Errorf("mode 0660: %v", err)
	}
	if err := os.Truncate(path, maxFile+1); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, nil); err == nil || !strings.Contains(err.Error(), "expected at most") {
		t.Errorf("too large: error %v", err)
	}
}
