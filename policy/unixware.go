package policy

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
)

// checkRcptUnixWare is the relay check of UnixWare and OpenServer in its six steps:
// four parts, as what is not known of the client's name must not keep its address
// from being asked about. The recipient is taken apart before as in rule set
// check_rcpt, so that nothing is relayed as mail for us that has a route in it.
//
// Source: UnixWare 7 Mail and Messaging guide, "Preventing your machine from being
// used as a mail relay".
func checkRcptUnixWare(p *Policy) check {
	recipient := append(addressRules(&p.features), routeRules(&p.features)...)
	recipient = append(recipient,
		rule{name: "local recipient", apply: unqualifiedRecipient},
		rule{name: "recipient at this host", apply: recipientAtThisHost})
	if len(p.virtualHosts.words) > 0 {
		recipient = append(recipient, rule{name: "recipient at a virtual host", apply: recipientAtVirtualHost})
	}
	parts := [][]rule{recipient}
	if p.trusted != nil {
		parts = append(parts,
			[]rule{{name: "trusted name", apply: trustedName, onFault: rememberTemporary}},
			[]rule{trustedAddressRule})
	}
	return check{name: "relay mail denied", parts: parts, otherwise: relayMailDenied}
}

// recipientAtThisHost permits what is at this host, one of its other names, its
// domain or a domain below that.
func recipientAtThisHost(ctx context.Context, q *inquiry) (outcome, error) {
	ours, err := q.isAtHost(ctx, q.recipient.domain)
	return permitIf(ours), err
}

// isAtHost tells whether a domain is in class w, or ends in class m. A host that is
// named example.com has com for its domain, which is everybody's and does not count.
func (q *inquiry) isAtHost(ctx context.Context, domain string) (bool, error) {
	if local, err := q.isLocal(ctx, domain); local || err != nil {
		return local, err
	}
	if !strings.Contains(q.policy.domain, ".") {
		return false, nil
	}
	return q.endsIn(ctx, &q.policy.ownDomains, domain)
}

// recipientAtVirtualHost permits what is at one of the virtual hosts: these match
// exactly.
func recipientAtVirtualHost(ctx context.Context, q *inquiry) (outcome, error) {
	ours, err := q.has(ctx, &q.policy.virtualHosts, q.recipient.domain)
	return permitIf(ours), err
}

// isOurs tells whether the first steps permit a domain: then a route through it
// ends with us.
func (q *inquiry) isOurs(ctx context.Context, domain string) (bool, error) {
	if ours, err := q.isAtHost(ctx, domain); ours || err != nil || len(q.policy.virtualHosts.words) == 0 {
		return ours, err
	}
	return q.has(ctx, &q.policy.virtualHosts, domain)
}

// trustedAddressRule is in both plans.
var trustedAddressRule = rule{name: "trusted address", apply: trustedAddress}

// trustedName permits clients whose verified name the trusted table has. A name
// that could not be looked up is not one that is missing.
func trustedName(ctx context.Context, q *inquiry) (outcome, error) {
	if q.facts.Conn.Resolve == ResolveTemp {
		return noOpinion, fmt.Errorf("the name of client %s could not be looked up", q.clientAddr)
	}
	ok, err := q.trusts(ctx, trustedNameKeys(q.connectingHost()))
	return permitIf(ok), err
}

// trustedCanonicalName is the same under sendmail's check_rcpt, which has made
// sure that there is a name, and compares it as the DNS has it.
func trustedCanonicalName(ctx context.Context, q *inquiry) (outcome, error) {
	ok, err := q.trusts(ctx, trustedNameKeys(q.canonicalClient(ctx)))
	return permitIf(ok), err
}

// trustedAddress permits clients whose address the trusted table has, with no
// exception for this host itself.
func trustedAddress(ctx context.Context, q *inquiry) (outcome, error) {
	addr := q.facts.Conn.Addr
	if q.facts.Conn.Local {
		addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	ok, err := q.trusts(ctx, trustedAddrKeys(addr))
	return permitIf(ok), err
}

// connectingHost is the client as the check names it: its verified name, or
// [address]. A session without a network is this host's own.
func (q *inquiry) connectingHost() string {
	if q.facts.Conn.Local && q.clientAddr == "" {
		return "localhost"
	}
	return q.clientName
}

// trusts tells whether the first of the keys that the trusted table has lets relay.
func (q *inquiry) trusts(ctx context.Context, keys []string) (bool, error) {
	for _, key := range keys {
		e, found, err := q.lookup(ctx, tableTrusted, q.policy.trusted, key)
		if found || err != nil {
			return found && isAccept(e.Value), err
		}
	}
	return false, nil
}

// relayMailDenied is the last of the six steps.
func relayMailDenied(q *inquiry) Verdict {
	to := q.recipient.domain
	if to == "" { // a route is hidden in what stands without a domain
		to = q.policy.host
	}
	return refuse(reply(550, "5.7.1", "Relay mail from "+q.connectingHost()+" to "+to+" denied", replyRelayMail))
}

// listedSender refuses senders in the spammers table. OK and RELAY there are
// exceptions to wider entries, and permit nothing.
func listedSender(ctx context.Context, q *inquiry) (outcome, error) {
	a, err := q.senderAddress(ctx)
	if err != nil || a.domain == "" {
		return noOpinion, err
	}
	v, err := q.searchSpammers(ctx, a)
	if err != nil || !v.found || v.permits() || q.skips(v) {
		return noOpinion, err
	}
	return q.refusal(uptoBracket(v.text), &q.policy.rejected)
}

// searchSpammers tries the full address, then the domain and those above it.
func (q *inquiry) searchSpammers(ctx context.Context, a *address) (value, error) {
	var keys []string
	if a.local != "" {
		keys = append(keys, a.local+"@"+a.domain)
	}
	for domain := a.domain; domain != ""; domain = shorterDomain(domain) {
		keys = append(keys, domain)
	}
	for _, key := range keys {
		e, found, err := q.lookup(ctx, tableSpammers, q.policy.spammers, key)
		if found || err != nil {
			return value{normalise(e.Value), found}, err
		}
	}
	return value{}, nil
}

// The tables of UnixWare, by their names in gatepost.toml.
const (
	tableTrusted  = "trusted"
	tableSpammers = "spammers"
)

// isAccept tells whether a value of the trusted table lets relay.
func isAccept(val string) bool { return strings.EqualFold(strings.TrimSpace(val), "accept") }
