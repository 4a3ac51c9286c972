package policy

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"gatepost/internal/smtp"
	"gatepost/policy/dnsbl"
)

// dnsList is a dnsbl or enhdnsbl, or a table [[dnsbl]], ready to be asked.
type dnsList struct {
	DNSList
	zone      dnsbl.Zone
	uses      dnsbl.Zone   // the zone with what other lists take from it
	state     *dnsbl.State // may be nil
	listed    errorText
	temporary errorText
	results   []*regexp.Regexp
	named     []dnsbl.Filter // answers that the administrator named
}

// DNSZone is the zone that a list asks.
func (c *DNSList) DNSZone() dnsbl.Zone {
	z := dnsbl.Zone{Name: c.Zone, IPv4Only: true}
	if t := c.Table; t != nil {
		z.Key, z.Domains, z.IPv4Only, z.Trusted, z.Filters = t.Key, t.Lookup.domain(), t.IPv4Only, t.Trusted, t.Filters
	}
	return z
}

func newDNSList(c DNSList, states *dnsbl.Set) (*dnsList, error) {
	l := &dnsList{DNSList: c, zone: c.DNSZone()}
	l.state, l.uses = states.State(&l.zone), states.Merged(l.zone)
	var err error
	if c.Message != "" && !c.silent() {
		if l.listed, err = newErrorText("5.7.1", c.Message, replyAccessDenied); err != nil {
			return nil, fmt.Errorf("%s %s: %w", c.feature(), c.Zone, err)
		}
	}
	if c.Temporary != "" && c.Temporary != "t" {
		if l.temporary, err = newErrorText("4.4.3", c.Temporary, replyTemporary); err != nil {
			return nil, fmt.Errorf("%s %s: %w", c.feature(), c.Zone, err)
		}
	}
	for _, pattern := range c.Results {
		l.results = append(l.results, resultPattern(pattern))
		if one, err := netip.ParseAddr(strings.TrimSuffix(pattern, ".")); err == nil {
			l.named = append(l.named, dnsbl.Filter{First: one, Last: one})
		}
	}
	if c.Table != nil {
		l.named = c.Table.Filters
	}
	return l, nil
}

// silent tells whether a listed client is told nothing.
func (c *DNSList) silent() bool { return c.Message == "quarantine" || c.Message == "discard" }

func (c *DNSList) feature() string {
	if c.Enhanced {
		return "enhdnsbl"
	}
	return "dnsbl"
}

func (c *DNSList) allows() bool { return c.Table != nil && c.Table.Allow }
func (c *DNSList) scored() bool { return c.Table != nil && c.Table.Scored }

// early tells whether all that the list is asked about is known at connection.
func (c *DNSList) early() bool { return c.Table == nil || c.Table.Lookup <= LookupClientName }

// resultPattern is a left-hand side of a rule: $+ one token or more, $- one, $*
// any; everything else stands for itself.
func resultPattern(p string) *regexp.Regexp {
	e := regexp.QuoteMeta(p)
	for from, to := range map[string]string{`\$\+`: `.+`, `\$\*`: `.*`, `\$-`: `[^.]+`} {
		e = strings.ReplaceAll(e, from, to)
	}
	return regexp.MustCompile("(?i)^" + e + "$")
}

// dnsListRule is FEATURE(dnsbl) or FEATURE(enhdnsbl): the list refuses by itself.
func dnsListRule(l *dnsList, g *listGroup) rule {
	if l.Enhanced {
		return rule{name: "enhdnsbl", apply: l.refuses(g)}
	}
	return rule{name: "dnsbl", apply: l.refuses(g)}
}

func (l *dnsList) refuses(g *listGroup) func(context.Context, *inquiry) (outcome, error) {
	return func(ctx context.Context, q *inquiry) (outcome, error) {
		a := q.askList(ctx, g, l)
		switch {
		case a.err != nil && !a.parked && l.Temporary != "":
			return stop(refuse(l.temporaryReply(q, a.who))), nil
		case a.err != nil || l.match(a.codes) == nil:
			return noOpinion, nil // sendmail lets mail pass a list that cannot be asked
		case q.lists.unsure != nil:
			return stop(q.lists.unsure.verdict()), nil
		case l.silent():
			return stop(silentVerdict(l.Message, l.Zone)), nil
		}
		return stop(refuse(q.withReason(ctx, l, a, l.listedReply(q, a.who)))), nil
	}
}

// silentVerdict is what the words quarantine and discard stand for.
func silentVerdict(word, reason string) Verdict {
	if word == "quarantine" {
		return Verdict{Action: Quarantine, Reason: reason}
	}
	return Verdict{Action: Discard}
}

// match is the result that counts; nil when the answer does not mean listed.
func (l *dnsList) match(codes []netip.Addr) *dnsbl.Filter {
	switch {
	case len(codes) == 0:
		return nil
	case l.Table != nil:
		return dnsbl.First(l.Table.Filters, codes)
	case !l.Enhanced || len(l.results) == 0:
		return &dnsbl.Filter{}
	}
	// sendmail sees only the first address.
	if slices.ContainsFunc(l.results, func(r *regexp.Regexp) bool { return r.MatchString(codes[0].String() + ".") }) {
		return &dnsbl.Filter{}
	}
	return nil
}

// listedReply is the refusal. The usual text is that of sendmail.
func (l *dnsList) listedReply(q *inquiry, who string) smtp.Reply {
	if l.Message != "" {
		return l.listed.reply(q)
	}
	return reply(550, "5.7.1", "Rejected: "+who+" listed at "+l.Zone, replyAccessDenied)
}

func (l *dnsList) temporaryReply(q *inquiry, who string) smtp.Reply {
	if l.Temporary != "t" {
		return l.temporary.reply(q)
	}
	return reply(451, "4.4.3", "Temporary lookup failure of "+who+" at "+l.Zone, replyTemporary)
}

// withReason adds what the list says of its entry, if that is wanted and to be had.
func (q *inquiry) withReason(ctx context.Context, l *dnsList, a listAnswer, r smtp.Reply) smtp.Reply {
	if l.Table == nil || !l.Table.Reason {
		return r
	}
	reason := q.listReason(ctx, l, a)
	if reason == "" {
		return r
	}
	if full, err := smtp.NewReply(r.Code(), r.Enhanced(), r.Text()+"; "+reason); err == nil {
		return full
	}
	return r
}

// about is what the list is asked about: who for people, and its name in the zone.
// ok is false when there is nothing to ask.
func (l *dnsList) about(q *inquiry) (who string, n dnsbl.Name, ok bool) {
	conn := &q.facts.Conn
	if l.Table == nil {
		n, ok = l.zone.AddrName(conn.Addr)
		return q.clientAddr, n, ok
	}
	switch l.Table.Lookup {
	case LookupClientName:
		if conn.Resolve == ResolveOK {
			who = conn.Name
		}
	case LookupSender:
		who = smtp.ParseMailbox(q.facts.Mail.Sender.Text(), q.policy.syntax).Domain
	case LookupHelo:
		who = q.facts.Helo.Name
	default:
		if conn.Addr.Unmap().IsLoopback() {
			return "", n, false // no list has an entry for it (RFC 5782, 5)
		}
		n, ok = l.zone.AddrName(conn.Addr)
		return q.clientAddr, n, ok
	}
	n, ok = l.zone.DomainName(who)
	return strings.ToLower(strings.TrimSuffix(who, ".")), n, ok
}
