package policy

import "context"

// checkSpam is what delay_checks asks with the argument friend or hater: whether
// the recipient wants senders and clients to be checked at all. Relaying has been
// decided before.
func checkSpam(f *Features) (check, bool) {
	var apply func(context.Context, *inquiry) (outcome, error)
	var onFault func(error) outcome
	switch f.DelayChecks {
	case DelayFriend:
		apply, onFault = spamFriend, ignoreFault
	case DelayHater:
		apply = spamHater
	default:
		return check{}, false
	}
	return check{name: "recipient wants checks", parts: [][]rule{{{name: "delay_checks", apply: apply, onFault: onFault}}}}, true
}

// spamFriend: a recipient with Spam: FRIEND takes everything.
func spamFriend(ctx context.Context, q *inquiry) (outcome, error) {
	v, err := q.searchSpam(ctx)
	if err == nil && v.is("FRIEND") {
		return permitAll, nil
	}
	return noOpinion, err
}

// spamHater: only a recipient with Spam: HATER is protected.
func spamHater(ctx context.Context, q *inquiry) (outcome, error) {
	v, err := q.searchSpam(ctx)
	if err != nil || v.is("HATER") {
		return noOpinion, err
	}
	return permitAll, nil
}

// searchSpam looks for the recipient: the address, its domain, and for a local
// domain the user everywhere.
func (q *inquiry) searchSpam(ctx context.Context) (value, error) {
	a, err := q.canonAddr(ctx, q.facts.Rcpt.Recipient.Text())
	if err != nil {
		return value{}, err
	}
	domain := a.domain
	if domain == "" {
		domain = q.policy.host
	}
	if v, err := q.searchUser(ctx, tagSpam, taggedKey, a.local, "@"+domain); v.found || err != nil {
		return v, err
	}
	if v, err := q.searchDomain(ctx, tagSpam, taggedKey, domain); v.found || err != nil {
		return v, err
	}
	local, err := q.isLocal(ctx, domain)
	if err != nil || !local {
		return value{}, err
	}
	return q.searchUser(ctx, tagSpam, taggedKey, a.local, "@")
}
