package bounce

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// printable makes one line of what a peer has said, fit for this report: nothing of it can
// begin another field, nor another part. What is not ASCII stays in a report of RFC 6533.
func (l *letter) printable(s string) string {
	fits := func(r rune, size int) bool {
		if r == utf8.RuneError && size <= 1 {
			return false
		}
		return r < 0x80 || l.utf8 && unicode.IsPrint(r)
	}
	var b strings.Builder
	for len(s) > 0 && b.Len() < maxField {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r < ' ' || r == 0x7f || !fits(r, size):
			b.WriteByte('?')
		default:
			b.WriteString(s[:size])
		}
		s = s[size:]
	}
	return b.String()
}

// maxField keeps a line below the 998 bytes of RFC 5322, 2.1.1.
const maxField = 900

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// decoded is xtext (RFC 3461, section 4) in plain text. What is not, or would be more than
// a line, stays as it was given.
func (l *letter) decoded(xtext string) string {
	if s, ok := decodeXtext(xtext); ok {
		return l.printable(s)
	}
	return l.printable(xtext)
}

// decodeXtext accepts what decodes to printable ASCII.
func decodeXtext(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '+' {
			if i+2 >= len(s) {
				return "", false
			}
			high, low := hexDigit(s[i+1]), hexDigit(s[i+2])
			if high < 0 || low < 0 {
				return "", false
			}
			c = byte(high<<4 | low)
			i += 2
		}
		if c < ' ' || c >= 0x7f {
			return "", false
		}
		b.WriteByte(c)
	}
	return b.String(), true
}

// hexDigit reads an upper-case one, which is what xtext has; or -1.
func hexDigit(c byte) int { return strings.IndexByte("0123456789ABCDEF", c) }

// original is the address that a recipient had at first, and its type: "rfc822".
type original struct{ kind, address string }

// originalRecipient reads ORCPT. An address of RFC 6533's type utf-8 may stand there
// without xtext.
func originalRecipient(orcpt string) (original, bool) {
	kind, address, ok := strings.Cut(orcpt, ";")
	if !ok || kind == "" || address == "" {
		return original{}, false
	}
	if s, ok := decodeXtext(address); ok {
		address = s
	}
	return original{kind, address}, true
}

// reply is what the spool keeps of a next hop's answer: "host[192.0.2.1]:25: 550 5.1.1 no",
// or words of our own, with or without a host.
type reply struct {
	relay   string // "host[192.0.2.1]:25"
	host    string // "host", or "[192.0.2.1]"
	text    string
	smtp    bool // the text is the reply of an SMTP server
	expired bool // it is the last one before the time was over
}

func readReply(s string) (r reply) {
	if before, after, ok := strings.Cut(s, ": "); ok && before != "" && !strings.Contains(before, " ") && !code(before) {
		r.relay, r.host, s = before, hostOf(before), after
	}
	if after, ok := strings.CutPrefix(s, "not delivered within "); ok {
		if _, last, ok := strings.Cut(after, ": "); ok {
			r.expired, s = true, last
		}
	}
	r.text, r.smtp = s, code(s)
	return r
}

// hostOf is the name in "host[192.0.2.1]:25", or the address in "[192.0.2.1]:25".
func hostOf(relay string) string {
	if end := strings.IndexByte(relay, ']'); relay[0] == '[' && end > 0 {
		return relay[:end+1]
	}
	return relay[:strings.IndexAny(relay+"[", "[:")]
}

// code tells whether a text begins as the reply of an SMTP server does.
func code(s string) bool {
	return len(s) >= 3 && s[0] >= '2' && s[0] <= '5' && strings.Trim(s[:3], "0123456789") == "" && (len(s) == 3 || s[3] == ' ')
}

// reply is what is told of the n-th recipient's last answer: to a sender, whoever he is, no
// more of our own words than are his business. The postmaster gets all of them.
func (l *letter) reply(n int) reply {
	r := readReply(l.recipient(n).Reply)
	if l.postmaster {
		return r
	}
	if strings.Contains(r.relay, "/") {
		r.relay, r.host = "", "" // a socket, or a folder
	}
	if !r.smtp {
		r.text = public(r.text)
	}
	return r
}

// public is the part of our own words that is fit for strangers. What stands behind a colon
// is an error's text, with servers and files of ours in it; what demands a login or TLS is a
// line of a file.
func public(text string) string {
	what, why, _ := strings.Cut(text, ": ")
	if reached := strings.HasPrefix(what, "cannot connect") || strings.HasPrefix(what, "connection lost"); reached && plain(why) {
		return text
	}
	words := strings.Split(what, " ")
	kept := words[:0]
	for _, w := range words {
		if !strings.Contains(w, "/") && !strings.Contains(w, ".toml:") {
			kept = append(kept, w)
		} else if n := len(kept); n > 0 && kept[n-1] == "by" {
			kept = kept[:n-1]
		}
	}
	return strings.Join(kept, " ")
}

// plain tells whether a text has words only, as the system has them: "connection refused".
func plain(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz ") == ""
}
