package maps_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gatepost/internal/servers"
	"gatepost/maps"
	"gatepost/maps/bdb"
	"gatepost/maps/cdb"
	"gatepost/maps/mapstest"
)

// file is a table in a file, whose bytes are made of entries by write.
type file struct {
	spec  maps.Spec
	lines bool // entry i stands in line i+2
	write func(t *testing.T, entries []mapstest.Entry) string
	bad   map[string]string // contents that must be refused
}

func newFile(t *testing.T, kind maps.Kind, write func(t *testing.T, entries []mapstest.Entry) string) *file {
	return &file{spec: maps.Spec{Name: "access", Kind: kind, Path: filepath.Join(t.TempDir(), "access")}, write: write}
}

// put puts a file in the place of the old one.
func (f *file) put(t *testing.T, entries []mapstest.Entry) { f.putText(t, f.write(t, entries)) }

func (f *file) putText(t *testing.T, text string) {
	t.Helper()
	aside := f.spec.Path + ".new"
	if err := os.WriteFile(aside, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(aside, f.spec.Path); err != nil {
		t.Fatal(err)
	}
}

func (f *file) source(i int) maps.Source {
	if f.lines {
		return maps.Source{File: f.spec.Path, Line: i + 2}
	}
	return maps.Source{File: f.spec.Path}
}

// fixture is a table of this file alone.
func (f *file) fixture(before, after []mapstest.Entry, absent []string) mapstest.Fixture {
	return mapstest.Fixture{
		Specs: []maps.Spec{f.spec}, Before: before, After: after, Absent: absent, Put: f.put, Source: f.source, Followed: true,
		Entries: func(n int) int { return n }, WhenGone: mapstest.AnswersLast, Faults: f.faults(before),
	}
}

func (f *file) faults(before []mapstest.Entry) []mapstest.Fault {
	undo := func(t *testing.T) {
		if err := os.RemoveAll(f.spec.Path); err != nil {
			t.Fatal(err)
		}
		f.put(t, before)
	}
	remove := func(t *testing.T) {
		if err := os.Remove(f.spec.Path); err != nil {
			t.Fatal(err)
		}
	}
	faults := []mapstest.Fault{
		{Name: "removed", Do: remove, Undo: undo},
		{Name: "a directory in its place", Undo: undo, Do: func(t *testing.T) {
			remove(t)
			if err := os.Mkdir(f.spec.Path, 0o700); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for name, text := range f.bad {
		faults = append(faults, mapstest.Fault{Name: name, Undo: undo, Do: func(t *testing.T) { f.putText(t, text) }})
	}
	return faults
}

// lines writes a text file with a comment in its first line.
func lines(line func(i int, e mapstest.Entry) string) func(*testing.T, []mapstest.Entry) string {
	return func(_ *testing.T, entries []mapstest.Entry) string {
		text := "# a comment\n"
		for i, e := range entries {
			text += line(i, e) + "\n"
		}
		return text
	}
}

func textFile(t *testing.T) *file {
	f := newFile(t, maps.KindText, lines(func(i int, e mapstest.Entry) string {
		if i%2 == 0 { // as administrators write: letters of any size, blanks and tabs between
			return strings.ToUpper(e.Key) + " \t" + e.Value
		}
		return e.Key + " " + e.Value
	}))
	f.lines, f.bad = true, map[string]string{"a NUL byte": "from:spam.example OK\n\x00\n"}
	return f
}

func classFile(t *testing.T) *file {
	f := newFile(t, maps.KindText, lines(func(_ int, e mapstest.Entry) string { return e.Key }))
	f.spec.Format = maps.FormatClass
	f.lines, f.bad = true, map[string]string{"a NUL byte": "spam.example\x00\n"}
	return f
}

func bdbFile(t *testing.T, kind bdb.Kind) *file {
	f := newFile(t, maps.KindDB, func(t *testing.T, entries []mapstest.Entry) string {
		var records []bdb.Record
		for _, e := range entries {
			records = append(records, bdb.Record{Key: []byte(e.Key), Value: []byte(e.Value)})
		}
		var out bytes.Buffer
		if err := bdb.Write(&out, kind, records, bdb.Options{}); err != nil {
			t.Fatal(err)
		}
		return out.String()
	})
	return f.withDamage(t)
}

func cdbFile(t *testing.T) *file {
	f := newFile(t, maps.KindCDB, func(t *testing.T, entries []mapstest.Entry) string {
		var records []cdb.Record
		for _, e := range entries {
			records = append(records, cdb.Record{Key: []byte(e.Key), Value: []byte(e.Value)})
		}
		var out bytes.Buffer
		if err := cdb.Write(&out, records); err != nil {
			t.Fatal(err)
		}
		return out.String()
	})
	return f.withDamage(t)
}

// withDamage has faults that databases have.
func (f *file) withDamage(t *testing.T) *file {
	good := f.write(t, []mapstest.Entry{{Key: "from:spam.example", Value: "REJECT"}, {Key: "to:a", Value: "OK"}})
	f.bad = map[string]string{
		"of length zero": "", "cut short": good[:len(good)/2], "a text": "from:spam.example OK\n",
		"other bytes in front": strings.Repeat("\xaa", 64) + good[64:],
	}
	return f
}

func cidrFile(t *testing.T) *file {
	f := newFile(t, maps.KindCIDR, lines(func(_ int, e mapstest.Entry) string { return e.Key + "\t" + e.Value }))
	f.lines, f.bad = true, map[string]string{"no network": "192.0.2.0/33 OK\n", "no value": "192.0.2.1\n"}
	return f
}

func regexFile(t *testing.T) *file {
	f := newFile(t, maps.KindRegex, lines(func(_ int, e mapstest.Entry) string {
		return "/^" + strings.ReplaceAll(regexp.QuoteMeta(e.Key), "/", `\/`) + "$/ " + e.Value
	}))
	f.lines, f.bad = true, map[string]string{"no expression": "/(/ OK\n", "no slashes": "from:spam.example OK\n"}
	return f
}

// cidrEntries are contents with keys that are addresses.
func cidrEntries() (before, after []mapstest.Entry, absent []string) {
	before = []mapstest.Entry{
		{Key: "192.0.2.1", Value: `550 5.7.1 "no  mail" 100%`}, {Key: "connect:2001:db8::1", Value: "sch\xf6n"},
		{Key: "connect:198.51.100.7", Value: "RELAY"}, {Key: "203.0.113.1", Value: "OK"},
	}
	after = []mapstest.Entry{
		{Key: "connect:198.51.100.7", Value: "REJECT"}, {Key: "192.0.2.1", Value: "OK"}, {Key: "203.0.113.2", Value: "OK"},
		{Key: "connect:2001:db8::1", Value: strings.Repeat("v", 5000)},
	}
	return before, after, []string{"192.0.2.2", "192.0.2", "connect:192.0.2.1", "198.51.100.7", "2001:db8::1", "spam.example", "192.0.2.1/32x"}
}

func withoutValues(entries []mapstest.Entry) (out []mapstest.Entry) {
	for _, e := range entries {
		out = append(out, mapstest.Entry{Key: e.Key})
	}
	return out
}

// chained makes a list of maps of several files; their entries go to them in turn.
func chained(files ...*file) mapstest.Fixture {
	before, after, absent := mapstest.Default(500, false)
	f := files[0].fixture(before, after, absent)
	f.Put = func(t *testing.T, entries []mapstest.Entry) {
		for n, one := range files {
			var own []mapstest.Entry
			for i := n; i < len(entries); i += len(files) {
				own = append(own, entries[i])
			}
			one.put(t, own)
		}
	}
	f.Source = func(i int) maps.Source { return files[i%len(files)].source(i / len(files)) }
	f.Specs, f.Faults = nil, nil
	for n, one := range files {
		f.Specs = append(f.Specs, one.spec)
		fault := one.faults(nil)[0]
		fault.Name = fmt.Sprintf("map %d %s", n, fault.Name)
		fault.Undo = func(t *testing.T) { f.Put(t, before) }
		f.Faults = append(f.Faults, fault)
	}
	return f
}

// fromSocketmap is a map on a socketmap server.
type fromSocketmap struct {
	spec   maps.Spec
	server *servers.Socketmap
	table  map[string]string
}

func newSocketmap(t *testing.T) *fromSocketmap {
	m := &fromSocketmap{server: servers.StartSocketmap(t, "unix", servers.ServeTable)}
	m.spec = maps.Spec{Name: "access", Kind: maps.KindSocketmap, Path: "unix:" + m.server.Addr().String() + ":access"}
	return m
}

func (m *fromSocketmap) put(_ *testing.T, entries []mapstest.Entry) {
	m.table = map[string]string{}
	for _, e := range entries {
		m.table["access "+e.Key] = "OK " + e.Value
	}
	m.server.SetAll(m.table)
}

func (m *fromSocketmap) source(int) maps.Source { return maps.Source{File: "socketmap:" + m.spec.Path} }

// restart has another server on the same socket.
func (m *fromSocketmap) restart(t *testing.T, handle servers.SocketmapHandler) {
	t.Helper()
	m.server.Stop()
	l, err := net.Listen("unix", m.server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	m.server = servers.ServeSocketmap(t, l, handle, m.table)
}

func (m *fromSocketmap) faults() []mapstest.Fault {
	undo := func(t *testing.T) { m.restart(t, servers.ServeTable) }
	says := func(reply string) func(*testing.T) {
		return func(t *testing.T) { m.restart(t, servers.Saying(reply)) }
	}
	return []mapstest.Fault{
		{Name: "stopped", Undo: undo, Do: func(*testing.T) { m.server.Stop() }},
		{Name: "overloaded", Undo: undo, Do: says(servers.Netstring("TEMP overloaded"))},
		{Name: "not speaking the protocol", Undo: undo, Do: says("NOTFOUND \n")},
	}
}

func (m *fromSocketmap) fixture(longest int) mapstest.Fixture {
	before, after, absent := mapstest.Default(longest, false)
	return mapstest.Fixture{
		Specs: []maps.Spec{m.spec}, Before: before, After: after, Absent: absent, Put: m.put, Source: m.source,
		WhenGone: mapstest.CannotBeAsked, Faults: m.faults(),
	}
}

func TestSuite(t *testing.T) {
	kinds := map[string]func(t *testing.T) mapstest.Fixture{
		"text": func(t *testing.T) mapstest.Fixture { return textFile(t).fixture(mapstest.Default(800, false)) },
		"class": func(t *testing.T) mapstest.Fixture {
			before, after, absent := mapstest.Default(4, false)
			return classFile(t).fixture(withoutValues(before), withoutValues(after), absent)
		},
		"hash": func(t *testing.T) mapstest.Fixture {
			return bdbFile(t, bdb.Hash).fixture(mapstest.Default(20_000, false))
		},
		"btree": func(t *testing.T) mapstest.Fixture {
			return bdbFile(t, bdb.Btree).fixture(mapstest.Default(20_000, false))
		},
		"cdb":   func(t *testing.T) mapstest.Fixture { return cdbFile(t).fixture(mapstest.Default(20_000, false)) },
		"cidr":  func(t *testing.T) mapstest.Fixture { return cidrFile(t).fixture(cidrEntries()) },
		"regex": func(t *testing.T) mapstest.Fixture { return regexFile(t).fixture(mapstest.Default(20_000, false)) },
		"chain": func(t *testing.T) mapstest.Fixture {
			return chained(textFile(t), bdbFile(t, bdb.Hash), cdbFile(t), regexFile(t))
		},
		"socketmap": func(t *testing.T) mapstest.Fixture { return newSocketmap(t).fixture(20_000) },
		"socketmap with its last answers": func(t *testing.T) mapstest.Fixture {
			m := newSocketmap(t)
			m.spec.KeepLast = true
			f := m.fixture(2000)
			f.WhenGone = mapstest.AnswersLast
			return f
		},
		// What the first map holds might come first, so that without it nothing can be asked.
		"socketmap before a text": func(t *testing.T) mapstest.Fixture {
			text := textFile(t)
			text.put(t, nil)
			f := newSocketmap(t).fixture(500)
			f.Specs = append(f.Specs, text.spec)
			return f
		},
	}
	for name, open := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mapstest.Run(t, open)
		})
	}
}
