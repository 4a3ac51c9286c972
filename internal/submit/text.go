package submit

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

const (
	inMemory = 256 << 10 // bytes of a text; what is larger goes to a file
	maxText  = 4 << 30   // bytes

	// longestLine is the length at which a line is broken, without CRLF: with longer ones
	// the relay would refuse the message (max_line_length), and what a program has to say
	// would be lost.
	longestLine = 32 << 10
)

var errLongText = errors.New("the message is too large")

// text is what follows the header, with CRLF at the ends of its lines. It is in memory,
// or in a file that has no name any more.
type text struct {
	mem      bytes.Buffer
	file     *os.File
	buffered *bufio.Writer // to file
	size     int64
	column   int // in the last line
	eightBit bool
}

// Write adds to the text. NUL, which no message may have (RFC 5322, 2.2), is left out, and
// a line that is too long is broken.
func (t *text) Write(p []byte) (int, error) {
	for rest := bytes.ReplaceAll(p, []byte{0}, nil); len(rest) > 0; {
		n := bytes.IndexByte(rest, '\n') + 1
		line := rest[:n]
		if n == 0 {
			line = rest
		}
		if room := longestLine - t.column; len(bytes.TrimSuffix(line, []byte("\r\n"))) > room {
			line, n = append(rest[:room:room], "\r\n"...), room
		} else {
			n = len(line)
		}
		if _, err := t.put(line); err != nil {
			return 0, err
		}
		if t.column += len(line); line[len(line)-1] == '\n' {
			t.column = 0
		}
		rest = rest[n:]
	}
	return len(p), nil
}

func (t *text) put(p []byte) (int, error) {
	if t.size += int64(len(p)); t.size > maxText {
		return 0, errLongText
	}
	for _, c := range p {
		if c >= 0x80 {
			t.eightBit = true
			break
		}
	}
	if t.file == nil && t.mem.Len()+len(p) > inMemory {
		if err := t.toFile(); err != nil {
			return 0, err
		}
	}
	if t.file != nil {
		return t.buffered.Write(p)
	}
	return t.mem.Write(p)
}

// toFile moves the text to a file.
func (t *text) toFile() error {
	f, err := os.CreateTemp("", "gatepost-sendmail")
	if err != nil {
		return err
	}
	if err := os.Remove(f.Name()); err != nil {
		return errors.Join(err, f.Close())
	}
	t.file, t.buffered = f, bufio.NewWriterSize(f, 64<<10)
	_, err = t.buffered.Write(t.mem.Bytes())
	t.mem = bytes.Buffer{}
	return err
}

// reader reads it from its beginning.
func (t *text) reader() (io.Reader, error) {
	if t.file == nil {
		return bytes.NewReader(t.mem.Bytes()), nil
	}
	if err := t.buffered.Flush(); err != nil {
		return nil, err
	}
	if _, err := t.file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return t.file, nil
}

func (t *text) close() {
	if t.file != nil {
		_ = t.file.Close()
	}
}

// readText reads the text of a message, whose lines end in LF or CRLF, as far as the
// input goes, or to a line of one dot.
func readText(t *text, in *bufio.Reader, dots bool) error {
	begins, cr := true, false // of a line; the CR of a piece that may be of its end
	for {
		p, err := in.ReadSlice('\n')
		if err != nil && err != io.EOF && !errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("read the message: %w", err)
		}
		whole := bytes.HasSuffix(p, []byte("\n"))
		line := bytes.TrimSuffix(p, []byte("\n"))
		if dots && begins && whole && string(bytes.TrimSuffix(line, []byte("\r"))) == "." || dots && begins && err == io.EOF && string(p) == "." {
			return nil
		}
		if cr && len(p) > 0 && !(whole && len(line) == 0) { // it was within the line
			if _, err := t.Write([]byte("\r")); err != nil {
				return err
			}
		}
		if len(p) > 0 {
			cr = bytes.HasSuffix(line, []byte("\r"))
			line = bytes.TrimSuffix(line, []byte("\r"))
		}
		if whole {
			line, cr = append(line[:len(line):len(line)], "\r\n"...), false
		}
		if _, err := t.Write(line); err != nil {
			return err
		}
		if len(p) > 0 {
			begins = whole
		}
		if err == io.EOF {
			if !begins {
				_, err := t.Write([]byte("\r\n"))
				return err
			}
			return nil
		}
	}
}
