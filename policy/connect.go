package policy

import "context"

// checkRelay is rule set check_relay: may this client connect?
func checkRelay(p *Policy) check {
	f := &p.features
	rules := []rule{
		{name: "client address", apply: clientAddress},
		{name: "client access", apply: clientAccess},
	}
	if f.RateControl.On && !f.RateControl.NoDelay {
		rules = append(rules, rateControl(f.RateControl))
	}
	if f.ConnControl.On && !f.ConnControl.NoDelay {
		rules = append(rules, connControl(f.ConnControl))
	}
	var last []rule
	if f.RequireRDNS {
		last = append(last, rule{name: "require_rdns", apply: requireRDNS})
	}
	return check{name: "check_relay", parts: [][]rule{rules, clientLists(p), last}}
}

// clientAddress refuses to judge a client of whom no address is known: that an
// entry for it was not found must not be taken for its absence.
func clientAddress(_ context.Context, q *inquiry) (outcome, error) {
	if q.clientAddr == "" && !q.facts.Conn.Local {
		return stop(refuse(replyTemporary)), nil
	}
	return noOpinion, nil
}

// clientAccess asks the access map for Connect: entries, of the name first and of
// the address only if nothing was found for the name.
func clientAccess(ctx context.Context, q *inquiry) (outcome, error) {
	if q.facts.Conn.Local {
		return noOpinion, nil
	}
	v, err := q.searchClient(ctx)
	switch {
	case err != nil || !v.found:
		return noOpinion, err
	case v.permits():
		return permit, nil
	}
	return q.refusal(v.text, &q.policy.rejected)
}

// searchClient looks for the client's name, and then for its address.
func (q *inquiry) searchClient(ctx context.Context) (value, error) {
	name := q.clientName
	if q.policy.features.UseClientPtr {
		name = q.clientPtr()
	}
	v, err := q.searchDomain(ctx, tagConnect, anyKey, name)
	if err == nil && !v.found {
		v, err = q.searchAddr(ctx, tagConnect, anyKey, q.clientAddr)
	}
	return v, err
}

// requireRDNS is FEATURE(require_rdns). Clients in relay-domains need no name.
func requireRDNS(ctx context.Context, q *inquiry) (outcome, error) {
	if q.facts.Conn.Local {
		return noOpinion, nil
	}
	in, err := q.beginsWith(ctx, &q.policy.relayDomains, q.clientAddr)
	if in || err != nil {
		return noOpinion, err
	}
	switch q.facts.Conn.Resolve {
	case ResolveOK:
		return noOpinion, nil
	case ResolveTemp:
		return stop(refuse(reply(451, "4.1.8", "Client IP address "+q.clientAddr+" does not resolve", replyTemporary))), nil
	case ResolveForged:
		return stop(refuse(reply(451, "4.1.8", "Possibly forged hostname for "+q.clientAddr, replyTemporary))), nil
	}
	return stop(refuse(reply(550, "5.7.1", "Fix reverse DNS for "+q.clientAddr, replyAccessDenied))), nil
}
