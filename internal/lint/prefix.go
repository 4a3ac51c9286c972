package lint

import (
	"net/netip"
	"strconv"
	"strings"

	"gatepost/policy"
)

// prefix is the beginning of an address, as keys and members of classes have it:
// whole octets of IPv4, whole groups of IPv6.
type prefix struct {
	v6    bool
	parts []uint16
}

// parsePrefix reads "192.168", "ipv6:2001:db8" or "ipv6", in the one form that
// matches: decimal octets, and groups in hexadecimal, both without leading zeros.
func parsePrefix(s string) (p prefix, ok bool) {
	if s == "" || (s[0] < '0' || s[0] > '9') && s[0]|0x20 != 'i' { // most keys, of which tables may have millions
		return p, false
	}
	separator, base, most, high := ".", 10, 4, uint64(255)
	if rest, v6 := cutFold(s, "ipv6"); v6 {
		p.v6 = true
		if rest == "" {
			return p, true
		}
		if s, ok = strings.CutPrefix(rest, ":"); !ok {
			return p, false
		}
		separator, base, most, high = ":", 16, 8, 0xffff
	}
	if strings.Count(s, separator) >= most {
		return p, false
	}
	for w := range strings.SplitSeq(s, separator) {
		if w == "" || len(w) > 4 {
			return p, false
		}
		n, err := strconv.ParseUint(w, base, 16)
		if err != nil || n > high || len(w) > 1 && w[0] == '0' {
			return p, false
		}
		p.parts = append(p.parts, uint16(n))
	}
	return p, true
}

// bits is how many bits of an address the prefix fixes.
func (p prefix) bits() int {
	if p.v6 {
		return 16 * len(p.parts)
	}
	return 8 * len(p.parts)
}

// short tells whether strangers may be below it: one octet, or 32 bits of IPv6.
func (p prefix) short() bool {
	if p.v6 {
		return len(p.parts) <= 2
	}
	return len(p.parts) <= 1
}

// whole tells whether it is a complete address.
func (p prefix) whole() bool { return p.v6 && len(p.parts) == 8 || !p.v6 && len(p.parts) == 4 }

// first is the lowest address that begins so.
func (p prefix) first() netip.Addr {
	if p.v6 {
		var b [16]byte
		for i, g := range p.parts {
			b[2*i], b[2*i+1] = byte(g>>8), byte(g)
		}
		return netip.AddrFrom16(b)
	}
	var b [4]byte
	for i, o := range p.parts {
		b[i] = byte(o)
	}
	return netip.AddrFrom4(b)
}

// key is the prefix as a key has it.
func (p prefix) key() string {
	if p.v6 {
		s := "IPv6"
		for _, g := range p.parts {
			s += ":" + strconv.FormatUint(uint64(g), 16)
		}
		return s
	}
	words := make([]string, len(p.parts))
	for i, o := range p.parts {
		words[i] = strconv.Itoa(int(o))
	}
	return strings.Join(words, ".")
}

// private tells whether nobody outside can have an address below it.
func (p prefix) private() bool { return p.within(notPublic()) }

// within tells whether all that begins so is in one of the networks.
func (p prefix) within(nets []netip.Prefix) bool {
	net := netip.PrefixFrom(p.first(), p.bits())
	for _, n := range nets {
		if n.Bits() <= net.Bits() && n.Addr().Is4() == net.Addr().Is4() && n.Contains(net.Addr()) {
			return true
		}
	}
	return false
}

// notPublic are the networks from which nobody comes over the Internet (IANA
// special-purpose registries). The networks for documentation are not among
// them: in examples they stand for public ones.
func notPublic() []netip.Prefix {
	var all []netip.Prefix
	for s := range strings.FieldsSeq(`
		0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12
		192.0.0.0/24 192.168.0.0/16 198.18.0.0/15 224.0.0.0/3
		::/3 4000::/2 8000::/1`) {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

// documentation are the networks kept for examples.
func documentation() []netip.Prefix {
	var all []netip.Prefix
	for _, s := range []string{"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"} {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

// addrKey is an address as a key has it, in lower case.
func addrKey(a netip.Addr) string { return strings.ToLower(policy.AddrText(a)) }

// cutFold is strings.CutPrefix without regard to case.
func cutFold(s, word string) (rest string, ok bool) {
	if len(s) < len(word) || !strings.EqualFold(s[:len(word)], word) {
		return s, false
	}
	return s[len(word):], true
}
