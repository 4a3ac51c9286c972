package deliver

import (
	"bytes"
	"errors"
	"io"
)

// A client may declare more than its message has: many say BODY=8BITMIME and SMTPUTF8
// whenever they are offered. Only what is really in the message keeps it from a server
// that lacks the extension.

// lacks tells which declared extensions the server does not offer.
func (c *conn) lacks(t *transaction) (eightBit, utf8 bool) {
	return t.env.EightBit && !c.can.eightBit, t.env.UTF8 && !c.can.utf8
}

// needs tells which extensions the message cannot do without. body is read from its
// beginning, to its first 8-bit character at most, and left somewhere.
func (t *transaction) needs(body io.Reader, b *buffers) (eightBit, utf8 bool, err error) {
	utf8 = !ascii([]byte(t.env.Sender))
	for i := range t.of {
		utf8 = utf8 || !ascii([]byte(t.address(i)))
	}
	inHeader, last := true, []byte("\r\n")
	for {
		n, err := io.ReadFull(body, b.src[:])
		chunk := b.src[:n]
		if at := bytes.IndexFunc(chunk, func(r rune) bool { return r >= 0x80 }); at >= 0 {
			before := append(last, chunk[:at]...)
			return true, utf8 || inHeader && !bytes.Contains(before, []byte("\r\n\r\n")), nil
		}
		seam := append(last, chunk...)
		inHeader = inHeader && !bytes.Contains(seam, []byte("\r\n\r\n"))
		last = append([]byte(nil), seam[max(0, len(seam)-3):]...)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return false, utf8, nil
		case err != nil:
			return false, utf8, err
		}
	}
}

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
