package maps

import (
	"fmt"
	"math/bits"
	"strings"
)

// Format says how the lines of a table are read.
type Format uint8

const (
	// FormatAccess is the text that makemap(8) reads: key, white space, value.
	FormatAccess Format = iota
	// FormatClass is a class file such as relay-domains, as sendmail's F lines read
	// it: the first word of each line. # begins a comment.
	FormatClass
	// formatPairs is what NewPairs makes of a database.
	formatPairs
)

func (f Format) String() string {
	switch f {
	case FormatAccess:
		return "access"
	case FormatClass:
		return "class"
	case formatPairs:
		return "pairs"
	}
	return fmt.Sprintf("Format(%d)", uint8(f))
}

// maxLine is the longest line, in bytes and without its newline, that makemap
// takes (its buffer is 1024). It skips a longer one but then reads the rest of
// it as if a new line began in the middle; we skip all of it.
const maxLine = 1022

// A scanner walks over the entries of a table's text. Both functions are called
// in the order of the file. offset is where the key stands, or for pairs where the
// pair begins.
type scanner struct {
	format Format
	entry  func(line, offset int, key, value string) bool // false ends the walk
	fault  func(fault)                                    // may be nil
}

// A chunk is a part of a table's text: whole lines, or whole pairs.
type chunk struct {
	from, to int
	line     int // number of the first line
	entries  int // how many there are, if that is known
}

func whole(data string) chunk { return chunk{to: len(data), line: 1} }

func (s *scanner) scan(data string, c chunk) {
	switch s.format {
	case FormatAccess:
		s.scanLines(data, c, s.accessLine)
	case FormatClass:
		s.scanLines(data, c, s.classLine)
	case formatPairs:
		s.scanPairs(data, c)
	}
}

func (s *scanner) scanLines(data string, c chunk, read func(line, pos int, text string) bool) {
	for pos, line := c.from, c.line; pos < c.to; line++ {
		text := data[pos:c.to]
		if i := strings.IndexByte(text, '\n'); i >= 0 {
			text = text[:i]
		}
		if !read(line, pos, text) {
			return
		}
		pos += len(text) + 1
	}
}

// accessLine reads a line as makemap does.
func (s *scanner) accessLine(line, pos int, text string) bool {
	switch {
	case text == "" || text[0] == '#':
		return true
	case len(text) > maxLine:
		return s.skip(fault{kind: tooLong, offset: pos, line: line, n: len(text)})
	case isBlank(text[0]):
		return s.skip(fault{kind: blankFirst, offset: pos, line: line})
	}
	end := keyEnd(text, FormatAccess)
	value := trimBlanks(text[end:])
	if value == "" {
		return s.skip(fault{kind: noValue, offset: pos, line: line, word: text[:end]})
	}
	return s.entry(line, pos, text[:end], value)
}

// classLine reads a line as sendmail's fileclass does with its usual format %s:
// the first word counts.
func (s *scanner) classLine(line, pos int, text string) bool {
	word := trimBlanks(text)
	end := keyEnd(word, FormatClass)
	if end == 0 {
		return true
	}
	if more := trimBlanks(word[end:]); more != "" && more[0] != '#' {
		s.skip(fault{kind: moreWords, offset: pos, line: line, word: word[:end]})
	}
	return s.entry(line, pos+len(text)-len(word), word[:end], "")
}

func (s *scanner) skip(f fault) bool {
	if s.fault != nil {
		s.fault(f)
	}
	return true
}

// keyEnd is the length of the key or word that text begins with.
func keyEnd(text string, format Format) int {
	pos := 0
	for len(text)-pos >= 8 {
		// Few bytes are as small as blanks and # are; look closer at those alone.
		few := below8(load8(text[pos:]), '#'+1)
		for ; few != 0; few &= few - 1 {
			if i := pos + bits.TrailingZeros64(few)/8; endsKey(text[i], format) {
				return i
			}
		}
		pos += 8
	}
	for ; pos < len(text); pos++ {
		if endsKey(text[pos], format) {
			return pos
		}
	}
	return len(text)
}

// hasKeyEnd tells whether text is more than a key or word.
func hasKeyEnd(text string, format Format) bool {
	if len(text) < 8 {
		return keyEnd(text, format) < len(text)
	}
	few := below8(load8(text[len(text)-8:]), '#'+1)
	for rest := text; len(rest) > 8; rest = rest[8:] {
		few |= below8(load8(rest), '#'+1)
	}
	return few != 0 && keyEnd(text, format) < len(text)
}

func endsKey(c byte, format Format) bool {
	return isBlank(c) || c == '#' && format == FormatClass
}

func trimBlanks(s string) string {
	for s != "" && isBlank(s[0]) {
		s = s[1:]
	}
	return s
}

// isBlank is isspace(3) of the C locale, which makemap and fileclass go by.
func isBlank(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }
