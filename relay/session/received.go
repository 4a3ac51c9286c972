package session

import (
	"net/netip"
	"strings"
	"time"

	"gatepost/policy"
)

// received is the Received field of a message (RFC 5321, 4.4). Nothing in it can
// begin a line or a field: helo has the characters of validHelo, the others are
// cleaned here.
func (s *session) received(id string, at time.Time) string {
	c := &s.facts.Conn
	helo := s.facts.Helo.Name
	switch {
	case s.rules.Local:
		helo = localName
	case helo == "":
		helo = literal(c.Addr)
	}
	var b strings.Builder
	b.WriteString("Received: from " + helo + " (" + s.clientText() + ")\r\n")
	if s.facts.Auth.Type != "" {
		b.WriteString("\t(authenticated)\r\n")
	}
	b.WriteString("\tby " + s.server.cfg.HostName + " with " + s.protocol() + " id " + id)
	if s.secure.on() {
		b.WriteString("\r\n\t" + s.secure.text(s.facts.TLS.Verify))
	}
	if tx := &s.tx; len(tx.rcpts) == 1 && plain(tx.rcpts[0].Address, tx.utf8) {
		b.WriteString("\r\n\tfor <" + tx.rcpts[0].Address + ">")
	}
	b.WriteString(";\r\n\t" + at.Format("Mon, 2 Jan 2006 15:04:05 -0700") + "\r\n")
	return b.String()
}

// clientText is how sendmail writes a client: "name [address]".
func (s *session) clientText() string {
	if s.rules.Local {
		return s.local.String()
	}
	c := &s.facts.Conn
	addr := literal(c.Addr)
	switch name := nameText(c.Name); {
	case name != "":
		return name + " " + addr
	case c.Resolve == policy.ResolveForged && nameText(c.Ptr) != "":
		return nameText(c.Ptr) + " " + addr + " (may be forged)"
	}
	return addr
}

// literal is an address as an address literal (RFC 5321, 4.1.3).
func literal(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return "[unknown]"
	case a.Is6():
		return "[IPv6:" + a.String() + "]"
	}
	return "[" + a.String() + "]"
}

// nameText is a name from the DNS if it has only characters of host names.
func nameText(name string) string {
	if validHelo(name) && !strings.ContainsAny(name, "[]:#") {
		return name
	}
	return ""
}

// protocol is the keyword of what the client spoke (RFC 3848, RFC 6531).
func (s *session) protocol() string {
	if !s.extended {
		return "SMTP"
	}
	p := "ESMTP"
	if s.tx.utf8 {
		p = "UTF8SMTP"
	}
	if s.secure.on() {
		p += "S"
	}
	if s.facts.Auth.Type != "" {
		p += "A"
	}
	return p
}

// plain tells whether an address can stand in a header field as it is.
func plain(address string, utf8 bool) bool {
	for _, r := range address {
		if r <= ' ' || r == 0x7f || r == '<' || r == '>' || r == '\ufffd' || r >= 0x80 && (!utf8 || r < 0xa0) {
			return false
		}
	}
	return true
}
