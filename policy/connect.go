package policy

import "context"

// checkRelay is rule set check_relay: may this client connect?
func checkRelay(*Features) check {
	return check{
		name: "check_relay",
		parts: [][]rule{{
			{name: "client address", apply: clientAddress},
			{name: "client access", apply: clientAccess},
		}},
		otherwise: Verdict{Action: Accept},
	}
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
	v, err := q.searchDomain(ctx, tagConnect, anyKey, q.clientName)
	if err == nil && !v.found {
		v, err = q.searchAddr(ctx, tagConnect, anyKey, q.clientAddr)
	}
	switch {
	case err != nil || !v.found:
		return noOpinion, err
	case v.permits():
		return permit, nil
	}
	return refusal(v.text, replyAccessDenied)
}
