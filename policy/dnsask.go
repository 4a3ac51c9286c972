package policy

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"time"

	"gatepost/internal/dns"
	"gatepost/maps"
	"gatepost/policy/dnsbl"
)

// listAsking is the questions to DNS lists of one decision.
type listAsking struct {
	ctx    context.Context // ends when the budget is spent; nil until something is asked
	cancel context.CancelFunc
	begun  [2]*listGroup // groups that are being asked; a decision has no more
	asked  []*listQuestion
	unsure *unsure // an allow list could not be asked
}

// unsure is a list that might have spared the client, had it answered.
type unsure struct{ who, zone string }

// verdict is what becomes of a refusal that it might have prevented.
func (u *unsure) verdict() Verdict {
	return refuse(reply(451, "4.4.3", "Temporary lookup failure of "+u.who+" at "+u.zone, replyTemporary))
}

// listQuestion is one question to a list. Whoever asks it writes answer, err and
// took before done is closed.
type listQuestion struct {
	name    dnsbl.Name
	favours bool // the list is one of good clients
	t       dns.Type
	done    chan struct{} // nil: nobody asks it on the side
	answer  dns.Answer
	err     error
	took    time.Duration
	counted bool
}

// listAnswer is what a list said.
type listAnswer struct {
	who    string       // what the list was asked about
	name   dnsbl.Name   // and under which name
	codes  []netip.Addr // none: not listed, or there was nothing to ask
	err    error        // could not be asked, or answered an error
	parked bool
	at     int // in the record
}

var errBudget = errors.New("no answer within dnsbl_timeout")

// askList asks a list and writes its answer down. All lists of its group are asked
// at the first call, side by side and under one budget.
func (q *inquiry) askList(ctx context.Context, g *listGroup, l *dnsList) listAnswer {
	who, name, ok := l.about(q)
	if !ok {
		return listAnswer{}
	}
	a := listAnswer{who: who, name: name}
	if p := l.state.Parked(); p != nil {
		a.err, a.parked = p, true
		a.at = q.recordList(name, dns.TypeA, dns.Answer{}, p)
		return a
	}
	answer, known, err := q.facts.Memory.Recall(name.Asked, dns.TypeA)
	if !known {
		q.askGroup(ctx, g)
		question := q.question(ctx, l, name, dns.TypeA)
		answer, err = question.answer, question.err
		a.codes, a.err = l.judge(answer, err)
		if !question.counted {
			question.counted = true
			l.state.Asked(&answer, question.took, a.err)
			if a.err == nil {
				l.state.Said(who, l.uses.Listed(a.codes))
			}
			q.facts.Memory.Remember(name.Asked, dns.TypeA, answer, err)
		}
	} else {
		a.codes, a.err = l.judge(answer, err)
	}
	a.at = q.recordList(name, dns.TypeA, answer, a.err)
	return a
}

// judge tells what of an answer may mean listed.
func (l *dnsList) judge(answer dns.Answer, err error) ([]netip.Addr, error) {
	if err != nil {
		return nil, l.zone.Key.HideIn(err)
	}
	return dnsbl.Codes(answer, l.named)
}

// askGroup begins to ask all lists of a group that were not asked yet.
func (q *inquiry) askGroup(ctx context.Context, g *listGroup) {
	switch {
	case q.policy.features.DNSListTimeout == 0, q.lists.begun[0] == g, q.lists.begun[1] == g:
		return // one after the other, or on their way
	}
	q.lists.begun[1], q.lists.begun[0] = q.lists.begun[0], g
	first := true
	for _, l := range g.lists {
		_, name, ok := l.about(q)
		if !ok || l.state.Parked() != nil || q.find(name, dns.TypeA) != nil {
			continue
		}
		if _, known, _ := q.facts.Memory.Recall(name.Asked, dns.TypeA); known {
			continue
		}
		q.spend(ctx)
		question := &listQuestion{name: name, t: dns.TypeA, favours: l.favours()}
		q.lists.asked = append(q.lists.asked, question)
		if first {
			first = false // is asked by who waits for it
			continue
		}
		question.done = make(chan struct{})
		go func(ctx context.Context, r dns.Resolver) {
			defer close(question.done)
			question.ask(ctx, r)
		}(q.lists.ctx, q.policy.resolver)
	}
}

// spend begins the budget, once in a decision.
func (q *inquiry) spend(ctx context.Context) {
	if q.lists.ctx == nil {
		q.lists.ctx, q.lists.cancel = context.WithTimeoutCause(ctx, q.policy.features.DNSListTimeout, errBudget)
	}
}

// find is a question of this decision that was asked already.
func (q *inquiry) find(name dnsbl.Name, t dns.Type) *listQuestion {
	for _, o := range q.lists.asked {
		if o.t == t && o.name.Asked == name.Asked {
			return o
		}
	}
	return nil
}

// question asks, or waits for who asks it already.
func (q *inquiry) question(ctx context.Context, l *dnsList, name dnsbl.Name, t dns.Type) *listQuestion {
	if q.lists.ctx != nil {
		ctx = q.lists.ctx
	}
	o := q.find(name, t)
	if o == nil {
		o = &listQuestion{name: name, t: t, favours: l.favours()}
		q.lists.asked = append(q.lists.asked, o)
	}
	if o.done == nil {
		if o.took == 0 {
			o.ask(ctx, q.policy.resolver)
		}
		return o
	}
	select {
	case <-o.done:
		return o
	case <-ctx.Done():
	}
	select {
	case <-o.done: // at the last moment
		return o
	default:
		return &listQuestion{name: name, t: t, err: &dns.Error{Name: name.Shown, Type: t, Reason: "no answer in time", Err: context.Cause(ctx)}, took: q.policy.features.DNSListTimeout}
	}
}

func (o *listQuestion) ask(ctx context.Context, r dns.Resolver) {
	start := time.Now()
	if o.favours { // better an old permission than mail that waits
		ctx = dns.AllowStale(ctx)
	}
	o.answer, o.err = r.Lookup(ctx, o.name.Asked, o.t)
	o.took = max(time.Since(start), 1)
}

// listReason is what the list says of its entry.
func (q *inquiry) listReason(ctx context.Context, l *dnsList, a listAnswer) string {
	answer, known, err := q.facts.Memory.Recall(a.name.Asked, dns.TypeTXT)
	if !known {
		if q.policy.features.DNSListTimeout > 0 {
			q.spend(ctx)
		}
		question := q.question(ctx, l, a.name, dns.TypeTXT)
		answer, err = question.answer, question.err
		q.facts.Memory.Remember(a.name.Asked, dns.TypeTXT, answer, err)
	}
	shown := answer
	if err == nil {
		shown.Texts = nil
		if reason := dnsbl.Reason(answer, l.zone.Key); reason != "" {
			shown.Texts = []string{reason}
		}
	}
	q.recordList(a.name, dns.TypeTXT, shown, l.zone.Key.HideIn(err))
	if err != nil || len(shown.Texts) == 0 {
		return ""
	}
	return shown.Texts[0]
}

// recordList writes an answer down, without the key, and tells where.
func (q *inquiry) recordList(name dnsbl.Name, t dns.Type, a dns.Answer, err error) int {
	q.asked = append(q.asked, Answer{
		Table:  "dns " + t.String(),
		Key:    name.Shown,
		Found:  err == nil && !a.Empty(),
		Value:  a.String(),
		Source: maps.Source{File: a.Server},
		TTL:    a.TTL,
		Err:    err,
	})
	return len(q.asked) - 1
}

// weigh adds to the record what an answer counts.
func (q *inquiry) weigh(a listAnswer, weight int) {
	q.asked[a.at].Value += " (weight " + strconv.Itoa(weight) + ")"
}

// endLists ends questions that nobody waits for any more.
func (q *inquiry) endLists() {
	if q.lists.cancel != nil {
		q.lists.cancel()
	}
}
