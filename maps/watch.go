package maps

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// timing is how the watcher paces itself; tests make it faster.
type timing struct {
	poll     time.Duration // between two looks when nothing is going on
	rest     time.Duration // a file is read when it has looked the same for so long
	restless time.Duration // after so long without rest, or locked, it is worth a word
	retry    time.Duration // until a reading that failed for outside reasons is tried again
	coarse   time.Duration // the coarsest time stamps: edits so soon after another may look like none
	settle   time.Duration // events are gathered for so long before the files are looked at
}

// normalTiming has an edit in force 500 ms after the last write at the latest
// (and the time that reading takes), without any notification.
func normalTiming() timing {
	return timing{
		poll: 300 * time.Millisecond, rest: 200 * time.Millisecond, restless: patience,
		retry: 2 * time.Second, coarse: 2 * time.Second, settle: 20 * time.Millisecond,
	}
}

// Watch follows the maps until ctx is done: an edit of a file is in force less than
// a second after the last write. It is told by the file system where that works,
// and looks for itself everywhere, for NFS and its like. A file is read when it has
// been at rest for 200 ms, so that a half-written one never is; one that is written
// without a pause keeps the old content in force. changed is called, never twice at
// once, after something new was put into force. A map is watched by one Watch.
func Watch(ctx context.Context, log *slog.Logger, stores []Store, changed func()) {
	var tables []*Table
	var servers sync.WaitGroup
	var one sync.Mutex
	tell := func() {
		one.Lock()
		defer one.Unlock()
		if changed != nil {
			changed()
		}
	}
	for _, s := range stores {
		switch s := s.(type) {
		case *Table:
			tables = append(tables, s)
		case *Redis:
			servers.Go(func() { s.follow(ctx, tell) })
		}
	}
	watch(ctx, log, tables, tell, normalTiming(), fsnotify.NewWatcher)
	servers.Wait()
}

func watch(ctx context.Context, log *slog.Logger, tables []*Table, changed func(), pace timing,
	notify func() (*fsnotify.Watcher, error)) {
	w := &watcher{timing: pace, log: log}
	for _, t := range tables {
		w.files = append(w.files, newWatched(t, pace))
	}
	w.dirs = newDirectories(log, tables, notify)
	defer w.dirs.close()
	for {
		w.dirs.refresh()
		if w.round(time.Now()) && changed != nil {
			changed()
		}
		if !w.wait(ctx) {
			return
		}
	}
}

// watcher is all state of a Watch; only its goroutine touches it.
type watcher struct {
	timing
	log   *slog.Logger
	files []*watched
	dirs  *directories
}

// watched is what is known of a table's file.
type watched struct {
	table   *Table
	seen    sighting  // at the last look
	since   time.Time // it looks like this, or was last known to be written to
	pending bool      // to be read when at rest
	unrest  time.Time // when it became pending
	said    bool      // that it does not come to rest
	locked  bool      // the last try found it locked
	again   time.Time // read it again then; zero: no need
	doubted sighting  // the sighting that a second reading was already asked for
}

func newWatched(t *Table, pace timing) *watched {
	t.mu.Lock()
	seen := t.seen
	t.mu.Unlock()
	f := &watched{table: t, seen: seen}
	f.doubt(pace.coarse)
	return f
}

// round looks at all files and reads those at rest.
func (w *watcher) round(now time.Time) (changed bool) {
	for _, f := range w.files {
		if s := observe(f.table.spec.current()); s != f.seen {
			f.seen = s
			f.disturb(now)
		}
		if !f.pending && !f.again.IsZero() && !now.Before(f.again) {
			f.disturb(now.Add(-w.rest))
		}
		if f.pending && now.Sub(f.since) >= w.rest {
			changed = w.read(f) || changed
		}
		if f.pending && !f.said && now.Sub(f.unrest) >= w.restless {
			f.said = true
			f.table.log.Warn("table file does not come to rest, its last good content stays in force", "for", now.Sub(f.unrest))
		}
	}
	return changed
}

// disturb notes that a file was written to, or looks different.
func (f *watched) disturb(now time.Time) {
	f.since, f.again = now, time.Time{}
	if !f.pending {
		f.pending, f.unrest, f.said, f.locked = true, now, false, false
	}
}

// read reads a file at rest.
func (w *watcher) read(f *watched) (changed bool) {
	how := askOnce
	if f.locked && time.Since(f.unrest) >= w.restless {
		how = askUnlocked
	}
	r := f.table.load(how, &f.seen)
	now := time.Now()
	switch {
	case isBusy(r.err):
		f.locked, f.since = errors.Is(r.err, errLocked), now
	case !r.final:
		f.pending, f.again = false, now.Add(w.retry)
	default:
		f.pending = false
		f.doubt(w.coarse)
	}
	return r.changed
}

// doubt asks for one more reading of a file that was read so soon after its last
// edit that another edit could bear the same time stamp.
func (f *watched) doubt(coarse time.Duration) {
	now := time.Now()
	age := now.Sub(time.Unix(f.seen.mtime.Unix()))
	if f.seen.fault == "" && f.seen != f.doubted && age.Abs() < coarse {
		f.doubted, f.again = f.seen, now.Add(coarse)
	}
}

// wait sleeps until it is time for the next round; false means that ctx is done.
func (w *watcher) wait(ctx context.Context) bool {
	timer := time.NewTimer(w.nap(time.Now()))
	defer timer.Stop()
	events, faults := w.dirs.events()
	woken := false
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case event, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			w.heard(event)
			if !woken {
				woken = true
				timer.Reset(min(w.settle, w.nap(time.Now())))
			}
		case err, ok := <-faults:
			if !ok {
				faults = nil
				continue
			}
			w.missed(err)
		}
	}
}

// nap is how long nothing needs doing, unless something is heard.
func (w *watcher) nap(now time.Time) time.Duration {
	nap := w.poll
	for _, f := range w.files {
		if f.pending {
			nap = min(nap, f.since.Add(w.rest).Sub(now))
		} else if !f.again.IsZero() {
			nap = min(nap, f.again.Sub(now))
		}
	}
	return max(nap, time.Millisecond)
}

// heard notes an event. Any event wakes the watcher, which then looks for itself;
// one that names a table's file has it read even if it looks the same.
func (w *watcher) heard(event fsnotify.Event) {
	w.dirs.heard(event)
	if event.Op == fsnotify.Chmod {
		return
	}
	for _, f := range w.files {
		for _, file := range f.table.spec.files() {
			if filepath.Clean(event.Name) == filepath.Clean(file) {
				f.disturb(time.Now())
			}
		}
	}
}

// missed handles a fault of the notifications. When events were lost, no file's
// appearance is trusted.
func (w *watcher) missed(err error) {
	w.dirs.complain("", err)
	if errors.Is(err, fsnotify.ErrEventOverflow) {
		for _, f := range w.files {
			f.disturb(time.Now())
		}
	}
}
