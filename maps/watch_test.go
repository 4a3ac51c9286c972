package maps

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

func quickTiming() timing {
	return timing{
		poll: 25 * time.Millisecond, rest: 120 * time.Millisecond, restless: 600 * time.Millisecond,
		retry: 100 * time.Millisecond, coarse: 200 * time.Millisecond, settle: 2 * time.Millisecond,
	}
}

func noNotify() (*fsnotify.Watcher, error) { return nil, errors.New("too many open files") }

// slowPoll leaves a change to be seen by notification alone.
func slowPoll(pace timing) timing {
	pace.poll = time.Minute
	return pace
}

type notifyFunc func() (*fsnotify.Watcher, error)

// follow watches tables until the test ends; the counter is of calls of changed.
func follow(t *testing.T, book *logbook, pace timing, notify notifyFunc, tables ...*Table) *atomic.Int32 {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	var calls atomic.Int32
	go func() {
		defer close(done)
		watch(ctx, book.logger(), tables, func() { calls.Add(1) }, pace, notify)
	}()
	t.Cleanup(func() {
		stop()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Error("Watch does not end with its context")
		}
	})
	return &calls
}

// eventually waits for a condition; its failure says what was awaited.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}

// replace puts a new file in the place of an old one, as editors do.
func replace(t *testing.T, path, text string) {
	t.Helper()
	write(t, path+".new", text)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

// Each way of editing, as seen by notification, by polling, and by both.
func TestWatch(t *testing.T) {
	cases := []struct {
		name  string
		edit  func(t *testing.T, path string)
		want  string // value of a afterwards; it was OK
		fault string // in the status
		log   string
	}{
		{"edit in place", func(t *testing.T, path string) { write(t, path, "a REJECT\n") }, "REJECT", "", "table read"},
		{"same size", func(t *testing.T, path string) { write(t, path, "a NO\n") }, "NO", "", "table read"},
		{"rename over", func(t *testing.T, path string) { replace(t, path, "a REJECT\n") }, "REJECT", "", "table read"},
		{"remove and write", func(t *testing.T, path string) { remove(t, path); write(t, path, "a NO\n") }, "NO", "", "table read"},
		{"vanish", func(t *testing.T, path string) { remove(t, path) }, "OK", "no such file", "level=ERROR"},
		{"directory in its place", func(t *testing.T, path string) {
			remove(t, path)
			if err := os.Mkdir(path, 0); err != nil {
				t.Fatal(err)
			}
		}, "OK", "is a directory", "level=ERROR"},
		{"NUL", func(t *testing.T, path string) { write(t, path, "a NO\n\x00\n") }, "OK", ":2: NUL byte", "level=ERROR"},
		{"emptied", func(t *testing.T, path string) { write(t, path, "") }, "-", "", "has become empty"},
		{"bad lines", func(t *testing.T, path string) { write(t, path, "a NO\n b OK\n") }, "NO", "", ":2"},
	}
	modes := []struct {
		name   string
		pace   timing
		notify notifyFunc
	}{
		{"both", quickTiming(), fsnotify.NewWatcher},
		{"polling", quickTiming(), noNotify},
		{"notification", slowPoll(quickTiming()), fsnotify.NewWatcher},
	}
	for _, m := range modes {
		for _, c := range cases {
			t.Run(m.name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				path := filepath.Join(t.TempDir(), "access")
				table, book := open(t, path, "a OK\n", true)
				calls := follow(t, book, m.pace, m.notify, table)
				time.Sleep(m.pace.rest) // Watch itself begins with a look
				c.edit(t, path)
				eventually(t, c.name, func() bool {
					err := table.Status().LastError
					return value(table, "a") == c.want && (err != nil) == (c.fault != "") &&
						(err == nil || strings.Contains(err.Error(), c.fault)) && book.count(c.log) > 0
				})
				if c.fault != "" {
					remove(t, path)
					replace(t, path, "a BACK\n")
					eventually(t, "recovery", func() bool {
						return value(table, "a") == "BACK" && table.Status().LastError == nil && book.count("good again") > 0
					})
					book.expect(t, 1, "level=ERROR")
					book.expect(t, 1, "good again")
				}
				eventually(t, "changed is called", func() bool { return calls.Load() > 0 })
				if n := calls.Load(); n != 1 {
					t.Errorf("changed was called %d times, want once", n)
				}
			})
		}
	}
}

func TestWatchAppears(t *testing.T) {
	for name, notify := range map[string]notifyFunc{"both": fsnotify.NewWatcher, "polling": noNotify} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "etc", "mail")
			table, book := open(t, filepath.Join(dir, "access"), "-", true)
			follow(t, book, quickTiming(), notify, table)
			time.Sleep(80 * time.Millisecond)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "access"), "a OK\n")
			eventually(t, "the new file is read", func() bool { return value(table, "a") == "OK" && !table.Status().Missing })
			book.expect(t, 0, "level=ERROR")
		})
	}
}

// A directory that appears late, or is replaced, is watched from then on.
func TestWatchFollowsDirectories(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mail")
	path := filepath.Join(dir, "access")
	book := &logbook{}
	d := newDirectories(book.logger(), []*Table{{spec: Spec{Path: path}}}, fsnotify.NewWatcher)
	defer d.close()
	for _, round := range []string{"first", "second"} {
		d.refresh()
		if d.known[dir] != nil {
			t.Fatalf("%s: a missing directory is taken as watched", round)
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		d.refresh()
		write(t, path, round)
		expectEvent(t, d, path)
		remove(t, dir)
		expectEvent(t, d, dir)
		if d.known[dir] != nil { // a successor may get the same inode number
			t.Errorf("%s: a directory is taken as watched after it was removed", round)
		}
	}
	book.expect(t, 0, "level=WARN")
}

// expectEvent reads events until one names path.
func expectEvent(t *testing.T, d *directories, path string) {
	t.Helper()
	events, faults := d.events()
	for {
		select {
		case e := <-events:
			d.heard(e)
			if e.Name == path {
				return
			}
		case err := <-faults:
			t.Fatalf("waiting for an event of %s: %v", path, err)
		case <-time.After(10 * time.Second):
			t.Fatalf("no event of %s within 10 s", path)
		}
	}
}

// As Kubernetes mounts a ConfigMap: access -> ..data/access, ..data -> a directory,
// and an update renames a new ..data over the old.
func TestWatchSymlinkSwap(t *testing.T) {
	for name, pace := range map[string]timing{"both": quickTiming(), "notification": slowPoll(quickTiming())} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			swap := func(version, text string) {
				t.Helper()
				err := errors.Join(
					os.Mkdir(filepath.Join(dir, version), 0o755),
					os.WriteFile(filepath.Join(dir, version, "access"), []byte(text), 0o644),
					os.Symlink(version, filepath.Join(dir, "..tmp")),
					os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")))
				if err != nil {
					t.Fatal(err)
				}
			}
			swap("..1", "a ONE\n")
			path := filepath.Join(dir, "access")
			if err := os.Symlink("..data/access", path); err != nil {
				t.Fatal(err)
			}
			table, book := open(t, path, "-", false)
			follow(t, book, pace, fsnotify.NewWatcher, table)
			time.Sleep(pace.rest)
			swap("..2", "a TWO\n")
			remove(t, filepath.Join(dir, "..1"))
			eventually(t, "the swap is seen", func() bool { return value(table, "a") == "TWO" })
			book.expect(t, 0, "level=ERROR")
		})
	}
}

// The directory itself may be a link, and the file at its end edited in place.
func TestWatchLinkedDirectory(t *testing.T) {
	base := t.TempDir()
	for _, d := range []string{"one", "two"} {
		if err := os.Mkdir(filepath.Join(base, d), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(base, d, "access"), "a "+d+"\n")
	}
	link := filepath.Join(base, "mail")
	if err := os.Symlink("one", link); err != nil {
		t.Fatal(err)
	}
	table, book := open(t, filepath.Join(link, "access"), "-", false)
	follow(t, book, quickTiming(), fsnotify.NewWatcher, table)
	write(t, filepath.Join(base, "one", "access"), "a edited\n")
	eventually(t, "edit behind the link", func() bool { return value(table, "a") == "edited" })
	if err := errors.Join(os.Symlink("two", link+".new"), os.Rename(link+".new", link)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "swap of the directory", func() bool { return value(table, "a") == "two" })
	write(t, filepath.Join(base, "two", "access"), "a again\n")
	eventually(t, "edit after the swap", func() bool { return value(table, "a") == "again" })
}

// A file that is written without a pause is never read, and that is said once.
func TestWatchRestless(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access")
	table, book := open(t, path, "a OK\n", false)
	pace := quickTiming()
	pace.rest, pace.restless = 400*time.Millisecond, 600*time.Millisecond
	follow(t, book, pace, fsnotify.NewWatcher, table)
	write(t, path, "a HALF")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	said := func() bool { return book.count("WARN", "does not come to rest") > 0 }
	for end := time.Now().Add(10 * time.Second); !said(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("10 s without a word about a file that does not come to rest")
		}
		if _, err := f.WriteString("x"); err != nil {
			t.Fatal(err)
		}
		expectValue(t, table, "a", "OK")
	}
	write(t, path, "a DONE\n")
	eventually(t, "the file at rest is read", func() bool { return value(table, "a") == "DONE" })
	book.expect(t, 1, "does not come to rest")
}

// A lock puts an edit off, and for not longer than it takes to become a nuisance.
func TestWatchLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access")
	table, book := open(t, path, "a OK\n", false)
	held := lock(t, path)
	defer held.Close()
	pace := quickTiming()
	pace.restless = 500 * time.Millisecond
	follow(t, book, pace, fsnotify.NewWatcher, table)
	start := time.Now()
	write(t, path, "a REJECT\n")
	eventually(t, "a lock is overcome", func() bool { return value(table, "a") == "REJECT" })
	if d := time.Since(start); d < pace.restless {
		t.Errorf("a locked file was read after %v, want %v of waiting", d, pace.restless)
	}
	book.expect(t, 1, "WARN", "locked the table file for long")
	book.expect(t, 0, "level=ERROR")
}

// Tables that come to rest together are one change, and Reload's are not Watch's.
func TestWatchCallsChangedOnce(t *testing.T) {
	dir := t.TempDir()
	var tables []*Table
	book := &logbook{}
	for _, name := range []string{"a", "b", "c"} {
		table, _ := open(t, filepath.Join(dir, name), name+" OK\n", false)
		tables = append(tables, table)
	}
	w := &watcher{timing: quickTiming(), log: book.logger()}
	for _, table := range tables {
		w.files = append(w.files, newWatched(table, w.timing))
		write(t, table.spec.Path, "x NEW\n")
	}
	now := time.Now()
	if w.round(now) {
		t.Error("files were read before they rested")
	}
	if w.round(now.Add(w.rest - 1)) {
		t.Error("files were read 1 ns before they had rested")
	}
	if !w.round(now.Add(w.rest)) || value(tables[0], "x") != "NEW" || value(tables[2], "x") != "NEW" {
		t.Error("files at rest were not read in one round")
	}
	if w.round(now.Add(2 * w.rest)) {
		t.Error("nothing new, and yet changed")
	}
}

// Where time stamps are coarse, a second edit may leave the file looking the same.
func TestWatchDoubtsFreshFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access")
	table, book := open(t, path, "a OK\n", false)
	w := &watcher{timing: quickTiming(), log: book.logger()}
	w.coarse = time.Minute
	f := newWatched(table, w.timing)
	w.files = []*watched{f}
	if f.again.IsZero() {
		t.Fatal("a file read right after its edit is not read again")
	}
	write(t, path, "a NO\n")
	f.seen = observe(path) // as if the edit had left the time stamps alone
	now := time.Now()
	if w.round(now) {
		t.Error("read at once")
	}
	if !w.round(now.Add(w.coarse+time.Second)) || value(table, "a") != "NO" {
		t.Error("an edit within one tick of the clock is not seen")
	}
	f.again = time.Time{}
	if f.doubt(w.coarse); !f.again.IsZero() {
		t.Error("the same sighting is doubted again and again")
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	f.seen = observe(path)
	if f.doubt(w.coarse); !f.again.IsZero() {
		t.Error("an old file is doubted")
	}
}

// mtime set back and size the same: the change time tells.
func TestWatchSetBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access")
	write(t, path, "a OK\n")
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	table, book := open(t, path, "-", false)
	follow(t, book, quickTiming(), noNotify, table)
	time.Sleep(60 * time.Millisecond)
	write(t, path, "a NO\n")
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an edit with its time set back", func() bool { return value(table, "a") == "NO" })
	book.expect(t, 1, "WARN", "no file notifications")
}

// An event that names the file has it read even if it looks the same.
func TestHeard(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access")
	cases := []struct {
		name  string
		event fsnotify.Event
		want  bool
	}{
		{"write", fsnotify.Event{Name: path, Op: fsnotify.Write}, true},
		{"create", fsnotify.Event{Name: path, Op: fsnotify.Create}, true},
		{"chmod alone", fsnotify.Event{Name: path, Op: fsnotify.Chmod}, false},
		{"another file", fsnotify.Event{Name: path + "~", Op: fsnotify.Write}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			table, book := open(t, path, "a OK\n", false)
			w := &watcher{timing: quickTiming(), log: book.logger(), files: []*watched{newWatched(table, quickTiming())}}
			w.dirs = newDirectories(w.log, []*Table{table}, noNotify)
			w.heard(c.event)
			if got := w.files[0].pending; got != c.want {
				t.Errorf("after %v: pending %v, want %v", c.event, got, c.want)
			}
		})
	}
}

func TestLostEvents(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access")
	table, book := open(t, path, "a OK\n", false)
	w := &watcher{timing: quickTiming(), log: book.logger(), files: []*watched{newWatched(table, quickTiming())}}
	w.dirs = newDirectories(w.log, []*Table{table}, noNotify)
	for range 3 {
		w.missed(fsnotify.ErrEventOverflow)
	}
	if !w.files[0].pending {
		t.Error("events were lost and the file is not to be read")
	}
	book.expect(t, 1, "WARN", "file notifications fail")
}

// The promise with the timing as shipped: in force within a second of the last write.
// The best of three counts, since the machine may be busy with other things.
func TestWatchIsQuickEnough(t *testing.T) {
	for name, notify := range map[string]notifyFunc{"notification": fsnotify.NewWatcher, "polling": noNotify} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "access")
			table, book := open(t, path, "a OK\n", false)
			follow(t, book, normalTiming(), notify, table)
			best, soonest := time.Hour, time.Hour
			for _, text := range []string{"ONE", "TWO", "THREE"} {
				time.Sleep(130 * time.Millisecond) // not in step with the polling
				begun := time.Now()
				write(t, path, "a "+text+"\n")
				written := time.Now()
				eventually(t, "the edit", func() bool { return value(table, "a") == text })
				best, soonest = min(best, time.Since(written)), min(soonest, time.Since(begun))
			}
			t.Logf("an edit is in force after %v", best)
			if soonest < 200*time.Millisecond {
				t.Errorf("an edit is in force %v after it began, want 200 ms of rest", soonest)
			}
			if best >= time.Second {
				t.Errorf("an edit is in force after %v, want less than 1 s", best)
			}
		})
	}
}

func TestWatchEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access")
	table, _ := open(t, path, "a OK\n", false)
	start := time.Now()
	ctx, stop := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer stop()
	Watch(ctx, slog.New(slog.DiscardHandler), []Store{table}, nil)
	if d := time.Since(start); d < 50*time.Millisecond || d > 5*time.Second {
		t.Errorf("Watch returned after %v, want 50 ms", d)
	}
}
