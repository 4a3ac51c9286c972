package lint

import (
	"context"
	"fmt"
	"strings"

	"gatepost/internal/dns"
	"gatepost/policy"
)

// Result is what the search for an open relay came to.
type Result struct {
	Witnesses []Witness // each by another rule or entry, at most ten; none: no open relay was found
	Sessions  int       // how many were tried
	Complete  bool      // all were tried; false when ctx ended, the tables have too many entries that matter, or Unknown
	Unknown   bool      // there are tables whose entries cannot be listed: of servers, and expressions
}

// maxWitnesses is how many ways to relay are shown.
const maxWitnesses = 10

// OpenRelay searches the policy for sessions by which an unauthenticated stranger
// can relay to a stranger: by asking it about made-up sessions that between them
// reach every rule that can permit. Nothing is asked of the network: c.Resolver is
// not used, and a map on a server counts as empty. An error is a fault of c; when
// ctx ends the result is what was found until then.
func OpenRelay(ctx context.Context, c policy.Config) (Result, error) {
	c, known := listed(c)
	s, err := newSearch(c)
	if err != nil {
		return Result{}, err
	}
	s.run(ctx)
	s.result.Complete = s.result.Complete && ctx.Err() == nil && known
	s.result.Unknown = !known
	return s.result, nil
}

// search is one search under way.
type search struct {
	*candidates
	policy  *policy.Policy   // asks the attacker's DNS
	dark    []*policy.Policy // ask a DNS that has nothing, and one that does not answer
	dns     *attacker
	result  Result
	seen    map[string]int  // rules and entries that were shown: which witness
	connect map[client]bool // whether a client gets as far as MAIL
	mail    map[string]bool // whether a sender does
}

func newSearch(c policy.Config) (*search, error) {
	a := &attacker{host: c.HostName, session: &session{}}
	for _, l := range c.Features.DNSLists {
		a.lists = append(a.lists, l.Zone)
	}
	s := &search{
		candidates: newCandidates(&c), dns: a,
		seen: map[string]int{}, connect: map[client]bool{}, mail: map[string]bool{},
	}
	s.result.Complete = !s.partial
	var err error
	c.Resolver, c.Lists, c.Features.DNSListTimeout = a, nil, 0 // what he answers is about one session at a time
	if s.policy, err = policy.New(c); err != nil {
		return s, fmt.Errorf("open-relay search: %w", err)
	}
	for _, r := range []dns.Resolver{nothing{}, silent{}} {
		c.Resolver = r
		p, err := policy.New(c)
		if err != nil {
			return s, fmt.Errorf("open-relay search: %w", err)
		}
		s.dark = append(s.dark, p)
	}
	return s, nil
}

// run tries each candidate with the plainest others first. Only if nothing comes
// of that, all are tried with all.
func (s *search) run(ctx context.Context) {
	if len(s.clients) == 0 || len(s.recipients) == 0 {
		return // there are no strangers: every address or name is named by an entry
	}
	for _, c := range s.clients {
		s.try(ctx, c, s.senders[0], s.recipients[0])
	}
	for _, r := range s.recipients {
		s.try(ctx, s.clients[0], s.senders[0], r)
	}
	for _, m := range s.senders {
		s.try(ctx, s.clients[0], m, s.recipients[0])
	}
	if len(s.result.Witnesses) > 0 {
		return
	}
	for _, c := range s.clients {
		for _, m := range s.senders {
			for _, r := range s.recipients {
				s.try(ctx, c, m, r)
			}
			if ctx.Err() != nil || len(s.result.Witnesses) > 0 {
				return
			}
		}
	}
}

// try asks the policy about one session, stage by stage.
func (s *search) try(ctx context.Context, c client, sender string, r recipient) {
	if ctx.Err() != nil || len(s.result.Witnesses) >= maxWitnesses {
		return
	}
	x := &session{c, sender, r}
	s.dns.session = x
	f := x.facts(s.helo)
	ok, known := s.connect[c]
	if !known {
		ok = passes(ctx, s.policy, policy.StageConnect, f)
		s.connect[c] = ok
	}
	if !ok {
		return
	}
	if ok, known = s.mail[sender]; !known {
		ok = passes(ctx, s.policy, policy.StageMail, f)
		s.mail[sender] = ok
	}
	if !ok {
		return
	}
	s.result.Sessions++
	d := s.policy.Decide(ctx, policy.StageRcpt, f)
	if d.Verdict.Action == policy.Accept {
		s.accepted(ctx, x, &d)
	}
	d.Release()
}

func passes(ctx context.Context, p *policy.Policy, at policy.Stage, f *policy.Facts) bool {
	d := p.Decide(ctx, at, f)
	defer d.Release()
	return d.Verdict.Action == policy.Accept
}

// accepted looks at an acceptance: is it one of mail for a stranger?
func (s *search) accepted(ctx context.Context, x *session, d *policy.Decision) {
	step, hit := permission(d)
	if x.recipient.routed && !leadsAway(step, hit) {
		return
	}
	id := step.Rule
	if step.Rule != "relay_local_from" && step.Rule != "relay_based_on_MX" {
		id += " " + hit.Source.String()
	}
	before, seen := s.seen[id]
	if seen && s.result.Witnesses[before].DNS == nil {
		return
	}
	w := Witness{
		Client: x.client.addr, Resolve: x.client.resolve, Name: x.client.name, Helo: s.helo,
		Sender: x.sender, Recipient: x.recipient.text, Rule: step.Rule, Source: hit.Source,
	}
	w.DNS = s.needs(ctx, &w)
	if !seen {
		s.seen[id] = len(s.result.Witnesses)
		s.result.Witnesses = append(s.result.Witnesses, w)
	} else if w.DNS == nil { // one that can be shown anywhere is better
		s.result.Witnesses[before] = w
	}
}

// needs is what the DNS must say for a witness to be accepted by its rule and
// entry; nil if it is whatever the DNS says, and no DNS list is asked.
func (s *search) needs(ctx context.Context, w *Witness) []string {
	dark := len(s.dns.lists) == 0
	for _, p := range s.dark {
		dark = dark && w.shown(ctx, p)
	}
	if dark {
		return nil
	}
	s.dns.facts = &facts{}
	defer func() { s.dns.facts = nil }()
	w.shown(ctx, s.policy)
	return s.dns.facts.list()
}

// permission is the rule that permitted the recipient, and the entry it found.
// What comes after it in the same stage is about the sender and the client.
func permission(d *policy.Decision) (policy.Step, policy.Answer) {
	for _, step := range d.Steps {
		if step.Verdict.Action != policy.Accept {
			continue
		}
		for i := len(step.Asked) - 1; i >= 0; i-- {
			if step.Asked[i].Found && !strings.HasPrefix(step.Asked[i].Table, "dns ") {
				return step, step.Asked[i]
			}
		}
		return step, policy.Answer{}
	}
	return policy.Step{}, policy.Answer{}
}

// leadsAway tells whether a recipient that is routed through a domain of ours was
// accepted as mail for the stranger behind it, and not for that domain, where it
// is the business of the domain's own server. A rule about the client is only
// asked when the recipient is none of ours.
func leadsAway(by policy.Step, hit policy.Answer) bool {
	switch by.Rule {
	case "unqualified recipient", "promiscuous_relay", "relay_based_on_MX", "check_rcpt", "local recipient", "recipient at a virtual host":
		return false
	case "recipient domain", "recipient access", "recipient at this host":
		if hit.Table == "local_host_names" {
			return false
		}
		name := strings.TrimPrefix(parseKey(strings.ToLower(hit.Key)).rest, ".")
		_, short := strangersBelow(name)
		return short
	}
	return true
}
