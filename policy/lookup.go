package policy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"gatepost/internal/smtp"
	"gatepost/maps"
)

// maxLookupKey bounds a key in bytes: no address or name is longer.
const maxLookupKey = 1024

var errEmptyKey = errors.New("empty key, expected an address, a host name or a mail address")

// Lookup searches one table for a key as the rules do, and lists each key that
// was tried, in order, up to the one that was found. table is access,
// relay_domains, local_host_names, trusted, spammers or virtual_hosts, or dnsbl
// for all DNS lists, which are asked about an address or a domain.
//
// In access the key may have a tag, "Connect:192.0.2.7", "From:u@example.org".
// Without one the key is searched as a client's (Connect:) when it is an
// address, as a sender's and a recipient's when it has an @, else as all three.
// Addresses may be written in any form, mail addresses with or without angle
// brackets; names are taken as they are, without asking the DNS. The error says what is wrong with table or key; lookups that
// fail are in the Answers.
func (p *Policy) Lookup(ctx context.Context, table, key string) ([]Answer, error) {
	switch {
	case key == "":
		return nil, errEmptyKey
	case len(key) > maxLookupKey:
		return nil, fmt.Errorf("a key of %d bytes, expected at most %d", len(key), maxLookupKey)
	}
	switch table {
	case "access":
		return p.lookupAccess(ctx, key)
	case p.relayDomains.name:
		return p.lookupRelayDomains(ctx, key), nil
	case p.localNames.name:
		if addr := literalAddr(key); addr.IsValid() {
			key = "[" + AddrText(addr) + "]"
		}
		return lookupClass(&p.localNames, func(c *class) { _, _, _ = c.find(ctx, key) }), nil
	case p.virtualHosts.name:
		if len(p.virtualHosts.words) == 0 {
			return nil, notNamed(table)
		}
		return lookupClass(&p.virtualHosts, func(c *class) { _, _, _ = c.find(ctx, key) }), nil
	case tableTrusted:
		return p.lookupTrusted(ctx, key)
	case tableSpammers:
		return p.lookupSpammers(ctx, key)
	case tableLists:
		return p.lookupLists(ctx, key)
	}
	return nil, fmt.Errorf("unknown table %q, expected access, %s, %s, %s, %s, %s or %s", table,
		p.relayDomains.name, p.localNames.name, tableTrusted, tableSpammers, p.virtualHosts.name, tableLists)
}

func notNamed(table string) error {
	return fmt.Errorf("no %s table: [tables] does not name one", table)
}

// lookupTrusted searches as for a client's address, or as for its name.
func (p *Policy) lookupTrusted(ctx context.Context, key string) ([]Answer, error) {
	if p.trusted == nil {
		return nil, notNamed(tableTrusted)
	}
	keys := trustedNameKeys(strings.TrimSuffix(key, "."))
	if addr := literalAddr(key); addr.IsValid() {
		keys = trustedAddrKeys(addr)
	}
	q := p.newInquiry(StageRcpt, &Facts{})
	_, _ = q.trusts(ctx, keys)
	return q.asked, nil
}

// lookupSpammers searches as for a sender, or for what is after its @.
func (p *Policy) lookupSpammers(ctx context.Context, key string) ([]Answer, error) {
	if p.spammers == nil {
		return nil, notNamed(tableSpammers)
	}
	a := &address{domain: key}
	if at := strings.LastIndexByte(key, '@'); at >= 0 {
		a.local, a.domain = key[:at], key[at+1:]
	}
	q := p.newInquiry(StageMail, &Facts{})
	_, _ = q.searchSpammers(ctx, a)
	return q.asked, nil
}

// tableLists stands for all DNS lists.
const tableLists = "dnsbl"

// lookupLists asks each list that could have the key, an address or a domain, and
// for the reasons of those that do.
func (p *Policy) lookupLists(ctx context.Context, key string) ([]Answer, error) {
	if len(p.dnsLists) == 0 {
		return nil, errors.New("no DNS lists: the configuration has none")
	}
	addr := literalAddr(key)
	f := &Facts{Conn: Conn{Addr: addr}}
	if !addr.IsValid() {
		domain := key[strings.LastIndexByte(key, '@')+1:]
		f.Conn.Name, f.Conn.Resolve = domain, ResolveOK
		f.Helo.Name = domain
		f.Mail.Sender = smtp.ParsePath("<u@" + domain + ">")
	}
	q := p.newInquiry(StageRcpt, f)
	defer q.endLists()
	g := p.group(func(l *dnsList) bool { _, _, ok := l.about(q); return ok })
	if len(g.lists) == 0 {
		return nil, fmt.Errorf("no DNS list is asked about %s", key)
	}
	for _, l := range g.lists {
		a := q.askList(ctx, g, l)
		q.asked[a.at].Found = a.err == nil && l.match(a.codes) != nil
		if q.asked[a.at].Found {
			q.listReason(ctx, l, a)
		}
	}
	return q.asked, nil
}

// lookupAccess searches for each tag that the key has or may have.
func (p *Policy) lookupAccess(ctx context.Context, key string) ([]Answer, error) {
	if p.access == nil {
		return nil, fmt.Errorf("no access table: features.access_db is off")
	}
	tags := []tag{tagConnect, tagFrom, tagTo}
	for _, t := range allTags() {
		if rest, ok := cutWord(key, string(t)); ok {
			tags, key = []tag{t}, rest
		}
	}
	if inner, ok := strings.CutPrefix(key, "<"); ok { // as in MAIL and RCPT; no key has them
		key = strings.TrimSuffix(inner, ">")
	}
	if key == "" && tags[0] != tagClientRate && tags[0] != tagClientConn {
		return nil, errEmptyKey
	}
	addr := literalAddr(key)
	switch {
	case len(tags) == 1:
	case addr.IsValid():
		tags = []tag{tagConnect}
	case strings.Contains(key, "@"):
		tags = []tag{tagFrom, tagTo}
	}
	q := p.newInquiry(StageRcpt, &Facts{})
	for _, t := range tags {
		q.searchLike(ctx, t, key, addr)
	}
	// A recipient's search also asks whether the domain is local.
	return slices.DeleteFunc(q.asked, func(a Answer) bool { return a.Table != "access" }), nil
}

func allTags() []tag {
	return []tag{tagConnect, tagFrom, tagTo, tagSpam, tagClientRate, tagClientConn, tagGreetPause, tagCompat, tagCertIssuer, tagCertSubject}
}

// searchLike does the search that the rules do for a tag. What it finds, and
// what fails, is in the record.
func (q *inquiry) searchLike(ctx context.Context, t tag, key string, addr netip.Addr) {
	m := taggedKey
	switch t {
	case tagConnect, tagFrom, tagTo:
		m = anyKey
	case tagCompat, tagCertIssuer, tagCertSubject:
		_, _ = q.searchExact(ctx, t, m, key)
		return
	}
	at := strings.LastIndexByte(key, '@')
	switch {
	case t == tagClientRate || t == tagClientConn:
		if v, err := q.searchAddr(ctx, t, m, addrKey(key, addr)); err == nil && !v.found {
			_, _ = q.searchExact(ctx, t, m, "")
		}
	case addr.IsValid():
		_, _ = q.searchAddr(ctx, t, m, AddrText(addr))
	case at < 0 && t == tagTo && !q.policy.features.BlocklistRecipients:
		_, _ = q.relayEntry(ctx, t, key)
	case at < 0:
		_, _ = q.searchDomain(ctx, t, m, key)
	default:
		q.searchMailbox(ctx, t, m, key[:at], key[at+1:])
	}
}

// searchMailbox is the search for a sender, or for a recipient.
func (q *inquiry) searchMailbox(ctx context.Context, t tag, m mark, local, domain string) {
	a := &address{local: local, domain: domain}
	switch {
	case t == tagFrom:
		_, _ = q.searchSender(ctx, a)
	case t == tagTo && !q.policy.features.BlocklistRecipients:
		_, _ = q.relayRecipient(ctx, a)
	case t == tagTo:
		q.recipient = a
		_, _ = q.searchRecipient(ctx)
	default:
		if v, err := q.searchUser(ctx, t, m, local, "@"+domain); err == nil && !v.found {
			_, _ = q.searchDomain(ctx, t, m, domain)
		}
	}
}

func addrKey(key string, addr netip.Addr) string {
	if addr.IsValid() {
		return AddrText(addr)
	}
	return key
}

// literalAddr reads an address: bare, after "IPv6:", or in brackets.
func literalAddr(key string) netip.Addr {
	if inner, ok := strings.CutPrefix(key, "["); ok {
		key = strings.TrimSuffix(inner, "]")
	}
	key, _ = cutWord(key, "IPv6:")
	addr, err := netip.ParseAddr(key)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}

// lookupRelayDomains searches as for a client's address, or as for a name.
func (p *Policy) lookupRelayDomains(ctx context.Context, key string) []Answer {
	addr := literalAddr(key)
	q := p.newInquiry(StageRcpt, &Facts{})
	return lookupClass(&p.relayDomains, func(c *class) {
		switch {
		case addr.IsValid():
			_, _ = q.beginsWith(ctx, c, AddrText(addr))
		case p.features.RelayHostsOnly:
			_, _, _ = c.find(ctx, key)
		default:
			_, _ = q.endsIn(ctx, c, key)
		}
	})
}

// lookupClass runs a search over a class that writes down each word asked for.
func lookupClass(c *class, search func(*class)) []Answer {
	w := &witness{class: c}
	search(&class{c.name, []maps.Map{w}})
	return w.asked
}

// witness is a class as a Map that remembers what it is asked.
type witness struct {
	class *class
	asked []Answer
}

func (w *witness) Lookup(ctx context.Context, key string) (maps.Entry, bool, error) {
	e, found, err := w.class.find(ctx, key)
	w.asked = append(w.asked, Answer{Table: w.class.name, Key: key, Found: found, Value: e.Value, Source: e.Source, Err: err})
	return e, found, err
}
