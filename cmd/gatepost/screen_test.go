package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// TestScreen: what a stranger has written moves no cursor, however it is cut.
func TestScreen(t *testing.T) {
	long := strings.Repeat("x", 3*maxScreenLine)
	in := "Subject: \x1b]0;x\a\r\nX: \u009b\xff\r\n\r\n" + long + "\x1b[2J\r\nend"
	want := "Subject: \\x1b]0;x\\x07\nX: \\u009b\\xff\n\n" + long + "\\x1b[2J\nend"
	for _, size := range []int{1, 7, len(in)} {
		var out bytes.Buffer
		s := &screen{to: &out}
		for rest := []byte(in); len(rest) > 0; {
			n, err := s.Write(rest[:min(size, len(rest))])
			if err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		s.end()
		if out.String() != want {
			t.Errorf("by %d it shows %.80q", size, out.String())
		}
	}
	if isTerminal(io.Discard) || isTerminal(&bytes.Buffer{}) {
		t.Error("a buffer is a terminal")
	}
}
