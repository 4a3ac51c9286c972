package maps

import "iter"

// A Snapshot is what a table held when it was read. It is immutable and safe for
// concurrent use.
type Snapshot interface {
	Map
	// File is the name that the table was read under: that of its entries' Source.
	File() string
	// Len is the number of entries.
	Len() int
	// Size is the size in bytes of what is kept of the table.
	Size() int64
	// All walks over the entries that count, in the order of the file.
	All() iter.Seq2[string, Entry]
	// Problems are the lines that were skipped or are doubtful, the first 100 of all.
	Problems() (first []Problem, all int)
}

// Size is the size of the text in bytes.
func (t *Text) Size() int64 { return int64(len(t.data)) }

// Problems are the lines that were skipped or are doubtful, the first 100 of all.
func (t *Text) Problems() (first []Problem, all int) { return t.problems, t.skipped }
