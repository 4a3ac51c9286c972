package maps

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"strings"
)

// maxBytes is the largest table: offsets have 32 bits.
const maxBytes = math.MaxUint32

// Text is an immutable snapshot of a table; it is safe for concurrent use. It is
// made for a million lines: the text itself, a hash table of offsets into it, and
// an index of line numbers. There is no object per entry, and a lookup allocates
// nothing.
type Text struct {
	file     string
	format   Format
	edited   bool // it is a text file, which is edited line by line
	data     string
	lines    lineIndex // empty when lines have no meaning
	seed     uint64
	slots    slots
	entries  int
	again    int // entries that do not count, since their key has one
	problems []Problem
	skipped  int // number of problems, kept or not
}

// making says how a snapshot is made.
type making struct {
	// check, if set, is asked for each entry, with the key in lower case. Its error
	// refuses the table, with file:line in front: the first such entry of the file.
	// It is called by several goroutines at once, in any order, and for the same
	// entry more than once, also for entries that do not count.
	check func(key, value string) error
	// workers is how many goroutines may be busy; 0 is one for each processor.
	workers int
	// size is how many bytes the pairs of a database take at most, unless it is an odd
	// one; 0 where that is not known.
	size int64
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
	return makeText(file, format, data, making{})
}

func makeText(file string, format Format, data string, how making) (*Text, error) {
	if err := checkSize(file, int64(len(data))); err != nil {
		return nil, err
	}
	t := newText(file, format, data)
	t.edited = true
	if !t.indexLines(how) {
		at := Source{File: file, Line: 1 + strings.Count(data[:strings.IndexByte(data, 0)], "\n")}
		return nil, fmt.Errorf("%s: %w", at, errNUL)
	}
	if err := t.build(t.chunks(), how); err != nil {
		return nil, err
	}
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
	t := newText(name, FormatClass, strings.Join(words, "\n"))
	// Without a check nothing is refused.
	_ = t.build([]chunk{whole(t.data)}, making{workers: 1})
	return t
}

func newText(file string, format Format, data string) *Text {
	return &Text{file: file, format: format, data: data, seed: rand.Uint64()}
}

// find is where the entry of a key stands. There must be slots.
func (t *Text) find(hash uint64, key string) (offset int, found bool) {
	for g, tag := t.slots.home(hash); ; g = t.slots.next(g) {
		group := &t.slots[g]
		for set := group.tagged(tag); set != 0; set = set.rest() {
			offset := int(group.offsets[set.first()])
			if t.keyIs(offset, key) {
				return offset, true
			}
		}
		if !group.full() {
			return 0, false
		}
	}
}

// keyAt is the key of the entry at offset.
func (t *Text) keyAt(offset int) string {
	if t.format == formatPairs {
		key, _, _ := pairAt(t.data, offset)
		return key
	}
	rest := t.data[offset:]
	return rest[:keyEnd(rest, t.format)]
}

func (t *Text) keyIs(offset int, key string) bool {
	if t.format == formatPairs {
		stored, _, _ := pairAt(t.data, offset)
		return foldEqual(stored, key)
	}
	rest := t.data[offset:]
	if len(rest) < len(key) || len(rest) > len(key) && !endsKey(rest[len(key)], t.format) {
		return false
	}
	// "Connect: 1.2.3.4" as a key must not match its own line beyond "Connect:".
	return foldEqual(rest[:len(key)], key) && !hasKeyEnd(key, t.format)
}

// Lookup answers one exact key. It never waits, and never fails.
func (t *Text) Lookup(_ context.Context, key string) (Entry, bool, error) {
	if len(t.slots) == 0 || key == "" {
		return Entry{}, false, nil
	}
	offset, found := t.find(foldHash(t.seed, key), key)
	if !found {
		return Entry{}, false, nil
	}
	return Entry{Value: t.valueAt(offset, len(key)), Source: Source{File: t.file, Line: t.lineAt(offset)}}, true, nil
}

// valueAt is the value of the entry at offset, whose key has keySize bytes; members
// of a class have none.
func (t *Text) valueAt(offset, keySize int) string {
	switch t.format {
	case FormatClass:
		return ""
	case formatPairs:
		_, value, _ := pairAt(t.data, offset)
		return value
	}
	rest := t.data[offset+keySize:]
	if i := strings.IndexByte(rest, '\n'); i >= 0 {
		rest = rest[:i]
	}
	return trimBlanks(rest)
}

// lineAt is the number of the line at offset, 0 where lines have no meaning.
func (t *Text) lineAt(offset int) int {
	if len(t.lines.spans) == 0 {
		return 0
	}
	return t.lines.at(t.data, offset)
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
			if t.again > 0 {
				if first, _ := t.find(foldHash(t.seed, key), key); first != offset {
					return true
				}
			}
			return yield(foldLower(key), Entry{Value: value, Source: t.sourceOf(line)})
		}
		s.scan(t.data, whole(t.data))
	}
}

// sourceOf is the source of an entry that the scanner has seen in a line.
func (t *Text) sourceOf(line int) Source {
	if len(t.lines.spans) == 0 {
		line = 0
	}
	return Source{File: t.file, Line: line}
}
