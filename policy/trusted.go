package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// trustedNameKeys are the keys under which the trusted table may have a name, the
// narrowest first: a.b.org, *.b.org, *.org. What reads as an address is no name.
func trustedNameKeys(name string) []string {
	if _, err := netip.ParseAddr(name); err == nil || name == "" || name[0] == '[' {
		return nil
	}
	keys := []string{name}
	for rest := name; ; {
		_, above, ok := cutLabel(rest)
		if !ok {
			return keys
		}
		keys, rest = append(keys, "*."+above), above
	}
}

// trustedAddrKeys are the keys for an address, the narrowest first: 192.0.2.7,
// 192.0.2.*, 192.0.*.*, 192.*.*.*, *.*.*.*. An IPv6 address has no wildcards, but
// three spellings: sendmail's in full, and that of RFC 5952 alone and behind "IPv6:".
func trustedAddrKeys(addr netip.Addr) []string {
	addr = addr.Unmap().WithZone("")
	switch {
	case !addr.IsValid():
		return nil
	case addr.Is6():
		return []string{AddrText(addr), addr.String(), "IPv6:" + addr.String()}
	}
	keys := []string{addr.String()}
	kept, stars := keys[0], ""
	for range 3 {
		kept, stars = kept[:strings.LastIndexByte(kept, '.')], stars+".*"
		keys = append(keys, kept+stars)
	}
	return append(keys, "*.*.*.*")
}

// CheckTrusted tells whether an entry of the trusted table can be acted on, for use
// when the table is loaded: a key that no lookup asks for is an error, and so is a
// value other than accept. key is in lower case.
func CheckTrusted(key, val string) error {
	if !isAccept(val) {
		return fmt.Errorf("value %q of %s, expected accept", val, key)
	}
	rest, v6 := cutWord(key, "IPv6:")
	var err error
	switch {
	case v6 || strings.Count(key, ":") > 1:
		err = checkTrustedIPv6(key, rest)
	case strings.Trim(key, "0123456789.*") == "":
		err = checkTrustedIPv4(key)
	default:
		err = checkTrustedName(key)
	}
	if err != nil {
		return fmt.Errorf("key %s: %w", key, err)
	}
	return nil
}

// checkTrustedIPv6 wants one of the spellings that are looked up.
func checkTrustedIPv6(key, text string) error {
	addr, err := netip.ParseAddr(text)
	switch {
	case err != nil || addr.Zone() != "":
		return errors.New("no IPv6 address, expected one such as 2001:db8::7 (there are no wildcards for these)")
	case addr.Is4In6():
		return fmt.Errorf("expected the IPv4 address, %s", addr.Unmap())
	}
	for _, k := range trustedAddrKeys(addr) {
		if strings.EqualFold(k, key) {
			return nil
		}
	}
	return fmt.Errorf("this spelling is not looked up, expected %s or %s", addr, AddrText(addr))
}

// checkTrustedIPv4 wants four parts: octets, and from some place on asterisks.
func checkTrustedIPv4(key string) error {
	parts := strings.Split(key, ".")
	open := false
	for _, p := range parts {
		if p == "*" {
			open = true
			continue
		}
		n, err := strconv.ParseUint(p, 10, 16)
		switch {
		case err != nil || n > 255 || len(p) > 1 && p[0] == '0':
			return fmt.Errorf("%q is no octet, expected a number from 0 to 255 or an asterisk", p)
		case open:
			return errors.New("a number behind an asterisk, expected asterisks at the end alone, such as 123.45.*.*")
		}
	}
	if len(parts) != 4 {
		return fmt.Errorf("%d parts, expected four: one asterisk for each octet that is left out, such as 123.45.*.*", len(parts))
	}
	return nil
}

// checkTrustedName wants a host name, or *. and a domain.
func checkTrustedName(key string) error {
	name, _ := strings.CutPrefix(key, "*.")
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if !isHostLabel(label) {
			return errors.New("no host name, expected one such as mail.domain.com, *.domain.com for the names below domain.com, or an address")
		}
	}
	// No top-level domain begins with a digit, and "10.1.x.x" is not the way to write a network.
	last := labels[len(labels)-1]
	if last[0] >= '0' && last[0] <= '9' || strings.Trim(key, "0123456789.*x") == "" {
		return errors.New("neither a name nor an address, expected four octets such as 123.45.67.89, or 123.45.*.*")
	}
	return nil
}

// isHostLabel tells whether s can be a label of a host name in lower case.
func isHostLabel(s string) bool {
	return len(s) >= 1 && len(s) <= 63 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}
