package maps

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

type pair struct{ key, value string }

// walkOver yields pairs from one buffer, as a reader of databases does.
func walkOver(pairs []pair) func(func(key, value []byte) error) error {
	return func(yield func(key, value []byte) error) error {
		var buf []byte
		for _, p := range pairs {
			buf = append(append(buf[:0], p.key...), p.value...)
			if err := yield(buf[:len(p.key)], buf[len(p.key):]); err != nil {
				return err
			}
		}
		return nil
	}
}

func mustPair(t testing.TB, pairs ...pair) *Text {
	t.Helper()
	table, err := NewPairs("/f.db", walkOver(pairs))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestPairs(t *testing.T) {
	long := strings.Repeat("l", 300)
	table := mustPair(t, pair{"From:Joe@Example.org", "OK"}, pair{"a b\n#\x00", "x\ny\x00\r"}, pair{"none", ""},
		pair{long, long + "v"}, pair{"A", "1"}, pair{"a", "2"}, pair{"", "lost"}, pair{"\xc9", "latin"})
	want := []string{"0 from:joe@example.org=OK", "0 a b\n#\x00=x\ny\x00\r", "0 none=", "0 " + long + "=" + long + "v", "0 a=1", "0 \xc9=latin"}
	checkEntries(t, "pairs", table, want)
	for _, key := range []string{"", "a b", "b", "non", "none ", "\xe9", "joe@example.org"} {
		if e, found, err := table.Lookup(context.Background(), key); found || err != nil {
			t.Errorf("Lookup(%q) = %+v, %v, %v, want not found", key, e, found, err)
		}
	}
	var got []string
	for _, p := range table.problems {
		got = append(got, p.String())
	}
	if d := cmp.Diff([]string{`/f.db: key "a" is there more than once, the first one counts; skipped`,
		"/f.db: an entry has an empty key; skipped"}, got); d != "" || table.ProblemCount() != 2 {
		t.Errorf("problems (-want +got), %d counted:\n%s", table.ProblemCount(), d)
	}
	at := func(value string) Entry { return Entry{Value: value, Source: Source{File: "/f.db"}} }
	if d := cmp.Diff([]Entry{at("1"), at("2")}, table.Occurrences("a")); d != "" {
		t.Errorf("Occurrences(a) (-want +got):\n%s", d)
	}
	if table.File() != "/f.db" {
		t.Errorf("File() = %q", table.File())
	}
	if none := mustPair(t); none.Len() != 0 || valueIn(none, "a") != "-" {
		t.Error("a table of no pairs has an entry")
	}
}

func valueIn(t *Text, key string) string {
	if e, found, _ := t.Lookup(context.Background(), key); found {
		return e.Value
	}
	return "-"
}

func TestPairsFail(t *testing.T) {
	fault := errors.New("/f.db: page 7 is torn")
	_, err := NewPairs("/f.db", func(yield func(key, value []byte) error) error {
		return errors.Join(yield([]byte("a"), []byte("b")), fault)
	})
	if !errors.Is(err, fault) {
		t.Errorf("the walk ends with %v, NewPairs with %v", fault, err)
	}
	// The same as a table of 4 GiB, without the wait.
	p := pairs{file: "/f.db", size: maxBytes - 4}
	if err := p.add([]byte("ab"), nil); err != nil {
		t.Errorf("up to 4 GiB - 1: %v", err)
	}
	if err := p.add([]byte("c"), nil); err == nil || !strings.HasPrefix(err.Error(), "/f.db: ") || p.err == nil {
		t.Errorf("more than 4 GiB - 1: error %v, kept %v", err, p.err)
	}
}

func TestPairsAllocateNothing(t *testing.T) {
	table := mustPair(t, pair{"From:someone@a-rather-long-domain.example.org", "OK"})
	for _, key := range []string{"FROM:someone@a-rather-long-domain.example.org", "absent.example.com"} {
		if n := testing.AllocsPerRun(100, func() { _, _, _ = table.Lookup(context.Background(), key) }); n != 0 {
			t.Errorf("Lookup(%q) allocates %v times, want 0", key, n)
		}
	}
}

func TestPairsAgainstModel(t *testing.T) {
	key := rapid.OneOf(rapid.StringOfN(rapid.SampledFrom([]rune("abAB@. \n\x00é")), 0, 3, -1),
		rapid.StringMatching(`(From:|TO:)?[a-cA-C]{0,9}@[a-z]{0,12}\.(org|ORG)`))
	bytes := rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 200), func(b []byte) string { return string(b) })
	one := rapid.Custom(func(t *rapid.T) pair { return pair{key.Draw(t, "key"), bytes.Draw(t, "value")} })
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(one, 0, 100).Draw(t, "pairs")
		table, err := NewPairs("/f", walkOver(all))
		if err != nil {
			t.Fatal(err)
		}
		want, order, lost := map[string]string{}, []string{}, 0
		for _, p := range all {
			k := asciiLower(p.key)
			if _, seen := want[k]; seen || k == "" {
				lost++
				continue
			}
			want[k] = p.value
			order = append(order, k)
		}
		var got []string
		for k, e := range table.All() {
			if got = append(got, k); e != (Entry{Value: want[k], Source: Source{File: "/f"}}) {
				t.Fatalf("All() has %q: %+v, want %q", k, e, want[k])
			}
		}
		if !slices.Equal(got, order) || table.Len() != len(want) || table.ProblemCount() != lost {
			t.Fatalf("All() has %q, Len() = %d, %d problems, want %q, %d problems", got, table.Len(), table.ProblemCount(), order, lost)
		}
		for _, k := range append(order, rapid.SliceOf(key).Draw(t, "others")...) {
			e, found, err := table.Lookup(context.Background(), upper(k))
			if w, ok := want[asciiLower(k)]; found != ok || e.Value != w || err != nil {
				t.Fatalf("Lookup(%q) = %+v, %v, %v, want %q, %v", k, e, found, err, w, ok)
			}
		}
	})
}

// However many goroutines make a table of many chunks, it is the same.
func TestWorkersAgree(t *testing.T) {
	var text strings.Builder
	var all []pair
	for i := range 40_000 {
		switch {
		case i%5000 == 17:
			text.WriteString(" blank\nempty\n")
		case i%3000 == 5:
			text.WriteString("\n# comment\n")
		}
		p := pair{fmt.Sprintf("Key%d@example.org", i%39_000), fmt.Sprintf("value %d\r"[:8+i%2], i)}
		text.WriteString(p.key + "\t" + p.value + "\n")
		all = append(all, p)
	}
	access := func(workers int) *Text {
		table, err := makeText("/f", FormatAccess, text.String(), making{workers: workers})
		if err != nil {
			t.Fatal(err)
		}
		return table
	}
	database := func(workers int) *Text {
		table, err := makePairs("/f", walkOver(all), making{workers: workers})
		if err != nil {
			t.Fatal(err)
		}
		return table
	}
	want, wantPairs := access(1), database(1)
	if err := compareWithReference(FormatAccess, text.String(), nil); err != nil {
		t.Error(err)
	}
	if want.Len() != 39_000 || wantPairs.Len() != 39_000 || want.again != 1000 {
		t.Fatalf("Len() = %d and %d, again %d, want 39000 and 1000", want.Len(), wantPairs.Len(), want.again)
	}
	for _, workers := range []int{2, 3, 8, 100} {
		for got, want := range map[*Text]*Text{access(workers): want, database(workers): wantPairs} {
			if d := cmp.Diff(dump(want), dump(got)); d != "" {
				t.Errorf("%d workers: entries differ (-one +many):\n%s", workers, d)
			}
			if d := cmp.Diff(want.problems, got.problems); d != "" || want.skipped != got.skipped {
				t.Errorf("%d workers: %d problems, want %d (-one +many):\n%s", workers, got.skipped, want.skipped, d)
			}
		}
	}
}

// check refuses the first entry of the file that counts and that it does not like,
// and only for those.
func TestMakingChecks(t *testing.T) {
	var text strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&text, "Key%d OK\n", i)
	}
	text.WriteString("KEY5 BAD\n")
	check := func(key, value string) error {
		if value == "BAD" || key != strings.ToLower(key) {
			return errors.New("bad " + key)
		}
		return nil
	}
	for _, workers := range []int{0, 1, 4} {
		how := making{check: check, workers: workers}
		if _, err := makeText("/f", FormatAccess, text.String(), how); err != nil {
			t.Errorf("an entry that does not count is refused: %v", err)
		}
		for _, bad := range []string{"x BAD\nY BAD\n", "Q OK\n\nX BAD\n"} {
			_, err := makeText("/f", FormatAccess, text.String()+bad, how)
			line := 20_002 + strings.Count(bad[:strings.Index(strings.ToUpper(bad), "X BAD")], "\n")
			if want := fmt.Sprintf("/f:%d: bad x", line); err == nil || err.Error() != want {
				t.Errorf("%d workers: error %v, want %s", workers, err, want)
			}
		}
		_, err := makePairs("/f", walkOver([]pair{{"a", "OK"}, {"B", "BAD"}}), how)
		if err == nil || err.Error() != "/f: key b: bad b" {
			t.Errorf("pairs: error %v, want /f: key b: bad b", err)
		}
	}
}

// A panic in a check reaches the caller, who may recover, and leaves no goroutine.
func TestMakingPanics(t *testing.T) {
	text := strings.Repeat("key OK\n", 100_000) + "bad OK\n"
	for _, workers := range []int{1, 2, 8} {
		func() {
			defer func() {
				if r := recover(); r != "no" {
					t.Errorf("%d workers: recovered %v, want no", workers, r)
				}
			}()
			_, err := makeText("/f", FormatAccess, text, making{workers: workers, check: func(key, _ string) error {
				if key == "bad" {
					panic("no")
				}
				return nil
			}})
			t.Errorf("%d workers: no panic, error %v", workers, err)
		}()
	}
}
