package session

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// scanned is what became of a text.
type scanned struct {
	out   string
	used  int // bytes up to the end of the message
	ended bool
	fault fault
}

// scanPieces runs the scanner over text in pieces of a size.
func scanPieces(text []byte, size int, dots, normalize bool, maxLine int) scanned {
	var out bytes.Buffer
	s := scanner{dots: dots, normalize: normalize, maxLine: maxLine, write: func(p []byte) { out.Write(p) }}
	var r scanned
	for len(text) > 0 && !r.ended {
		n, ended := s.feed(text[:min(size, len(text))])
		r.used += n
		r.ended = ended
		text = text[n:]
	}
	if !dots {
		s.finish()
	}
	r.out, r.fault = out.String(), s.fault
	return r
}

// slowly does what the scanner does one byte after the other, over the whole text
// at once. Only faults are ordered differently, so it says just whether there is
// one.
func slowly(text []byte, dots, normalize bool, maxLine int) (r scanned, faulty bool) {
	var out bytes.Buffer
	newLine, length := true, 0
	for i := 0; i < len(text); i++ {
		rest := text[i:]
		if newLine && dots && rest[0] == '.' {
			if bytes.HasPrefix(rest, []byte(".\r\n")) {
				r.used, r.ended, r.out = i+3, true, out.String()
				return r, faulty
			}
			newLine = false
			length++
			faulty = faulty || length > maxLine
			continue
		}
		newLine = false
		length++
		faulty = faulty || length > maxLine
		switch {
		case bytes.HasPrefix(rest, crlf):
			out.Write(crlf)
			i++
			length++
			faulty = faulty || length > maxLine
			newLine, length = true, 0
		case rest[0] == '\r' && len(rest) == 1 && dots: // unfinished
		case rest[0] == '\r' || rest[0] == '\n':
			if normalize {
				out.Write(crlf)
				length = 0
			} else {
				faulty = true
			}
		default:
			faulty = faulty || rest[0] == 0
			out.WriteByte(rest[0])
		}
	}
	if !dots && !newLine && len(text) > 0 && !(normalize && text[len(text)-1] == '\r') {
		if text[len(text)-1] != '\r' {
			out.Write(crlf)
		}
	}
	r.used, r.out = len(text), out.String()
	return r, faulty
}

func TestScanner(t *testing.T) {
	tests := []struct {
		text             string
		reject           string // what is written, or the fault
		normalized, rest string
	}{
		{"a\r\n.\r\nQUIT\r\n", "a\r\n", "a\r\n", "QUIT\r\n"},
		{".\r\nQUIT\r\n", "", "", "QUIT\r\n"},
		{"..\r\n.\r\n", ".\r\n", ".\r\n", ""},
		{".a\r\n...\r\n.\r\n", "a\r\n..\r\n", "a\r\n..\r\n", ""},
		{"a\n.\nb\r\n.\r\n", "bare LF", "a\r\n.\r\nb\r\n", ""},
		{"a\n.\r\nb\r\n.\r\n", "bare LF", "a\r\n.\r\nb\r\n", ""},
		{"a\r.\rb\r\n.\r\n", "bare CR", "a\r\n.\r\nb\r\n", ""},
		{"a\r.\r\nb\r\n.\r\n", "bare CR", "a\r\n.\r\nb\r\n", ""},
		{"a\r\n.\nb\r\n.\r\n", "bare LF", "a\r\n\r\nb\r\n", ""},
		{"a\r\n.\rb\r\n.\r\n", "bare CR", "a\r\n\r\nb\r\n", ""},
		{"a\r\r\n.\r\nQUIT\r\n", "bare CR", "a\r\n\r\n", "QUIT\r\n"},
		{"a\r\n.\r\r\nb\r\n.\r\n", "bare CR", "a\r\n\r\n\r\nb\r\n", ""},
		{"a\r\n\r.\r\nb\r\n.\r\n", "bare CR", "a\r\n\r\n.\r\nb\r\n", ""},
		{"a\r\n\n.\r\nb\r\n.\r\n", "bare LF", "a\r\n\r\n.\r\nb\r\n", ""},
		{"a\x00\r\n.\r\n", "NUL", "NUL", ""},
		{"a\r\n\x00.\r\n.\r\n", "NUL", "NUL", ""},
		{"a\r\n.\x00\r\n.\r\n", "NUL", "NUL", ""},
	}
	faults := map[fault]string{faultNUL: "NUL", faultBareCR: "bare CR", faultBareLF: "bare LF", faultLongLine: "long line"}
	for _, tt := range tests {
		for _, size := range []int{len(tt.text), 1, 2, 3} {
			for i, want := range []string{tt.reject, tt.normalized} {
				t.Run(fmt.Sprintf("%q in %d, normalize %d", tt.text, size, i), func(t *testing.T) {
					r := scanPieces([]byte(tt.text), size, true, i == 1, 1000)
					got := r.out
					if r.fault != faultNone {
						got = faults[r.fault]
					}
					if got != want || !r.ended || tt.text[r.used:] != tt.rest {
						t.Errorf("got %q, ended %v, left %q; want %q, left %q", got, r.ended, tt.text[r.used:], want, tt.rest)
					}
				})
			}
		}
	}
}

func TestScannerBoundsLines(t *testing.T) {
	for _, tt := range []struct {
		text      string
		normalize bool
		long      bool
	}{
		{strings.Repeat("a", 98) + "\r\n.\r\n", false, false},
		{strings.Repeat("a", 99) + "\r\n.\r\n", false, true},
		{strings.Repeat("a", 101), false, true},
		{strings.Repeat(strings.Repeat("a", 50)+"\n", 9) + "\r\n.\r\n", true, false},
		{strings.Repeat(strings.Repeat("a", 50)+"\r", 9) + "\r\n.\r\n", true, false},
		{strings.Repeat("a", 101) + "\n\r\n.\r\n", true, true},
	} {
		for _, size := range []int{1, 7, 1000} {
			r := scanPieces([]byte(tt.text), size, true, tt.normalize, 100)
			if long := r.fault == faultLongLine; long != tt.long {
				t.Errorf("%q in pieces of %d: too long %v, want %v", tt.text, size, long, tt.long)
			}
		}
	}
}

// FuzzScanner holds the scanner to slowly, whatever the pieces that text comes in.
func FuzzScanner(f *testing.F) {
	for _, s := range []string{"a\r\n.\r\n", "..\r\n.\r\n", "\n.\n", "\r.\r", "\r\n.\n", "\r\n.\r", "\r\n\x00.\r\n", "\r\r\n.\r\r\n", "aaaaaaaaaaaaaaaaaa\r\n", "\r", "\r\n\r", ".\r", "."} {
		for i := range 4 {
			f.Add([]byte(s), 1+i, i&1 == 0, i&2 == 0)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, size int, dots, normalize bool) {
		const maxLine = 16
		got := scanPieces(text, max(1, size), dots, normalize, maxLine)
		want, faulty := slowly(text, dots, normalize, maxLine)
		if got.used != want.used || got.ended != want.ended {
			t.Fatalf("%q: used %d, ended %v; want %d, %v", text, got.used, got.ended, want.used, want.ended)
		}
		if (got.fault != faultNone) != faulty {
			t.Fatalf("%q: fault %d, want one: %v", text, got.fault, faulty)
		}
		if !faulty && got.out != want.out {
			t.Fatalf("%q: got %q, want %q", text, got.out, want.out)
		}
		if !faulty && got.ended && strings.ContainsAny(strings.ReplaceAll(got.out, "\r\n", ""), "\r\n\x00") {
			t.Fatalf("%q: %q has a bare CR or LF", text, got.out)
		}
	})
}
