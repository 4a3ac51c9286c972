package lint

import (
	"strings"

	"gatepost/maps"
)

// trusted looks at each entry of the trusted table for permissions that are wider
// than a site can want. Keys that cannot match, and values, are refused when the
// table is read.
func (c *collector) trusted() {
	if c.in.Trusted.Text == nil {
		return
	}
	for key, e := range words(c.in.Trusted.Text) {
		switch below, wild := strings.CutPrefix(key, "*."); {
		case key == "*.*.*.*":
			c.risk(e.Source, "RELAY on too much", "broad_relay", "%s in the trusted table is for every IPv4 address there is; write the networks that are yours", key)
		case strings.HasSuffix(key, ".*"):
			c.breadth(accessKey{rest: strings.TrimRight(key, "*.")}, e, key+" in the trusted table")
		case wild:
			c.breadth(accessKey{rest: below}, e, key+" in the trusted table")
		}
	}
}

// spammers looks at each entry of the spammers table: a sender or a domain.
func (c *collector) spammers() {
	if c.in.Spammers.Text == nil {
		return
	}
	for key, e := range words(c.in.Spammers.Text) {
		if why := c.spammerMismatch(key); why != "" {
			c.add(e.Source, "entry that can never match", "%q in the spammers table never matches: %s", key, why)
			continue
		}
		switch v := strings.TrimSpace(e.Value); strings.ToUpper(v) {
		case "OK", "RELAY", "REJECT", "DISCARD":
		case "SKIP":
			c.skipEntry(accessKey{rest: key}, e)
		default:
			c.text(e, v)
		}
	}
}

// spammerMismatch says why a key of the spammers table is never asked for, "" if
// it may be.
func (c *collector) spammerMismatch(key string) string {
	k := accessKey{rest: key}
	switch {
	case parseKey(key).tag != "":
		return "this table has no tags; write " + parseKey(key).rest
	case k.kind() == kindUser:
		return "users are looked up with their domain; in the access table From:" + key + " is for all domains"
	case k.kind() == kindNet:
		return "senders are compared with mail addresses; clients stand in the access table, as Connect:" + upperIPv6(key)
	case k.kind() == kindDomain && strings.HasPrefix(key, "."):
		return "a domain is for the names below it too; write " + strings.TrimLeft(key, ".")
	}
	return c.mismatch(k)
}

// virtualHosts looks at each member of the virtual hosts: these match exactly.
func (c *collector) virtualHosts() {
	if c.in.VirtualHosts.Text == nil {
		return
	}
	for word, e := range words(c.in.VirtualHosts.Text) {
		if why := localMismatch(word); why != "" {
			c.add(e.Source, "entry that can never match", "%q in virtual-hosts never matches: %s", word, why)
		}
	}
}

// checkUnused is for what the UnixWare check does not look at.
const checkUnused = "not asked by the UnixWare check"

// unusedRelayDomains tells whether relay-domains mean nothing for relaying, and
// says so once.
func (c *collector) unusedRelayDomains() bool {
	if !c.in.Config.UnixWare() {
		return false
	}
	for _, e := range words(c.in.RelayDomains.Text) {
		c.add(e.Source, checkUnused, "with check_rcpt = \"unixware\" nothing is relayed for the sake of relay-domains; clients that may relay stand in the trusted table, domains of ours in local-host-names or virtual_hosts")
		break
	}
	return true
}

// unusedRelay looks at an entry RELAY of the access table under the UnixWare check.
func (c *collector) unusedRelay(k accessKey, e maps.Entry) {
	if k.tag == tagConnect || k.tag == tagTo {
		c.add(e.Source, checkUnused, "with check_rcpt = \"unixware\" RELAY is no more than OK; clients that may relay stand in the trusted table, domains of ours in local-host-names or virtual_hosts")
	}
}

// unusedFeatures finds settings that belong to sendmail's relay check.
func (c *collector) unusedFeatures() {
	f := &c.in.Config.Features
	for _, one := range []struct {
		key string
		on  bool
	}{
		{"features.trust_auth_mech", len(f.TrustAuthMech) > 0},
		{"features.relay_hosts_only", f.RelayHostsOnly},
		{"features.relay_based_on_MX", f.RelayBasedOnMX},
		{"features.relay_local_from", f.RelayLocalFrom},
		{"features.relay_mail_from", f.RelayMailFrom},
		{"features.loose_relay_check", f.LooseRelayCheck},
		{"features.block_bad_helo", f.BlockBadHelo && f.DelayChecks == ""},
		{"messages.confRELAY_MSG", c.in.Config.Messages.Relay != ""},
	} {
		if one.on {
			c.add(c.key(one.key), checkUnused, "%s means nothing with check_rcpt = \"unixware\"", one.key)
		}
	}
}
