package maps

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Spec says which file a table is and what it must be like.
type Spec struct {
	Name     string // as in the configuration: "access"
	Path     string
	Format   Format
	Optional bool // may be missing at the start, as with sendmail's -o
	// Check, if set, is asked for each entry when the file is read, with the key in
	// lower case. Its error refuses the whole file, with file:line in front.
	Check func(key, value string) error
}

// Status is a table's state, for the log and the metrics.
type Status struct {
	Name, Path  string
	Entries     int
	Bytes       int64
	LoadedAt    time.Time // when the file was last read without a fault; zero: never
	Missing     bool      // optional, and was never there
	Problems    int       // lines skipped or doubtful in what is in force
	LastError   error     // why the file as it is now is not in force; nil when it is
	LastErrorAt time.Time // when that was first seen
}

// A Table is a file and its last good snapshot. It is safe for concurrent use.
type Table struct {
	spec Spec
	log  *slog.Logger
	text atomic.Pointer[Text]

	loading sync.Mutex // one reading at a time; held for as long as that takes

	mu      sync.Mutex // guards what follows, never held while waiting
	status  Status
	existed bool
	opened  bool     // Open is over: faults are logged, no longer returned alone
	seen    sighting // at the last reading
}

// Open reads a table for the first time. A missing file is an empty table when it
// is optional; otherwise a file that cannot be read, or is refused, is an error.
// log gets the problems, and later what Reload and Watch find.
func Open(spec Spec, log *slog.Logger) (*Table, error) {
	t := &Table{spec: spec, log: log.With("table", spec.Name, "path", spec.Path)}
	t.status = Status{Name: spec.Name, Path: spec.Path}
	t.text.Store(NewClass(spec.Path, nil))
	if r := t.load(askPatient, nil); r.err != nil {
		return nil, fmt.Errorf("table %s: %w", spec.Name, r.err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.opened = true
	if t.status.Missing {
		t.log.Info("table file does not exist, the table is empty")
	}
	return t, nil
}

// Snapshot is the table as it stands: the last good reading.
func (t *Table) Snapshot() *Text { return t.text.Load() }

// Status is the table's state.
func (t *Table) Status() Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.status
}

// Reload reads the file now, whether it looks changed or not. It may wait for a
// few seconds for another program to finish writing. After an error the last good
// snapshot stays in force; the error has been logged already.
func (t *Table) Reload() (changed bool, err error) {
	r := t.load(askPatient, nil)
	if r.err != nil {
		return false, fmt.Errorf("table %s: %w", t.spec.Name, r.err)
	}
	return r.changed, nil
}

// loadResult is what a reading came to.
type loadResult struct {
	changed bool
	err     error
	// final: reading the same file again cannot come to anything else.
	final bool
}

// load reads the file and puts a good reading into force. want is as for readFile.
// A busy file leaves no trace unless it was waited for.
func (t *Table) load(how insistence, want *sighting) loadResult {
	t.loading.Lock()
	defer t.loading.Unlock()
	start := time.Now()
	c, err := readFile(t.spec.Path, how, want)
	if isBusy(err) && how != askPatient {
		return loadResult{err: err}
	}
	t.mu.Lock()
	t.seen = c.seen
	t.mu.Unlock()
	if c.ignored {
		t.log.Warn("another program has locked the table file for long; read without its consent")
	}
	if t.neverThere(err) {
		return loadResult{final: true}
	}
	var changed bool
	if err == nil {
		changed, err = t.take(c.data, start)
	}
	if err != nil {
		t.failed(err)
		var content *contentError
		return loadResult{err: err, final: errors.As(err, &content)}
	}
	return loadResult{changed: changed, final: true}
}

// neverThere notes an optional file that does not exist and never did.
func (t *Table) neverThere(err error) bool {
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.existed || !t.spec.Optional {
		return false
	}
	t.status.Missing, t.status.LastError, t.status.LastErrorAt = true, nil, time.Time{}
	return true
}

// take puts a text into force, unless it is the one in force or is refused.
func (t *Table) take(data string, start time.Time) (changed bool, err error) {
	old := t.text.Load()
	text := old
	if t.Status().LoadedAt.IsZero() || data != old.data {
		if text, err = t.parse(data); err != nil {
			return false, &contentError{err}
		}
		changed = data != old.data
	}
	t.text.Store(text)
	first, recovered := t.succeeded(text, start)
	if recovered {
		t.log.Info("table file is good again")
	}
	if first || changed {
		t.announce(old, text, start)
	}
	return changed, nil
}

// parse makes a snapshot of a text and has each entry checked. A panic while
// doing so is one table's misfortune and must not end the daemon.
func (t *Table) parse(data string) (text *Text, err error) {
	defer func() {
		if r := recover(); r != nil {
			text, err = nil, fmt.Errorf("%s: fault in the program while reading: %v", t.spec.Path, r)
		}
	}()
	if text, err = parseText(t.spec.Path, t.spec.Format, data); err != nil || t.spec.Check == nil {
		return text, err
	}
	for key, entry := range text.All() {
		if err := t.spec.Check(key, entry.Value); err != nil {
			return nil, fmt.Errorf("%s: %w", entry.Source, err)
		}
	}
	return text, nil
}

// succeeded brings the status up to date.
func (t *Table) succeeded(text *Text, start time.Time) (first, recovered bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	first, recovered = !t.existed, t.status.LastError != nil
	t.existed = true
	t.status = Status{
		Name: t.spec.Name, Path: t.spec.Path,
		Entries: text.Len(), Bytes: int64(len(text.data)), Problems: text.ProblemCount(),
		LoadedAt: start,
	}
	return first, recovered
}

// failed notes a fault, and logs it unless it is the one logged last.
func (t *Table) failed(err error) {
	t.mu.Lock()
	last := t.status.LastError
	known := last != nil && last.Error() == err.Error()
	if !known {
		t.status.LastError, t.status.LastErrorAt = err, time.Now()
	}
	quiet := known || !t.opened
	t.mu.Unlock()
	if quiet {
		return
	}
	t.log.Error("table file not read, its last good content stays in force", "error", err, "entries", t.Snapshot().Len())
}

// announce logs what was put into force, with its problems.
func (t *Table) announce(old, text *Text, start time.Time) {
	t.log.Info("table read", "entries", text.Len(), "problems", text.ProblemCount(), "took", time.Since(start))
	if text.Len() == 0 && old.Len() > 0 {
		t.log.Warn("table has become empty", "entries_before", old.Len())
	}
	for _, p := range text.problems {
		t.log.Warn("problem in table", "at", p.Source.String(), "problem", p.Text)
	}
	if more := text.ProblemCount() - len(text.problems); more > 0 {
		t.log.Warn("more problems in table, not listed", "count", more)
	}
}
