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
}

func newNaming(c *policy.Config) *naming {
	return &naming{
		access: c.Access, relay: c.RelayDomains, local: c.LocalHostNames, own: c.OwnDomains,
		virtual: c.VirtualHosts, trusted: c.Trusted, spammers: c.Spammers,
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

// addr tells whether an entry that has more parts than allowed names the address.
func (n *naming) addr(a netip.Addr, allowed int) bool {
	key := addrKey(a)
	if hasAny(n.local, "["+key+"]") || n.trusts(key, a.String(), "ipv6:"+a.String()) {
		return true
	}
	separator := "."
	if a.Is6() {
		separator = ":"
	}
	words := strings.Split(key, separator)
	for len(words) > 0 {
		word := strings.Join(words, separator)
		parts := len(words)
		if a.Is6() {
			parts-- // the word IPv6
		}
		if parts > allowed && (n.entry(word) || n.entry("["+word+"]") || hasAny(n.relay, word+separator) || n.trusts(word+strings.Repeat(".*", max(0, 4-parts)))) {
			return true
		}
		words = words[:len(words)-1]
	}
	return false
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

// strangeAddr makes up a public address that begins with p and that no longer
// entry names. An address from the networks for documentation is the last choice.
func (n *naming) strangeAddr(p prefix) (netip.Addr, bool) {
	var second netip.Addr
	for i := range 4000 {
		a := spread(p, i)
		switch {
		case !public(a) || n.addr(a, len(p.parts)):
		case !documentation(a):
			return a, true
		case !second.IsValid():
			second = a
		}
	}
	return second, second.IsValid()
}

// spread fills the parts that p leaves open with the i-th of many patterns.
func spread(p prefix, i int) netip.Addr {
	if p.v6 {
		b := p.first().As16()
		// 2a00::/12 and 2600::/12 are far apart and given out; 2000::/3 is public.
		rest := []uint16{0x2a00 + uint16(i*0x107%0x1000), uint16(0x1450 + i*0x71), uint16(0x40 + i), 0, 0, 0, 0, 0x25}
		if len(p.parts) == 0 && i%2 == 1 {
			rest[0] = 0x2600 + uint16(i*0x65%0x1000)
		}
		for j := len(p.parts); j < 8; j++ {
			b[2*j], b[2*j+1] = byte(rest[j]>>8), byte(rest[j])
		}
		return netip.AddrFrom16(b)
	}
	b := p.first().As4()
	rest := [4]int{91 + i, 77 + i*7, 113 + i*31, 25 + i*3}
	for j := len(p.parts); j < 4; j++ {
		b[j] = byte(1 + rest[j]%222)
	}
	return netip.AddrFrom4(b)
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
