package main

import (
	"bytes"
	"net/netip"
	"strings"

	"gatepost/internal/dns/dnsfake"
)

// Known differences: faults of sendmail, or on purpose. README.md shows them; keep
// the two lists the same. One is not here, since the generator leaves it out: senders in a
// literal that is no address, [300.1.1.1].

// notOverSMTP says whether a session cannot be held, by a fault that is known.
//
// "Percent at connection": the text by which sendmail refuses a client is used as
// a format for printf (srvrsmtp.c, usrerr(nullserver)), so "100% of it" comes out
// as "1000f it", and two "%s" end the server process. At MAIL and RCPT the text
// is an argument and is whole.
func notOverSMTP(s *Session) bool {
	v := s.Expected.Connect
	return v.refuses() && strings.Contains(v.Text, "%")
}

// onPurpose says why Gatepost differs, for a policy with one session and what was
// said of it; "" where there is no reason.
//
// "A circle of aliases": a name that leads back to itself cannot be asked for, so
// mail waits; sendmail says that it does not exist.
//
// "A route that stays": a local part with @, % or ! that was not followed is
// remote for Gatepost, because the mail server may follow it.
//
// "A literal in a path": host![IPv6:...]!user is no address for sendmail because of
// its colons; Gatepost judges it.
//
// "An alias of one label": sendmail takes aliases one at a time and asks for no
// name of one label; Gatepost has what the DNS makes of the whole chain.
func onPurpose(p *Policy, said []byte) string {
	addresses := p.Sessions[0].MailFrom + strings.Join(p.Sessions[0].RcptTo, " ")
	waits := bytes.Contains(said, []byte("got 451 4.1.8")) || bytes.Contains(said, []byte("got 450 4."))
	denied := bytes.Contains(said, []byte("got 550 5.7.1 Relaying denied"))
	switch {
	case waits && hasCircle(p.DNS):
		return "a circle of aliases"
	case strings.Contains(addresses, "[IPv6:") && strings.Contains(addresses, "]!"):
		return "a literal in a path"
	case denied && routes(p.Sessions[0].RcptTo):
		return "a route that stays"
	case hasOddLiteral(addresses):
		return "a literal that is no address"
	case aliasOfOneLabel(p.DNS):
		return "an alias of one label"
	}
	return ""
}

// hasOddLiteral tells whether something in brackets is no IPv4 address, such as
// [10.1.2].
func hasOddLiteral(addresses string) bool {
	for rest := addresses; ; {
		_, after, found := strings.Cut(rest, "[")
		if !found {
			return false
		}
		var text string
		text, rest, _ = strings.Cut(after, "]")
		if _, err := netip.ParseAddr(text); err != nil && !strings.HasPrefix(text, "IPv6:") {
			return true
		}
	}
}

// aliasOfOneLabel tells whether an alias leads to a name of one label, and from
// there to another.
func aliasOfOneLabel(zone dnsfake.Zone) bool {
	for _, r := range zone {
		next := strings.ToLower(strings.TrimSuffix(r.CNAME, "."))
		if next != "" && !strings.Contains(next, ".") && zone[next].CNAME != "" {
			return true
		}
	}
	return false
}

// hasCircle tells whether an alias leads back to itself.
func hasCircle(zone dnsfake.Zone) bool {
	for name := range zone {
		at := name
		for range len(zone) + 1 {
			at = strings.ToLower(strings.TrimSuffix(at, "."))
			alias := zone[at].CNAME
			if alias == "" {
				at = ""
				break
			}
			at = alias
		}
		if at != "" {
			return true
		}
	}
	return false
}

// routes tells whether a recipient's local part has a routing character.
func routes(recipients []string) bool {
	for _, r := range recipients {
		text := strings.Trim(r, "<>")
		if at := strings.LastIndexByte(text, '@'); at > 0 && strings.ContainsAny(text[:at], "@%!") {
			return true
		}
	}
	return false
}
