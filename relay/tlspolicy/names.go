package tlspolicy

import (
	"crypto/x509"
	"net/netip"
	"strings"
)

// isFor tells whether a certificate is for what Policy.Names can have: a name or an
// address, "*.example.org" or ".example.org". The subject's common name does not count
// (RFC 9525, 2).
func isFor(c *x509.Certificate, pattern string) bool {
	pattern = plain(pattern)
	if want, err := netip.ParseAddr(pattern); err == nil {
		for _, ip := range c.IPAddresses {
			if have, ok := netip.AddrFromSlice(ip); ok && have.Unmap() == want.Unmap() {
				return true
			}
		}
		return false
	}
	for _, name := range c.DNSNames {
		if matches(pattern, plain(name)) {
			return true
		}
	}
	return false
}

// matches tells whether a name in a certificate fits a pattern. The name may have * for
// its first label (RFC 6125, 6.4.3), which stands for one label.
func matches(pattern, name string) bool {
	if pattern == "" || name == "" {
		return false
	}
	first, rest, _ := strings.Cut(name, ".")
	switch {
	case pattern[0] == '.':
		return first != "" && strings.HasSuffix(name, pattern)
	case strings.HasPrefix(pattern, "*."):
		return first != "" && rest == pattern[2:]
	case first == "*":
		label, parent, _ := strings.Cut(pattern, ".")
		return label != "" && rest != "" && rest == parent
	}
	return name == pattern
}

// plain is a name in lower case, without a final dot.
func plain(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// isAddr tells whether a host is an address.
func isAddr(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}
