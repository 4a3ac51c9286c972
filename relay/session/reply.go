package session

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"gatepost/internal/front"
	"gatepost/internal/smtp"
)

const maxEcho = 203 // bytes of the client's words in a reply, as in sendmail

// say sends a reply of one line. enhanced is "" only where there is no enhanced
// code: in the greeting, after HELO and EHLO, and with 3xx (RFC 2034, 4).
func (s *session) say(code int, enhanced, text string) {
	b := strconv.AppendInt(s.scratch[:0], int64(code), 10)
	b = append(b, ' ')
	if enhanced != "" {
		b = append(append(b, enhanced...), ' ')
	}
	b = append(append(b, text...), '\r', '\n')
	s.scratch = b
	s.wire.write(b)
}

// sayLines sends a reply of several lines.
func (s *session) sayLines(code int, enhanced string, lines []string) {
	b := s.scratch[:0]
	for i, line := range lines {
		b = strconv.AppendInt(b, int64(code), 10)
		if i < len(lines)-1 {
			b = append(b, '-')
		} else {
			b = append(b, ' ')
		}
		if enhanced != "" {
			b = append(append(b, enhanced...), ' ')
		}
		b = append(append(b, line...), '\r', '\n')
	}
	s.scratch = b
	s.wire.write(b)
}

// wrong refuses a command for what it is, which a client may do only so often.
func (s *session) wrong(code int, enhanced, text string) {
	s.errors++
	s.say(code, enhanced, text)
}

// refuse sends a reply of the policy. address is the argument of MAIL or RCPT that
// it is about, "" if it is not about one: sendmail puts it in front of the text
// for the codes 450, 550 and 553. As in sendmail the class of the enhanced code is
// the administrator's, and 421 to MAIL or RCPT does not close the connection.
func (s *session) refuse(r smtp.Reply, address string) {
	enhanced, text := r.Enhanced(), r.Text()
	if enhanced.IsZero() || strings.TrimSpace(text) == "" {
		enhanced, text = front.Presentable(r)
	}
	if enhanced.IsZero() {
		enhanced.Class = uint16(r.Code() / 100)
	}
	switch r.Code() {
	case 450, 550, 553:
		if address != "" {
			text = echo(address) + "... " + text
		}
	}
	s.sayLines(r.Code(), enhanced.String(), strings.Split(text, "\n"))
}

// echo is what the client said in a form in which it can be said back: bounded,
// and without what could change the reply or who looks at it.
func echo(s string) string {
	if len(s) > maxEcho {
		s = s[:maxEcho-3] + "..."
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
}
