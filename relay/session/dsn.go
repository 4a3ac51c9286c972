package session

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"gatepost/relay/spool"
)

// Bounds of parameters (RFC 3461, 4.2 and 4.4).
const (
	longestEnvID = 100 // characters, decoded
	longestORcpt = 500
)

// rcptParams are the parameters of RCPT.
type rcptParams struct {
	notify spool.Notify
	orcpt  string // in ASCII
}

// parse reads them; wide says that MAIL had SMTPUTF8.
func (p *rcptParams) parse(words []string, wide bool) *paramFault {
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		var ok, again bool
		switch strings.ToUpper(name) {
		case "NOTIFY":
			again = p.notify != 0
			p.notify, ok = parseNotify(value)
		case "ORCPT":
			again = p.orcpt != ""
			p.orcpt, ok = parseORcpt(value, wide)
		default:
			return &paramFault{555, "5.5.4", echo(word) + " parameter unrecognized"}
		}
		if f := parameter(name, value, ok, again); f != nil {
			return f
		}
	}
	return nil
}

// parameter is what is wrong with one that must have a value, once.
func parameter(name, value string, ok, again bool) *paramFault {
	name = strings.ToUpper(name)
	switch {
	case again:
		return &paramFault{501, "5.5.4", "Duplicate " + name + " parameter"}
	case value == "":
		return &paramFault{501, "5.5.4", name + " requires a value"}
	case !ok:
		return &paramFault{501, "5.5.4", `Bad argument "` + echo(value) + `" to ` + name}
	}
	return nil
}

// parseRet reads RET: what of the message a report has.
func parseRet(value string) (string, bool) {
	ret := strings.ToUpper(value)
	return ret, ret == "FULL" || ret == "HDRS"
}

// parseEnvID reads ENVID, which is sent on as it is.
func parseEnvID(value string) (string, bool) {
	n, ok := xtextLength(value)
	if !ok || n > longestEnvID {
		return "", false
	}
	return strings.Clone(value), true // not with the whole line
}

// parseNotify reads NOTIFY: NEVER, or a list of the others.
func parseNotify(value string) (n spool.Notify, ok bool) {
	for word := range strings.SplitSeq(value, ",") {
		switch strings.ToUpper(word) {
		case "NEVER":
			n |= spool.NotifyNever
		case "SUCCESS":
			n |= spool.NotifySuccess
		case "FAILURE":
			n |= spool.NotifyFailure
		case "DELAY":
			n |= spool.NotifyDelay
		default:
			return 0, false
		}
	}
	return n, n&spool.NotifyNever == 0 || n == spool.NotifyNever
}

// parseORcpt reads ORCPT: the type of an address, and the address in xtext, or as RFC 6533
// (section 3) writes one that is not ASCII. It is returned in ASCII.
func parseORcpt(value string, wide bool) (string, bool) {
	kind, address, found := strings.Cut(value, ";")
	if !found || !atom(kind) || address == "" || len(value) > longestORcpt {
		return "", false
	}
	if !strings.EqualFold(kind, "utf-8") {
		_, ok := xtextLength(address)
		return strings.Clone(value), ok
	}
	coded, ok := unitext(address, wide)
	value = kind + ";" + coded
	return value, ok && len(value) <= longestORcpt
}

// xtextLength checks that s is xtext (RFC 3461, 4), with nothing in it but printable ASCII
// and blanks, and counts the characters that it stands for.
func xtextLength(s string) (n int, ok bool) {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c <= ' ' || c > '~' || c == '=' {
			return 0, false
		}
		if c == '+' {
			if i+2 >= len(s) {
				return 0, false
			}
			high, ok1 := hexDigit(s[i+1])
			low, ok2 := hexDigit(s[i+2])
			if c = high<<4 | low; !ok1 || !ok2 || c < ' ' || c > '~' {
				return 0, false
			}
			i += 2
		}
		n++
	}
	return n, true
}

// unitext checks an address of the type utf-8: printable ASCII, characters as \x{C3A9},
// and, if raw, others as they are, which are returned in that form too.
func unitext(s string, raw bool) (coded string, ok bool) {
	var b strings.Builder
	for s != "" {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == '\\':
			if n = codePoint(s); n == 0 {
				return "", false
			}
			b.WriteString(s[:n])
		case r <= ' ' || r == '+' || r == '=' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError && n == 1 || r > '~' && !raw:
			return "", false
		case r > '~':
			b.WriteString(`\x{` + strings.ToUpper(strconv.FormatInt(int64(r), 16)) + "}")
		default:
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String(), true
}

// codePoint is the length of the \x{...} at the beginning of s; 0 if there is none, or
// none that is printable.
func codePoint(s string) int {
	end := strings.IndexByte(s, '}')
	if !strings.HasPrefix(s, `\x{`) || end < 5 || end > 9 {
		return 0
	}
	var r rune
	for i := 3; i < end; i++ {
		d, ok := hexDigit(s[i])
		if !ok {
			return 0
		}
		r = r<<4 | rune(d)
	}
	if !utf8.ValidRune(r) || r < ' ' || r >= 0x7f && r < 0xa0 {
		return 0
	}
	return end + 1
}

// atom tells whether s is one (RFC 5322, 3.2.3), in ASCII.
func atom(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) < 0 {
			return false
		}
	}
	return s != ""
}
