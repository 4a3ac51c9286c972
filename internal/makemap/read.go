package makemap

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"gatepost/maps/bdb"
)

// maxLine is the longest line in bytes, with its newline, that makemap takes.
const maxLine = 1023

// Options are makemap's flags.
type Options struct {
	Append     bool // -o: add to the database that is there
	Duplicates bool // -d: a key may stand in several lines, all are kept
	Replace    bool // -r: of lines with one key the last counts, not the first
	KeepCase   bool // -f: upper case in keys is kept
	Null       bool // -N: keys and values end with a NUL byte
	Empty      bool // -e: a key may have no value
	Delimiter  byte // -t: ends the key; 0 stands for white space
	Comment    byte // -D: begins a comment line; 0 stands for #

	// Said gets a line for each line of the text that is left out, and why.
	Said func(line int, text string)
	// Took gets each pair as it is read (-v).
	Took func(key, value string)
}

// builder gathers the pairs of a text.
type builder struct {
	Options
	records []bdb.Record
	places  map[string]int // of a key in records; not with Duplicates
}

// newBuilder begins with what a database holds already.
func newBuilder(opt Options, old []bdb.Record) *builder {
	b := &builder{Options: opt, records: old, places: map[string]int{}}
	if b.Comment == 0 {
		b.Comment = '#'
	}
	for i, r := range old {
		b.places[string(r.Key)] = i
	}
	return b
}

// read takes all lines of a text. It goes on after lines that are wrong; good
// tells whether there were none.
func (b *builder) read(in io.Reader) (good bool, err error) {
	r := bufio.NewReaderSize(in, 64<<10)
	good = true
	for line := 1; ; line++ {
		text, long, err := readLine(r)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return good, err
		}
		why := fmt.Sprintf("line too long (%d bytes max)", maxLine+1)
		if !long {
			why = b.line(text)
		}
		if why != "" {
			good = false
			b.Said(line, why)
		}
	}
}

// readLine reads a line without its newline. Of a long one it reads all and keeps
// nothing, so that no rest of it is taken for a line.
func readLine(r *bufio.Reader) (text []byte, long bool, err error) {
	for {
		part, err := r.ReadSlice('\n')
		long = long || len(text)+len(part) > maxLine
		if text = append(text, part...); long {
			text = text[:0]
		}
		switch {
		case err == nil:
			return bytes.TrimSuffix(text, []byte("\n")), long, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && (len(text) > 0 || long):
			return text, long, nil
		default:
			return nil, false, err
		}
	}
}

// line takes one line, or says why not.
func (b *builder) line(text []byte) (why string) {
	text, _, _ = bytes.Cut(text, []byte{0}) // C's string ends there
	if len(text) == 0 || text[0] == b.Comment {
		return ""
	}
	ends := isSpace
	if b.Delimiter != 0 {
		ends = func(c byte) bool { return c == b.Delimiter }
	}
	if b.Delimiter == 0 && isSpace(text[0]) {
		return "syntax error (leading space)"
	}
	end := slices.IndexFunc(text, ends)
	if end < 0 {
		end = len(text)
	}
	key, value := bytes.Clone(text[:end]), text[end:]
	for len(value) > 0 && ends(value[0]) {
		value = value[1:]
	}
	if !b.KeepCase {
		lower(key)
	}
	if len(value) == 0 && !b.Empty {
		return fmt.Sprintf("no RHS for LHS %s", key)
	}
	if b.Took != nil {
		b.Took(string(key), string(value))
	}
	return b.put(key, bytes.Clone(value))
}

func (b *builder) put(key, value []byte) (why string) {
	shown := string(key)
	if b.Null {
		key, value = append(key, 0), append(value, 0)
	}
	if !b.Duplicates {
		if i, there := b.places[string(key)]; there {
			if !b.Replace {
				return fmt.Sprintf("key %s: duplicate key", shown)
			}
			b.records[i].Value = value
			return ""
		}
		b.places[string(key)] = len(b.records)
	}
	b.records = append(b.records, bdb.Record{Key: key, Value: value})
	return ""
}

// lower writes ASCII letters small, as tolower(3) of the C locale.
func lower(key []byte) {
	for i, c := range key {
		if 'A' <= c && c <= 'Z' {
			key[i] = c + ('a' - 'A')
		}
	}
}

func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }
