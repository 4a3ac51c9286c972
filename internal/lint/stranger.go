package lint

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"gatepost/internal/smtp"
	"gatepost/maps"
	"gatepost/policy"
)

// naming answers whether the policy's tables name an address or a host.
type naming struct {
	access maps.Map
	relay  []maps.Map
	local  []maps.Map
	own    []maps.Map

	virtual           []maps.Map
	trusted, spammers maps.Map // may be nil

	networks []*maps.Networks
}

func newNaming(c *policy.Config) *naming {
	return &naming{
		access: maps.Chain(keyed(c.Access)), relay: keyedAll(c.RelayDomains), local: keyedAll(c.LocalHostNames), own: c.OwnDomains,
		virtual: keyedAll(c.VirtualHosts), trusted: maps.Chain(keyed(c.Trusted)), spammers: maps.Chain(keyed(c.Spammers)),
		networks: networks(append([]maps.Map{c.Access}, c.RelayDomains...)...),
	}
}

// namingTags are the tags under which an address or a host may stand.
func namingTags() []string {
	return []string{"", tagConnect, tagFrom, tagTo, tagSpam, tagClientRate, tagClientConn, tagGreetPause}
}

// entry tells whether a table has the word. One that cannot be asked names nothing:
// it is the policy that answers for it.
func (n *naming) entry(word string) bool {
	if n.access != nil {
		for _, tag := range namingTags() {
			if has(n.access, tag+word) {
				return true
			}
		}
	}
	return hasAny(n.relay, word) || n.trusts(word, "*."+word) || n.spammers != nil && has(n.spammers, word)
}

// trusts tells whether the trusted table has one of the keys.
func (n *naming) trusts(keys ...string) bool {
	return n.trusted != nil && slices.ContainsFunc(keys, func(k string) bool { return has(n.trusted, k) })
}

// trustsNet tells whether the trusted table has the beginning of addresses: octets
// that are left out are asterisks, IPv6 addresses are whole.
func (n *naming) trustsNet(p prefix) bool {
	if p.v6 {
		short := p.first().String()
		return p.whole() && n.trusts(short, "ipv6:"+short)
	}
	return n.trusts(p.key() + strings.Repeat(".*", 4-len(p.parts)))
}

func has(m maps.Map, word string) bool {
	_, found, err := m.Lookup(context.Background(), word)
	return found && err == nil
}

func hasAny(class []maps.Map, word string) bool {
	for _, m := range class {
		if has(m, word) {
			return true
		}
	}
	return false
}

// host tells whether an entry that is longer than allowed names the host: the
// host itself or a domain above it.
func (n *naming) host(name string, allowed int) bool {
	if hasAny(n.local, name) || hasAny(n.virtual, name) {
		return true
	}
	for i := range len(name) {
		if !smtp.TokenBoundary(name, i) {
			continue
		}
		word := name[i:]
		if len(strings.TrimPrefix(word, ".")) > allowed && (n.entry(word) || hasAny(n.own, word)) {
			return true
		}
	}
	return false
}

// net tells whether an entry names the beginning of addresses.
func (n *naming) net(p prefix) bool {
	word, separator := strings.ToLower(p.key()), "."
	if p.v6 {
		separator = ":"
	}
	return n.entry(word) || n.entry("["+word+"]") || hasAny(n.relay, word+separator) || n.trustsNet(p) || n.covered(p)
}

// strangeName makes up a host name below entry, or anywhere with entry "", that no
// longer entry names and that a stranger can have.
func (n *naming) strangeName(entry string) (string, bool) {
	bases := []string{"example", "test", "org", "net", "com", "info", "biz", "de", "fr", "nl", "pl", "it", "ru", "cn", "br", "in", "us", "eu", "ch", "se"}
	if entry != "" {
		base, ok := strangersBelow(entry)
		if !ok {
			return "", false
		}
		bases = []string{base}
	}
	for _, base := range bases {
		if name, ok := n.unnamed("stranger", base, len(entry)); ok {
			return name, true
		}
	}
	return "", false
}

// unnamed puts a label before base, and a number behind it if need be, so that no
// entry longer than allowed names the host.
func (n *naming) unnamed(label, base string, allowed int) (string, bool) {
	for i := range 50 {
		name := label + "." + base
		if i > 0 {
			name = fmt.Sprintf("%s%d.%s", label, i+1, base)
		}
		if !n.host(name, allowed) {
			return name, true
		}
	}
	return "", false
}

// mostPrefixes bounds the search for an address: more than there are groups of IPv6.
const mostPrefixes = 100000

// strangeAddr makes up a public address that begins with p and that no longer
// entry names. One from the networks for documentation is the last choice. When
// there is none, all tells whether the search was complete.
func (n *naming) strangeAddr(p prefix) (a netip.Addr, ok, all bool) {
	all = true
	for _, avoid := range [][]netip.Prefix{append(notPublic(), documentation()...), notPublic()} {
		s := addrSearch{naming: n, avoid: avoid, left: mostPrefixes}
		if a, ok = s.below(p); ok {
			return a, true, true
		}
		all = all && s.left > 0
	}
	return a, false, all
}

// addrSearch goes through the addresses part by part.
type addrSearch struct {
	*naming
	avoid []netip.Prefix
	left  int // prefixes that may still be looked at
}

// below finds an address that begins with p.
func (s *addrSearch) below(p prefix) (netip.Addr, bool) {
	if p.whole() {
		a := p.first()
		return a, !hasAny(s.local, "["+addrKey(a)+"]")
	}
	// The first that are tried are given out and far apart.
	start, size := []int{92, 78, 114, 26}, 256
	if p.v6 {
		start, size = []int{0x2a00, 0x1450, 0x40, 0, 0, 0, 0, 0x25}, 65536
	}
	at := len(p.parts)
	next := prefix{v6: p.v6, parts: append(slices.Clone(p.parts), 0)}
	for i := range size {
		if s.left--; s.left <= 0 {
			break
		}
		next.parts[at] = uint16((start[at] + i) % size)
		if next.within(s.avoid) || s.net(next) {
			continue
		}
		if a, ok := s.below(next); ok {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// strangeUser is a local part that no entry for domain names.
func (n *naming) strangeUser(domain string) string {
	user := "someone"
	for i := range 50 {
		if !n.entry(user+"@"+domain) && !n.entry(user+"@") {
			break
		}
		user = fmt.Sprintf("someone%d", i+2)
	}
	return user
}
