package dnsbl

import (
	"net/netip"
	"strings"

	"gatepost/internal/dns"
)

// maxName bounds a name in the DNS in text form, without final dot (RFC 1035, 2.3.4).
const maxName = 253

// Key is a subscriber's key, a label between what is looked up and the zone. It
// is a secret: printed by any verb it shows nothing.
type Key string

// String implements fmt.Stringer.
func (k Key) String() string {
	if k == "" {
		return ""
	}
	return hiddenKey
}

// GoString implements fmt.GoStringer.
func (k Key) GoString() string { return k.String() }

// hiddenKey stands where a key was. As a label it would be one that no list has.
const hiddenKey = "(key)"

// Hide replaces the key in a text that may have it.
func (k Key) Hide(text string) string {
	if k == "" {
		return text
	}
	return strings.ReplaceAll(text, string(k), hiddenKey)
}

// HideIn is an error without the key in its text.
func (k Key) HideIn(err error) error {
	if k == "" || err == nil {
		return err
	}
	return &hidden{k.Hide(err.Error()), err}
}

type hidden struct {
	text string
	err  error
}

func (h *hidden) Error() string { return h.text }
func (h *hidden) Unwrap() error { return h.err }

// Name is where a list has an entry.
type Name struct {
	Asked string // in the DNS
	Shown string // the same without the key, for whatever people read
}

// AddrName is where the list has an entry for an address: its octets, or its 32
// nibbles, backwards before the zone (RFC 5782, 2.1 and 2.4). ok is false for an
// address that the list is not asked about.
func (z *Zone) AddrName(addr netip.Addr) (n Name, ok bool) {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() || z.Domains || z.IPv4Only && !addr.Is4() {
		return Name{}, false
	}
	reversed := dns.ReverseName(addr)
	reversed = strings.TrimSuffix(strings.TrimSuffix(reversed, "in-addr.arpa"), "ip6.arpa")
	return z.join(strings.TrimSuffix(reversed, "."))
}

// DomainName is where the list has an entry for a domain (RFC 5782, 3). ok is
// false for what is no full domain name: address literals, names without a dot.
func (z *Zone) DomainName(domain string) (n Name, ok bool) {
	domain = strings.TrimSuffix(domain, ".")
	if !z.Domains || !strings.Contains(domain, ".") || !hostName(domain) {
		return Name{}, false
	}
	return z.join(strings.ToLower(domain))
}

func (z *Zone) join(entry string) (n Name, ok bool) {
	n.Asked = entry + "." + z.Name
	n.Shown = n.Asked
	if z.Key != "" {
		n.Asked = entry + "." + string(z.Key) + "." + z.Name
		n.Shown = entry + "." + hiddenKey + "." + z.Name
	}
	if len(n.Asked) > maxName {
		return Name{}, false
	}
	return n, true
}

// hostName tells whether a domain has labels of letters, digits, - and _ only, and
// is no IPv4 address.
func hostName(s string) bool {
	last := ""
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, notInLabel) {
			return false
		}
		last = label
	}
	return strings.ContainsFunc(last, func(r rune) bool { return r < '0' || r > '9' })
}

func notInLabel(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
}
