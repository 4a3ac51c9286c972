package lint

import (
	"strings"

	"golang.org/x/net/publicsuffix"
)

// suffixOf is the public suffix of a host name in lower case: the part below
// which strangers can have names. It is "" when none can.
func suffixOf(name string) string {
	last := name[strings.LastIndexByte(name, '.')+1:]
	if !delegated(last) {
		return ""
	}
	suffix, _ := publicsuffix.PublicSuffix(name)
	return suffix
}

// delegated tells whether the last label of a name can be one of the public DNS:
// not a number, nor one of the words that are kept for use inside (RFC 6761,
// RFC 6762 appendix G, and what is found in practice). The words for
// documentation, "example" and "test", stand for public ones.
func delegated(label string) bool {
	if !strings.ContainsFunc(label, func(r rune) bool { return r < '0' || r > '9' }) {
		return false
	}
	switch label {
	case "localhost", "local", "localdomain", "internal", "intranet", "private", "corp", "home", "lan", "arpa", "onion", "alt", "uucp":
		return false
	}
	return hostLabel(label)
}

// hostLabel tells whether s can be a label of a host name.
func hostLabel(s string) bool {
	return len(s) >= 1 && len(s) <= 63 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}

// hostName tells whether s can be a host name of one label or more.
func hostName(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if !hostLabel(label) {
			return false
		}
	}
	return len(s) <= 253
}

// maxSuffixDots is more dots than any public suffix has.
const maxSuffixDots = 5

// strangersBelow tells whether strangers can have names below entry: whether it is
// no longer than the public suffix of such a name. base is what their own label is
// put before: entry itself for "com" and "co.uk", "x.ck" for "ck", which sells only
// names of three labels.
func strangersBelow(entry string) (base string, ok bool) {
	if !hostName(entry) {
		return "", false
	}
	if strings.Count(entry, ".") > maxSuffixDots { // most names, of which tables may have millions
		return "", false
	}
	for _, base := range []string{entry, "x." + entry} {
		name := "stranger." + base
		if suffix := suffixOf(name); suffix != name && len(suffix) >= len(entry) {
			return base, true
		}
	}
	return "", false
}
