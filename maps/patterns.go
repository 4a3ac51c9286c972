package maps

import (
	"context"
	"fmt"
	"iter"
	"regexp"
	"strings"
)

// maxPatterns bounds the expressions of a map: each key is held against all of them.
const maxPatterns = 10_000

// Patterns is a snapshot of a regex map, an extension of ours: lines of a regular
// expression between slashes, and a value, such as
//
//	/^From:.*@.*\.example$/   REJECT
//	/^Connect:dyn[0-9]+\./i   550 5.7.1 no dial-up hosts
//
// An expression is compared with the whole key, tag and all, without regard to
// case; with i after the second slash case counts, as in Postfix's regexp_table(5).
// The first line that matches answers. The syntax is that of Go's regexp
// (https://golang.org/s/re2syntax), whose time is bounded by the key's length.
type Patterns struct {
	file  string
	size  int64
	lines []patternLine
}

type patternLine struct {
	text  string // as written
	re    *regexp.Regexp
	value string
	line  int
}

// parsePatterns reads a regex map. Any line that is not one refuses the file.
func parsePatterns(file, data string) (*Patterns, error) {
	p := &Patterns{file: file, size: int64(len(data))}
	err := strictLines(file, data, func(line int, text string) error {
		if len(p.lines) >= maxPatterns {
			return fmt.Errorf("more than %d expressions", maxPatterns)
		}
		l, err := parsePattern(text)
		l.line = line
		p.lines = append(p.lines, l)
		return err
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// parsePattern reads /EXPRESSION/[i] VALUE. A slash within is written \/.
func parsePattern(text string) (patternLine, error) {
	const want = "expected /EXPRESSION/ and a value"
	end := 0
	for i := 1; text[0] == '/' && i < len(text) && end == 0; i++ {
		switch text[i] {
		case '\\':
			i++
		case '/':
			end = i
		}
	}
	if end == 0 {
		return patternLine{}, fmt.Errorf("the line has no expression between slashes, %s", want)
	}
	rest := text[end+1:]
	flags := rest[:keyEnd(rest, FormatAccess)]
	value := trimBlanks(rest[len(flags):])
	expression := strings.ReplaceAll(text[1:end], `\/`, `/`)
	switch {
	case flags != "" && flags != "i":
		return patternLine{}, fmt.Errorf("flag %q after the expression, expected i or none", flags)
	case expression == "":
		return patternLine{}, fmt.Errorf("the expression is empty and would match every key")
	case value == "":
		return patternLine{}, fmt.Errorf("expression %s has no value", text[:end+1])
	}
	if flags == "" {
		expression = "(?i)" + expression
	}
	re, err := regexp.Compile(expression)
	if err != nil {
		return patternLine{}, fmt.Errorf("expression %s: %w", text[:end+1], err)
	}
	return patternLine{text: text[:end+1] + flags, re: re, value: value}, nil
}

// Lookup implements Map. It never waits, and never fails.
func (p *Patterns) Lookup(_ context.Context, key string) (Entry, bool, error) {
	for i := range p.lines {
		if l := &p.lines[i]; l.re.MatchString(key) {
			return p.entry(l), true, nil
		}
	}
	return Entry{}, false, nil
}

func (p *Patterns) entry(l *patternLine) Entry {
	return Entry{Value: l.value, Source: Source{File: p.file, Line: l.line}}
}

// File is the name that the map was read under.
func (p *Patterns) File() string { return p.file }

// Len is the number of expressions.
func (p *Patterns) Len() int { return len(p.lines) }

// Size is the size of the file in bytes.
func (p *Patterns) Size() int64 { return p.size }

// All walks over the lines in the order of the file. Keys are the expressions with
// their slashes.
func (p *Patterns) All() iter.Seq2[string, Entry] {
	return func(yield func(string, Entry) bool) {
		for i := range p.lines {
			if l := &p.lines[i]; !yield(l.text, p.entry(l)) {
				return
			}
		}
	}
}

// Problems are none: a line that is wrong refuses the file.
func (p *Patterns) Problems() ([]Problem, int) { return nil, 0 }
