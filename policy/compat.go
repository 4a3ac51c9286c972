package policy

import (
	"context"
	"strings"
)

// CheckCompat is FEATURE(compat_check), rule set check_compat: may this sender
// write to this recipient? It is asked for each recipient when a message is
// delivered, which is a matter of the front: a milter is not asked then. There is
// only the exact key Compat:sender<@>recipient.
func (p *Policy) CheckCompat(ctx context.Context, f *Facts) Decision {
	c := check{name: "check_compat", parts: [][]rule{{{name: "compat_check", apply: compatCheck}}}}
	q := p.newInquiry(StageRcpt, f)
	out := q.check(ctx, &c)
	return Decision{Stage: StageRcpt, Verdict: out.verdict, Steps: q.steps, inquiry: q}
}

func compatCheck(ctx context.Context, q *inquiry) (outcome, error) {
	sender, recipient := q.facts.Mail.Sender.Text(), q.facts.Rcpt.Recipient.Text()
	if !q.policy.features.CompatCheck || sender == "" || recipient == "" {
		return noOpinion, nil
	}
	v, err := q.searchExact(ctx, tagCompat, taggedKey, sender+"<@>"+recipient)
	if err != nil || !v.found {
		return noOpinion, err
	}
	if rest, ok := cutWord(v.text, "DISCARD"); ok && (rest == "" || strings.ContainsAny(rest[:1], ": \"")) {
		return stop(Verdict{Action: Discard}), nil
	}
	if text, ok := cutWord(v.text, "TEMP:"); ok {
		return compatError(text, ` " error from check_compat. Try again later"`)
	}
	if text, ok := cutWord(v.text, "ERROR:"); ok {
		return compatError(text, ` " error from check_compat"`)
	}
	return noOpinion, nil
}

func compatError(text, end string) (outcome, error) {
	r, err := buildReply(replyTemporary.Enhanced(), normalise(text+end))
	if err != nil {
		return outcome{}, err
	}
	return stop(refuse(r)), nil
}
