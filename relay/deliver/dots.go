package deliver

import (
	"bytes"
	"errors"
)

// errLoneCRLF says that a message is not canonical. It must not leave so: what ends a
// line for one server and not for the next one is how messages are smuggled.
var errLoneCRLF = errors.New("the message has a CR or LF that is not part of a CRLF")

// stuffer makes of the bytes of a message what goes over the wire after DATA (RFC 5321,
// 4.5.2): a dot at the beginning of a line is doubled. It takes the message in pieces.
type stuffer struct {
	last byte // of the piece before; 0 at the beginning
	line bool // the next byte is in the middle of a line

	plain bool // nothing is added: the size says where the message ends
}

// append adds the wire form of src to dst. That is at most twice as long.
func (s *stuffer) append(dst, src []byte) ([]byte, error) {
	if len(src) == 0 {
		return dst, nil
	}
	if s.last == '\r' && src[0] != '\n' {
		return dst, errLoneCRLF
	}
	if !s.plain && !s.line && src[0] == '.' {
		dst = append(dst, '.')
	}
	from, at, breaks := 0, 0, 0
	for {
		n := bytes.IndexByte(src[at:], '\n')
		if n < 0 {
			break
		}
		at += n
		if at > 0 && src[at-1] != '\r' || at == 0 && s.last != '\r' {
			return dst, errLoneCRLF
		}
		if at > 0 {
			breaks++
		}
		at++
		if !s.plain && at < len(src) && src[at] == '.' {
			dst = append(dst, src[from:at]...)
			dst = append(dst, '.')
			from = at
		}
	}
	s.last = src[len(src)-1]
	s.line = at < len(src)
	// Each LF has its CR; with as many CRs, each CR has its LF.
	if s.last == '\r' {
		breaks++
	}
	if bytes.Count(src, []byte{'\r'}) != breaks {
		return dst, errLoneCRLF
	}
	return append(dst, src[from:]...), nil
}

// end adds the end of the message, and that of its last line if that has none.
func (s *stuffer) end(dst []byte) ([]byte, error) {
	if s.last == '\r' {
		return dst, errLoneCRLF
	}
	if s.line {
		dst = append(dst, '\r', '\n')
	}
	if s.plain {
		return dst, nil
	}
	return append(dst, '.', '\r', '\n'), nil
}
