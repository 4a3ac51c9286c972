package maps

import "fmt"

// maxProblems is how many problems are kept; the rest is only counted.
const maxProblems = 100

// A Problem is a line that was skipped, or is hardly what was meant, and why.
type Problem struct {
	Source Source
	Text   string
}

// String is "file:line: text".
func (p Problem) String() string { return p.Source.String() + ": " + p.Text }

// A fault is a problem before it has been put into words: a table may have
// millions, of which few are kept.
type fault struct {
	kind   faultKind
	offset int    // where the line or pair begins
	line   int    // from 1
	word   string // the key or word that it is about
	n      int    // the line's length, the line that has the key already, or how many there are
}

type faultKind uint8

const (
	tooLong faultKind = iota
	blankFirst
	noValue
	moreWords
	carriageReturn
	keySeen
	pairSeen
	pairWithoutKey
	upperCase
)

// text is what is wrong, in words.
func (f fault) text() string {
	switch f.kind {
	case tooLong:
		return fmt.Sprintf("the line has %d bytes, makemap takes no more than %d; skipped", f.n, maxLine)
	case blankFirst:
		return "the line begins with a blank; skipped"
	case noValue:
		return fmt.Sprintf("key %q has no value; skipped", f.word)
	case moreWords:
		return fmt.Sprintf("only the first word of a line counts, as with sendmail; what follows %q is skipped", f.word)
	case carriageReturn:
		return fmt.Sprintf("the value of %q ends in a carriage return, which makemap takes as part of it; "+
			"save the file with Unix line ends (this is said once a file)", f.word)
	case keySeen:
		return fmt.Sprintf("key %q stands in line %d already, the first one counts; skipped", f.word, f.n)
	case pairSeen:
		return fmt.Sprintf("key %q is there more than once, the first one counts; skipped", f.word)
	case pairWithoutKey:
		return "an entry has an empty key; skipped"
	case upperCase:
		return fmt.Sprintf("%d keys with upper case, such as %q; sendmail and Postfix ask in lower case and never find them; skipped", f.n, f.word)
	}
	return fmt.Sprintf("problem %d", f.kind)
}

func (t *Text) addProblem(f fault) {
	t.skipped++
	if len(t.problems) < maxProblems {
		t.problems = append(t.problems, Problem{Source: Source{File: t.file, Line: f.line}, Text: f.text()})
	}
}
