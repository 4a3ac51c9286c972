package maps

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gatepost/maps/ldap"
)

// Spec says which file a table is and what it must be like.
type Spec struct {
	Name     string // as in the configuration: "access"
	Kind     Kind
	Path     string
	Beside   Beside // the file to read in its place, at times
	Format   Format // of a text
	Optional bool   // may be missing at the start, as with sendmail's -o
	// Check, if set, is asked for each entry when the file is read, with the key in
	// lower case. Its error refuses the whole file, with file:line in front. It may
	// be called by several goroutines at once, in any order, also for entries that do
	// not count.
	Check func(key, value string) error

	// KeepLast has a map on a server answer with what was last known when the server
	// is gone. Else it cannot be asked then.
	KeepLast bool
	// MaxStale is for how long after the server's last word a redis map still
	// answers without KeepLast.
	MaxStale time.Duration
	LDAP     ldap.Config // of an LDAP map
}

// Beside is a second file of the same table: the text that a database is made of,
// or the database that is made of a text. The zero value stands for none.
type Beside struct {
	Kind Kind
	Path string
	// IfNewer has it read when it was written after the table's own file. In any
	// case it is read when that file does not exist.
	IfNewer bool
}

// Status is a table's state, for the log, the metrics and gatepost status.
type Status struct {
	Name        string
	Kind        Kind
	Path        string // the file as configured, or the address of a server
	Reading     string // the file that is read, when that is another one
	Entries     int
	Bytes       int64     // what is kept of it
	LoadedAt    time.Time // when it was last read without a fault; zero: never
	Missing     bool      // optional, and was never there
	Problems    int       // lines skipped or doubtful in what is in force
	LastError   error     // why the file as it is now is not in force; nil when it is
	LastErrorAt time.Time // when that was first seen
}

// reading is what the last good reading of a file gave.
type reading struct {
	Snapshot
	sum  uint64 // of the file's bytes
	file string
}

// largeFile is a file, in bytes, whose memory is given back at once when it was
// read in vain: it may be as much as all the rest.
const largeFile = 4 << 20

// A Table is a file and its last good snapshot. It is safe for concurrent use.
type Table struct {
	spec Spec
	log  *slog.Logger
	now  atomic.Pointer[reading]

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
	t.status = Status{Name: spec.Name, Kind: spec.Kind, Path: spec.Path}
	t.now.Store(&reading{Snapshot: NewClass(spec.Path, nil), sum: maphash.String(fileSeed, ""), file: spec.Path})
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
func (t *Table) Snapshot() Snapshot { return t.now.Load().Snapshot }

// Map is what a policy is to ask: the snapshot.
func (t *Table) Map() Map { return t.Snapshot() }

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
	c, err := readFile(t.spec.current(), how, want, t.workers())
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
		changed, err = t.take(c, start)
		if !changed && len(c.data) > largeFile {
			c.data = ""
			debug.FreeOSMemory()
		}
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

// take puts what was read into force, unless it is in force or is refused.
func (t *Table) take(c contents, start time.Time) (changed bool, err error) {
	old, next := t.now.Load(), t.now.Load()
	sum := maphash.String(fileSeed, c.data)
	if t.Status().LoadedAt.IsZero() || sum != old.sum || c.seen.path != old.file {
		if next, err = t.parse(c, sum); err != nil {
			return false, &contentError{err}
		}
		changed = sum != old.sum
	}
	t.now.Store(next)
	first, recovered := t.succeeded(next, start)
	if recovered {
		t.log.Info("table file is good again")
	}
	if changed && next.file != t.spec.Path && (first || next.file != old.file) {
		t.log.Warn("a file beside the table's is read in its place, since it is newer or the only one", "reading", next.file)
	}
	if first || changed {
		t.announce(old, next, start)
	}
	return changed, nil
}

// parse makes a snapshot of a file and has each entry checked. A panic while
// doing so is one table's misfortune and must not end the daemon.
func (t *Table) parse(c contents, sum uint64) (next *reading, err error) {
	file := c.seen.path
	defer func() {
		if r := recover(); r != nil {
			next, err = nil, fmt.Errorf("%s: fault in the program while reading: %v", file, r)
		}
	}()
	snapshot, err := t.spec.parse(t.spec.kindOf(file), file, c.data, t.workers())
	if err != nil {
		return nil, err
	}
	return &reading{snapshot, sum, file}, nil
}

// workers is how many goroutines may read: all that there are at the start, and
// while lookups are served one less, to keep a processor for them.
func (t *Table) workers() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.opened {
		return 0
	}
	return max(1, runtime.GOMAXPROCS(0)-1)
}

// succeeded brings the status up to date.
func (t *Table) succeeded(r *reading, start time.Time) (first, recovered bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	first, recovered = !t.existed, t.status.LastError != nil
	t.existed = true
	_, problems := r.Problems()
	t.status = Status{
		Name: t.spec.Name, Kind: t.spec.kindOf(r.file), Path: t.spec.Path,
		Entries: r.Len(), Bytes: r.Size(), Problems: problems, LoadedAt: start,
	}
	if r.file != t.spec.Path {
		t.status.Reading = r.file
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
func (t *Table) announce(old, r *reading, start time.Time) {
	warnEmpty(t.log, old, r)
	logRead(t.log, r, start)
}

// warnEmpty warns of a table that had entries before.
func warnEmpty(log *slog.Logger, old, now Snapshot) {
	if now.Len() == 0 && old.Len() > 0 {
		log.Warn("table has become empty", "entries_before", old.Len())
	}
}

// logRead logs what was read of a table.
func logRead(log *slog.Logger, s Snapshot, start time.Time) {
	first, problems := s.Problems()
	log.Info("table read", "entries", s.Len(), "problems", problems, "took", time.Since(start))
	for _, p := range first {
		log.Warn("problem in table", "at", p.Source.String(), "problem", p.Text)
	}
	if more := problems - len(first); more > 0 {
		log.Warn("more problems in table, not listed", "count", more)
	}
}
