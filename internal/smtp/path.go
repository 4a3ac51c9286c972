package smtp

import (
	"fmt"
	"strings"
)

// MaxPath is how many bytes sendmail takes in an address (its MAXNAME less one).
const MaxPath = 255

// Path is the argument of a MAIL or RCPT command: as the client wrote it, and
// as sendmail understands it. Make one with ParsePath. The zero Path is not a
// null sender but no address at all.
type Path struct {
	raw   string
	text  string
	fault Reply
}

// ParsePath reads the argument of MAIL or RCPT without its ESMTP parameters,
// "<u@example.com>" or without brackets. It never fails; an address that
// sendmail refuses to parse has a Fault (sendmail: invalidaddr and rule set Parse0).
func ParsePath(arg string) Path {
	raw := strings.Trim(arg, " \t")
	p := Path{raw: raw}
	if len(raw) > MaxPath+2 {
		p.fault = MustReply(553, "5.1.1", fmt.Sprintf("Address too long (%d bytes max)", MaxPath))
		return p
	}
	if strings.ContainsFunc(raw, isControl) {
		p.fault = MustReply(553, "5.1.0", "Address contained invalid control characters")
		return p
	}
	p.text, p.fault = stripBrackets(raw)
	p.text = plainBang(p.text)
	if p.fault.IsZero() && p.text != "" {
		p.fault = syntaxFault(p.text)
	}
	return p
}

// isControl reports ASCII and C1 control characters, and bytes that are not UTF-8.
func isControl(r rune) bool { return r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) || r == '\ufffd' }

// stripBrackets removes the angle brackets, to the innermost (rule set canonify).
func stripBrackets(s string) (string, Reply) {
	_, from, opening := operator(s, '<')
	to, _, closing := operator(s, '>')
	switch {
	case opening > closing:
		return "", MustReply(553, "5.0.0", "Unbalanced '<'")
	case opening < closing:
		return "", MustReply(553, "5.0.0", "Unbalanced '>'")
	case opening == 0:
		return s, Reply{}
	case to < from:
		return "", MustReply(553, "5.0.0", "Unbalanced '<'")
	}
	return strings.Trim(s[from+1:to], " \t"), Reply{}
}

// plainBang takes the backslash from "\!" outside of quoted strings, as sendmail's
// prescan does: shells made people write it so. The mark routes all the same.
func plainBang(text string) string {
	if !strings.Contains(text, `\!`) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '"':
			end, _ := quotedEnd(text, i)
			b.WriteString(text[i:end])
			i = end - 1
			continue
		case text[i] == '\\' && i+1 < len(text):
			i++
			if text[i] != '!' {
				b.WriteByte('\\')
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// syntaxFault finds what rule set Parse0 refuses.
func syntaxFault(text string) Reply {
	for i := 0; i < len(text); i++ {
		if text[i] == '"' {
			end, closed := quotedEnd(text, i)
			if !closed {
				return MustReply(553, "5.0.0", `Unbalanced '"'`)
			}
			i = end - 1
		} else if text[i] == '\\' {
			i++
		}
	}
	text = stripRoute(text)
	_, last, count := operator(text, '@')
	switch {
	case count == 0:
		return Reply{}
	case last == 0:
		return MustReply(553, "5.1.3", "User address required")
	case last == len(text)-1:
		return MustReply(553, "5.1.3", "Hostname required")
	case count > 1:
		return MustReply(553, "5.1.3", "Invalid route address")
	}
	return hostFault(strings.Trim(text[last+1:], " \t"))
}

func hostFault(host string) Reply {
	if literal, rest, ok := cutLiteral(host); ok {
		if rest != "" || literal == "" {
			return MustReply(553, "5.1.2", "Invalid address")
		}
		return Reply{}
	}
	switch {
	case strings.ContainsRune(host, ':'):
		return MustReply(553, "5.1.3", "Colon illegal in host name part")
	case strings.HasPrefix(host, "."), strings.Contains(host, ".."):
		return MustReply(553, "5.1.2", "Invalid host name")
	case strings.ContainsRune(host, ','):
		return MustReply(553, "5.1.3", "Invalid route address")
	}
	return Reply{}
}

// cutLiteral splits "[address]rest".
func cutLiteral(host string) (literal, rest string, ok bool) {
	if !strings.HasPrefix(host, "[") {
		return "", "", false
	}
	literal, rest, ok = strings.Cut(host[1:], "]")
	return literal, rest, ok
}

// Raw is the argument as the client wrote it.
func (p Path) Raw() string { return p.raw }

// Text is the address without its angle brackets; "" for the null path.
func (p Path) Text() string { return p.text }

// Address is the text without a source route, which nobody follows any more (RFC
// 5321, appendix C): what is sent on. It is "" for the null path.
func (p Path) Address() string { return stripRoute(p.text) }

// IsNull tells whether this is the null path "<>".
func (p Path) IsNull() bool { return p.text == "" && p.raw != "" && p.fault.IsZero() }

// Fault is the reply sendmail gives to an address that it cannot parse; it is
// zero for a good address.
func (p Path) Fault() Reply { return p.fault }

func (p Path) String() string { return p.raw }

// Mailbox is an address split at its focus. Local keeps its quotes. Domain is ""
// for an unqualified address; it may end in a dot, or in ".UUCP" for host!user
// where the host has no dot.
type Mailbox struct {
	Local, Domain string
}

func (m Mailbox) String() string {
	if m.Domain == "" {
		return m.Local
	}
	return m.Local + "@" + m.Domain
}

// Syntax says which old address forms are ordinary characters.
type Syntax struct {
	NoUUCP        bool // FEATURE(nouucp): ! has no meaning
	NoPercentHack bool // FEATURE(nopercenthack): % has no meaning
}

// ParseMailbox splits the text of an address as rule set canonify does: a
// source route is dropped, u@dom is split at the last @; without any @,
// host!user is user at host, and user%host is user at host.
func ParseMailbox(text string, s Syntax) Mailbox {
	text = stripRoute(text)
	if _, at, n := operator(text, '@'); n > 0 {
		return split(text, at)
	}
	if bang, _, n := operator(text, '!'); n > 0 && !s.NoUUCP {
		host, user := text[:bang], text[bang+1:]
		if host != "" && user != "" {
			return Mailbox{Local: user, Domain: uucpDomain(host)}
		}
	}
	if _, percent, n := operator(text, '%'); n > 0 && !s.NoPercentHack {
		return split(text, percent)
	}
	return Mailbox{Local: text}
}

func split(text string, i int) Mailbox {
	return Mailbox{
		Local:  strings.Trim(text[:i], " \t"),
		Domain: strings.Trim(text[i+1:], " \t"),
	}
}

// uucpDomain is the domain of host!user: "$+ . $- ! $+" is a domain already, and so
// is what ends in a dot.
func uucpDomain(host string) string {
	if strings.HasSuffix(host, ".") {
		return host
	}
	if dot := strings.LastIndexByte(host, '.'); dot > 0 && dot < len(host)-1 && !strings.ContainsFunc(host[dot+1:], delimiterRune) {
		return host
	}
	return host + ".UUCP"
}

func delimiterRune(r rune) bool { return r < 0x80 && IsDelimiter(byte(r)) }

// stripRoute cuts the source route of "@a,@b:u@c".
func stripRoute(text string) string {
	for strings.HasPrefix(text, "@") {
		cut := routeEnd(text)
		if cut < 0 || cut+1 >= len(text) {
			return text
		}
		text = strings.TrimLeft(text[cut+1:], " \t")
	}
	return text
}

// routeEnd is the offset of the comma or colon that ends the first hop of a
// route, not counting the colons of an address literal, or -1.
func routeEnd(text string) int {
	if comma, _, n := operator(text, ','); n > 0 {
		return comma
	}
	from := 1
	if strings.HasPrefix(text, "@[") {
		if from = strings.IndexByte(text, ']') + 1; from == 0 {
			return -1
		}
	}
	if colon, _, n := operator(text[from:], ':'); n > 0 {
		return from + colon
	}
	return -1
}
