package tlspolicy

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// CheckEntry finds what is wrong with an entry of the table tls_policy; the error says what
// was expected. It is for maps.Spec.
func CheckEntry(key, value string) error {
	if _, _, _, err := ParseKey(strings.TrimPrefix(key, ".")); err != nil {
		return err
	}
	_, err := parseRule(value)
	return err
}

// WantsDANE tells whether an entry's value has one of the levels that need signed answers.
func WantsDANE(value string) bool {
	r, err := parseRule(value)
	return err == nil && (r.level == wordDANE || r.level == wordDANEOnly)
}

// ParseKey reads a next hop as the table has it: "[host]:587", "host:587", "[host]" or
// "example.org". Port 0 is none.
func ParseKey(key string) (host string, bracketed bool, port uint16, err error) {
	errKey := fmt.Errorf("%.100q is no next hop, expected such as example.org, .example.org, [mx.example.org] or [192.0.2.1]:587", key)
	rest := ""
	if bracketed = strings.HasPrefix(key, "["); bracketed {
		host, rest, bracketed = strings.Cut(key[1:], "]")
		if !bracketed {
			return "", false, 0, errKey
		}
	} else if i := strings.IndexByte(key, ':'); i >= 0 {
		host, rest = key[:i], key[i:]
	} else {
		host = key
	}
	if rest != "" {
		n, err := strconv.ParseUint(strings.TrimPrefix(rest, ":"), 10, 16)
		if err != nil || n == 0 || rest[0] != ':' {
			return "", false, 0, errKey
		}
		port = uint16(n)
	}
	host = plain(host)
	if a, err := netip.ParseAddr(strings.TrimPrefix(host, "ipv6:")); err == nil && bracketed {
		return a.String(), true, port, nil
	} else if err == nil {
		return "", false, 0, errors.New("an address without brackets, expected such as [192.0.2.1]")
	}
	if !isHost(host) {
		return "", false, 0, errKey
	}
	return host, bracketed, port, nil
}

// isHost tells whether DNS could have a host's name.
func isHost(name string) bool {
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(c rune) bool {
			return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_'
		}) {
			return false
		}
	}
	return true
}

// Keys are those that the table is asked for a next hop, in their order: with the port and
// without, and for a domain those of its parents, which begin with a dot. Port 0 is not known.
func Keys(domain string, bracketed bool, port uint16) []string {
	name := plain(domain)
	if bracketed {
		name = "[" + name + "]"
	}
	var keys []string
	if port != 0 {
		keys = append(keys, name+":"+strconv.Itoa(int(port)))
	}
	keys = append(keys, name)
	if bracketed {
		return keys
	}
	for i := 0; i < len(name); i++ {
		if name[i] == '.' {
			keys = append(keys, name[i:])
		}
	}
	return keys
}
