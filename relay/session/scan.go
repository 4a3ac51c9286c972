package session

import "bytes"

// A fault is what makes a message one that is not taken. The first one stays.
type fault uint8

const (
	faultNone fault = iota
	faultNUL
	faultBareCR
	faultBareLF
	faultLongLine
	faultSize
	faultHeader
	faultHops
)

// What the scanner has seen last.
type scanState uint8

const (
	atLine  scanState = iota // CRLF, or nothing yet
	atDot                    // CRLF, then a dot
	atDotCR                  // CRLF, then a dot and CR
	inText                   // a character of a line
	atCR                     // CR in a line
)

// scanner takes the text of a message apart: it finds the end, takes off the dots
// of transparency and finds what must not be in a message. It searches in bulk,
// and passes on what it is given in as few pieces as it can.
//
// Only CRLF "." CRLF ends a message. A line that follows a bare CR or LF is, for
// this, no line: its dot neither ends the message nor is taken off. With normalize
// each bare CR and LF becomes CRLF, and such a dot is text; who sends the message
// on doubles it again, so that it cannot end anything there either.
type scanner struct {
	dots      bool // DATA: there are dots; BDAT has none
	normalize bool
	maxLine   int
	write     func([]byte)

	state scanState
	line  int // bytes of the current line so far
	fault fault
}

var crlf = []byte("\r\n")

// feed takes the next piece of text and returns how much of it was used, and
// whether the message ended there. Only then is it less than all.
func (s *scanner) feed(p []byte) (n int, ended bool) {
	n, ended = s.scan(p)
	if bytes.IndexByte(p[:n], 0) >= 0 {
		s.found(faultNUL)
	}
	return n, ended
}

func (s *scanner) scan(p []byte) (int, bool) {
	begin := -s.line // of the current line, in p
	lf := -1         // the next LF in p, once it is known
	from := 0        // p[from:i] waits to be written
	for i := 0; i < len(p); {
		switch s.state {
		case atLine:
			s.state = inText
			if s.dots && p[i] == '.' {
				s.put(p[from:i])
				i++
				from, s.state = i, atDot
			}
		case atDot:
			s.state = inText
			if p[i] == '\r' {
				i++
				from, s.state = i, atDotCR
			}
		case atDotCR:
			if p[i] == '\n' {
				s.state, s.line = atLine, 0
				return i + 1, true
			}
			begin = s.bare(faultBareCR, begin, i)
		case atCR:
			if p[i] != '\n' {
				begin = s.bare(faultBareCR, begin, i)
				continue
			}
			i++
			s.put(crlf)
			from, begin = i, s.endLine(i-begin, i)
		case inText:
			if lf < i {
				lf = indexFrom(p, i, '\n')
			}
			cr := i + indexFrom(p[i:lf], 0, '\r')
			switch {
			case cr == lf-1 && lf < len(p): // CRLF
				i = lf + 1
				begin = s.endLine(i-begin, i)
			case cr < lf:
				s.put(p[from:cr])
				i = cr + 1
				from, s.state = i, atCR
			case lf < len(p):
				s.put(p[from:lf])
				i = lf + 1
				from, begin = i, s.bare(faultBareLF, begin, i)
			default:
				i = lf
			}
		}
	}
	s.put(p[from:])
	s.line = len(p) - begin
	s.checkLine(s.line)
	return len(p), false
}

// indexFrom is where b first stands in p from i on; len(p) if it does not.
func indexFrom(p []byte, i int, b byte) int {
	if at := bytes.IndexByte(p[i:], b); at >= 0 {
		return i + at
	}
	return len(p)
}

// endLine notes the end of a line of n bytes; the next begins at offset next.
func (s *scanner) endLine(n, next int) int {
	s.checkLine(n)
	s.state = atLine
	return next
}

func (s *scanner) checkLine(n int) {
	if n > s.maxLine {
		s.found(faultLongLine)
	}
}

// bare deals with a bare CR or LF, after which offset next begins what is still
// the same line; with normalize it is one of its own.
func (s *scanner) bare(f fault, begin, next int) int {
	s.state = inText
	if !s.normalize {
		s.found(f)
		return begin
	}
	s.put(crlf)
	s.checkLine(next - begin)
	return next
}

func (s *scanner) put(p []byte) {
	if len(p) > 0 {
		s.write(p)
	}
}

func (s *scanner) found(f fault) {
	if s.fault == faultNone {
		s.fault = f
	}
}

// finish ends text that has no end of its own (BDAT): its last line gets the CRLF
// that it may lack.
func (s *scanner) finish() {
	switch s.state {
	case atCR:
		s.bare(faultBareCR, 0, 0)
	case inText:
		s.put(crlf)
	}
}
