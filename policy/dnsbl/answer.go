package dnsbl

import (
	"net/netip"
	"strings"

	"gatepost/internal/dns"
)

// AnswerError is an answer of a list that is about the question, not about what
// was asked for. It is not "listed", and not "not listed" either.
type AnswerError struct{ Addr netip.Addr }

func (e *AnswerError) Error() string {
	text := "answered " + e.Addr.String() + ": "
	switch e.Addr {
	case netip.AddrFrom4([4]byte{127, 255, 255, 252}):
		return text + "the zone is misspelt or has no such part"
	case netip.AddrFrom4([4]byte{127, 255, 255, 254}):
		return text + "the list refuses queries by way of a public or open resolver; ask it through a resolver of your own"
	case netip.AddrFrom4([4]byte{127, 255, 255, 255}):
		return text + "the list has had too many queries from you"
	case netip.AddrFrom4([4]byte{127, 0, 0, 1}):
		return text + "the list refuses the query"
	}
	if e.Addr.Is4() && e.Addr.As4()[0] == 127 {
		return text + "an error of the list"
	}
	return text + "no list does; the zone belongs to somebody else, or a resolver on the way makes answers up"
}

// Codes are the addresses of an answer with which a list may say "listed": those
// in 127.0.0.0/8 without 127.255.255.0/24, where lists put their errors, and
// without 127.0.0.1, with which some refuse queries and which is no listing
// (RFC 5782, 2.3 and 5), unless one of the filters names just that. When an answer
// has addresses but none of these, the error is an *AnswerError.
func Codes(a dns.Answer, filters []Filter) ([]netip.Addr, error) {
	for i, addr := range a.Addrs {
		if isCode(addr, filters) {
			continue
		}
		codes := append([]netip.Addr(nil), a.Addrs[:i]...)
		for _, other := range a.Addrs[i:] {
			if isCode(other, filters) {
				codes = append(codes, other)
			}
		}
		if len(codes) == 0 {
			return nil, &AnswerError{addr}
		}
		return codes, nil
	}
	return a.Addrs, nil
}

func isCode(a netip.Addr, filters []Filter) bool {
	if !a.Is4() {
		return false
	}
	switch b := a.As4(); {
	case b[0] != 127 || b[1] == 255 && b[2] == 255:
		return false
	case b == [4]byte{127, 0, 0, 1}:
		for i := range filters {
			if filters[i].First == a && filters[i].Last == a {
				return true
			}
		}
		return false
	}
	return true
}

// maxReason bounds the text of a list in a reply, in bytes: with the rest of the
// line it fits into 512 (RFC 5321, 4.5.3.1.5).
const maxReason = 200

// Reason is what a list says of an entry (RFC 5782, 2.1: a TXT record), fit for a
// reply: printable ASCII in one line of bounded length; "" when it says nothing.
func Reason(a dns.Answer, k Key) string {
	if len(a.Texts) == 0 {
		return ""
	}
	text := a.Texts[0]
	if len(text) > 4*maxReason {
		text = text[:4*maxReason]
	}
	text = k.Hide(text)
	printable := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, text)
	words := strings.Join(strings.Fields(printable), " ")
	if len(words) > maxReason {
		words = words[:maxReason-3] + "..."
	}
	return words
}
