package follow

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// open follows one file of text.
func open(path string, most int64, read func()) (*Files[string], error) {
	return Open("the file", []string{path}, func() (*string, error) {
		read()
		data, err := Read(path, most, true)
		if err != nil {
			return nil, err
		}
		s := string(data)
		if strings.HasPrefix(s, "bad") {
			return nil, errors.New("file:1: bad")
		}
		return &s, nil
	}, nil)
}

func nothing() {}

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestSameTime: a change that leaves size and time as they were is seen.
func TestSameTime(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	old := time.Now().Add(-time.Hour)
	put(t, path, "one")
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	f, err := open(path, 10, nothing)
	if err != nil {
		t.Fatal(err)
	}
	put(t, path, "two")
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for end := time.Now().Add(10 * time.Second); *f.Get() != "two"; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					t.Errorf("still %q", *f.Get())
					return
				}
			}
		})
	}
	all.Wait()
}

// TestOncePerSecond: the file is not looked at for each question.
func TestOncePerSecond(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	put(t, path, "one")
	reads := 0
	f, err := open(path, 10, func() { reads++ })
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for range 10_000 {
		f.Get() // the file is new, so each look reads it
	}
	if most := 1 + 1 + int(time.Since(began)/every); reads > most {
		t.Errorf("read %d times, want at most %d", reads, most)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	path, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "pipe")
	put(t, path, "bad")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path string
		most int64
		want string
	}{
		"bad":     {path, 10, "file:1: bad"},
		"large":   {path, 2, "has 3 bytes; expected at most 2"},
		"missing": {path + "x", 10, "no such file"},
		"pipe":    {pipe, 10, "not a regular file"},
		"folder":  {dir, 10, "not a regular file"},
	} {
		if _, err := open(c.path, c.most, nothing); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}
