package lint

import (
	"iter"
	"net/netip"

	"gatepost/maps"
	"gatepost/policy"
)

// keyed are the parts of a table whose entries are keys as the rules ask for them:
// not networks, not expressions, and not what cannot be listed.
func keyed(m maps.Map) []maps.Map {
	var parts []maps.Map
	for _, part := range maps.Parts(m) {
		switch part.(type) {
		case *maps.Networks, *maps.Patterns:
		case walker:
			parts = append(parts, part)
		}
	}
	return parts
}

// keyedAll is keyed for a class.
func keyedAll(class []maps.Map) (parts []maps.Map) {
	for _, m := range class {
		parts = append(parts, keyed(m)...)
	}
	return parts
}

// walker is a table whose entries can be listed.
type walker interface {
	All() iter.Seq2[string, maps.Entry]
}

// words are the entries of the keyed parts of a table.
func words(m maps.Map) iter.Seq2[string, maps.Entry] {
	return func(yield func(string, maps.Entry) bool) {
		for _, part := range keyed(m) {
			for key, e := range part.(walker).All() {
				if !yield(key, e) {
					return
				}
			}
		}
	}
}

// networks are the cidr parts of tables.
func networks(tables ...maps.Map) (all []*maps.Networks) {
	for _, m := range tables {
		for _, part := range maps.Parts(m) {
			if n, ok := part.(*maps.Networks); ok {
				all = append(all, n)
			}
		}
	}
	return all
}

// listed is the policy without the maps that cannot be listed: the search for an
// open relay asks nothing of a network. Expressions stay, but what they match is
// not known. complete tells whether nothing was left out or is unknown.
func listed(c policy.Config) (out policy.Config, complete bool) {
	complete = true
	filter := func(m maps.Map) maps.Map {
		var parts maps.Chain
		for _, part := range maps.Parts(m) {
			_, known := part.(walker)
			if _, pattern := part.(*maps.Patterns); pattern || !known {
				complete = false
			}
			if known {
				parts = append(parts, part)
			}
		}
		if len(parts) == len(maps.Parts(m)) {
			return m
		}
		return parts
	}
	classes := func(class []maps.Map) (all []maps.Map) {
		for _, m := range class {
			all = append(all, maps.Parts(filter(m))...)
		}
		return all
	}
	c.Access, c.Trusted, c.Spammers = filter(c.Access), filter(c.Trusted), filter(c.Spammers)
	c.RelayDomains, c.LocalHostNames, c.VirtualHosts = classes(c.RelayDomains), classes(c.LocalHostNames), classes(c.VirtualHosts)
	return c, complete
}

// maxSplit bounds the prefixes that a network is split into.
const maxSplit = 256

// network takes a network of a cidr map, if it is so large that strangers are in it.
func (s *survey) network(n netip.Prefix) {
	whole := 8 // bits of the prefixes that it is split into
	switch {
	case n.Addr().Is4() && n.Bits() > 8, n.Bits() > 32:
		return
	case n.Addr().Is6() && n.Bits() > 16:
		whole = 32
	case n.Addr().Is6():
		whole = 16
	}
	p := prefixOf(n.Addr(), whole)
	if n.Addr().Is6() && n.Bits() < 3 && n.Contains(netip.MustParseAddr("2000::")) {
		p.parts[0] = 0x2000 // where public addresses begin
	}
	last := len(p.parts) - 1
	for i := range min(1<<(whole-n.Bits()), maxSplit) {
		next := prefix{v6: p.v6, parts: append([]uint16{}, p.parts...)}
		next.parts[last] += uint16(i)
		s.net(next)
	}
	s.partial = s.partial || whole-n.Bits() > 8
}

// prefixOf is the beginning of an address, bits long.
func prefixOf(a netip.Addr, bits int) prefix {
	if a.Is4() {
		p := prefix{}
		for _, octet := range a.AsSlice()[:bits/8] {
			p.parts = append(p.parts, uint16(octet))
		}
		return p
	}
	p := prefix{v6: true}
	b := a.AsSlice()
	for i := 0; i < bits/8; i += 2 {
		p.parts = append(p.parts, uint16(b[i])<<8|uint16(b[i+1]))
	}
	return p
}

// covered tells whether a network that is too small for strangers has all of p.
func (n *naming) covered(p prefix) bool {
	longer := 8
	if p.v6 {
		longer = 32
	}
	for _, one := range n.networks {
		if one.Covers(netip.PrefixFrom(p.first(), p.bits()), longer) {
			return true
		}
	}
	return false
}
