package dns

import (
	"net/netip"
	"strconv"
	"strings"

	mdns "github.com/miekg/dns"
)

const (
	maxWireName = 255  // RFC 1035, 2.3.4
	maxTextName = 1004 // 251 bytes, each written \DDD: no longer text can be a name
)

// absolute gives the form that the codec packs: with the final dot. ok is false
// for what cannot be a name in the DNS: an empty label or name, a label over 63
// bytes, more than 255 in all, a backslash that escapes nothing. Such a name
// certainly has no records.
func absolute(name string) (fqdn string, ok bool) {
	if name == "" || len(name) > maxTextName {
		return "", false
	}
	fqdn = name + "."
	var wire [maxWireName]byte
	end, err := mdns.PackDomainName(fqdn, wire[:], 0, nil, false)
	return fqdn, err == nil && end > 1
}

// relative cuts the final dot, if it is one and not an escaped part of a label.
func relative(name string) string {
	if mdns.IsFqdn(name) {
		return name[:len(name)-1]
	}
	return name
}

// lower folds ASCII letters only, as the DNS does (RFC 4343), and allocates nothing if there is nothing to fold.
func lower(s string) string {
	for i := range len(s) {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			return lowered(s, i)
		}
	}
	return s
}

func lowered(s string, from int) string {
	b := []byte(s)
	for i := from; i < len(b); i++ {
		b[i] = lowerByte(b[i])
	}
	return string(b)
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

// sameName compares two names as the DNS does; a final dot makes no difference.
func sameName(a, b string) bool {
	return lower(relative(a)) == lower(relative(b))
}

// ReverseName is where the PTR records of an address are, without a final dot:
// "9.113.0.203.in-addr.arpa" (RFC 1035, 3.5) or the 32 nibbles under ip6.arpa
// (RFC 3596, 2.5). An IPv4-mapped address is taken as IPv4. It is "" for the invalid Addr.
func ReverseName(addr netip.Addr) string {
	addr = addr.Unmap()
	if !addr.IsValid() {
		return ""
	}
	var b strings.Builder
	bytes := addr.AsSlice()
	for i := len(bytes) - 1; i >= 0; i-- {
		if addr.Is4() {
			b.WriteString(strconv.Itoa(int(bytes[i])))
			b.WriteByte('.')
			continue
		}
		const hex = "0123456789abcdef"
		b.Write([]byte{hex[bytes[i]&15], '.', hex[bytes[i]>>4], '.'})
	}
	if addr.Is4() {
		return b.String() + "in-addr.arpa"
	}
	return b.String() + "ip6.arpa"
}
