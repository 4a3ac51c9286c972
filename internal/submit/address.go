package submit

import (
	"errors"
	"fmt"
	"strings"
)

var errUnbalanced = errors.New("a quote, comment or bracket has no end")

const maxAddress = 1000 // bytes; RFC 5321 has 256

// addresses are the addresses of a list as it stands in To or on the command line
// (RFC 5322, 3.4): with names, comments and groups, or only of words. What is written
// without a domain stays so.
func addresses(text string) ([]string, error) {
	if !strings.ContainsAny(text, `,;:<>()"\[]`) {
		return words(text), nil
	}
	var all []string
	var p addressParser
	for i := 0; i < len(text); i++ {
		if end := p.byte(text[i]); end {
			if a := p.address(); a != "" {
				all = append(all, a)
			}
		}
	}
	if p.open() {
		return nil, errUnbalanced
	}
	if a := p.address(); a != "" {
		all = append(all, a)
	}
	return all, nil
}

// words are addresses with nothing but spaces between them, sendmail's old style of
// headers. Spaces around an @ are part of the address.
func words(text string) []string {
	var all []string
	for _, w := range strings.Fields(text) {
		last := len(all) - 1
		if last >= 0 && (strings.HasPrefix(w, "@") || strings.HasSuffix(all[last], "@")) {
			all[last] += w
			continue
		}
		all = append(all, w)
	}
	return all
}

// addressParser reads a list byte by byte.
type addressParser struct {
	plain, angle     strings.Builder // of the address so far: outside of <>, and inside
	named            bool            // there were <>
	inAngle, inQuote bool
	literal, escaped bool
	comment          int // depth
}

func (p *addressParser) open() bool { return p.inAngle || p.inQuote || p.literal || p.comment > 0 }

// byte takes one, and says whether it ends an address.
func (p *addressParser) byte(c byte) (end bool) {
	switch {
	case p.escaped:
		p.escaped = false
		p.keep(c)
	case c == '\\' && (p.inQuote || p.comment > 0):
		p.escaped = true
		p.keep(c)
	case p.inQuote:
		p.inQuote = c != '"'
		p.keep(c)
	case c == '(' && !p.literal:
		p.comment++
	case c == ')' && p.comment > 0:
		p.comment--
	case p.comment > 0:
	case p.literal:
		p.literal = c != ']'
		p.keep(c)
	default:
		return p.special(c)
	}
	return false
}

// special takes a byte that stands outside of quotes, comments and literals.
func (p *addressParser) special(c byte) (end bool) {
	switch c {
	case '"':
		p.inQuote = true
	case '[':
		p.literal = true
	case '<':
		p.inAngle, p.named = true, true
		p.angle.Reset()
		return false
	case '>':
		p.inAngle = false
		return false
	case ' ', '\t', '\r', '\n':
		return false
	case ',', ';':
		if !p.inAngle {
			return true
		}
	case ':':
		if !p.inAngle { // the name of a group
			p.plain.Reset()
			return false
		}
	}
	p.keep(c)
	return false
}

func (p *addressParser) keep(c byte) {
	switch {
	case p.comment > 0:
	case p.inAngle:
		p.angle.WriteByte(c)
	default:
		p.plain.WriteByte(c)
	}
}

// address is the one that has ended, and begins another.
func (p *addressParser) address() string {
	a := p.plain.String()
	if p.named {
		a = p.angle.String()
	}
	p.plain.Reset()
	p.angle.Reset()
	p.named = false
	return a
}

// path checks that an address can stand between < and > in a command, and nothing of it
// beyond.
func path(address string) error {
	if len(address) > maxAddress {
		return fmt.Errorf("the address %.40q... is too long", address)
	}
	quoted, escaped := false, false
	for i := 0; i < len(address); i++ {
		switch c := address[i]; {
		case c < ' ' || c == 0x7f:
			return fmt.Errorf("the address %q has a control character", address)
		case escaped:
			escaped = false
		case c == '\\' && quoted:
			escaped = true
		case c == '"':
			quoted = !quoted
		case !quoted && (c == '<' || c == '>' || c == ' '):
			return fmt.Errorf("the address %q has a %q", address, c)
		}
	}
	if quoted {
		return fmt.Errorf("the address %q has a quote without end", address)
	}
	return nil
}

// single is the one address that a sender is written as, "" for the null one.
func single(text string) (string, error) {
	list, err := addresses(text)
	switch {
	case err != nil:
		return "", fmt.Errorf("the sender %q: %w", text, err)
	case len(list) > 1:
		return "", fmt.Errorf("the sender %q is more than one address", text)
	case len(list) == 0:
		return "", nil
	}
	return list[0], nil
}

// qualify adds the host to an address without domain.
func qualify(address, host string) string {
	if address == "" || strings.Contains(address, "@") {
		return address
	}
	return address + "@" + host
}

func ascii(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
