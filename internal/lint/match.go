package lint

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"gatepost/maps"
)

// neverMatches finds keys that no lookup asks for.
func (c *collector) neverMatches(k accessKey, e maps.Entry) bool {
	why := c.mismatch(k)
	if why == "" {
		return false
	}
	c.add(e.Source, "entry that can never match", "key %q never matches: %s", written(k.tag)+upperIPv6(k.rest), why)
	return true
}

// mismatch says why a key is never asked for, "" if it may be.
func (c *collector) mismatch(k accessKey) string {
	f := &c.in.Config.Features
	rest := k.rest
	clients := k.tag == tagConnect || k.tag == tagClientRate || k.tag == tagClientConn || k.tag == tagGreetPause
	mails := k.tag == tagFrom || k.tag == tagTo || k.tag == tagSpam
	switch {
	case strings.Contains(rest, `"`):
		return "double quotes are taken out before a lookup; write it without them"
	case rest == "<>":
		return "the null sender is always accepted, and is never looked up"
	case strings.ContainsAny(rest, "<>"):
		return "addresses are looked up without angle brackets; write " + written(k.tag) + strings.Trim(rest, "<>")
	case strings.ContainsFunc(rest, func(r rune) bool { return r >= 0x80 }) && k.kind() != kindUser:
		return "names are compared as the DNS has them, in ASCII; write the xn-- form"
	case clients && strings.Contains(rest, "@"):
		return "clients have no mail address; From: and To: are the tags for these"
	case k.kind() == kindUser || k.kind() == kindMailbox:
		return mailboxMismatch(k)
	case strings.HasPrefix(rest, "["):
		return literalMismatch(k)
	case mails && (rest == "localhost" || rest == "localhost."+strings.ToLower(c.in.Policy.Domain)):
		return "addresses at localhost are looked up under this host's name; write " + written(k.tag) + strings.ToLower(c.in.Policy.HostName)
	}
	if why := addressMismatch(k, rest); why != "" {
		return why
	}
	switch {
	case k.kind() == kindNet && mails:
		return "an address after " + written(k.tag) + " is compared with the domains of mail addresses; clients have the tag Connect:"
	case k.kind() == kindNet || rest == "":
		return ""
	case k.tag == tagClientRate || k.tag == tagClientConn:
		return "only addresses are looked up for this tag, not names"
	}
	return domainMismatch(k, rest, f.AccessLookupDotDomain)
}

// domainMismatch looks at the forms of names.
func domainMismatch(k accessKey, name string, dots bool) string {
	better := strings.Trim(strings.TrimPrefix(strings.TrimPrefix(name, "*"), "@"), ".")
	write := "; write " + written(k.tag) + better + ", which is for the names below it too"
	switch {
	case strings.Contains(name, "*"):
		return "there are no wildcards" + write
	case strings.HasSuffix(name, "."):
		return "names are looked up without a final dot" + write
	case strings.HasPrefix(name, ".") && !dots:
		return "a leading dot needs lookupdotdomain under [features]" + write
	case strings.Contains(name, ".."):
		return "no name has an empty label"
	case strings.Contains(name, "/"):
		return "no name has a slash"
	}
	return ""
}

// mailboxMismatch looks at user@ and user@domain.
func mailboxMismatch(k accessKey) string {
	i := strings.LastIndexByte(k.rest, '@')
	user, domain := k.rest[:i], k.rest[i+1:]
	switch {
	case user == "" && domain == "":
		return "it names nothing"
	case user == "":
		return "a domain stands without @; write " + written(k.tag) + strings.Trim(domain, ".")
	case strings.Contains(user, "*") && !strings.HasSuffix(user, "+*"):
		return "there are no wildcards but user+*"
	case domain == "localhost":
		return "addresses at localhost are looked up under this host's name"
	case strings.ContainsAny(domain, "*") || strings.HasPrefix(domain, "."):
		return "a full address names one host; an entry for all of a domain is " + written(k.tag) + strings.TrimLeft(domain, "*.")
	case strings.HasSuffix(domain, "."):
		return "names are looked up without a final dot; write " + written(k.tag) + user + "@" + strings.TrimRight(domain, ".")
	}
	return ""
}

// literalMismatch looks at [address].
func literalMismatch(k accessKey) string {
	if !strings.HasSuffix(k.rest, "]") {
		return "the bracket is not closed"
	}
	inner := strings.Trim(k.rest, "[]")
	if _, ok := parsePrefix(inner); ok {
		return ""
	}
	if why := addressMismatch(accessKey{tag: k.tag, rest: inner}, inner); why != "" {
		return why
	}
	return "it is no address"
}

// addressMismatch looks at what is meant as an address or a network.
func addressMismatch(k accessKey, text string) string {
	bare, length, slash := strings.Cut(text, "/")
	if slash {
		return slashMismatch(k, bare, length)
	}
	if _, ok := parsePrefix(text); ok {
		return ""
	}
	if rest, v6 := strings.CutPrefix(text, "ipv6:"); v6 || looksLikeGroups(text) {
		return groupsMismatch(k, rest)
	}
	digits := strings.Trim(text, "0123456789.*x") == "" && strings.ContainsAny(text, "0123456789") && strings.Contains(text, ".")
	if !digits {
		return ""
	}
	better := strings.TrimRight(strings.TrimRight(strings.ReplaceAll(text, "x", "*"), "*."), ".")
	if p, ok := parseDecimal(better); ok {
		return "networks are whole octets without a final dot or wildcards; write " + written(k.tag) + p.key()
	}
	return "it is no address: four octets from 0 to 255, or fewer for a network"
}

// parseDecimal reads octets that may have leading zeros.
func parseDecimal(s string) (prefix, bool) {
	words := strings.Split(s, ".")
	for i, w := range words {
		if n, err := strconv.ParseUint(w, 10, 16); err == nil {
			words[i] = strconv.FormatUint(n, 10)
		}
	}
	return parsePrefix(strings.Join(words, "."))
}

// slashMismatch looks at CIDR notation.
func slashMismatch(k accessKey, bare, length string) string {
	const no = "there is no CIDR notation"
	a, err := netip.ParseAddr(strings.TrimPrefix(bare, "ipv6:"))
	if err != nil && strings.Count(bare, ".") < 3 { // "10/8"
		a, err = netip.ParseAddr(bare + strings.Repeat(".0", 3-strings.Count(bare, ".")))
	}
	bits, bad := strconv.Atoi(length)
	if err != nil || bad != nil || bits < 0 || bits > a.BitLen() {
		return no + "; write whole octets, such as " + written(k.tag) + "192.0.2"
	}
	part := 8
	if a.Is6() {
		part = 16
	}
	p, ok := parsePrefix(addrKey(netip.PrefixFrom(a, bits).Masked().Addr()))
	if !ok {
		return no
	}
	n := (bits + part - 1) / part
	p.parts = p.parts[:n]
	if n == 0 {
		return no + ", and no key for all addresses"
	}
	if bits%part == 0 {
		return no + "; write " + written(k.tag) + p.key()
	}
	last := p
	last.parts = append([]uint16{}, p.parts...)
	last.parts[n-1] += 1<<(part-bits%part) - 1
	return fmt.Sprintf("%s; write %d entries, from %s to %s", no, 1<<(part-bits%part), written(k.tag)+p.key(), written(k.tag)+last.key())
}

// groupsMismatch looks at IPv6 addresses in other forms than the full one. text
// is without "ipv6:".
func groupsMismatch(k accessKey, text string) string {
	const form = "IPv6 keys are written in full, as IPv6: and groups without leading zeros"
	text = strings.TrimSuffix(text, "*")
	if p, ok := parseGroups(text); ok {
		return form + "; write " + written(k.tag) + p.key()
	}
	return form + ", such as " + written(k.tag) + "IPv6:2001:db8:0:1"
}

// parseGroups reads IPv6 groups in any form: "2001:db8::", "2001:0db8:1:".
func parseGroups(text string) (prefix, bool) {
	if open, ok := strings.CutSuffix(text, "::"); ok && !strings.Contains(open, "::") {
		return parseHex(open) // a network: the groups before it
	}
	if a, err := netip.ParseAddr(text); err == nil && a.Is6() && a.Zone() == "" {
		return parsePrefix(addrKey(a))
	}
	return parseHex(strings.TrimSuffix(text, ":"))
}

func parseHex(text string) (prefix, bool) {
	words := strings.Split(text, ":")
	for i, w := range words {
		n, err := strconv.ParseUint(w, 16, 16)
		if err != nil {
			return prefix{}, false
		}
		words[i] = strconv.FormatUint(n, 16)
	}
	return parsePrefix("ipv6:" + strings.Join(words, ":"))
}
