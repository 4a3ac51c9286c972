package makemap

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// make makes a map of a text; it gives what was said and the dump, sorted.
func makeMap(t *testing.T, typ, name, text string, opt Options) (said, dump []string) {
	t.Helper()
	opt.Said = func(line int, text string) { said = append(said, fmt.Sprintf("line %d: %s", line, text)) }
	good, err := Make(t.Context(), typ, name, strings.NewReader(text), opt)
	if err != nil {
		t.Fatal(err)
	}
	if good != (len(said) == 0) {
		t.Errorf("Make said %q and gave good=%v", said, good)
	}
	return said, dumpOf(t, typ, name, opt)
}

func dumpOf(t *testing.T, typ, name string, opt Options) []string {
	t.Helper()
	var out strings.Builder
	if err := Dump(typ, name, &out, opt); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	slices.Sort(lines)
	return lines
}

// TestFlags has what sendmail 8.17.1's makemap said and made of this text.
func TestFlags(t *testing.T) {
	const text = "a b c  \n# x\n  lead\nnov\nA dup\n\nempty \t\nk\tv#x\nUpper CASE\nlast z"
	const lead, nov, dup, empty = "line 3: syntax error (leading space)", "line 4: no RHS for LHS nov",
		"line 5: key a: duplicate key", "line 7: no RHS for LHS empty"
	for _, c := range []struct {
		name string
		opt  Options
		said []string
		dump []string
	}{
		{"plain", Options{}, []string{lead, nov, dup, empty}, []string{"a\tb c  ", "k\tv#x", "last\tz", "upper\tCASE"}},
		{"-N", Options{Null: true}, []string{lead, nov, dup, empty}, []string{"a\tb c  ", "k\tv#x", "last\tz", "upper\tCASE"}},
		{"-f", Options{KeepCase: true}, []string{lead, nov, empty}, []string{"A\tdup", "Upper\tCASE", "a\tb c  ", "k\tv#x", "last\tz"}},
		{"-d", Options{Duplicates: true}, []string{lead, nov, empty}, []string{"a\tb c  ", "a\tdup", "k\tv#x", "last\tz", "upper\tCASE"}},
		{"-r", Options{Replace: true}, []string{lead, nov, empty}, []string{"a\tdup", "k\tv#x", "last\tz", "upper\tCASE"}},
		{"-e", Options{Empty: true}, []string{lead, dup}, []string{"a\tb c  ", "empty\t", "k\tv#x", "last\tz", "nov\t", "upper\tCASE"}},
		{"-Dk", Options{Comment: 'k'}, []string{lead, nov, dup, empty}, []string{"#\tx", "a\tb c  ", "last\tz", "upper\tCASE"}},
	} {
		for _, typ := range Types() {
			t.Run(typ+c.name, func(t *testing.T) {
				said, dump := makeMap(t, typ, filepath.Join(t.TempDir(), "m"), text, c.opt)
				if !slices.Equal(said, c.said) {
					t.Errorf("said %q, want %q", said, c.said)
				}
				if !slices.Equal(dump, c.dump) {
					t.Errorf("made %q, want %q", dump, c.dump)
				}
			})
		}
	}
}

func TestDelimiter(t *testing.T) {
	said, dump := makeMap(t, "hash", filepath.Join(t.TempDir(), "m"), "a b c\nq:::x y\nr :z\n", Options{Delimiter: ':'})
	if !slices.Equal(said, []string{"line 1: no RHS for LHS a b c"}) || !slices.Equal(dump, []string{"q:x y", "r :z"}) {
		t.Errorf("said %q, made %q", said, dump)
	}
}

func TestLongLine(t *testing.T) {
	long := strings.Repeat("q", maxLine-3)
	said, dump := makeMap(t, "hash", filepath.Join(t.TempDir(), "m"),
		long+" x\n"+long+"q x\n"+strings.Repeat("z", 200_000)+" y\nb c\n"+strings.Repeat("y", 200_000), Options{})
	want := []string{"line 2: line too long (1024 bytes max)", "line 3: line too long (1024 bytes max)", "line 5: line too long (1024 bytes max)"}
	if !slices.Equal(said, want) || !slices.Equal(dump, []string{"b\tc", long + "\tx"}) {
		t.Errorf("said %q, made %.80q", said, dump)
	}
}

func TestAppend(t *testing.T) {
	for _, typ := range Types() {
		name := filepath.Join(t.TempDir(), "m")
		makeMap(t, typ, name, "a 1\nb 2\n", Options{Null: true})
		said, dump := makeMap(t, typ, name, "b 3\nc 4\n", Options{Append: true, Null: true})
		if !slices.Equal(said, []string{"line 1: key b: duplicate key"}) || !slices.Equal(dump, []string{"a\t1", "b\t2", "c\t4"}) {
			t.Errorf("%s: said %q, made %q", typ, said, dump)
		}
		if _, dump = makeMap(t, typ, name, "b 3\n", Options{Append: true, Null: true, Replace: true}); !slices.Contains(dump, "b\t3") || len(dump) != 3 {
			t.Errorf("%s: -o -r made %q", typ, dump)
		}
	}
}

// TestTogether: of many writers at once, each finds what those before it wrote.
func TestTogether(t *testing.T) {
	name := filepath.Join(t.TempDir(), "m")
	makeMap(t, "hash", name, "first 1\n", Options{})
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if _, err := Make(t.Context(), "hash", name, strings.NewReader(fmt.Sprintf("k%d v\n", i)), Options{Append: true}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if dump := dumpOf(t, "hash", name, Options{}); len(dump) != 21 {
		t.Errorf("%d entries, want 21: %q", len(dump), dump)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(name), "*.new")); left != nil {
		t.Errorf("left behind: %q", left)
	}
}

// TestReplaced: the file is exchanged, and keeps its mode; those who hold the old
// one see that its time has changed.
func TestReplaced(t *testing.T) {
	name := filepath.Join(t.TempDir(), "m")
	makeMap(t, "btree", name, "a 1\n", Options{})
	path := name + ".db"
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != newMode {
		t.Fatalf("a new database has mode %v, %v", info.Mode(), err)
	}
	old := time.Now().Add(-time.Hour)
	if err := errors.Join(os.Chmod(path, 0o604), os.Chtimes(path, old, old)); err != nil {
		t.Fatal(err)
	}
	held, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	link := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	makeMap(t, "btree", link, "a 2\n", Options{})
	now, err := os.Stat(path)
	if err != nil || now.Mode().Perm() != 0o604 {
		t.Errorf("the new file has mode %v, %v", now.Mode(), err)
	}
	before, err := held.Stat()
	if err != nil || os.SameFile(now, before) || before.ModTime().Equal(old) {
		t.Errorf("the file held open: %v, same file %v, modified %v", err, os.SameFile(now, before), before.ModTime())
	}
	if _, err := os.Readlink(link); err != nil {
		t.Errorf("the symbolic link is gone: %v", err)
	}
}

// TestNothingLost: what cannot be written leaves the old database alone.
func TestNothingLost(t *testing.T) {
	name := filepath.Join(t.TempDir(), "m")
	makeMap(t, "hash", name, "a 1\n", Options{})
	path := name + ".db"
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, good[:5000], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Make(t.Context(), "hash", name, strings.NewReader("b 1\n"), Options{Append: true}); err == nil || !strings.Contains(err.Error(), path+": ") {
		t.Errorf("-o with a broken database gave %v", err)
	}
	if now, _ := os.ReadFile(path); !slices.Equal(now, good[:5000]) {
		t.Error("the broken database was changed")
	}
	locked, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer locked.Close()
	if err := unix.Flock(int(locked.Fd()), unix.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := Make(ctx, "hash", name, strings.NewReader("b 1\n"), Options{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a locked database gave %v", err)
	}
	for _, c := range []struct{ typ, name, want string }{
		{"dbm", name, `unknown type "dbm", expected hash, btree or cdb`},
		{"hash", "/nowhere/m", "no such file or directory"},
		{"hash", filepath.Dir(name) + "/dir", "is a directory"},
	} {
		if err := os.MkdirAll(filepath.Dir(name)+"/dir.db", 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := Make(t.Context(), c.typ, c.name, strings.NewReader("a b\n"), Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s gave %v, want %s", c.typ, c.name, err, c.want)
		}
	}
}
