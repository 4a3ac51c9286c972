// Package dns asks the Domain Name System the few questions that mail policy
// has, and keeps three results apart: found, absent, could not ask.
package dns

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Type is the kind of record asked for.
type Type uint16

// The types that policy asks for, by their numbers in the protocol (RFC 1035, RFC 3596,
// RFC 6698).
const (
	TypeA    Type = 1
	TypePTR  Type = 12
	TypeMX   Type = 15
	TypeTXT  Type = 16
	TypeAAAA Type = 28
	TypeTLSA Type = 52
)

func (t Type) String() string {
	switch t {
	case TypeA:
		return "A"
	case TypePTR:
		return "PTR"
	case TypeMX:
		return "MX"
	case TypeTXT:
		return "TXT"
	case TypeAAAA:
		return "AAAA"
	case TypeTLSA:
		return "TLSA"
	}
	return "TYPE" + strconv.Itoa(int(t))
}

// A Resolver asks one question. An Answer without records means that the name
// has none of that type (no such name, or no such data: certain absence). An
// error means that no answer was had: SERVFAIL, time-out, REFUSED, a broken
// message. Names are absolute, with or without the final dot; there is no
// search list. A CNAME is followed.
type Resolver interface {
	Lookup(ctx context.Context, name string, t Type) (Answer, error)
}

// Answer is what the DNS said. It is shared between callers and must not be changed.
type Answer struct {
	Name   string       // the name that owns the records, after CNAMEs; no final dot
	Addrs  []netip.Addr // A and AAAA, in the order of the answer
	MX     []MX         // in the order of the answer
	Names  []string     // PTR, no final dots
	Texts  []string     // TXT, the strings of each record joined
	TLSA   []TLSA       // in the order of the answer
	TTL    time.Duration
	Server string // who answered: "192.0.2.53:53", "/etc/hosts", "cache of ..."

	// Authentic says that a server that is trusted to validate has found all of the
	// answer, CNAMEs and absence too, signed as DNSSEC demands: its AD bit (RFC 4035, 3.2.3).
	Authentic bool
}

// MX is one mail exchanger. Host has no final dot; it is empty for the null MX (RFC 7505).
type MX struct {
	Preference uint16
	Host       string
}

// TLSA says which certificates a server may have (RFC 6698, 2.1).
type TLSA struct {
	Usage, Selector, Matching uint8
	Data                      []byte
}

// String is the record in the form of zone files: "3 1 1 0123abcd...".
func (r TLSA) String() string {
	return fmt.Sprintf("%d %d %d %x", r.Usage, r.Selector, r.Matching, r.Data)
}

// Empty tells whether the answer has no record: the name has none of the type asked for.
func (a Answer) Empty() bool {
	return len(a.Addrs) == 0 && len(a.MX) == 0 && len(a.Names) == 0 && len(a.Texts) == 0 && len(a.TLSA) == 0
}

// String lists the records, for logs and explanations; "" for an empty answer.
func (a Answer) String() string {
	var words []string
	for _, addr := range a.Addrs {
		words = append(words, addr.String())
	}
	for _, mx := range a.MX {
		words = append(words, strconv.Itoa(int(mx.Preference))+" "+mx.Host)
	}
	words = append(words, a.Names...)
	words = append(words, a.Texts...)
	for _, r := range a.TLSA {
		words = append(words, r.String())
	}
	return strings.Join(words, ", ")
}
