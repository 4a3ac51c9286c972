package maps

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/bits"
	"math/rand/v2"
	"sort"
	"strings"
)

const (
	// maxBytes is the largest table: offsets are 32 bits, one of them means "none".
	maxBytes = math.MaxUint32
	// maxProblems is how many problems are kept; the rest is only counted.
	maxProblems = 100
	// lineStep is how many lines lie between two marks of the line index.
	lineStep = 32
)

// Text is an immutable snapshot of a table; it is safe for concurrent use. It is
// made for a million lines: the text itself, one array of offsets into it by hash
// of the key, and a mark for every 32nd line to find a line number again. There
// is no object per entry, and a lookup allocates nothing.
type Text struct {
	file     string
	format   Format
	data     string
	seed     uint64
	slots    []uint32 // by hash: 1 + offset of a key in data, 0 is free; a power of two, at most half full
	marks    []uint32 // offset of every lineStep-th line; nil when lines have no meaning
	entries  int
	problems []Problem
	skipped  int // number of problems, kept or not
}

// Parse reads a whole table. file names it in sources and errors. The problems
// are the first 100; ProblemCount has the number of all. For FormatAccess they are
// what makemap complains about (a leading blank, a key without value, a key seen
// before, of which the first stays, a line too long), and a value that ends in a
// carriage return, which stays as makemap has it. A NUL byte, or more than
// 4 GiB - 1, refuses the whole table.
func Parse(file string, format Format, data []byte) (*Text, []Problem, error) {
	t, err := parseText(file, format, string(data))
	if err != nil {
		return nil, nil, err
	}
	return t, t.problems, nil
}

func parseText(file string, format Format, data string) (*Text, error) {
	if err := checkSize(file, int64(len(data))); err != nil {
		return nil, err
	}
	if i := strings.IndexByte(data, 0); i >= 0 {
		at := Source{File: file, Line: 1 + strings.Count(data[:i], "\n")}
		return nil, fmt.Errorf("%s: %w", at, errNUL)
	}
	t := &Text{file: file, format: format, data: data, seed: rand.Uint64()}
	t.build()
	return t, nil
}

var errNUL = errors.New("NUL byte, this is no text file")

func checkSize(file string, size int64) error {
	if size > maxBytes {
		return fmt.Errorf("%s: %d bytes are too many, a table has at most 4 GiB - 1", file, size)
	}
	return nil
}

// NewClass makes a class of words that come from the program and not from a file,
// such as the names of this host. Entries have the source name, without a line.
// Words are read as in a class file.
func NewClass(name string, words []string) *Text {
	t := &Text{file: name, format: FormatClass, data: strings.Join(words, "\n"), seed: rand.Uint64()}
	t.build()
	t.marks = nil
	return t
}

// build fills the offsets. The first entry of a key stays.
func (t *Text) build() {
	count := scanner{format: t.format}
	n := 0
	count.entry = func(int, int, string, string) bool { n++; return true }
	count.scan(t.data)
	if n > 0 {
		t.slots = make([]uint32, 1<<bits.Len(uint(2*n-1)))
	}

	fill := scanner{format: t.format, problem: t.addProblem}
	fill.line = func(line, offset int) {
		if line%lineStep == 1 {
			t.marks = append(t.marks, uint32(offset))
		}
	}
	warnedCR := false
	fill.entry = func(line, offset int, key, value string) bool {
		first, seen := t.insert(key, offset)
		switch {
		case seen && t.format == FormatAccess:
			t.addProblem(line, fmt.Sprintf("key %q stands in line %d already, the first one counts; skipped", key, t.lineAt(first)))
		case !warnedCR && strings.HasSuffix(value, "\r"):
			warnedCR = true
			t.addProblem(line, fmt.Sprintf("the value of %q ends in a carriage return, which makemap takes as part of it; "+
				"save the file with Unix line ends (this is said once a file)", key))
		}
		return true
	}
	fill.scan(t.data)
}

// insert notes that a key stands at offset. When it is there already, first is
// where, and nothing changes.
func (t *Text) insert(key string, offset int) (first int, seen bool) {
	i, found := t.find(key)
	if found {
		return int(t.slots[i] - 1), true
	}
	t.slots[i] = uint32(offset + 1)
	t.entries++
	return offset, false
}

// find is the slot that has key, or the free one where it would be. There must be slots.
func (t *Text) find(key string) (slot int, found bool) {
	mask := len(t.slots) - 1
	i := int(foldHash(t.seed, key)) & mask
	for t.slots[i] != 0 {
		if t.keyIs(int(t.slots[i]-1), key) {
			return i, true
		}
		i = (i + 1) & mask
	}
	return i, false
}

func (t *Text) keyIs(offset int, key string) bool {
	rest := t.data[offset:]
	if len(rest) < len(key) || !foldEqual(rest[:len(key)], key) {
		return false
	}
	// "Connect: 1.2.3.4" as a key must not match its own line beyond "Connect:".
	return (len(rest) == len(key) || endsKey(rest[len(key)], t.format)) && keyEnd(key, t.format) == len(key)
}

func (t *Text) addProblem(line int, text string) {
	t.skipped++
	if len(t.problems) < maxProblems {
		t.problems = append(t.problems, Problem{Source: Source{File: t.file, Line: line}, Text: text})
	}
}

// Lookup answers one exact key. It never waits, and never fails.
func (t *Text) Lookup(_ context.Context, key string) (Entry, bool, error) {
	if len(t.slots) == 0 || key == "" {
		return Entry{}, false, nil
	}
	slot, found := t.find(key)
	if !found {
		return Entry{}, false, nil
	}
	offset := int(t.slots[slot] - 1)
	return Entry{Value: t.valueAt(offset + len(key)), Source: Source{File: t.file, Line: t.lineAt(offset)}}, true, nil
}

// valueAt is the value after a key that ends at offset; members of a class have none.
func (t *Text) valueAt(offset int) string {
	if t.format == FormatClass {
		return ""
	}
	rest := t.data[offset:]
	if i := strings.IndexByte(rest, '\n'); i >= 0 {
		rest = rest[:i]
	}
	return trimBlanks(rest)
}

func (t *Text) lineAt(offset int) int {
	if len(t.marks) == 0 {
		return 0
	}
	after := sort.Search(len(t.marks), func(i int) bool { return int(t.marks[i]) > offset })
	start := int(t.marks[after-1])
	return (after-1)*lineStep + 1 + strings.Count(t.data[start:offset], "\n")
}

// Len is the number of entries: of different keys, or of different members.
func (t *Text) Len() int { return t.entries }

// ProblemCount is the number of problems found by Parse, of which it keeps the first 100.
func (t *Text) ProblemCount() int { return t.skipped }

// All walks over the entries that count, in the order of the file. Keys have
// their ASCII letters in lower case.
func (t *Text) All() iter.Seq2[string, Entry] {
	return func(yield func(string, Entry) bool) {
		s := scanner{format: t.format}
		s.entry = func(line, offset int, key, value string) bool {
			slot, found := t.find(key)
			if !found || int(t.slots[slot]-1) != offset {
				return true // seen before
			}
			if t.marks == nil {
				line = 0
			}
			return yield(foldLower(key), Entry{Value: value, Source: Source{File: t.file, Line: line}})
		}
		s.scan(t.data)
	}
}
