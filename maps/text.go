package maps

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/bits"
	"math/rand/v2"
	"strings"
)

const (
	// maxBytes is the largest table: offsets have 32 bits.
	maxBytes = math.MaxUint32
	// maxProblems is how many problems are kept; the rest is only counted.
	maxProblems = 100
	// lineBlock is how many bytes lie between two marks of the line index.
	lineBlock = 512
)

// Text is an immutable snapshot of a table; it is safe for concurrent use. It is
// made for a million lines: the text itself, a hash table of offsets into it, and
// the line number at every 512th byte. There
// is no object per entry, and a lookup allocates nothing.
type Text struct {
	file     string
	format   Format
	data     string
	seed     uint64
	tags     []uint8  // by hash: some more bits of it, 0 is free; a power of two, at most half full
	slots    []uint32 // beside the tags: offset of the key in data
	lines    []uint32 // number of the line at every lineBlock-th byte; nil when lines have no meaning
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
	t.lines = countLines(data)
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
	return t
}

// build fills the offsets. The first entry of a key stays.
func (t *Text) build() {
	count := scanner{format: t.format}
	n := 0
	count.entry = func(int, int, string, string) bool { n++; return true }
	count.scan(t.data)
	if n > 0 {
		size := 1 << bits.Len(uint(2*n-1))
		t.tags, t.slots = make([]uint8, size), make([]uint32, size)
	}

	fill := scanner{format: t.format, problem: t.addProblem}
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
	i, tag, found := t.find(key)
	if found {
		return int(t.slots[i]), true
	}
	t.tags[i], t.slots[i] = tag, uint32(offset)
	t.entries++
	return offset, false
}

// find is the slot that has key, or the free one where it would be with this tag.
// There must be slots. The tags spare most looks into the text, each of which
// costs a wait for memory when the table is large.
func (t *Text) find(key string) (slot int, tag uint8, found bool) {
	hash := foldHash(t.seed, key)
	tag = uint8(hash>>56) | 1
	mask := len(t.tags) - 1
	i := int(hash) & mask
	for t.tags[i] != 0 {
		if t.tags[i] == tag && t.keyIs(int(t.slots[i]), key) {
			return i, tag, true
		}
		i = (i + 1) & mask
	}
	return i, tag, false
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
	slot, _, found := t.find(key)
	if !found {
		return Entry{}, false, nil
	}
	offset := int(t.slots[slot])
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

// countLines notes the number of the line at every lineBlock-th byte.
func countLines(data string) []uint32 {
	lines := make([]uint32, 0, len(data)/lineBlock+1)
	for pos, line := 0, 1; pos < len(data); pos += lineBlock {
		lines = append(lines, uint32(line))
		line += strings.Count(data[pos:min(pos+lineBlock, len(data))], "\n")
	}
	return lines
}

func (t *Text) lineAt(offset int) int {
	if t.lines == nil {
		return 0
	}
	block := offset / lineBlock
	return int(t.lines[block]) + strings.Count(t.data[block*lineBlock:offset], "\n")
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
			slot, _, found := t.find(key)
			if !found || int(t.slots[slot]) != offset {
				return true // seen before
			}
			if t.lines == nil {
				line = 0
			}
			return yield(foldLower(key), Entry{Value: value, Source: Source{File: t.file, Line: line}})
		}
		s.scan(t.data)
	}
}
