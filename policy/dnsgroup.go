package policy

import (
	"context"
	"fmt"
	"strings"

	"gatepost/policy/dnsbl"
)

// listGroup is lists that are asked at one time.
type listGroup struct{ lists []*dnsList }

// useDNSLists makes the lists ready.
func (p *Policy) useDNSLists(states *dnsbl.Set) error {
	for _, c := range p.features.DNSLists {
		l, err := newDNSList(c, states)
		if err != nil {
			return err
		}
		p.dnsLists = append(p.dnsLists, l)
	}
	if text := p.features.DNSListMessage; text != "" && text != "quarantine" && text != "discard" {
		var err error
		if p.scored, err = newErrorText("5.7.1", text, replyAccessDenied); err != nil {
			return fmt.Errorf("dnsbl_message: %w", err)
		}
	}
	return nil
}

// group are the lists that a condition holds for, in their order.
func (p *Policy) group(in func(*dnsList) bool) *listGroup {
	g := &listGroup{}
	for _, l := range p.dnsLists {
		if in(l) {
			g.lists = append(g.lists, l)
		}
	}
	return g
}

// clientLists are the rules of the lists that are asked at connection. Lists that
// exempt a client come first, then those that refuse, then the sum of the others.
func clientLists(p *Policy) []rule {
	return listRules(p.group(func(l *dnsList) bool { return l.early() }), func(*dnsList) bool { return true })
}

// checkLists is what lists of senders and greetings say, and whether the sum of
// all lists is too much. It is no rule set of sendmail's.
func checkLists(p *Policy) (check, bool) {
	late := p.group(func(l *dnsList) bool { return !l.early() })
	if len(late.lists) == 0 {
		return check{}, false
	}
	summed := false
	for _, l := range late.lists {
		summed = summed || l.scored()
	}
	g := p.group(func(l *dnsList) bool { return !l.early() || l.allows() || summed && l.scored() })
	rules := append([]rule{{name: "dnsbl_client", apply: exemptClient}}, listRules(g, func(l *dnsList) bool { return !l.early() })...)
	return check{name: "check_dnsbl", parts: [][]rule{rules}}, true
}

// listRules are those of a group; refusing picks the lists that may refuse by themselves.
func listRules(g *listGroup, refusing func(*dnsList) bool) (rules []rule) {
	summed := false
	for _, l := range g.lists {
		if l.allows() {
			rules = append(rules, rule{name: "dnsbl_allow", apply: l.exempts(g)})
		}
		summed = summed || l.scored()
	}
	for _, l := range g.lists {
		if !l.allows() && !l.scored() && refusing(l) {
			rules = append(rules, dnsListRule(l, g))
		}
	}
	if summed {
		rules = append(rules, rule{name: "dnsbl_threshold", apply: g.sum})
	}
	return rules
}

// exempts: a client in an allow list is in no other.
func (l *dnsList) exempts(g *listGroup) func(context.Context, *inquiry) (outcome, error) {
	return func(ctx context.Context, q *inquiry) (outcome, error) {
		a := q.askList(ctx, g, l)
		switch {
		case a.err != nil && !a.parked:
			q.lists.unsure = &unsure{a.who, l.Zone}
		case l.match(a.codes) != nil:
			q.lists.unsure = nil
			return leavePart, nil
		}
		return noOpinion, nil
	}
}

// score is the sum of the lists' weights.
type score struct {
	sum    int
	zones  []string // that added to it
	listed []string // who is listed, and where
	who    string   // the last of them
	tells  *dnsList // one of them, if possible with a reason
	said   listAnswer
	spares int     // what lists of good clients that could not be asked might have taken off
	unsure *unsure // one of these
}

// sum adds up the weights, and refuses when there are too many of them. A list
// that cannot be asked weighs nothing; but a refusal that depends on that becomes
// a temporary failure.
func (g *listGroup) sum(ctx context.Context, q *inquiry) (outcome, error) {
	s := score{unsure: q.lists.unsure}
	for _, l := range g.lists {
		if l.scored() {
			s.add(q, l, q.askList(ctx, g, l))
		}
	}
	most := q.policy.features.DNSListThreshold
	switch {
	case s.sum < most || len(s.zones) == 0:
		return noOpinion, nil
	case q.lists.unsure != nil || s.sum+s.spares < most:
		return stop(s.unsure.verdict()), nil
	}
	return stop(s.verdict(ctx, q)), nil
}

func (s *score) add(q *inquiry, l *dnsList, a listAnswer) {
	if a.err != nil {
		if least := l.least(); least < 0 && !a.parked {
			s.spares += least
			s.unsure = &unsure{a.who, l.Zone}
		}
		return
	}
	f := l.match(a.codes)
	if f == nil {
		return
	}
	q.weigh(a, f.Weight)
	s.sum += f.Weight
	if f.Weight <= 0 {
		return
	}
	s.zones = append(s.zones, l.Zone)
	if s.who == a.who {
		s.listed[len(s.listed)-1] += ", " + l.Zone
	} else {
		s.listed = append(s.listed, a.who+" listed at "+l.Zone)
	}
	s.who = a.who
	if s.tells == nil || l.Table.Reason {
		s.tells, s.said = l, a
	}
}

// favours tells whether a client gains by being listed.
func (l *dnsList) favours() bool { return l.allows() || l.scored() && l.least() < 0 }

// least is the smallest weight that the list can add.
func (l *dnsList) least() int {
	least := 0
	for _, f := range l.Table.Filters {
		least = min(least, f.Weight)
	}
	return least
}

// verdict is that of a sum that is too much.
func (s *score) verdict(ctx context.Context, q *inquiry) Verdict {
	switch word := q.policy.features.DNSListMessage; word {
	case "quarantine", "discard":
		return silentVerdict(word, strings.Join(s.zones, ", "))
	case "":
		r := reply(550, "5.7.1", "Rejected: "+strings.Join(s.listed, "; "), replyAccessDenied)
		return refuse(q.withReason(ctx, s.tells, s.said, r))
	}
	return refuse(q.withReason(ctx, s.tells, s.said, q.policy.scored.reply(q)))
}

// exemptClient lets those pass whom no list of senders or greetings is for: this
// host, clients that may relay because of who they are, and those that the access
// map has OK or RELAY for.
func exemptClient(ctx context.Context, q *inquiry) (outcome, error) {
	conn := &q.facts.Conn
	if conn.Local || conn.Addr.Unmap().IsLoopback() {
		return leavePart, nil
	}
	for _, trusts := range []func(context.Context, *inquiry) (outcome, error){trustedMechanism, certificate} {
		if out, err := trusts(ctx, q); err != nil || out.ends != endNothing {
			return leavePart, err
		}
	}
	v, err := q.searchClient(ctx)
	if err != nil || v.found && v.permits() {
		return leavePart, err
	}
	return noOpinion, nil
}
