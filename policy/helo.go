package policy

import (
	"context"
	"strings"
)

// badHeloRule is FEATURE(block_bad_helo). Where it stands in sendmail's rules, and
// so here, is odd: with delay_checks it is the last question for each recipient;
// without, only recipients that would be denied anyway come to it.
var badHeloRule = rule{name: "block_bad_helo", apply: badHelo}

// badHelo refuses clients that greet with this host's name or address, or
// without a dot. Clients that logged in, and those in relay-domains, may.
func badHelo(ctx context.Context, q *inquiry) (outcome, error) {
	if q.facts.Auth.Authen != "" || q.facts.Conn.Local {
		return noOpinion, nil
	}
	if in, err := q.beginsWith(ctx, &q.policy.relayDomains, q.clientAddr); in || err != nil {
		return noOpinion, err
	}
	helo := q.facts.Helo.Name
	own, err := q.has(ctx, &q.policy.localNames, "["+helo+"]")
	if err != nil {
		return noOpinion, err
	}
	if !own {
		if own, err = q.isLocal(ctx, helo); err != nil {
			return noOpinion, err
		}
	}
	if !own && qualifiedHelo(helo) {
		return noOpinion, nil
	}
	return stop(refuse(reply(550, "5.7.1", "bogus HELO name used: "+helo, replyAccessDenied))), nil
}

// qualifiedHelo tells whether a dot stands within the name, or it is an IPv6
// address with its tag; the literal [IPv6:...] is not, as in sendmail.
func qualifiedHelo(helo string) bool {
	if len(helo) > 2 && strings.IndexByte(helo[1:len(helo)-1], '.') >= 0 {
		return true
	}
	_, tagged := cutWord(helo, "IPv6:")
	return tagged
}
