package maps

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func mustParse(t testing.TB, format Format, text string) (*Text, []Problem) {
	t.Helper()
	table, problems, err := Parse("/f", format, []byte(text))
	if err != nil {
		t.Fatalf("Parse(%q) = %v", text, err)
	}
	return table, problems
}

// dump writes all entries as "line key=value".
func dump(table *Text) []string {
	var out []string
	for key, e := range table.All() {
		out = append(out, fmt.Sprintf("%d %s=%s", e.Source.Line, key, e.Value))
	}
	return out
}

func TestParseAccess(t *testing.T) {
	cases := []struct {
		name, text string
		want       []string
		problems   []string
	}{
		{"blank and tab", "a OK\nb\tREJECT\nc \t REJECT\n", []string{"1 a=OK", "2 b=REJECT", "3 c=REJECT"}, nil},
		{"no newline at the end", "a OK\nb REJECT", []string{"1 a=OK", "2 b=REJECT"}, nil},
		{"empty file", "", nil, nil},
		{"empty lines and comments", "\n# a OK\n#b\n\na OK\n", []string{"5 a=OK"}, nil},
		{"key folded, value not", "FROM:Joe@Example.ORG ERROR:\"No Way\"\n", []string{`1 from:joe@example.org=ERROR:"No Way"`}, nil},
		{"only ASCII is folded", "\xc9\xc4A x\n", []string{"1 \xc9\xc4a=x"}, nil},
		{"trailing text stays", "a REJECT # why  \n", []string{"1 a=REJECT # why  "}, nil},
		{"hash inside a key", "a#b OK\n", []string{"1 a#b=OK"}, nil},
		{"quotes stay in a key", "\"q\" v\n", []string{`1 "q"=v`}, nil},
		{"blank after the tag", "Connect: 1.2.3.4 REJECT\n", []string{"1 connect:=1.2.3.4 REJECT"}, nil},
		{"vertical tab and form feed are blanks", "v\vx\nf\f\fy\n", []string{"1 v=x", "2 f=y"}, nil},
		{"0x85 and 0xa0 are no blanks", "lat\xa0x y\n\x85b z\n", []string{"1 lat\xa0x=y", "2 \x85b=z"}, nil},
		{"leading blank", " a OK\n\ta OK\n  # c\n \nb OK\n", []string{"5 b=OK"}, []string{
			"/f:1: the line begins with a blank; skipped", "/f:2: the line begins with a blank; skipped",
			"/f:3: the line begins with a blank; skipped", "/f:4: the line begins with a blank; skipped"}},
		{"no value", "a\nb  \t\nc OK\n", []string{"3 c=OK"}, []string{
			`/f:1: key "a" has no value; skipped`, `/f:2: key "b" has no value; skipped`}},
		{"first duplicate wins", "a OK\nA REJECT\na DISCARD\n", []string{"1 a=OK"}, []string{
			`/f:2: key "A" stands in line 1 already, the first one counts; skipped`,
			`/f:3: key "a" stands in line 1 already, the first one counts; skipped`}},
		{"a skipped line is no first", "a\na OK\n", []string{"2 a=OK"}, []string{`/f:1: key "a" has no value; skipped`}},
		{"carriage returns", "a OK\r\nb REJECT\r\n\r\nc\r\n", []string{"1 a=OK\r", "2 b=REJECT\r"}, []string{
			`/f:1: the value of "a" ends in a carriage return, which makemap takes as part of it; save the file with Unix line ends (this is said once a file)`,
			"/f:3: the line begins with a blank; skipped", `/f:4: key "c" has no value; skipped`}},
		{"carriage return inside", "a x\ry\n", []string{"1 a=x\ry"}, nil},
		{"longest line", "a " + strings.Repeat("x", 1020) + "\n", []string{"1 a=" + strings.Repeat("x", 1020)}, nil},
		{"line too long", "a " + strings.Repeat("x", 1021) + "\nb OK\n", []string{"2 b=OK"}, []string{
			"/f:1: the line has 1023 bytes, makemap takes no more than 1022; skipped"}},
		{"long comment", "#" + strings.Repeat("x", 5000) + "\nb OK\n", []string{"2 b=OK"}, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			table, problems := mustParse(t, FormatAccess, c.text)
			checkEntries(t, c.text, table, c.want)
			var got []string
			for _, p := range problems {
				got = append(got, p.String())
			}
			if d := cmp.Diff(c.problems, got); d != "" {
				t.Errorf("problems of %q (-want +got):\n%s", c.text, d)
			}
			if table.ProblemCount() != len(problems) {
				t.Errorf("ProblemCount() = %d, want %d", table.ProblemCount(), len(problems))
			}
		})
	}
}

// checkEntries compares the entries, and looks each of them up.
func checkEntries(t *testing.T, text string, table *Text, want []string) {
	t.Helper()
	if d := cmp.Diff(want, dump(table)); d != "" {
		t.Errorf("entries of %q (-want +got):\n%s", text, d)
	}
	if table.Len() != len(want) {
		t.Errorf("Len() of %q = %d, want %d", text, table.Len(), len(want))
	}
	for key, want := range table.All() {
		for _, k := range []string{key, upper(key)} {
			if got, found, err := table.Lookup(context.Background(), k); got != want || !found || err != nil {
				t.Errorf("%q: Lookup(%q) = %+v, %v, %v, want %+v", text, k, got, found, err, want)
			}
		}
	}
}

// upper writes ASCII letters large, and leaves bytes that are no UTF-8 alone.
func upper(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}

func TestParseClass(t *testing.T) {
	cases := []struct {
		name, text string
		want       []string
		problems   int
	}{
		{"a word a line", "example.org\n10.1\n[10.0.0.1]\n", []string{"1 example.org=", "2 10.1=", "3 [10.0.0.1]="}, 0},
		{"several words", " a\tB  c\nd", []string{"1 a=", "2 d="}, 1},
		{"comments", "#a\nb # c\nd#e f\n # g\n", []string{"2 b=", "3 d="}, 0},
		{"duplicates are harmless", "a\nA\na\nb\n", []string{"1 a=", "4 b="}, 0},
		{"carriage returns are blanks", "a\r\nb c\r\n\r\n", []string{"1 a=", "2 b="}, 1},
		{"backslash is ordinary", "a\\b\n\\#c\n", []string{"1 a\\b=", "2 \\="}, 0},
		{"empty", "\n \n#\n", nil, 0},
		{"long line", strings.Repeat("x ", 3000) + "y\n", []string{"1 x="}, 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			table, problems := mustParse(t, FormatClass, c.text)
			checkEntries(t, c.text, table, c.want)
			if len(problems) != c.problems {
				t.Errorf("problems of %.40q = %v, want %d", c.text, problems, c.problems)
			}
		})
	}
}

func TestLookupMisses(t *testing.T) {
	access, _ := mustParse(t, FormatAccess, "Connect: 1.2.3.4 REJECT\nabc OK\nlast z")
	class, _ := mustParse(t, FormatClass, "foo#bar\nwords two")
	empty, _ := mustParse(t, FormatAccess, "")
	cases := []struct {
		name  string
		table *Text
		key   string
	}{
		{"beyond the key", access, "connect: 1.2.3.4"},
		{"beyond the line", access, "abc OK\nlast"},
		{"beyond the file", access, "last z and more"},
		{"shorter", access, "ab"},
		{"longer", access, "abcd"},
		{"empty key", access, ""},
		{"tag and address", access, "connect:1.2.3.4"},
		{"comment of a class", class, "foo#bar"},
		{"after the comment sign", class, "bar"},
		{"two words of a class", class, "words two"},
		{"empty table", empty, "abc"},
		{"zero table", &Text{}, "abc"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if e, found, err := c.table.Lookup(context.Background(), c.key); found || err != nil {
				t.Errorf("Lookup(%q) = %+v, %v, %v, want not found", c.key, e, found, err)
			}
			// The hash usually keeps these apart; the comparison must as well.
			for _, group := range c.table.slots {
				for _, offset := range group.offsets[:group.taken()] {
					if c.table.keyIs(int(offset), c.key) && c.key != "" {
						t.Errorf("keyIs(%d, %q) = true, want false", offset, c.key)
					}
				}
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	cases := []struct{ name, text, want string }{
		{"NUL in a value", "a OK\nb x\x00y\n", "/f:2: NUL byte, this is no text file"},
		{"NUL in a comment", "a OK\n\n\n# \x00", "/f:4: NUL byte, this is no text file"},
		{"NUL first", "\x00", "/f:1: NUL byte, this is no text file"},
	}
	for _, c := range cases {
		for _, format := range []Format{FormatAccess, FormatClass} {
			t.Run(c.name+" "+format.String(), func(t *testing.T) {
				table, problems, err := Parse("/f", format, []byte(c.text))
				if err == nil || err.Error() != c.want || table != nil || problems != nil {
					t.Errorf("Parse(%q) = %v, %v, %v, want error %q", c.text, table, problems, err, c.want)
				}
			})
		}
	}
}

func TestSizeLimit(t *testing.T) {
	if err := checkSize("/f", 1<<32-1); err != nil {
		t.Errorf("checkSize(4 GiB - 1) = %v, want nil", err)
	}
	if err := checkSize("/f", 1<<32); err == nil {
		t.Error("checkSize(4 GiB) = nil, want an error")
	}
}

// The recorded answers are those of makemap 8.17.1.9 to access.txt: the dump of
// its map, and the numbers of the lines that it complains about. Its numbers stop
// where it loses count, after the first line that is too long.
func TestAsMakemap(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join("testdata", "makemap", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	table, problems := mustParse(t, FormatAccess, read("access.txt"))
	var got []string
	for key, e := range table.All() {
		got = append(got, key+"\t"+e.Value)
	}
	slices.Sort(got)
	want := strings.Split(strings.TrimSuffix(read("dump.txt"), "\n"), "\n")
	slices.Sort(want)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("entries (-makemap +got):\n%s", d)
	}
	var lines []string
	for _, p := range problems {
		if !strings.Contains(p.Text, "carriage return") {
			lines = append(lines, fmt.Sprint(p.Source.Line))
		}
	}
	if d := cmp.Diff(strings.Fields(read("complaints.txt")), lines); d != "" {
		t.Errorf("lines complained about (-makemap +got):\n%s", d)
	}
}

func TestProblemsAreBounded(t *testing.T) {
	_, problems := mustParse(t, FormatAccess, strings.Repeat("k\n", 100))
	if len(problems) != 100 {
		t.Errorf("100 bad lines: %d problems kept, want 100", len(problems))
	}
	table, problems := mustParse(t, FormatAccess, strings.Repeat("k\n", 5000)+"a OK\n")
	if len(problems) != 100 || table.ProblemCount() != 5000 {
		t.Errorf("5000 bad lines: %d problems kept, %d counted, want 100, 5000", len(problems), table.ProblemCount())
	}
}

func TestNewClass(t *testing.T) {
	class := NewClass("host names", []string{"localhost", "[127.0.0.1]", "MX.Example.org", "two words"})
	e, found, err := class.Lookup(context.Background(), "mx.example.ORG")
	if want := (Entry{Source: Source{File: "host names"}}); e != want || !found || err != nil {
		t.Errorf("Lookup = %+v, %v, %v, want %+v", e, found, err, want)
	}
	if got := e.Source.String(); got != "host names" {
		t.Errorf("source = %q, want the name alone", got)
	}
	want := []string{"0 localhost=", "0 [127.0.0.1]=", "0 mx.example.org=", "0 two="}
	if d := cmp.Diff(want, dump(class)); d != "" {
		t.Errorf("members (-want +got):\n%s", d)
	}
	if none := NewClass("none", nil); none.Len() != 0 {
		t.Errorf("NewClass without words has %d members", none.Len())
	}
}

func TestAllStops(t *testing.T) {
	for _, format := range []Format{FormatAccess, FormatClass} {
		table, _ := mustParse(t, format, "a x\nb y\nc z\n")
		n := 0
		for range table.All() {
			if n++; n == 2 {
				break
			}
		}
		if n != 2 {
			t.Errorf("%v: walked over %d entries, want 2", format, n)
		}
	}
}

func TestLineNumbers(t *testing.T) {
	var b strings.Builder
	want := map[string]int{}
	for line := 1; line <= 1000; line++ {
		switch {
		case line%7 == 0:
			b.WriteString("\n")
		case line%11 == 0:
			b.WriteString("# " + strings.Repeat("c", line) + "\n")
		default:
			key := fmt.Sprintf("k%d", line)
			want[key] = line
			fmt.Fprintf(&b, "%s v%d\n", key, line)
		}
	}
	table, _ := mustParse(t, FormatAccess, b.String())
	got := map[string]int{}
	for key := range want {
		e, _, _ := table.Lookup(context.Background(), key)
		got[key] = e.Source.Line
	}
	if !maps.Equal(got, want) {
		t.Errorf("lines (-want +got):\n%s", cmp.Diff(want, got))
	}
}

func TestLookupAllocatesNothing(t *testing.T) {
	table, _ := mustParse(t, FormatAccess, "Connect:192.0.2.1 REJECT\nFrom:someone@a-rather-long-domain.example.org OK\n")
	for _, key := range []string{"Connect:192.0.2.1", "from:SOMEONE@a-rather-long-domain.example.org", "absent.example.com"} {
		n := testing.AllocsPerRun(100, func() { _, _, _ = table.Lookup(context.Background(), key) })
		if n != 0 {
			t.Errorf("Lookup(%q) allocates %v times, want 0", key, n)
		}
	}
}
