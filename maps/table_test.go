package maps

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// logbook is a log that tests can read.
type logbook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// count is the number of lines with all of the words.
func (l *logbook) count(words ...string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.buf.String()) {
		all := true
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if all {
			n++
		}
	}
	return n
}

func (l *logbook) expect(t *testing.T, n int, words ...string) {
	t.Helper()
	if got := l.count(words...); got != n {
		l.mu.Lock()
		defer l.mu.Unlock()
		t.Errorf("%d log lines with %q, want %d, in:\n%s", got, words, n, l.buf.String())
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// value is what the table has for a key, "-" for nothing.
func value(table *Table, key string) string {
	e, found, err := table.Snapshot().Lookup(context.Background(), key)
	if err != nil {
		return err.Error()
	}
	if !found {
		return "-"
	}
	return e.Value
}

func expectValue(t *testing.T, table *Table, key, want string) {
	t.Helper()
	if got := value(table, key); got != want {
		t.Errorf("%s has %q, want %q", key, got, want)
	}
}

// open opens an access table at path and writes text there first, unless text is "-".
func open(t *testing.T, path, text string, optional bool) (*Table, *logbook) {
	t.Helper()
	if text != "-" {
		write(t, path, text)
	}
	book := &logbook{}
	table, err := Open(Spec{Name: "access", Path: path, Optional: optional}, book.logger())
	if err != nil {
		t.Fatal(err)
	}
	return table, book
}

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access")
	table, book := open(t, path, "a OK\n b\nc\n", false)
	expectValue(t, table, "A", "OK")
	s := table.Status()
	if s.Name != "access" || s.Path != path || s.Entries != 1 || s.Bytes != 10 || s.Problems != 2 ||
		s.Missing || s.LastError != nil || time.Since(s.LoadedAt) > time.Minute {
		t.Errorf("Status() = %+v", s)
	}
	book.expect(t, 1, "WARN", "at="+path+":2", "begins with a blank")
	book.expect(t, 1, "WARN", "at="+path+":3", "has no value")
	book.expect(t, 1, "INFO", "table read", "table=access", "entries=1", "problems=2")
}

func TestOpenRefuses(t *testing.T) {
	cases := []struct {
		name, want string
		make       func(t *testing.T, path string)
	}{
		{"missing", "no such file", func(*testing.T, string) {}},
		{"directory", "is a directory, a table must be a regular file", func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}},
		{"named pipe", "is a named pipe, a table must be a regular file", func(t *testing.T, path string) {
			if err := unix.Mkfifo(path, 0o644); err != nil {
				t.Fatal(err)
			}
		}},
		{"device", "is a device, a table must be a regular file", func(t *testing.T, path string) {
			if err := os.Symlink("/dev/null", path); err != nil {
				t.Fatal(err)
			}
		}},
		{"NUL", "access:2: NUL byte", func(t *testing.T, path string) { write(t, path, "a OK\nb \x00\n") }},
		{"too large", "4294967296 bytes are too many", func(t *testing.T, path string) {
			write(t, path, "")
			if err := os.Truncate(path, 1<<32); err != nil {
				t.Fatal(err)
			}
		}},
		{"refused entry", "access:3: key bad:x: not good", func(t *testing.T, path string) { write(t, path, "a OK\n#\nBAD:x OK\n") }},
		{"fault in the check", "access: fault in the program", func(t *testing.T, path string) { write(t, path, "panic x\n") }},
	}
	check := func(key, _ string) error {
		if key == "panic" {
			panic("check")
		}
		if strings.HasPrefix(key, "bad") {
			return errors.New("key " + key + ": not good")
		}
		return nil
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "access")
			c.make(t, path)
			table, err := Open(Spec{Name: "access", Path: path, Optional: c.name != "missing", Check: check}, slog.New(slog.DiscardHandler))
			if err == nil || table != nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "table access: ") {
				t.Errorf("Open = %v, %v, want an error with %q", table, err, c.want)
			}
		})
	}
}

func TestOptional(t *testing.T) {
	for _, where := range []string{"access", "no/such/directory/access"} {
		path := filepath.Join(t.TempDir(), where)
		table, book := open(t, path, "-", true)
		if s := table.Status(); !s.Missing || s.LastError != nil || table.Snapshot().Len() != 0 {
			t.Errorf("Status() = %+v, want Missing and no error", s)
		}
		book.expect(t, 1, "INFO", "does not exist, the table is empty")
		if changed, err := table.Reload(); changed || err != nil {
			t.Errorf("Reload() of a missing file = %v, %v", changed, err)
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, path, "a OK\n")
		if changed, err := table.Reload(); !changed || err != nil || table.Status().Missing {
			t.Errorf("Reload() of a new file = %v, %v, %+v", changed, err, table.Status())
		}
		expectValue(t, table, "a", "OK")
	}
}

// An optional file that begins life as an empty file is there, though nothing changes.
func TestOptionalAppearsEmpty(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access")
	table, _ := open(t, path, "-", true)
	write(t, path, "")
	if changed, err := table.Reload(); changed || err != nil || table.Status().Missing {
		t.Errorf("Reload() = %v, %v, %+v", changed, err, table.Status())
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := table.Reload(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Reload() after it vanished = %v, want that it does not exist", err)
	}
}

func TestReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access")
	table, book := open(t, path, "a OK\n", true)
	before := table.Snapshot()
	if changed, err := table.Reload(); changed || err != nil || table.Snapshot() != before {
		t.Errorf("Reload() of the same = %v, %v", changed, err)
	}
	write(t, path, "a REJECT\n")
	if changed, err := table.Reload(); !changed || err != nil {
		t.Errorf("Reload() of an edit = %v, %v", changed, err)
	}
	expectValue(t, table, "a", "REJECT")
	if e, _, _ := before.Lookup(context.Background(), "a"); e.Value != "OK" {
		t.Errorf("the old snapshot has become %q", e.Value)
	}
	book.expect(t, 2, "table read")
	write(t, path, "# nothing\n")
	if changed, err := table.Reload(); !changed || err != nil {
		t.Errorf("Reload() of an emptied file = %v, %v", changed, err)
	}
	book.expect(t, 1, "WARN", "table has become empty", "entries_before=1")
}

func TestFaultsKeepTheLastGood(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access")
	table, book := open(t, path, "a OK\n", false)
	fault := func(want string) {
		t.Helper()
		for range 3 {
			if changed, err := table.Reload(); changed || err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Reload() = %v, %v, want error %q", changed, err, want)
			}
		}
		expectValue(t, table, "a", "OK")
		if s := table.Status(); s.LastError == nil || s.LastErrorAt.IsZero() || s.Entries != 1 || s.Missing {
			t.Errorf("Status() = %+v, want an error and one entry", s)
		}
		book.expect(t, 1, "ERROR", want, "entries=1")
	}
	write(t, path, "a REJECT\nb \x00\n")
	fault(path + ":2: NUL byte")
	write(t, path, "a REJECT\nb x\nc \x00\n")
	fault(path + ":3: NUL byte")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	fault("no such file")
	if err := os.Mkdir(path, 0); err != nil {
		t.Fatal(err)
	}
	fault("is a directory")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	write(t, path, "a OK\n")
	if changed, err := table.Reload(); changed || err != nil {
		t.Errorf("Reload() of the good file = %v, %v", changed, err)
	}
	if s := table.Status(); s.LastError != nil || !s.LastErrorAt.IsZero() {
		t.Errorf("Status() = %+v, want no error", s)
	}
	book.expect(t, 1, "INFO", "good again")
}

func lock(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestLockIsRespected(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access")
	table, book := open(t, path, "a OK\n", false)
	held := lock(t, path)
	write(t, path, "a REJECT\n")
	if r := table.load(askOnce, nil); !errors.Is(r.err, errLocked) || r.final || table.Status().LastError != nil {
		t.Errorf("load of a locked file = %+v, want errLocked without trace", r)
	}
	time.AfterFunc(150*time.Millisecond, func() { held.Close() })
	start := time.Now()
	if changed, err := table.Reload(); !changed || err != nil {
		t.Errorf("Reload() = %v, %v", changed, err)
	}
	if d := time.Since(start); d < 100*time.Millisecond {
		t.Errorf("Reload() took %v, it did not wait for the lock", d)
	}
	expectValue(t, table, "a", "REJECT")
	book.expect(t, 0, "locked")
}

// Whoever may read a file can lock it; that must not keep a daemon from starting.
func TestLockIsNotRespectedForEver(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "access")
	write(t, path, "a OK\n")
	defer lock(t, path).Close()
	start := time.Now()
	table, book := open(t, path, "-", false)
	if d := time.Since(start); d < patience {
		t.Errorf("Open took %v, want %v", d, patience)
	}
	expectValue(t, table, "a", "OK")
	book.expect(t, 1, "WARN", "locked the table file for long")
}

func TestLoadWantsTheFileThatWasSeen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access")
	table, _ := open(t, path, "a OK\n", false)
	seen := observe(path)
	write(t, path, "a REJECT\nand half a li")
	if r := table.load(askOnce, &seen); !errors.Is(r.err, errChanging) || r.final {
		t.Errorf("load of a file edited since = %+v, want errChanging", r)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if r := table.load(askOnce, &seen); !errors.Is(r.err, errChanging) || table.Status().LastError != nil {
		t.Errorf("load of a file removed since = %+v, want errChanging without trace", r)
	}
	expectValue(t, table, "a", "OK")
}

// A file that changes under the reader is noticed, whatever was read of it.
func TestChangeWhileReading(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access")
	write(t, path, strings.Repeat("# filler\n", 1<<20))
	stop, stopped := make(chan struct{}), make(chan error)
	go func() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		for err == nil {
			select {
			case <-stop:
				stopped <- f.Close()
				return
			case <-time.After(time.Millisecond):
				_, err = f.WriteAt([]byte("#"), 0) // the size stays
			}
		}
		stopped <- err
	}()
	eventually(t, "a reading is refused", func() bool {
		_, err := readOnce(path, true, nil, 0)
		return errors.Is(err, errChanging)
	})
	close(stop)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	if _, err := readOnce(path, true, nil, 0); err != nil {
		t.Errorf("reading the file at rest: %v", err)
	}
}

func TestStatusWhileLoading(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access")
	table, _ := open(t, path, "a OK\n", false)
	held := lock(t, path)
	done := make(chan error)
	go func() {
		_, err := table.Reload()
		done <- err
	}()
	for range 5 { // neither question waits for the reading
		if table.Status().Entries != 1 || value(table, "a") != "OK" {
			t.Errorf("Status() = %+v", table.Status())
		}
		time.Sleep(10 * time.Millisecond)
	}
	held.Close()
	if err := <-done; err != nil {
		t.Errorf("Reload() = %v", err)
	}
}
