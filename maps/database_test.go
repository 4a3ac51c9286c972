package maps

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatepost/maps/bdb"
	"gatepost/maps/cdb"
)

// database is a file of a kind with pairs of keys and values.
func database(t testing.TB, kind Kind, pairs ...string) string {
	t.Helper()
	var out bytes.Buffer
	var records []bdb.Record
	for i := 0; i < len(pairs); i += 2 {
		records = append(records, bdb.Record{Key: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	var err error
	if kind == KindCDB {
		var constant []cdb.Record
		for _, r := range records {
			constant = append(constant, cdb.Record(r))
		}
		err = cdb.Write(&out, constant)
	} else {
		err = bdb.Write(&out, bdb.Hash, records, bdb.Options{Duplicates: true})
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestDatabase(t *testing.T) {
	for _, kind := range []Kind{KindDB, KindCDB} {
		data := database(t, kind, "connect:192.0.2", "REJECT", "nul\x00", "OK\x00", "From:A", "never", "two lines", "a\nb", "", "x")
		m, err := parseDatabase(kind, "/d", data, making{})
		if err != nil {
			t.Fatal(err)
		}
		for key, want := range map[string]string{
			"Connect:192.0.2": "REJECT @/d", "nul": "OK @/d", "nul\x00": "-", "from:a": "-", "TWO LINES": "a\nb @/d", "": "-",
		} {
			if got := lookupText(t, m, key); got != want {
				t.Errorf("%v: Lookup(%q) = %q, want %q", kind, key, got, want)
			}
		}
		problems, n := m.Problems()
		text := fmt.Sprint(problems)
		if n != 2 || !strings.Contains(text, `/d: 1 keys with upper case, such as "From:A"`) || !strings.Contains(text, "empty key") {
			t.Errorf("%v: problems %s", kind, text)
		}
	}
}

// TestDatabaseTable: a database as a table's file, rewritten in place and by
// another file, broken, and checked.
func TestDatabaseTable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.db")
	write(t, path, database(t, KindDB, "a", "OK"))
	log := &logbook{}
	check := func(key, value string) error {
		if value == "BAD" {
			return errors.New("bad value")
		}
		return nil
	}
	table, err := Open(Spec{Name: "access", Kind: KindDB, Path: path, Check: check}, log.logger())
	if err != nil {
		t.Fatal(err)
	}
	good := database(t, KindDB, "a", "REJECT", "b", "OK")
	write(t, path, good)
	if changed, err := table.Reload(); !changed || err != nil || value(table, "a") != "REJECT" {
		t.Errorf("Reload() = %v, %v; a is %s", changed, err, value(table, "a"))
	}
	if changed, err := table.Reload(); changed || err != nil {
		t.Errorf("Reload() of the same file = %v, %v", changed, err)
	}
	for text, want := range map[string]string{
		"":                                    path + ": ",
		good[:len(good)/2]:                    path + ": ",
		"a OK\n":                              path + ": ",
		database(t, KindDB, "z", "BAD"):       path + ": key z: bad value",
		strings.Replace(good, "a", "\x00", 1): "",
	} {
		write(t, path, text)
		if _, err := table.Reload(); want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%d bytes gave %v, want %s", len(text), err, want)
		}
		if got := value(table, "b"); got != "OK" {
			t.Errorf("after a broken file b is %s", got)
		}
	}
	if s := table.Status(); s.Kind != KindDB || s.LastError == nil && s.Entries != 2 {
		t.Errorf("Status() = %+v", s)
	}
}

// TestBeside: the text of a database is read while it is newer or alone, the
// database of a usual text when there is no text.
func TestBeside(t *testing.T) {
	dir := t.TempDir()
	text, db := filepath.Join(dir, "access"), filepath.Join(dir, "access.db")
	old := time.Now().Add(-time.Hour)
	write(t, db, database(t, KindDB, "a", "db"))
	write(t, text, "a text\n")
	age := func(path string, at time.Time) {
		t.Helper()
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	age(db, old)
	log := &logbook{}
	table, err := Open(Spec{Name: "access", Kind: KindDB, Path: db, Beside: Beside{Kind: KindText, Path: text, IfNewer: true}}, log.logger())
	if err != nil {
		t.Fatal(err)
	}
	step := func(what, want, reading string) {
		t.Helper()
		if _, err := table.Reload(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if got := value(table, "a"); got != want || table.Status().Reading != reading {
			t.Errorf("%s: a is %s of %s, want %s of %s", what, got, table.Status().Reading, want, reading)
		}
	}
	step("text newer", "text", text)
	step("again", "text", text)
	log.expect(t, 1, "is read in its place", text)
	age(db, time.Now().Add(time.Second))
	step("database newer", "db", "")
	age(text, time.Now().Add(time.Hour))
	step("text edited", "text", text)
	if err := os.Remove(text); err != nil {
		t.Fatal(err)
	}
	step("no text", "db", "")
	write(t, text, "a text\n")
	age(text, old)
	if err := os.Remove(db); err != nil {
		t.Fatal(err)
	}
	step("no database", "text", text)

	usual, err := Open(Spec{Name: "access", Path: text, Optional: true, Beside: Beside{Kind: KindDB, Path: db}}, log.logger())
	if err != nil || value(usual, "a") != "text" || usual.Status().Reading != "" {
		t.Errorf("the usual text: %v, a is %s", err, value(usual, "a"))
	}
	write(t, db, database(t, KindDB, "a", "db"))
	if err := os.Remove(text); err != nil {
		t.Fatal(err)
	}
	usual, err = Open(Spec{Name: "access", Path: text, Optional: true, Beside: Beside{Kind: KindDB, Path: db}}, log.logger())
	if err != nil || value(usual, "a") != "db" || usual.Status().Reading != db {
		t.Errorf("a usual text that is only there as a database: %v, a is %s", err, value(usual, "a"))
	}
}
