package smtp

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Limits of a reply, as libmilter's smfi_setmlreply has them: a reply that keeps
// them passes through every front.
const (
	MaxReplyLine  = 980 // bytes in one line of text
	MaxReplyLines = 32
)

// EnhancedCode is a status code such as 5.7.1 (RFC 3463). The zero value means none.
type EnhancedCode struct {
	Class, Subject, Detail uint16

	written string // subject and detail as written, where that has leading zeros
}

// ParseEnhancedCode reads class.subject.detail where the class is 2, 4 or 5 and
// the others have one to three digits (RFC 3463, section 2). Leading zeros, which
// the RFC forbids, are kept as sendmail keeps them.
func ParseEnhancedCode(s string) (EnhancedCode, bool) {
	class, rest, ok := strings.Cut(s, ".")
	subject, detail, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || (class != "2" && class != "4" && class != "5") {
		return EnhancedCode{}, false
	}
	sub, ok := threeDigits(subject)
	det, ok2 := threeDigits(detail)
	if !ok || !ok2 {
		return EnhancedCode{}, false
	}
	e := EnhancedCode{Class: uint16(class[0] - '0'), Subject: sub, Detail: det}
	if e.String() != s {
		e.written = rest
	}
	return e, true
}

func threeDigits(s string) (uint16, bool) {
	if len(s) < 1 || len(s) > 3 {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil
}

// IsZero tells whether there is no code.
func (e EnhancedCode) IsZero() bool { return e == EnhancedCode{} }

func (e EnhancedCode) String() string {
	if e.IsZero() {
		return ""
	}
	if e.written != "" {
		return fmt.Sprintf("%d.%s", e.Class, e.written)
	}
	return fmt.Sprintf("%d.%d.%d", e.Class, e.Subject, e.Detail)
}

// Reply is a refusal as an SMTP client sees it: a 4xx or 5xx code, an enhanced
// code and text of one or more lines. It is immutable and made only by NewReply,
// so whoever holds one may send it. The zero Reply is no reply.
//
// The class of the enhanced code may differ from that of the code: sendmail
// corrects neither. A front that must not send such a pair uses Aligned.
type Reply struct {
	code     int
	enhanced EnhancedCode
	text     string
}

// NewReply checks and builds a reply. Lines of text are separated by "\n". It
// fails for codes outside 400..599, control characters, and text beyond
// MaxReplyLine or MaxReplyLines.
func NewReply(code int, enhanced EnhancedCode, text string) (Reply, error) {
	if code < 400 || code > 599 {
		return Reply{}, fmt.Errorf("reply code %d: expected 400 to 599", code)
	}
	if strings.Count(text, "\n") >= MaxReplyLines {
		return Reply{}, fmt.Errorf("reply text: more than %d lines", MaxReplyLines)
	}
	for line := range strings.SplitSeq(text, "\n") {
		if len(line) > MaxReplyLine {
			return Reply{}, fmt.Errorf("reply text: a line of %d bytes, at most %d", len(line), MaxReplyLine)
		}
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && r != '\t' && (r < ' ' || r == 0x7f) }) {
		return Reply{}, errors.New("reply text: control character")
	}
	return Reply{code: code, enhanced: enhanced, text: text}, nil
}

// MustReply is NewReply for texts fixed in the program, with the enhanced code
// written out; it panics on a mistake.
func MustReply(code int, enhanced, text string) Reply {
	e, ok := ParseEnhancedCode(enhanced)
	if !ok {
		panic("smtp: bad enhanced code " + enhanced)
	}
	r, err := NewReply(code, e, text)
	if err != nil {
		panic("smtp: " + err.Error())
	}
	return r
}

// Code is the three digits, 400 to 599, or 0 for the zero Reply.
func (r Reply) Code() int { return r.code }

// Enhanced is the enhanced code; zero when there is none.
func (r Reply) Enhanced() EnhancedCode { return r.enhanced }

// Text is the text without codes; several lines are separated by "\n".
func (r Reply) Text() string { return r.text }

// IsZero tells whether this is no reply.
func (r Reply) IsZero() bool { return r.code == 0 }

// Aligned is the reply with the class of its enhanced code made that of its
// code. Postfix takes a milter's reply in which they differ for malformed.
func (r Reply) Aligned() Reply {
	if !r.enhanced.IsZero() {
		r.enhanced.Class = uint16(r.code / 100)
	}
	return r
}

// String is the reply as one line: "550 5.7.1 Relaying denied".
func (r Reply) String() string {
	if r.IsZero() {
		return ""
	}
	head := strconv.Itoa(r.code)
	if !r.enhanced.IsZero() {
		head += " " + r.enhanced.String()
	}
	return head + " " + strings.ReplaceAll(r.text, "\n", " / ")
}
