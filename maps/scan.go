package maps

import (
	"fmt"
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
)

func (f Format) String() string {
	switch f {
	case FormatAccess:
		return "access"
	case FormatClass:
		return "class"
	}
	return fmt.Sprintf("Format(%d)", uint8(f))
}

// maxLine is the longest line, in bytes and without its newline, that makemap
// takes (its buffer is 1024). It skips a longer one but then reads the rest of
// it as if a new line began in the middle; we skip all of it.
const maxLine = 1022

// A Problem is a line that was skipped, or is hardly what was meant, and why.
type Problem struct {
	Source Source
	Text   string
}

// String is "file:line: text".
func (p Problem) String() string { return p.Source.String() + ": " + p.Text }

// A scanner walks over the entries of a table's text. Both functions are called
// in the order of the file.
type scanner struct {
	format  Format
	entry   func(line, offset int, key, value string) bool // false ends the walk
	problem func(line int, text string)                    // may be nil
}

func (s *scanner) scan(data string) {
	for pos, line := 0, 1; pos < len(data); line++ {
		text := data[pos:]
		if i := strings.IndexByte(text, '\n'); i >= 0 {
			text = text[:i]
		}
		more := true
		if s.format == FormatClass {
			more = s.classLine(line, pos, text)
		} else {
			more = s.accessLine(line, pos, text)
		}
		if !more {
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
		return s.skip(line, fmt.Sprintf("the line has %d bytes, makemap takes no more than %d; skipped", len(text), maxLine))
	case isBlank(text[0]):
		return s.skip(line, "the line begins with a blank; skipped")
	}
	end := keyEnd(text, FormatAccess)
	value := trimBlanks(text[end:])
	if value == "" {
		return s.skip(line, fmt.Sprintf("key %q has no value; skipped", text[:end]))
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
		s.skip(line, fmt.Sprintf("only the first word of a line counts, as with sendmail; what follows %q is skipped", word[:end]))
	}
	return s.entry(line, pos+len(text)-len(word), word[:end], "")
}

func (s *scanner) skip(line int, text string) bool {
	if s.problem != nil {
		s.problem(line, text)
	}
	return true
}

// keyEnd is the length of the key or word that text begins with.
func keyEnd(text string, format Format) int {
	for i := range len(text) {
		if endsKey(text[i], format) {
			return i
		}
	}
	return len(text)
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
