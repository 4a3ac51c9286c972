package main

import (
	"bytes"
	"io"
	"os"

	"golang.org/x/term"

	"gatepost/internal/program"
)

// maxScreenLine is how much of a line is kept until its end comes, in bytes.
const maxScreenLine = 4 << 10

// isTerminal tells whether somebody looks at what is written.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// screen shows a message on a terminal: strangers have written it, and could make the
// terminal do things.
type screen struct {
	to   io.Writer
	line []byte
}

// Write shows what comes line by line.
func (s *screen) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := bytes.IndexByte(rest, '\n') + 1
		if n == 0 {
			n = len(rest)
		}
		s.line = append(s.line, rest[:n]...)
		rest = rest[n:]
		if len(s.line) > maxScreenLine || s.line[len(s.line)-1] == '\n' {
			if err := s.show(); err != nil {
				return 0, err
			}
		}
	}
	return len(p), nil
}

// show writes what there is of a line.
func (s *screen) show() error {
	line, whole := bytes.CutSuffix(s.line, []byte("\n"))
	text := program.Printable(string(bytes.TrimSuffix(line, []byte("\r"))))
	if whole {
		text += "\n"
	}
	s.line = s.line[:0]
	_, err := io.WriteString(s.to, text)
	return err
}

// end shows a last line that has no end.
func (s *screen) end() {
	if len(s.line) > 0 {
		_ = s.show()
	}
}
