package session

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"gatepost/internal/front"
	"gatepost/policy"
)

const xclientKeyword = "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT REVERSE_NAME"

const (
	unavailable     = "[UNAVAILABLE]"
	tempUnavailable = "[TEMPUNAVAIL]"
)

// xclient is what an XCLIENT command told; a nil field was not.
type xclient struct {
	name, reverse, addr, proto, helo, login *string
}

// parseXclient reads the argument of XCLIENT.
//
// Source: Postfix's XCLIENT_README.
func parseXclient(arg string) (x xclient, err error) {
	words := strings.Fields(arg)
	if len(words) == 0 {
		return x, errors.New("no attributes")
	}
	for _, word := range words {
		name, coded, found := strings.Cut(word, "=")
		value, ok := xtext(coded)
		if !found || !ok || value == "" {
			return x, fmt.Errorf("attribute %s", echo(word))
		}
		if err := x.set(strings.ToUpper(name), value); err != nil {
			return x, err
		}
	}
	return x, nil
}

func (x *xclient) set(name, value string) error {
	unknown := value == unavailable || value == tempUnavailable
	ok := true
	switch name {
	case "NAME":
		x.name, ok = &value, unknown || nameText(value) != ""
	case "REVERSE_NAME":
		x.reverse, ok = &value, unknown || nameText(value) != ""
	case "ADDR":
		_, valid := xclientAddr(value)
		x.addr, ok = &value, unknown || valid
	case "PROTO":
		x.proto, ok = &value, value == "SMTP" || value == "ESMTP" || unknown
	case "HELO":
		x.helo, ok = &value, unknown || validHelo(value)
	case "LOGIN":
		x.login, ok = &value, plain(value, true)
	case "DESTADDR":
		_, valid := xclientAddr(value)
		ok = unknown || valid
	case "PORT", "DESTPORT":
		ok = unknown || isPort(value)
	default:
		return fmt.Errorf("attribute name %s", echo(name))
	}
	if !ok {
		return fmt.Errorf("%s value %s", name, echo(value))
	}
	return nil
}

// xclientAddr reads an address: IPv6 ones have the prefix IPV6:.
func xclientAddr(s string) (netip.Addr, bool) {
	if len(s) > 5 && strings.EqualFold(s[:5], "IPV6:") {
		s = s[5:]
	}
	a, err := netip.ParseAddr(s)
	return a.Unmap(), err == nil && a.Zone() == ""
}

// told tells whether an attribute has a value.
func told(s *string) bool { return s != nil && *s != unavailable && *s != tempUnavailable }

// apply puts what was told into the facts of the connection. found says that the
// client's name is known by it, and need not be looked up.
func (x *xclient) apply(c *policy.Conn) (found bool) {
	if x.addr != nil {
		c.Addr, _ = xclientAddr(*x.addr)
	}
	if x.name == nil && x.reverse == nil {
		return false
	}
	c.Name, c.Ptr = "", ""
	if told(x.reverse) {
		c.Ptr = strings.TrimSuffix(*x.reverse, ".")
	}
	switch {
	case told(x.name):
		c.Resolve, c.Name = policy.ResolveOK, strings.TrimSuffix(*x.name, ".")
		if c.Ptr == "" {
			c.Ptr = c.Name
		}
	case x.name != nil && *x.name == tempUnavailable:
		c.Resolve = policy.ResolveTemp
	case c.Ptr != "":
		c.Resolve = policy.ResolveForged
	default:
		c.Resolve = policy.ResolveFail
	}
	return true
}

// xclient makes the session one of another client.
func (s *session) xclient(arg string) {
	switch {
	case !s.trusted:
		s.wrong(550, "5.7.0", "Insufficient authorization")
		return
	case s.tx.open:
		s.wrong(503, "5.5.1", "MAIL transaction in progress")
		return
	}
	x, err := parseXclient(arg)
	if err != nil {
		s.wrong(501, "5.5.4", "Bad XCLIENT command: "+err.Error())
		return
	}
	s.leave()
	if x.addr != nil { // nothing of another client stays
		s.facts = policy.Facts{TLS: policy.TLS{Verify: verifyNone}}
		s.helo = front.Outcome{}
	}
	s.memory, s.early = policy.Memory{}, false
	named := x.apply(&s.facts.Conn)
	if x.proto != nil {
		s.extended = *x.proto == "ESMTP"
	}
	if x.login != nil {
		s.facts.Auth = xclientLogin(*x.login)
	}
	if !s.fence() || !s.judgeClient(named || x.addr == nil) {
		return
	}
	if told(x.helo) {
		s.judgeHelo(*x.helo)
	}
	s.greet()
}

func xclientLogin(login string) policy.Auth {
	if login == unavailable || login == tempUnavailable {
		return policy.Auth{}
	}
	return policy.Auth{Type: "XCLIENT", Authen: login}
}

// xtext decodes RFC 3461's xtext: +2B is a plus sign.
func xtext(s string) (string, bool) {
	if strings.IndexByte(s, '+') < 0 {
		return s, true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '+' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		high, ok1 := hexDigit(s[i+1])
		low, ok2 := hexDigit(s[i+2])
		if !ok1 || !ok2 {
			return "", false
		}
		b.WriteByte(high<<4 | low)
		i += 2
	}
	return b.String(), true
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
