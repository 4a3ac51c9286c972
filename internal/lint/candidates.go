package lint

import (
	"net/netip"
	"slices"
	"strings"

	"gatepost/policy"
)

// candidates are the strangers, senders and recipients that stand for all others:
// docs/check.md argues why. The first of each list is the plainest.
type candidates struct {
	clients    []client
	senders    []string
	recipients []recipient
	helo       string
	partial    bool
}

func newCandidates(c *policy.Config) *candidates {
	s := newSurvey(c)
	m := &maker{policy: c, survey: s, naming: newNaming(c)}
	m.plain, _ = m.naming.strangeName("")
	m.addresses()
	m.names()
	all := &candidates{clients: m.clients(), senders: m.senders(), recipients: m.recipients(), helo: m.plain}
	all.partial = s.partial || m.plain == ""
	return all
}

// maker makes candidates.
type maker struct {
	policy *policy.Config
	survey *survey
	naming *naming
	plain  string       // a strange host name that no entry at all is about
	addrs  []netip.Addr // strange addresses: two that no short entry is about, and one below each
	hosts  []string     // plain, and a strange name below each short entry
}

func (m *maker) addresses() {
	for _, p := range append([]prefix{{}, {v6: true}}, m.survey.prefixes...) {
		a, ok, all := m.naming.strangeAddr(p)
		if ok && !slices.Contains(m.addrs, a) {
			m.addrs = append(m.addrs, a)
		}
		m.survey.partial = m.survey.partial || !ok && !all
	}
}

func (m *maker) names() {
	if m.plain != "" {
		m.hosts = append(m.hosts, m.plain)
	}
	for _, s := range m.survey.suffixes {
		if name, ok := m.naming.strangeName(s); ok {
			m.hosts = append(m.hosts, name)
		}
	}
	// With an own domain as short as "com", sendmail looks in the hosts file for
	// what is before it.
	if own := m.policy.Domain; own != "" {
		if name := "localhost." + strings.ToLower(own); !m.naming.host(name, len(own)) && suffixOf(name) == strings.ToLower(own) {
			m.hosts = append(m.hosts, name)
		}
	}
}

// clients are all strange addresses, each without a name, and with each strange
// name, which may be an alias of another.
func (m *maker) clients() []client {
	var all []client
	for _, name := range m.bounded(m.hosts, len(m.addrs)) {
		for _, a := range m.addrs {
			all = append(all, client{addr: a, resolve: policy.ResolveOK, name: name})
		}
	}
	for _, a := range m.addrs {
		all = append(all, client{addr: a, resolve: policy.ResolveFail})
		if m.policy.Features.UseClientPtr {
			// A reverse name that does not lead back can be any.
			for _, key := range m.bounded(m.survey.pointers, len(m.addrs)) {
				if name, ok := m.below(key); ok {
					all = append(all, client{addr: a, resolve: policy.ResolveForged, name: name})
				}
			}
		}
	}
	for _, host := range m.bounded(m.hosts, len(m.hosts)*len(m.addrs)) {
		// Not a name that is a recipient's domain or a sender's too.
		name, ok := m.naming.unnamed("alias", host, len(host))
		for _, target := range m.bounded(m.hosts, len(m.addrs)) {
			for _, a := range m.addrs {
				if ok && target != host {
					all = append(all, client{addr: a, resolve: policy.ResolveOK, name: name, alias: target})
				}
			}
		}
	}
	return all
}

// below is a name that a key for a domain matches: the domain, or for .domain one below it.
func (m *maker) below(key string) (string, bool) {
	base, dot := strings.CutPrefix(key, ".")
	if !dot {
		return key, true
	}
	return m.naming.unnamed("stranger", base, len(base))
}

// mostPairs bounds the combinations that a list of candidates is made of.
const mostPairs = 20000

// bounded is as much of a list as may be combined with times others.
func (m *maker) bounded(list []string, times int) []string {
	n := max(1, mostPairs/max(1, times))
	if len(list) <= n {
		return list
	}
	m.survey.partial = true
	return list[:n]
}

// senders are the null sender, and where a sender can do good those that do:
// anybody can write any. The stranger's own come first.
func (m *maker) senders() []string {
	all := []string{""}
	if !m.survey.wanted.senders {
		return all
	}
	at := func(domain string) { all = append(all, m.naming.strangeUser(domain)+"@"+domain) }
	for _, d := range m.hosts {
		at(d)
	}
	for _, a := range m.addrs {
		at("[" + policy.AddrText(a) + "]")
	}
	for _, key := range m.survey.senders {
		if strings.Contains(key, "@") {
			all = append(all, key)
		} else if name, ok := m.below(key); ok {
			at(name)
		}
	}
	locals := append([]string{strings.ToLower(m.policy.HostName)}, m.survey.locals...)
	if m.survey.wanted.locals {
		for _, d := range locals {
			at(d)
		}
	}
	domains := append(locals, m.hosts...)
	for _, user := range m.survey.users {
		for _, d := range m.bounded(domains, len(m.survey.users)) {
			all = append(all, user+"@"+d)
		}
	}
	return all
}

// recipients are for strange domains: written plainly, as an address, for users
// that have an entry everywhere, and routed through domains of ours.
func (m *maker) recipients() []recipient {
	var all []recipient
	f := &m.policy.Features
	for _, d := range m.hosts {
		user := m.naming.strangeUser(d)
		all = append(all, recipient{text: user + "@" + d})
		if f.RelayBasedOnMX {
			all = append(all, recipient{text: user + "@" + d, mx: d})
		}
		if f.RelayToFullAddress {
			for _, u := range m.survey.users {
				all = append(all, recipient{text: u + "@" + d})
			}
		}
	}
	for _, a := range m.addrs {
		all = append(all, recipient{text: "someone@[" + policy.AddrText(a) + "]"})
	}
	if m.plain == "" {
		return all
	}
	via := append([]string{strings.ToLower(m.policy.HostName)}, m.survey.routes...)
	for i, v := range via {
		for j, text := range routedForms("someone", m.plain, v) {
			if i < 3 || j < 4 {
				all = append(all, recipient{text: text, routed: true})
			}
		}
	}
	return all
}

// routedForms are the ways to write that mail for user@domain is to go through via.
func routedForms(user, domain, via string) []string {
	return []string{
		user + "%" + domain + "@" + via,
		`"` + user + "@" + domain + `"@` + via,
		domain + "!" + user + "@" + via,
		"@" + via + ":" + user + "@" + domain,
		user + "%" + domain,
		domain + "!" + user,
		`"` + user + "%" + domain + `"@` + via,
		`"` + domain + "!" + user + `"@` + via,
		via + "!" + domain + "!" + user,
		via + "!" + user + "%" + domain,
		user + "%" + domain + "%" + via + "@" + via,
		user + "%" + domain + "@[" + via + "]",
		user + "%" + domain + "@" + via + ".",
		`"` + user + "@" + domain + `"`,
		`"` + user + `"%` + domain + "@" + via,
		user + "%" + via + "@" + domain,
		"@" + domain + ":" + user + "@" + domain,
	}
}
