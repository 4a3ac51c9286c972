package session

import "bytes"

const longestName = 256 // of a header field

// header follows the header of a message on its way: it counts, and ends the
// header with an empty line where a line comes that is no field. Without that, the
// fields that are put in front would make the text part of the header.
type header struct {
	write func([]byte)

	state    headerState
	name     []byte // of the field so far
	blank    bool   // and after it
	fields   int
	received int
	size     int64
}

type headerState uint8

const (
	atField headerState = iota
	inField
	inBody
)

// put takes the next piece of the message, in which each line ends in CRLF.
func (h *header) put(p []byte) {
	for len(p) > 0 && h.state != inBody {
		n := 0
		if h.state == atField {
			n = h.field(p)
		} else {
			n = indexFrom(p, 0, '\n')
			if n < len(p) {
				n++
				h.state = atField
			}
			h.write(p[:n])
		}
		h.size += int64(n)
		p = p[n:]
	}
	if len(p) > 0 {
		h.write(p)
	}
}

// field reads the beginning of a line and returns how much of p that took.
func (h *header) field(p []byte) int {
	for i, b := range p {
		switch {
		case b == ':' && len(h.name) > 0:
			h.named()
			return i
		case len(h.name) == 0 && (b == ' ' || b == '\t') && h.fields > 0:
			h.state = inField // it goes on with the field before
			return i
		case len(h.name) == 0 && b == '\r':
			h.state = inBody
			return i
		case b == ' ' || b == '\t':
			h.blank = true
		case b <= ' ' || b > '~' || b == ':' || h.blank:
			h.noField()
			return i
		}
		if h.name = append(h.name, b); len(h.name) > longestName {
			h.noField()
			return i + 1
		}
	}
	return len(p)
}

// named notes a field; its colon is yet to come.
func (h *header) named() {
	if bytes.EqualFold(bytes.TrimRight(h.name, " \t"), []byte("received")) {
		h.received++
	}
	h.fields++
	h.flush(inField)
}

// noField ends the header before what is held back.
func (h *header) noField() {
	h.write(crlf)
	h.flush(inBody)
}

func (h *header) flush(next headerState) {
	if len(h.name) > 0 {
		h.write(h.name)
	}
	h.name, h.blank, h.state = h.name[:0], false, next
}
