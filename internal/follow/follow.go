// Package follow keeps what small files say, together, and reads them again when they
// have changed.
package follow

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// every is how often the files are looked at, at most: when what they say is asked for.
	every = time.Second
	// settled is how old a file is before its time is believed: until then it may be
	// written to once more within the same tick of the clock.
	settled = 2 * time.Second
)

// Files is some files and what they said when they were last good. It is safe for
// concurrent use.
type Files[T any] struct {
	what  string // in the log
	names []string
	read  func() (*T, error)
	log   *slog.Logger

	last   atomic.Pointer[T]
	failed atomic.Pointer[error]
	look   sync.Mutex   // held by who looks at the files; the others take what is there
	next   atomic.Int64 // when they are to be looked at again, Unix nanoseconds
	seen   []sighting
}

// Open reads the files for the first time, by read; what says for the log what they
// are. A nil log is none.
func Open[T any](what string, names []string, read func() (*T, error), log *slog.Logger) (*Files[T], error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	f := &Files[T]{what: what, names: names, read: read, log: log}
	f.seen = f.sight() // before reading: a change meanwhile is seen the next time
	value, err := read()
	if err != nil {
		return nil, err
	}
	f.last.Store(value)
	f.next.Store(time.Now().Add(every).UnixNano())
	return f, nil
}

// Get is what the files say, as of a second ago; after a bad edit, what they said
// before. The bad edit is logged once.
func (f *Files[T]) Get() *T {
	if now := time.Now(); now.UnixNano() >= f.next.Load() && f.look.TryLock() {
		defer f.look.Unlock()
		f.next.Store(now.Add(every).UnixNano())
		f.refresh()
	}
	return f.last.Load()
}

// Fault is why the files as they are now are not in force; nil when they are.
func (f *Files[T]) Fault() error {
	if err := f.failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (f *Files[T]) refresh() {
	now := f.sight()
	unsettled := slices.ContainsFunc(now, func(s sighting) bool { return s.unsettled })
	if !unsettled && slices.Equal(now, f.seen) {
		return
	}
	changed := !slices.EqualFunc(now, f.seen, sighting.same)
	f.seen = now
	value, err := f.read()
	if err != nil {
		// Somebody may be in the middle of writing.
		if before := f.Fault(); !unsettled && (before == nil || before.Error() != err.Error()) {
			f.failed.Store(&err)
			f.log.Error(f.what+" cannot be taken over; what was said before stays in force", "error", err)
		}
		return
	}
	f.last.Store(value)
	if f.failed.Swap(nil) != nil || changed {
		f.log.Info(f.what+" read anew", "files", f.names)
	}
}

func (f *Files[T]) sight() []sighting {
	all := make([]sighting, len(f.names))
	for i, name := range f.names {
		all[i] = sight(name)
	}
	return all
}
