package lint

import (
	"context"
	"strings"

	"gatepost/maps"
)

// relayEntry looks at an entry RELAY: does it relay, and not too much?
func (c *collector) relayEntry(k accessKey, e maps.Entry) {
	f := &c.in.Config.Features
	mailbox := k.kind() == kindMailbox || k.kind() == kindUser
	if c.in.Config.UnixWare() {
		c.unusedRelay(k, e)
		return
	}
	switch {
	case k.tag == tagFrom && !f.RelayMailFrom:
		c.add(e.Source, "RELAY without effect", "nothing is relayed for the sake of a sender without relay_mail_from, so RELAY is no more than OK here; for a client write Connect:, for a recipient To:")
		return
	case k.tag == tagFrom && !f.RelayMailFromDomain && k.kind() != kindMailbox:
		c.add(e.Source, "RELAY without effect", "relay_mail_from without the argument domain looks for full addresses only, so RELAY is no more than OK for From:%s", k.rest)
		return
	case k.tag == tagTo && mailbox && !f.RelayToFullAddress:
		c.add(e.Source, "RELAY without effect", "recipients are relayed by domain, so To:%s RELAY means nothing without access_db = [\"relaytofulladdress\"] under [features]", k.rest)
		return
	case k.tag == tagTo && k.kind() == kindUser:
		c.risk(e.Source, "RELAY on too much", "broad_relay", "To:%s RELAY lets everybody send to that user at every host of the world", k.rest)
		return
	case k.tag == tagConnect && k.kind() == kindLiteral:
		c.add(e.Source, "RELAY without effect", "addresses in brackets stand for clients without a verified name, and these may not relay by it; write Connect:%s", upperIPv6(strings.Trim(k.rest, "[]")))
		return
	}
	c.breadth(k, e, written(k.tag)+k.rest+" RELAY")
}

// breadth finds permissions that are wider than a site can want.
func (c *collector) breadth(k accessKey, e maps.Entry, what string) {
	if p, ok := k.net(); ok {
		if p.short() && !p.private() {
			c.risk(e.Source, "RELAY on too much", "broad_relay", "%s is for all addresses that begin with %s, a large part of the Internet; write the networks that are yours", what, p.key())
		}
		return
	}
	name := k.domain()
	if _, ok := strangersBelow(name); ok && k.kind() == kindDomain {
		c.risk(e.Source, "RELAY on too much", "broad_relay", "%s is for everything below %s, where everybody can have a name; write the domains that are yours", what, name)
	}
}

// okEntry looks at OK: it never relays, and often does nothing at all.
func (c *collector) okEntry(k accessKey, e maps.Entry) {
	if c.in.Config.UnixWare() {
		return // RELAY would be no better
	}
	switch k.tag {
	case tagTo:
		if !c.excuses(k) {
			c.add(e.Source, "OK where RELAY was meant", "OK lets no mail through to a recipient, and there is no refusing entry that To:%s is an exception to; to relay for it write RELAY", k.rest)
		}
	case tagConnect:
		c.okClient(k, e)
	}
}

// okClient looks at Connect: entries with OK.
func (c *collector) okClient(k accessKey, e maps.Entry) {
	p, ok := k.net()
	if ok && k.kind() == kindNet && p.private() {
		c.add(e.Source, "OK where RELAY was meant", "OK spares a client the checks at connection but does not let it relay; for clients of your own network write Connect:%s RELAY", p.key())
		return
	}
	f := &c.in.Config.Features
	checks := len(c.in.Config.Lists()) > 0 || f.RateControl.On || f.ConnControl.On || f.RequireRDNS
	if !checks && !c.excuses(k) {
		c.add(e.Source, "OK where RELAY was meant", "OK spares a client the checks at connection, but there are none that Connect:%s is an exception to; to let it relay write RELAY", upperIPv6(k.rest))
	}
}

// excuses tells whether an entry for more than k refuses, so that k is an
// exception to it. A name excuses the address too.
func (c *collector) excuses(k accessKey) bool {
	table := c.in.Access.Text
	for _, key := range broader(k) {
		for _, tag := range []string{k.tag, ""} {
			e, found, err := table.Lookup(context.Background(), tag+key)
			if found && err == nil && !isWord(e.Value, "OK") && !isWord(e.Value, "RELAY") && !isWord(e.Value, "SKIP") {
				return true
			}
		}
	}
	return k.tag == tagConnect && k.kind() != kindNet && c.refusesAddresses()
}

// refusesAddresses tells whether any address is refused at connection: a client's
// name that is OK is an exception to that.
func (c *collector) refusesAddresses() bool {
	if c.refuses == nil {
		found := c.findRefused()
		c.refuses = &found
	}
	return *c.refuses
}

func (c *collector) findRefused() bool {
	for key, e := range words(c.in.Access.Text) {
		k := parseKey(key)
		if (k.tag == "" || k.tag == tagConnect) && k.kind() == kindNet && !mayPermit(e.Value) {
			return true
		}
	}
	return false
}

// broader are the keys that are asked for after k, or beside it.
func broader(k accessKey) []string {
	var keys []string
	rest := k.rest
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		user, domain := rest[:i], rest[i+1:]
		if domain == "" {
			return nil
		}
		keys = append(keys, user+"@", domain)
		rest = domain
	}
	if p, ok := (accessKey{rest: rest}).net(); ok {
		for len(p.parts) > 0 {
			p.parts = p.parts[:len(p.parts)-1]
			if key := strings.ToLower(p.key()); key != "" {
				keys = append(keys, key)
			}
		}
		return keys
	}
	for {
		_, above, ok := strings.Cut(strings.TrimPrefix(rest, "."), ".")
		if !ok {
			return keys
		}
		keys = append(keys, above, "."+above)
		rest = above
	}
}
