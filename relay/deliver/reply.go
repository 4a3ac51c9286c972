package deliver

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"gatepost/internal/smtp"
)

// Bounds of a reply. RFC 5321, 4.5.3.1.5 has 512 bytes in a line; servers that explain
// themselves send more.
const (
	maxReplyLine  = 2048
	maxReplyLines = 100
)

// errProtocol marks what a server must not say.
var errProtocol = errors.New("protocol error")

// reply is a server's reply (RFC 5321, 4.2). Its text is valid until the next reply is
// read into it.
type reply struct {
	code     int
	enhanced smtp.EnhancedCode // zero if there is none
	text     []byte            // as it came without the codes; lines are separated by "\n"

	longest int    // bytes in a line; 0: maxReplyLine
	long    []byte // a line that the reader has no room for
}

// read reads one reply. It takes a line that ends in a mere LF, and one that is a mere
// code, as RFC 5321 asks of clients. What is left of the text is bounded by MaxReply; each,
// if set, sees every line whole.
func (r *reply) read(from *bufio.Reader, each func(line []byte)) error {
	r.code, r.enhanced, r.text = 0, smtp.EnhancedCode{}, r.text[:0]
	for n := 1; ; n++ {
		line, err := r.line(from)
		switch {
		case err != nil:
			return err
		case n > maxReplyLines:
			return fmt.Errorf("%w: a reply of more than %d lines", errProtocol, maxReplyLines)
		}
		code, last, text, ok := parseReplyLine(line)
		if !ok || n > 1 && code != r.code {
			return fmt.Errorf("%w: %s", errProtocol, Sanitise(bytes.TrimRight(line, "\r\n")))
		}
		r.code = code
		if each != nil {
			each(text)
		}
		r.addLine(text, n == 1)
		if last {
			return nil
		}
	}
}

// line reads a line, which is valid until the next one.
func (r *reply) line(from *bufio.Reader) ([]byte, error) {
	limit := or(r.longest, maxReplyLine)
	line, err := from.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) && len(line) < limit {
		r.long = r.long[:0]
		for errors.Is(err, bufio.ErrBufferFull) && len(r.long) < limit {
			r.long = append(r.long, line...)
			line, err = from.ReadSlice('\n')
		}
		r.long = append(r.long, line...)
		line = r.long
	}
	if errors.Is(err, bufio.ErrBufferFull) || len(line) > limit {
		return nil, fmt.Errorf("%w: a reply line of more than %d bytes", errProtocol, limit)
	}
	return line, err
}

// parseReplyLine reads "250-text", "250 text" or "250".
func parseReplyLine(line []byte) (code int, last bool, text []byte, ok bool) {
	line = bytes.TrimSuffix(line, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) < 3 || line[0] < '2' || line[0] > '5' || !digit(line[1]) || !digit(line[2]) {
		return 0, false, nil, false
	}
	code = int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
	if len(line) == 3 {
		return code, true, nil, true
	}
	if line[3] != ' ' && line[3] != '-' {
		return 0, false, nil, false
	}
	return code, line[3] == ' ', line[4:], true
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// addLine takes the enhanced code off a line, which every line may have (RFC 2034,
// section 4), and keeps the rest.
func (r *reply) addLine(text []byte, first bool) {
	if !first && len(r.text) <= MaxReply {
		r.text = append(r.text, '\n')
	}
	// A code whose class is not that of the reply is text.
	if len(text) >= 5 && text[1] == '.' && int(text[0]-'0') == r.code/100 {
		word, rest, _ := bytes.Cut(text, []byte(" "))
		if len(word) <= len("5.999.999") {
			if code, ok := smtp.ParseEnhancedCode(string(word)); ok && (first || code == r.enhanced) {
				r.enhanced, text = code, rest
			}
		}
	}
	if room := MaxReply + 1 - len(r.text); room > 0 { // one more, so that a cut is seen
		r.text = append(r.text, text[:min(len(text), room)]...)
	}
}

// String is the reply as one line fit for logs: "550 5.1.1 No such user".
func (r *reply) String() string {
	head := strconv.Itoa(r.code)
	if !r.enhanced.IsZero() {
		head += " " + r.enhanced.String()
	}
	if len(r.text) == 0 {
		return head
	}
	return cut(head + " " + Sanitise(r.text))
}

// problem is what a reply other than the one hoped for means: 5xx is for good, 421 and
// whatever is out of place are not (RFC 5321, 4.2.1 and 4.3.2). 503, bad sequence of
// commands, is about the session and not the message: ours are in order. So is 530: a login
// (RFC 4954, 6) or TLS (RFC 3207, 4) is wanted, which somebody has to set up.
func (r *reply) problem() *problem {
	switch {
	case r.code == 503:
		return &problem{status: statusSequence, code: r.code, text: r.String()}
	case r.code == 530:
		p := &problem{status: statusNoSecurity, code: r.code, text: r.String()}
		if r.enhanced.Class == 5 {
			p.status = smtp.EnhancedCode{Class: 4, Subject: r.enhanced.Subject, Detail: r.enhanced.Detail}
		}
		return p
	case r.code/100 == 5:
		return &problem{outcome: Failed, status: r.enhanced, code: r.code, text: r.String()}
	case r.code/100 == 4:
		return &problem{status: r.enhanced, code: r.code, text: r.String()}
	}
	return &problem{status: statusProtocol, text: cut("unexpected reply: " + r.String())}
}

func (r *reply) ok() bool { return r.code/100 == 2 }

const hexDigits = "0123456789abcdef"

// Sanitise makes text fit for Result.Reply: it escapes all but printable ASCII, so that a
// peer's words cannot forge lines of a log or mean something to a terminal. Line breaks become "; ". At most MaxReply bytes
// come out.
func Sanitise(text []byte) string {
	out := make([]byte, 0, min(len(text), MaxReply)+8)
	for _, c := range text {
		switch {
		case c == '\n':
			out = append(out, ';', ' ')
		case c == '\\':
			out = append(out, '\\', '\\')
		case c == '\t':
			out = append(out, ' ')
		case c >= ' ' && c < 0x7f:
			out = append(out, c)
		default:
			out = append(out, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
		}
		if len(out) > MaxReply {
			break
		}
	}
	return cut(string(out))
}

// cut bounds what is kept by MaxReply.
func cut(s string) string {
	if len(s) <= MaxReply {
		return s
	}
	return s[:MaxReply-3] + "..."
}
