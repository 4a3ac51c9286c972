package mapstest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gatepost/maps"
)

// testLookup has each entry found as it was put, in any case of letters, with its
// source, and everything else absent.
func (x *table) testLookup() {
	x.expect("opened", x.Before)
	m := x.asked()
	for i, e := range x.Before {
		for _, key := range []string{strings.ToUpper(e.Key), title(e.Key)} {
			if got, want := x.look(m, key), x.wanted(x.Before, i); got != want {
				x.Errorf("Lookup(%.80q) = %.300q, want %.300q", key, got, want)
			}
		}
	}
}

// title writes every other ASCII letter large.
func title(key string) string {
	b := []byte(key)
	for i := 0; i < len(b); i += 2 {
		b[i] = strings.ToUpper(string(b[i : i+1]))[0]
	}
	return string(b)
}

// testOddKeys has keys that no table has do no harm. A server may refuse some.
func (x *table) testOddKeys() {
	m := x.asked()
	for _, key := range odd() {
		got := x.look(m, key)
		if got != "absent" && (got != "error" || !x.servers()) {
			x.Errorf("Lookup(%.80q) = %.300q, want absent", key, got)
		}
	}
	x.expect("after odd keys", x.Before)
}

// servers: some of the maps are on servers that are asked key by key.
func (x *table) servers() bool {
	for _, spec := range x.Specs {
		if spec.Kind == maps.KindSocketmap || spec.Kind == maps.KindLDAP {
			return true
		}
	}
	return false
}

// testStatus holds the Status to what is known, and Is to the Spec.
func (x *table) testStatus() {
	begin := time.Now()
	x.expect("opened", x.Before)
	entries := 0
	for i, s := range x.stores {
		spec, st := x.Specs[i], s.Status()
		entries += st.Entries
		if st.Name != spec.Name || st.Kind != spec.Kind || st.LastError != nil || !st.LastErrorAt.IsZero() || st.Missing || st.Problems != 0 {
			x.Errorf("Status() = %+v of %+v", st, spec)
		}
		if age := begin.Sub(st.LoadedAt); age > soon {
			x.Errorf("loaded at %v, which is %v before now", st.LoadedAt, age)
		}
		if x.Entries != nil && (st.Bytes <= 0 || st.Path == "") {
			x.Errorf("Status() = %+v, want a size and a path", st)
		}
		x.expectIs(s, spec)
	}
	if x.Entries != nil && entries != x.Entries(len(x.Before)) {
		x.Errorf("%d entries are counted, want %d", entries, x.Entries(len(x.Before)))
	}
}

func (x *table) expectIs(s maps.Store, spec maps.Spec) {
	x.Helper()
	if !s.Is(spec) {
		x.Errorf("it is not what it was opened as: %+v", spec)
	}
	for what, change := range map[string]func(*maps.Spec){
		"name": func(s *maps.Spec) { s.Name += "x" },
		"kind": func(s *maps.Spec) { s.Kind = (s.Kind + 1) % (maps.KindLDAP + 1) },
		"path": func(s *maps.Spec) { s.Path += "x" },
	} {
		other := spec
		change(&other)
		if s.Is(other) {
			x.Errorf("it is one with another %s", what)
		}
	}
}

// testReload has Reload see a change, whatever is in force before it.
func (x *table) testReload() {
	x.expect("opened", x.Before)
	loaded := x.loadedAt()
	x.Put(x.T, x.After)
	changed, err := x.reload()
	if err != nil || x.Followed && !changed {
		x.Errorf("Reload() = %v, %v", changed, err)
	}
	x.expect("after Reload", x.After)
	if !x.loadedAt().After(loaded) {
		x.Errorf("loaded at %v, before the change at %v", x.loadedAt(), loaded)
	}
	if changed, err := x.reload(); changed || err != nil {
		x.Errorf("Reload() without a change = %v, %v", changed, err)
	}
	x.expect("after another Reload", x.After)
}

// loadedAt is when the map read last was.
func (x *table) loadedAt() (last time.Time) {
	for _, s := range x.stores {
		if at := s.Status().LoadedAt; at.After(last) {
			last = at
		}
	}
	return last
}

// testWatch has Watch put edits into force and tell of them.
func (x *table) testWatch() {
	changed := x.watch()
	x.expect("watched", x.Before)
	for _, entries := range [][]Entry{x.After, x.Before} {
		x.Put(x.T, entries)
		if !x.Followed {
			if _, err := x.reload(); err != nil {
				x.Error(err)
			}
			x.expect("after Reload", entries)
			continue
		}
		begin := time.Now()
		x.eventually("an edit", func() string { return x.wrong(entries) })
		x.Logf("an edit took %v", time.Since(begin))
		select {
		case <-changed:
		case <-time.After(soon):
			x.Error("nobody was told of an edit")
		}
	}
}

// testConcurrency has many ask while the content changes: each answer is one of before
// or of after.
func (x *table) testConcurrency() {
	x.watch()
	allowed := map[string]map[string]bool{"": {"absent": true}}
	for _, entries := range [][]Entry{x.Before, x.After} {
		for _, key := range x.keys() {
			if allowed[key] == nil {
				allowed[key] = map[string]bool{}
			}
			allowed[key][valueIn(entries, key)] = true
		}
	}
	var all sync.WaitGroup
	var stop atomic.Bool
	defer all.Wait()
	defer stop.Store(true)
	for range 4 {
		all.Go(func() {
			for !stop.Load() {
				x.askAll(allowed)
			}
		})
	}
	for i := range 6 {
		entries := [][]Entry{x.After, x.Before}[i%2]
		x.Put(x.T, entries)
		if _, err := x.reload(); err != nil {
			x.Error(err)
		}
		x.expect("while others ask", entries)
	}
}

// askAll asks for each key, whose answer must be an allowed one.
func (x *table) askAll(allowed map[string]map[string]bool) {
	m := x.asked()
	for key, ok := range allowed {
		if got := plain(m, key); !ok[got] {
			x.Errorf("Lookup(%.80q) = %.300q while the content changes, want what it was or will be", key, got)
		}
	}
}

// keys are all keys of the fixture.
func (x *table) keys() []string {
	keys := append([]string{}, x.Absent...)
	for _, entries := range [][]Entry{x.Before, x.After} {
		for _, e := range entries {
			keys = append(keys, e.Key)
		}
	}
	return keys
}

// plain is a lookup in words, without the source.
func plain(m maps.Map, key string) string {
	e, found, err := m.Lookup(context.Background(), key)
	switch {
	case err != nil:
		return "error: " + err.Error()
	case !found:
		return "absent"
	}
	return "value " + e.Value
}

func valueIn(entries []Entry, key string) string {
	for _, e := range entries {
		if e.Key == key {
			return "value " + e.Value
		}
	}
	return "absent"
}

// testFaults has things happen to the source: what the table has is never taken for
// absent, what it has not is never found, and when the source is mended all is well
// again: without anybody's help after the first fault, by Reload after the others.
func (x *table) testFaults() {
	if len(x.Faults) == 0 {
		x.Fatal("the fixture has no faults")
	}
	x.watch()
	for i, fault := range x.Faults {
		x.expect("before: "+fault.Name, x.Before)
		fault.Do(x.T)
		_, err := x.reload()
		if x.Followed && x.WhenGone == AnswersLast && !x.mayBeDown() && err == nil {
			x.Errorf("%s: Reload() says nothing", fault.Name)
		}
		x.eventually(fault.Name, x.wrongWithout)
		if x.WhenGone == AnswersLast {
			x.expect(fault.Name, x.Before)
		}
		if at, _ := x.fault(); at.IsZero() {
			x.Errorf("%s: the status does not say since when", fault.Name)
		}
		if !strings.Contains(x.log.String(), "level=ERROR") {
			x.Errorf("%s: nothing in the log:\n%s", fault.Name, x.log.String())
		}
		fault.Undo(x.T)
		if i > 0 { // waiting is for the first one
			if _, err := x.reload(); err != nil && !x.mayBeDown() {
				x.Errorf("mended after %s: %v", fault.Name, err)
			}
		}
		x.eventually("recovery from: "+fault.Name, func() string {
			if wrong := x.wrong(x.Before); wrong != "" {
				return wrong
			}
			if at, err := x.fault(); err != nil || !at.IsZero() {
				return fmt.Sprintf("the status has error %v of %v", err, at)
			}
			return ""
		})
	}
}

// mayBeDown: some of the maps are on servers, whose absence is no error to Reload.
func (x *table) mayBeDown() bool {
	for _, spec := range x.Specs {
		if spec.Kind >= maps.KindRedis {
			return true
		}
	}
	return false
}

// wrongWithout is what is not yet, or not at all, as it should be while the source is
// gone. What must never be ends the test.
func (x *table) wrongWithout() (wrong string) {
	m := x.asked()
	for i, e := range x.Before {
		got, want := x.look(m, e.Key), x.wanted(x.Before, i)
		if got != "error" && got != want {
			x.Fatalf("without its source Lookup(%.80q) = %.300q", e.Key, got)
		}
		if (got == "error") != (x.WhenGone == CannotBeAsked) {
			wrong = fmt.Sprintf("Lookup(%.80q) = %.300q", e.Key, got)
		}
	}
	for _, key := range x.Absent {
		got := x.look(m, key)
		if got != "error" && got != "absent" {
			x.Fatalf("without its source Lookup(%.80q) = %.300q", key, got)
		}
		if (got == "error") != (x.WhenGone == CannotBeAsked) {
			wrong = fmt.Sprintf("Lookup(%.80q) = %.300q", key, got)
		}
	}
	if _, err := x.fault(); err == nil && wrong == "" {
		wrong = "the status has no error"
	}
	return wrong
}

// fault is the fault that the status of one of the maps tells of.
func (x *table) fault() (at time.Time, err error) {
	for _, s := range x.stores {
		if st := s.Status(); st.LastError != nil {
			err, at = st.LastError, st.LastErrorAt
		}
	}
	return at, err
}
