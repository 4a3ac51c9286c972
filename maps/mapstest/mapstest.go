// Package mapstest is what every kind of map must pass: one suite of tests, run on a
// Fixture of each kind. It holds that found, absent and could-not-ask stay apart whatever
// happens to a source, that edits and failures are followed, and that the status says so.
package mapstest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"gatepost/maps"
)

// Entry is an entry of a table as it is asked for.
type Entry struct{ Key, Value string }

// WhenGone says what a table does without its source.
type WhenGone uint8

const (
	// AnswersLast is a table that goes on with its last good content.
	AnswersLast WhenGone = iota
	// CannotBeAsked is a table that has an error in place of any answer.
	CannotBeAsked
)

// A Fault is something that happens to a source, and how it is mended. Undo brings
// back what was there.
type Fault struct {
	Name     string
	Do, Undo func(t *testing.T)
}

// Fixture is a table of the kind to be tested, with its source.
type Fixture struct {
	// Specs are its maps, in the order in which they are asked.
	Specs []maps.Spec
	// Before and After are two contents of the source. They should have keys of one
	// alone and keys of both with other values, and whatever values the kind can hold.
	Before, After []Entry
	// Absent are keys of neither content; Default's if there are none.
	Absent []string
	// Put makes these entries all that the source has. A reader sees of each entry its
	// old or its new state.
	Put func(t *testing.T, entries []Entry)
	// Source is where entry i of what was put stands.
	Source func(i int) maps.Source
	// Entries is how many the Status of all maps together counts when n were put; nil
	// where the number is not known.
	Entries func(n int) int
	// Followed: Watch sees an edit. Otherwise it takes a Reload.
	Followed bool

	WhenGone WhenGone
	Faults   []Fault
	// Secret must not be seen in any word about the table.
	Secret string
}

// soon is how long anything may take that a user would notice: edits and recoveries take
// about a second, more on a busy machine.
const soon = 15 * time.Second

// Default are two contents and absent keys for kinds that hold any key. The keys of both
// stand in the same places. value is the longest value, in bytes; utf8 says that values
// are text in UTF-8.
func Default(value int, utf8 bool) (before, after []Entry, absent []string) {
	bytes8 := "550 5.7.1 sch\xf6n \xff\xfe\x80"
	if utf8 {
		bytes8 = "550 5.7.1 schön ✓"
	}
	long := "550 " + strings.Repeat("v", value-4)
	before = []Entry{
		{"from:spam.example", "REJECT"}, {"connect:192.0.2.1", `ERROR:5.7.1:"550  no  mail  from you"`},
		{"to:50%@example.com", "100% of %0 %s %% {x} $1"}, {"long", long}, {"bytes", bytes8}, {"same", "OK"},
		{"from:a+*@example.com", "DISCARD"}, {strings.Repeat("k", 200), "RELAY"}, {"only:before", "OK"},
	}
	after = []Entry{
		{"from:spam.example", "OK"}, {"connect:192.0.2.1", "RELAY"},
		{"to:50%@example.com", `'"\`}, {"long", "short"}, {"bytes", "7"}, {"same", "OK"},
		{"from:a+*@example.com", bytes8}, {strings.Repeat("k", 200), long}, {"only:after", "two words"},
	}
	return before, after, []string{
		"from:spam.exampl", "from:spam.example.", "spam.example", "from:*", "*", "%", "%0", "(", `\`, "REJECT", "#", ":", "\xff",
		"from:spam.example\nx", "from:spam.example REJECT", "from:a+b@example.com",
	}
}

// odd are keys that no table has, and that a table that can be asked may refuse to ask for.
func odd() []string {
	return []string{
		"\x00", "from:spam.example\x00", "\n", "a\r\nb", "\t", strings.Repeat("x", 1<<20), strings.Repeat("\x00", 1<<20),
		strings.Repeat("from:spam.example", 1<<14), "*)(objectClass=*", "\xff\xfe\xc0\x80",
	}
}

// Run runs the suite. open makes a fixture with an empty source; each test has its own.
func Run(t *testing.T, open func(t *testing.T) Fixture) {
	for _, tc := range []struct {
		name string
		test func(*table)
	}{
		{"Lookup", (*table).testLookup},
		{"OddKeys", (*table).testOddKeys},
		{"Status", (*table).testStatus},
		{"Reload", (*table).testReload},
		{"Watch", (*table).testWatch},
		{"Concurrency", (*table).testConcurrency},
		{"Faults", (*table).testFaults},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := open(t)
			if len(f.Absent) == 0 {
				t.Fatal("the fixture has no absent keys")
			}
			x := &table{T: t, Fixture: f}
			x.Put(t, f.Before)
			x.openAll()
			tc.test(x)
			x.expectNoSecret()
		})
	}
}

// table is a fixture under test.
type table struct {
	*testing.T
	Fixture
	log    logbook
	stores []maps.Store
	said   strings.Builder // all errors and sources that were seen
}

func (x *table) openAll() {
	x.Helper()
	for _, spec := range x.Specs {
		s, err := maps.OpenStore(spec, x.log.logger())
		if err != nil {
			x.Fatal(err)
		}
		x.stores = append(x.stores, s)
	}
}

// asked is what a policy would ask now.
func (x *table) asked() maps.Map {
	if len(x.stores) == 1 {
		return x.stores[0].Map()
	}
	var c maps.Chain
	for _, s := range x.stores {
		c = append(c, s.Map())
	}
	return c
}

func (x *table) reload() (changed bool, err error) {
	for _, s := range x.stores {
		c, e := s.Reload()
		changed = changed || c
		if e != nil {
			err = e
		}
	}
	return changed, err
}

// watch follows the table until the test ends; the channel hears of changes.
func (x *table) watch() <-chan struct{} {
	ctx, cancel := context.WithCancel(context.Background())
	changed, ended := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(ended)
		maps.Watch(ctx, x.log.logger(), x.stores, func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		})
	}()
	x.Cleanup(func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(soon):
			x.Error("Watch does not end with its context")
		}
	})
	return changed
}

// look is a lookup in words: the value and its source, "absent", or "error".
func (x *table) look(m maps.Map, key string) string {
	e, found, err := m.Lookup(context.Background(), key)
	switch {
	case err != nil && (found || e != maps.Entry{}):
		return fmt.Sprintf("error together with %+v, %v", e, found)
	case err != nil:
		x.said.WriteString(err.Error() + "\n")
		return "error"
	case !found && e != maps.Entry{}:
		return fmt.Sprintf("absent together with %+v", e)
	case !found:
		return "absent"
	}
	x.said.WriteString(e.Source.String() + "\n")
	return e.Value + " at " + e.Source.String()
}

func (x *table) wanted(entries []Entry, i int) string {
	return entries[i].Value + " at " + x.Source(i).String()
}

// wrong is the first key of entries, or absent one, that is not answered as it should be.
func (x *table) wrong(entries []Entry) string {
	m := x.asked()
	for i, e := range entries {
		if got, want := x.look(m, e.Key), x.wanted(entries, i); got != want {
			return fmt.Sprintf("Lookup(%.80q) = %.300q, want %.300q", e.Key, got, want)
		}
	}
	for _, key := range append(x.Absent, "") {
		if got := x.look(m, key); got != "absent" {
			return fmt.Sprintf("Lookup(%.80q) = %.300q, want absent", key, got)
		}
	}
	return ""
}

func (x *table) expect(what string, entries []Entry) {
	x.Helper()
	if wrong := x.wrong(entries); wrong != "" {
		x.Errorf("%s: %s", what, wrong)
	}
}

// eventually waits until wrong has nothing to say.
func (x *table) eventually(what string, wrong func() string) {
	x.Helper()
	begin := time.Now()
	for {
		said := wrong()
		if said == "" {
			return
		}
		if time.Since(begin) > soon {
			x.Fatalf("%s: after %v %s; log:\n%s", what, soon, said, x.log.String())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (x *table) expectNoSecret() {
	x.Helper()
	if x.Secret == "" {
		return
	}
	said := x.said.String() + x.log.String()
	for _, s := range x.stores {
		said += fmt.Sprintf("%+v\n", s.Status())
	}
	if i := strings.Index(said, x.Secret); i >= 0 {
		x.Errorf("the password is seen in: %.300s", said[max(0, i-100):])
	}
}

// logbook is a log that may be read while it is written.
type logbook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }
