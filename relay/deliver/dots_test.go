package deliver

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzStuffer compares with the definition, whatever the pieces: a dot at the beginning of
// each line is doubled, and what is not canonical is refused.
func FuzzStuffer(f *testing.F) {
	for _, seed := range []string{"", ".", "a\r\n.\r\nb", "..\r\n", "a\n.\r\n", "a\r.\r\n", "\r\n.\r\n", "a\r", "\n", "a\r\r\n", "\r\n\r\n.."} {
		f.Add([]byte(seed), uint8(3))
	}
	f.Fuzz(func(t *testing.T, message []byte, size uint8) {
		var s stuffer
		var got []byte
		var err error
		for rest := message; len(rest) > 0 && err == nil; {
			n := min(int(size)+1, len(rest))
			got, err = s.append(got, rest[:n])
			rest = rest[n:]
		}
		if err == nil {
			got, err = s.end(got)
		}
		want, canonical := reference(string(message))
		if canonical != (err == nil) {
			t.Fatalf("%q in pieces of %d: %v", message, int(size)+1, err)
		}
		if canonical && string(got) != want {
			t.Fatalf("%q in pieces of %d: %q, want %q", message, int(size)+1, got, want)
		}
	})
}

func reference(message string) (wire string, canonical bool) {
	for _, line := range strings.SplitAfter(message, "\r\n") {
		if strings.ContainsAny(strings.TrimSuffix(line, "\r\n"), "\r\n") {
			return "", false
		}
		if strings.HasPrefix(line, ".") {
			wire += "."
		}
		wire += line
	}
	if wire != "" && !strings.HasSuffix(wire, "\r\n") {
		wire += "\r\n"
	}
	return wire + ".\r\n", true
}

// FuzzUnixLines does the same with the line ends of UNIX.
func FuzzUnixLines(f *testing.F) {
	for _, seed := range []string{"", "a\r\nb", "\r\n", "a\n", "a\r", "\n", "a\r\r\n", "\r\n\n", "a\r\nb\r\n\r\n"} {
		f.Add([]byte(seed), uint8(2))
	}
	f.Fuzz(func(t *testing.T, message []byte, size uint8) {
		var l unixLines
		var got []byte
		var err error
		for rest := message; err == nil; {
			n := min(int(size)+1, len(rest))
			got, err = l.append(got, rest[:n], n == len(rest))
			if rest = rest[n:]; len(rest) == 0 {
				break
			}
		}
		_, canonical := reference(string(message))
		if canonical != (err == nil) {
			t.Fatalf("%q in pieces of %d: %v", message, int(size)+1, err)
		}
		if want := bytes.ReplaceAll(message, []byte("\r\n"), []byte("\n")); canonical && !bytes.Equal(got, want) {
			t.Fatalf("%q in pieces of %d: %q", message, int(size)+1, got)
		}
	})
}

func BenchmarkStuffer(b *testing.B) {
	message := []byte(strings.Repeat(strings.Repeat("x", 70)+"\r\n", 57))
	dst := make([]byte, 0, 8192)
	b.SetBytes(int64(len(message)))
	for b.Loop() {
		var s stuffer
		if _, err := s.append(dst, message); err != nil {
			b.Fatal(err)
		}
	}
}
