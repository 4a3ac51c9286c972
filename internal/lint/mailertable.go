package lint

import (
	"context"
	"net/netip"
	"strings"

	"gatepost/internal/smtp"
	"gatepost/maps"
)

// mailertable looks at the keys of the relay's mailertable. Wrong values do not load.
func (c *collector) mailertable() {
	if c.in.Mailertable.Text == nil {
		return
	}
	for key, e := range c.in.Mailertable.Text.All() {
		if key == "." {
			c.shadowed(e)
			continue
		}
		if why := mailertableMismatch(key); why != "" {
			c.add(e.Source, "entry that can never match", "key %q in the mailertable never matches: %s", key, why)
		} else if c.isLocal(key) {
			c.add(e.Source, "mailertable entry without effect", "%s is a local domain, for which the mailertable is not asked; local_mail under [relay] says what becomes of it", key)
		}
	}
}

// shadowed finds a smart host that no mail goes to, but that for address literals.
func (c *collector) shadowed(e maps.Entry) {
	if c.in.Config.Relay.SmartHost.Set() {
		c.add(e.Source, "mailertable entry without effect", "the key . is for all other mail, so that none is left for relay.smart_host")
	}
}

// isLocal tells whether a domain is certainly local.
func (c *collector) isLocal(domain string) bool {
	for _, m := range c.in.Policy.LocalHostNames {
		if _, found, err := m.Lookup(context.Background(), domain); found || err != nil {
			return found
		}
	}
	return false
}

// mailertableMismatch says why a key is never looked for, "" if it may be.
func mailertableMismatch(key string) string {
	name := strings.TrimPrefix(key, ".")
	_, notAddr := netip.ParseAddr(strings.Trim(key, "[]"))
	_, notHost := smtp.ParseNextHops(name)
	switch {
	case strings.Contains(key, "@"):
		return "keys are domains; write " + key[strings.LastIndexByte(key, '@')+1:]
	case strings.HasPrefix(key, "*."):
		return "there are no wildcards; write " + key[1:]
	case strings.HasPrefix(key, "["), notAddr == nil:
		return "addresses are not looked for"
	case strings.HasSuffix(key, "."):
		return "write it without the final dot"
	case strings.ContainsFunc(key, func(r rune) bool { return r >= 0x80 }):
		return "write the domain as the DNS has it, xn--"
	case notHost != nil || strings.ContainsAny(name, ":,"):
		return "it is no domain"
	}
	return ""
}
