package lint

import (
	"strings"

	"gatepost/maps"
)

// relayDomains looks at each member of relay-domains.
func (c *collector) relayDomains() {
	if c.in.RelayDomains.Text == nil || c.unusedRelayDomains() {
		return
	}
	for word, e := range words(c.in.RelayDomains.Text) {
		if why := c.relayMismatch(word); why != "" {
			c.add(e.Source, "entry that can never match", "%q in relay-domains never matches: %s", word, why)
			continue
		}
		k := accessKey{rest: strings.TrimRight(word, ".:")}
		c.breadth(k, e, upperIPv6(word)+" in relay-domains")
	}
}

// relayMismatch says why a member of relay-domains matches nothing, "" if it may.
func (c *collector) relayMismatch(word string) string {
	if why := memberMismatch(word); why != "" {
		return why
	}
	name := accessKey{rest: word}
	switch {
	case strings.HasPrefix(word, "["):
		return "" // recipients at an address
	case c.in.Config.Features.RelayHostsOnly && strings.HasPrefix(word, "."):
		return "with relay_hosts_only a member is a host; write its full name"
	}
	if _, ok := parsePrefix(strings.TrimRight(word, ".:")); ok {
		return "" // a final dot does no harm here
	}
	if why := addressMismatch(name, word); why != "" {
		return why
	}
	return domainMismatch(name, word, true)
}

// localHostNames looks at each member of local-host-names: these match exactly.
func (c *collector) localHostNames() {
	if c.in.LocalHostNames.Text == nil {
		return
	}
	for word, e := range words(c.in.LocalHostNames.Text) {
		if why := localMismatch(word); why != "" {
			c.add(e.Source, "entry that can never match", "%q in local-host-names never matches: %s", word, why)
		}
	}
}

func localMismatch(word string) string {
	if why := memberMismatch(word); why != "" {
		return why
	}
	if strings.HasPrefix(word, "[") {
		inner := strings.Trim(word, "[]")
		if p, ok := parsePrefix(inner); ok && p.whole() {
			return ""
		}
		if why := addressMismatch(accessKey{}, inner); why != "" {
			return why
		}
		return "it is no whole address"
	}
	if p, ok := parsePrefix(word); ok && (p.v6 || len(p.parts) > 1) {
		if p.whole() {
			return "an address stands in brackets; write [" + p.key() + "]"
		}
		return "a network is not local; networks that may relay stand in relay-domains"
	}
	if why := addressMismatch(accessKey{}, word); why != "" {
		return why
	}
	if strings.HasPrefix(word, ".") {
		return "members are whole names; write each name that is local"
	}
	return strings.Replace(domainMismatch(accessKey{}, word, true), ", which is for the names below it too", "", 1)
}

// memberMismatch finds what is wrong in both files.
func memberMismatch(word string) string {
	k := parseKey(word)
	switch {
	case k.tag != "":
		return "tags belong to the access table; write " + k.rest
	case strings.Contains(word, "@"):
		return "members are domains; write " + strings.Trim(word[strings.LastIndexByte(word, '@')+1:], ".")
	case strings.Contains(word, `"`):
		return "it stands in quotes; write it without them"
	case contains([]string{"ok", "relay", "reject"}, word):
		return "it was probably meant as a value, but this file has no values: each word is a member"
	case strings.ContainsFunc(word, func(r rune) bool { return r >= 0x80 }):
		return "names are compared as the DNS has them, in ASCII; write the xn-- form"
	}
	return ""
}

// features looks at the options that let strangers decide.
func (c *collector) features() {
	f := &c.in.Config.Features
	own := strings.ToLower(c.in.Policy.Domain)
	_, wide := strangersBelow(own)
	unixware := c.in.Config.UnixWare() // has nothing of sendmail's relay check
	for _, one := range []struct {
		name, text string
		on         bool
	}{
		{"check_rcpt", "\"off\" relays for everybody; this is right only where the mail server itself checks relaying", f.CheckRcpt == "off"},
		{"check_rcpt", "\"unixware\" relays to every host below " + own + ", where everybody can have a name", unixware && wide},
		{"promiscuous_relay", "relays for everybody; this is right only where the mail server itself checks relaying", f.PromiscuousRelay},
		{"relay_local_from", "relays for whoever writes a local address as the sender, and everybody can", f.RelayLocalFrom && !unixware},
		{"relay_mail_from", "relays for whoever writes the right address as the sender, and everybody can", f.RelayMailFrom && !unixware},
		{"relay_based_on_MX", "lets everybody have a domain relayed by naming this host as its mail exchanger", f.RelayBasedOnMX && !unixware},
		{"loose_relay_check", "takes user%other@domain for mail to domain, whose server may then relay it for a stranger", f.LooseRelayCheck && !unixware},
		{"relay_entire_domain", "relays for every host below " + own + ", where everybody can have a name", f.RelayEntireDomain && wide && !unixware},
	} {
		if one.on {
			c.risk(c.key("features."+one.name), "risky features", one.name, "features.%s %s", one.name, one.text)
		}
	}
	if unixware {
		c.unusedFeatures()
	}
}

// key is where the configuration file has a key.
func (c *collector) key(path string) maps.Source {
	return keySource(c.in.Config, path)
}
