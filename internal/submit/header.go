package submit

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
)

const maxHeader = 1 << 20 // bytes

var errLongHeader = errors.New("the header of the message has more than 1 MiB")

// header is that of a message.
type header struct {
	fields []field
	resent bool // it has Resent- fields: recipients are theirs
}

// field is a header field.
type field struct {
	name string // in lower case
	text []byte // of all its lines, each with CRLF
}

// value is what stands behind the colon, unfolded.
func (f *field) value() string {
	_, v, _ := strings.Cut(string(f.text), ":")
	return strings.TrimSpace(strings.ReplaceAll(v, "\r\n", ""))
}

func (h *header) has(name string) bool {
	for i := range h.fields {
		if h.fields[i].name == name {
			return true
		}
	}
	return false
}

// readHeader reads a header. A line that cannot be of one ends it, and begins the text;
// it is returned. So does a line of one dot, which ends the message: over is true then.
// The line "From x" of mailboxes is dropped.
func readHeader(in *bufio.Reader, dots bool) (h *header, first []byte, over bool, err error) {
	h = &header{}
	size, begun := 0, false
	for {
		line, err := readLine(in, maxHeader-size)
		if err != nil && err != io.EOF {
			return nil, nil, false, err
		}
		if err == io.EOF && len(line) == 0 {
			return h, nil, true, nil
		}
		size += len(line) + 2
		text := tidy(line)
		switch {
		case text == "":
			return h, nil, false, nil
		case dots && text == ".":
			return h, nil, true, nil
		case !begun && strings.HasPrefix(text, "From "):
		case (text[0] == ' ' || text[0] == '\t') && len(h.fields) > 0:
			if strings.TrimSpace(text) != "" { // it might end the header for somebody
				last := &h.fields[len(h.fields)-1]
				last.text = append(append(last.text, text...), "\r\n"...)
			}
		default:
			name := fieldName(text)
			if name == "" {
				return h, append(line, "\r\n"...), false, nil
			}
			h.fields = append(h.fields, field{name: name, text: []byte(text + "\r\n")})
			h.resent = h.resent || strings.HasPrefix(name, "resent-")
		}
		begun = true
	}
}

// readLine reads a line of at most so many bytes and returns it without its end.
func readLine(in *bufio.Reader, most int) ([]byte, error) {
	var line []byte
	for {
		p, err := in.ReadSlice('\n')
		line = append(line, p...)
		switch {
		case len(line) > most:
			return nil, errLongHeader
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		}
		return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")), err
	}
}

// tidy is a line of a header without what could make two lines of it further on: a CR
// becomes a space, NUL is left out.
func tidy(line []byte) string {
	text := strings.TrimRight(string(line), "\r")
	if !strings.ContainsAny(text, "\r\x00") {
		return text
	}
	return strings.NewReplacer("\r", " ", "\x00", "").Replace(text)
}

// fieldName is the name of the field that a line begins, in lower case; "" for a line
// that begins none (RFC 5322, 2.2; spaces before the colon as in 4.5).
func fieldName(line string) string {
	name, _, found := strings.Cut(line, ":")
	name = strings.TrimRight(name, " \t")
	if !found || name == "" {
		return ""
	}
	for i := 0; i < len(name); i++ {
		if name[i] <= ' ' || name[i] >= 0x7f {
			return ""
		}
	}
	return strings.ToLower(name)
}

// recipients are the addresses of To, Cc and Bcc, or, in a message that is sent on, of
// Resent-To and so on.
func (h *header) recipients() ([]string, error) {
	prefix := ""
	if h.resent {
		prefix = "resent-"
	}
	var all []string
	for i := range h.fields {
		f := &h.fields[i]
		switch name, ours := strings.CutPrefix(f.name, prefix); {
		case !ours:
		case name == "to" || name == "cc" || name == "bcc" || name == "apparently-to":
			list, err := addresses(f.value())
			if err != nil {
				return nil, errors.Join(errors.New(f.name), err)
			}
			all = append(all, list...)
		}
	}
	return all, nil
}

// secret are fields that no recipient may see, or that only the last server may write.
func secret(name string) bool {
	return name == "bcc" || name == "resent-bcc" || name == "return-path"
}

// finish is the header as it is sent, with its empty line: without what is secret, with
// what was missing.
func (h *header) finish(missing map[string]string) string {
	var b strings.Builder
	for _, name := range []string{"Resent-From", "Resent-Date", "Resent-Message-ID"} {
		plain := strings.TrimPrefix(name, "Resent-")
		if h.resent && !h.has(strings.ToLower(name)) {
			b.WriteString(name + ": " + missing[plain] + "\r\n")
		}
	}
	for i := range h.fields {
		if !secret(h.fields[i].name) {
			b.Write(h.fields[i].text)
		}
	}
	for _, name := range []string{"From", "Date", "Message-ID"} {
		if !h.has(strings.ToLower(name)) {
			b.WriteString(name + ": " + missing[name] + "\r\n")
		}
	}
	b.WriteString("\r\n")
	return b.String()
}
