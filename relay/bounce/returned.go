package bounce

import (
	"bytes"
	"errors"
	"io"
)

// maxHeader is how much of a header is returned.
const maxHeader = 64 << 10

// returned is what of a message goes back with a report: its beginning.
type returned struct {
	whole    bool
	size     int64
	eightBit bool
	openEnd  bool // its last line has no end
}

// mediaType is that of the part (RFC 6522, section 4, and RFC 6533, section 6).
func (r *returned) mediaType(utf8 bool) string {
	switch {
	case r.whole && utf8:
		return "message/global"
	case r.whole:
		return "message/rfc822"
	case utf8:
		return "message/global-headers"
	}
	return "text/rfc822-headers"
}

// survey looks at what is to be returned, and goes back to the beginning.
func survey(body io.ReadSeeker, whole bool) (r returned, err error) {
	if r.whole = whole; whole {
		err = r.all(body)
	} else {
		err = r.header(body)
	}
	if err == nil {
		_, err = body.Seek(0, io.SeekStart)
	}
	return r, err
}

func (r *returned) all(body io.Reader) error {
	buf := make([]byte, 16<<10)
	for {
		n, err := body.Read(buf)
		r.add(buf[:n])
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

func (r *returned) header(body io.Reader) error {
	head, err := headerOf(body)
	r.add(head)
	return err
}

// headerOf reads the header without the empty line at its end, and whole lines of one that
// is too long.
func headerOf(body io.Reader) ([]byte, error) {
	head, err := io.ReadAll(io.LimitReader(body, maxHeader))
	if err != nil {
		return nil, err
	}
	switch end := bytes.Index(head, []byte("\r\n\r\n")); {
	case bytes.HasPrefix(head, []byte("\r\n")):
		return nil, nil
	case end >= 0:
		return head[:end+2], nil
	case len(head) == maxHeader:
		return head[:bytes.LastIndexByte(head, '\n')+1], nil
	}
	return head, nil
}

func (r *returned) add(chunk []byte) {
	r.size += int64(len(chunk))
	r.eightBit = r.eightBit || bytes.IndexFunc(chunk, func(c rune) bool { return c >= 0x80 }) >= 0
	if len(chunk) > 0 {
		r.openEnd = chunk[len(chunk)-1] != '\n'
	}
}
