package maps

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// reference reads a table the plainest way, for comparison: key to entry, and the
// lines that are wrong.
func reference(format Format, text string) (map[string]Entry, []int) {
	entries, bad := map[string]Entry{}, []int{}
	for i, line := range strings.Split(text, "\n") {
		if format == FormatClass {
			word, _, _ := strings.Cut(line, "#")
			words := splitBlanks(word)
			if len(words) == 0 {
				continue
			}
			if _, seen := entries[asciiLower(words[0])]; !seen {
				entries[asciiLower(words[0])] = Entry{Source: Source{"/f", i + 1}}
			}
			if len(words) > 1 {
				bad = append(bad, i+1)
			}
			continue
		}
		if line == "" || line[0] == '#' {
			continue
		}
		words := splitBlanks(line)
		if len(line) > 1022 || strings.ContainsAny(line[:1], " \t\v\f\r") || len(words) < 2 {
			bad = append(bad, i+1)
			continue
		}
		key := asciiLower(words[0])
		if _, seen := entries[key]; seen {
			bad = append(bad, i+1)
			continue
		}
		value := strings.TrimLeft(line[len(words[0]):], " \t\v\f\r")
		entries[key] = Entry{Value: value, Source: Source{"/f", i + 1}}
	}
	return entries, bad
}

func splitBlanks(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r < 0x80 && strings.ContainsRune(" \t\v\f\r", r) })
}

func asciiLower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if j := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZ", c); j >= 0 {
			b[i] = "abcdefghijklmnopqrstuvwxyz"[j]
		}
	}
	return string(b)
}

// compareWithReference is nil when Parse reads text as the plain reading does.
func compareWithReference(format Format, text string, others []string) error {
	table, problems, err := Parse("/f", format, []byte(text))
	if strings.Contains(text, "\x00") {
		if err == nil {
			return fmt.Errorf("%q has a NUL byte and was read", text)
		}
		return nil
	}
	if err != nil {
		return err
	}
	want, bad := reference(format, text)
	if table.Len() != len(want) {
		return fmt.Errorf("Len() = %d, want %d", table.Len(), len(want))
	}
	n := 0
	for key, got := range table.All() {
		if n++; want[key] != got {
			return fmt.Errorf("All() has %q: %+v, want %+v", key, got, want[key])
		}
	}
	if n != len(want) {
		return fmt.Errorf("All() has %d entries, want %d", n, len(want))
	}
	for key := range want {
		others = append(others, key, upper(key), key+"x", key+" ")
	}
	for _, key := range others {
		got, found, err := table.Lookup(context.Background(), key)
		if w, ok := want[asciiLower(key)]; found != ok || got != w || err != nil {
			return fmt.Errorf("Lookup(%q) = %+v, %v, %v, want %+v, %v", key, got, found, err, w, ok)
		}
	}
	var lines []int
	for _, p := range problems {
		if !strings.Contains(p.Text, "carriage return") {
			lines = append(lines, p.Source.Line)
		}
	}
	if len(bad) <= 50 && !slices.Equal(lines, bad) && len(lines)+len(bad) > 0 {
		return fmt.Errorf("problems in lines %v, want %v", lines, bad)
	}
	return nil
}

func TestAgainstModel(t *testing.T) {
	key := rapid.OneOf(
		rapid.StringOfN(rapid.SampledFrom([]rune("abAB.:@#\"+")), 0, 3, -1),
		rapid.StringMatching(`(From:|to:|Connect:)?[a-cA-C]{0,9}@?[a-z]{0,12}\.(org|ORG)`),
		rapid.Map(rapid.IntRange(0, 300), func(i int) string { return "10.0." + strconv.Itoa(i) }),
	)
	blank := rapid.StringOfN(rapid.SampledFrom([]rune(" \t\v\f\r")), 0, 2, -1)
	value := rapid.SampledFrom([]string{"", "OK", "REJECT # why", "ERROR:5.7.1:550 x ", "é\xff", "x\r", strings.Repeat("y", 1015)})
	line := rapid.Custom(func(t *rapid.T) string {
		return blank.Draw(t, "lead") + key.Draw(t, "key") + blank.Draw(t, "gap") + value.Draw(t, "value")
	})
	rapid.Check(t, func(t *rapid.T) {
		format := rapid.SampledFrom([]Format{FormatAccess, FormatClass}).Draw(t, "format")
		text := strings.Join(rapid.SliceOfN(line, 0, 200).Draw(t, "lines"), "\n")
		others := rapid.SliceOf(key).Draw(t, "others")
		if err := compareWithReference(format, text, others); err != nil {
			t.Fatalf("%v format, text %q: %v", format, text, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"", "a OK\nB REJECT # why\n", "Connect: 1.2.3.4 REJECT\n", " a\n\tb\r\n", "k\n", "x y\nX z", "a\x00b", "#\n\n#a b"} {
		f.Add(text, "a", false)
		f.Add(text, "B\xc9", true)
	}
	f.Fuzz(func(t *testing.T, text, key string, class bool) {
		format := FormatAccess
		if class {
			format = FormatClass
		}
		if err := compareWithReference(format, text, []string{key}); err != nil {
			t.Errorf("%v format, text %q: %v", format, text, err)
		}
	})
}

func TestFold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := string(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "s"))
		low := asciiLower(s)
		if got := foldLower(s); got != low {
			t.Fatalf("foldLower(%q) = %q, want %q", s, got, low)
		}
		if !foldEqual(s, low) || foldHash(1, s) != foldHash(1, low) {
			t.Fatalf("%q and %q are not taken as equal", s, low)
		}
		other := []byte(s)
		if len(other) == 0 {
			return
		}
		i := rapid.IntRange(0, len(s)-1).Draw(t, "i")
		other[i] = rapid.Byte().Draw(t, "c")
		if want := asciiLower(string(other)) == low; foldEqual(s, string(other)) != want {
			t.Fatalf("foldEqual(%q, %q) = %v, want %v", s, other, !want, want)
		}
	})
}
