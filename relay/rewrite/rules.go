package rewrite

import (
	"context"
	"strings"

	"gatepost/internal/smtp"
	"gatepost/maps"
)

// form is what is known of an address's domain.
type form uint8

const (
	bare      form = iota // there is none
	plain                 // not known to be a full name; no class is asked about it
	canonical             // a full name, or one of ours
	thisHost              // none was written: the host itself is meant (*LOCAL* in the rule sets)
)

// address is a parsed one. domain is without final dot.
type address struct {
	user, domain string
	form         form
}

// query is one address on its way through the rules. The first error ends it.
type query struct {
	r   *Rewriter
	ctx context.Context
	err error

	changed      bool
	rule, source string
}

// decided notes the rule that decided.
func (q *query) decided(rule string, e maps.Entry) {
	q.rule, q.source = rule, ""
	if e.Source.File != "" {
		q.source = e.Source.String()
	}
}

// change notes a rule that changes the address.
func (q *query) change(rule string, e maps.Entry) {
	q.changed = true
	q.decided(rule, e)
}

// parse splits an address. One that a session would refuse is none, and so is one that has
// nothing on a side of its @, or of what stands for that.
func (q *query) parse(text string) (m smtp.Mailbox, ok bool) {
	if p := smtp.ParsePath("<" + text + ">"); !p.Fault().IsZero() || p.Text() != text {
		return smtp.Mailbox{}, false
	}
	m = smtp.ParseMailbox(text, q.r.c.Syntax)
	return m, m.Local != "" && (m.Domain != "" || m.Local == text)
}

// canonify is what rule set canonify makes of an address, under FEATURE(nocanonify): the
// DNS is not asked.
func (q *query) canonify(m smtp.Mailbox) address {
	a := address{user: m.Local, domain: m.Domain, form: plain}
	lower := strings.ToLower(m.Domain)
	switch {
	case m.Domain == "":
		a.form = bare
	case lower == "localhost" || lower == "localhost."+strings.ToLower(q.r.domain) || lower == "localhost.uucp" && !q.r.c.Syntax.NoUUCP:
		q.change("localhost", maps.Entry{})
		return address{m.Local, q.r.c.HostName, canonical}
	case strings.HasPrefix(m.Domain, "[") && strings.HasSuffix(m.Domain, "]"):
		if e, own := q.in(q.r.c.Local, m.Domain); own {
			q.change("local_host_names", e)
			return address{m.Local, q.r.c.HostName, canonical}
		}
	case q.fullName(m.Domain):
		a.domain, a.form = strings.TrimRight(m.Domain, "."), canonical
	}
	return a
}

// fullName tells whether a domain counts as canonical.
func (q *query) fullName(domain string) bool {
	if dot := strings.IndexByte(domain[1:], '.'); dot >= 0 { // in front of it there is something
		return true
	}
	if _, found := q.in(q.r.c.Local, domain); found {
		return true
	}
	if _, found := q.under(q.r.c.Domains, domain, q.r.c.Features.MasqueradeEntireDomain); found {
		return true
	}
	if q.r.c.Generics == nil {
		return false
	}
	_, found := q.under(q.r.c.GenericsDomains, domain, q.r.c.Features.GenericsEntireDomain)
	return found
}

// uucp makes user@host.UUCP a user host!user of this host (rule set PseudoToReal,
// without UUCP_RELAY).
func (q *query) uucp(a *address) {
	if q.r.c.Syntax.NoUUCP || a.form != canonical {
		return
	}
	if n := len(a.domain) - len(".UUCP"); n > 0 && strings.EqualFold(a.domain[n:], ".UUCP") {
		*a = address{a.domain[:n] + "!" + a.user, "", thisHost}
		q.change("host_name", maps.Entry{})
	}
}

// qualify gives an address without domain this host's (rule set MasqSMTP).
func (q *query) qualify(a *address) {
	if a.form == bare {
		a.form = thisHost
		q.change("host_name", maps.Entry{})
	}
}

// addDomain is rule set AddDomain.
func (q *query) addDomain(a *address) {
	if a.form != bare {
		return
	}
	q.change("always_add_domain", maps.Entry{})
	switch domain := q.r.c.Features.AddDomain; {
	case domain == "":
		a.form = thisHost
	case strings.HasSuffix(domain, "."):
		a.domain, a.form = strings.TrimRight(domain, "."), canonical
	default:
		a.domain, a.form = domain, plain
	}
}

// masquerade is rule set MasqHdr.
func (q *query) masquerade(a *address) {
	if a.form != canonical && a.form != thisHost {
		return
	}
	if q.r.c.Generics != nil && q.generic(a) {
		return
	}
	if e, found := q.under(q.r.c.Exceptions, a.domain, true); found && a.form == canonical {
		q.decided("masquerade_exception", e)
		return
	}
	if q.r.c.MasqueradeAs == "" {
		return
	}
	rule, why, ours := q.ours(a)
	if !ours {
		return
	}
	if e, exposed := q.in(q.r.c.Exposed, a.user); exposed {
		q.decided("exposed_user", e)
		return
	}
	q.change(rule, why)
	a.domain, a.form = q.r.c.MasqueradeAs, canonical
}

// ours tells whether a domain is one that is masqueraded, and why.
func (q *query) ours(a *address) (rule string, why maps.Entry, ours bool) {
	if a.form == thisHost {
		return "masquerade_as", maps.Entry{}, true
	}
	f := &q.r.c.Features
	if e, found := q.under(q.r.c.Domains, a.domain, f.MasqueradeEntireDomain); found {
		return "masquerade_domain", e, true
	}
	if f.LimitedMasquerade {
		return "", maps.Entry{}, false
	}
	e, found := q.in(q.r.c.Local, a.domain)
	return "masquerade_as", e, found
}

// final writes an address (rule set final).
func (q *query) final(a address) string {
	switch a.form {
	case bare:
		return a.user
	case thisHost:
		a.domain = q.r.c.HostName
	}
	if !q.r.c.Syntax.NoUUCP && strings.HasSuffix(strings.ToUpper(a.domain), ".UUCP") {
		if host := a.domain[:len(a.domain)-len(".UUCP")]; host != "" && !strings.ContainsFunc(host, delimiter) {
			return host + "!" + a.user
		}
	}
	return q.onceOnly(a.user, a.domain)
}

// onceOnly writes user%host@host, both our own, as user@host.
func (q *query) onceOnly(user, domain string) string {
	whole := user + "@" + domain
	for i := smtp.IndexUnquoted(user, "%"); i > 0 && i < len(user)-1; {
		host := user[i+1:]
		_, own := q.in(q.r.c.Local, host)
		if own {
			_, own = q.in(q.r.c.Local, domain)
		}
		if own {
			return q.onceOnly(user[:i], host)
		}
		next := smtp.IndexUnquoted(host, "%")
		if next < 0 {
			break
		}
		i += 1 + next
	}
	return whole
}

func delimiter(r rune) bool { return r < 0x80 && smtp.IsDelimiter(byte(r)) }

// in searches a class for a word.
func (q *query) in(class []maps.Map, word string) (maps.Entry, bool) {
	for _, m := range class {
		if q.err != nil || word == "" {
			break
		}
		e, found, err := m.Lookup(q.ctx, word)
		if err != nil {
			q.err = err
		}
		if found {
			return e, true
		}
	}
	return maps.Entry{}, false
}

// under searches a class for a domain and, if subdomains count, for what it ends in: by
// whole tokens, the longest first ($* $=M).
func (q *query) under(class []maps.Map, domain string, subdomains bool) (maps.Entry, bool) {
	if !subdomains {
		return q.in(class, domain)
	}
	for i := 0; i < len(domain) && len(class) > 0; i++ {
		if !smtp.TokenBoundary(domain, i) {
			continue
		}
		if e, found := q.in(class, domain[i:]); found {
			return e, true
		}
	}
	return maps.Entry{}, false
}
