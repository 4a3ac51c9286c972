package policy

import (
	"context"
	"regexp"
	"strings"

	"gatepost/internal/dns"
)

// The patterns of cf/feature/badmx.m4, for names and addresses with a final dot.
var (
	mxIsAddress = regexp.MustCompile(`^(([0-9]{1,3}\.){3}[0-9]){0,1}\.$`)
	mxIsPrivate = regexp.MustCompile(`^(127\.|10\.|0\.0\.0\.0)`)
)

// badMX is FEATURE(badmx): a sender's domain whose mail exchangers are addresses,
// or lead to this host or to private networks.
func badMX(ctx context.Context, q *inquiry) (outcome, error) {
	a, err := q.senderAddress(ctx)
	if err != nil || a.domain == "" {
		return noOpinion, err
	}
	hosts, err := q.exchangers(ctx, a.domain)
	if err != nil {
		return stop(refuse(reply(450, "4.1.2", "MX lookup failure for "+a.domain, replyTemporary))), nil
	}
	for _, host := range hosts {
		if mxIsAddress.MatchString(host + ".") {
			return stop(refuse(reply(550, "5.1.2", "Illegal MX record for host "+a.domain, replyAccessDenied))), nil
		}
	}
	for _, host := range hosts {
		if mxIsPrivate.MatchString(q.firstAddress(ctx, host) + ".") {
			return stop(refuse(reply(550, "5.1.2", "Invalid MX record for host "+a.domain, replyAccessDenied))), nil
		}
	}
	return noOpinion, nil
}

// firstAddress is the first A record of a host, or its name if there is none: an
// exchanger that does not resolve is no reason to refuse.
func (q *inquiry) firstAddress(ctx context.Context, host string) string {
	a, err := q.Lookup(ctx, host, dns.TypeA)
	if err != nil || len(a.Addrs) == 0 {
		return strings.TrimSuffix(host, ".")
	}
	return a.Addrs[0].String()
}
