package policy

import (
	"context"
	"net/netip"

	"gatepost/internal/smtp"
)

// relayRules is rule set Relay_ok: may the client relay to anyone?
func relayRules(p *Policy) []rule {
	f := &p.features
	rules := []rule{
		{name: "local client", apply: localClient},
		{name: "client relay_domains", apply: clientRelayDomains},
		{name: "client address access", apply: clientAddressAccess},
	}
	if p.trusted != nil {
		rules = append(rules, trustedAddressRule)
	}
	rules = append(rules, rule{name: "client is this host", apply: clientIsHost})
	if f.RelayLocalFrom {
		rules = append(rules, rule{name: "relay_local_from", apply: relayLocalFrom})
	}
	if f.RelayMailFrom {
		rules = append(rules, rule{name: "relay_mail_from", apply: relayMailFrom})
	}
	rules = append(rules,
		rule{name: "client name verified", apply: clientNameVerified},
		rule{name: "client name", apply: clientNameRelays})
	if p.trusted != nil {
		rules = append(rules, rule{name: "trusted name", apply: trustedCanonicalName})
	}
	if f.BlockBadHelo && f.DelayChecks == DelayNone {
		rules = append(rules, badHeloRule)
	}
	return rules
}

// localClient permits this host itself, by network or without.
func localClient(_ context.Context, q *inquiry) (outcome, error) {
	addr := q.facts.Conn.Addr.Unmap()
	return permitIf(q.facts.Conn.Local || addr == netip.AddrFrom4([4]byte{127, 0, 0, 1}) || addr == netip.IPv6Loopback()), nil
}

// clientRelayDomains permits addresses that begin with a member of relay-domains.
func clientRelayDomains(ctx context.Context, q *inquiry) (outcome, error) {
	in, err := q.beginsWith(ctx, &q.policy.relayDomains, q.clientAddr)
	return permitIf(in), err
}

// clientAddressAccess permits addresses with a Connect: entry RELAY; other values say nothing here.
func clientAddressAccess(ctx context.Context, q *inquiry) (outcome, error) {
	v, err := q.searchAddr(ctx, tagConnect, anyKey, q.clientAddr)
	return permitIf(v.is("RELAY")), err
}

// clientIsHost permits addresses of this host: [address] in class w.
func clientIsHost(ctx context.Context, q *inquiry) (outcome, error) {
	in, err := q.isLocal(ctx, "["+q.clientAddr+"]")
	return permitIf(in), err
}

// relayLocalFrom is FEATURE(relay_local_from): a sender in a local domain. It can be forged.
func relayLocalFrom(ctx context.Context, q *inquiry) (outcome, error) {
	a, err := q.envelopeSender(ctx)
	if err != nil || a == nil || a.domain == "" {
		return noOpinion, err
	}
	in, err := q.isLocal(ctx, a.domain)
	return permitIf(in), err
}

// relayMailFrom is FEATURE(relay_mail_from): a sender, and with the argument
// domain a sender's domain, with a tagged From: entry RELAY. It can be forged.
func relayMailFrom(ctx context.Context, q *inquiry) (outcome, error) {
	a, err := q.envelopeSender(ctx)
	if err != nil || a == nil || a.domain == "" {
		return noOpinion, err
	}
	v, err := q.searchUser(ctx, tagFrom, taggedKey, a.local, "@"+a.domain)
	if !v.found && err == nil && q.policy.features.RelayMailFromDomain {
		if q.policy.features.RelayHostsOnly {
			v, err = q.searchExact(ctx, tagFrom, taggedKey, a.domain)
		} else {
			v, err = q.searchDomain(ctx, tagFrom, taggedKey, a.domain)
		}
	}
	return permitIf(v.is("RELAY")), err
}

// envelopeSender is the sender as relaying looks at it; nil for the null sender
// and for one that cannot be parsed.
func (q *inquiry) envelopeSender(ctx context.Context) (*address, error) {
	if s := q.facts.Mail.Sender; s.Text() == "" || !s.Fault().IsZero() {
		return nil, nil
	}
	return q.senderAddress(ctx)
}

// clientNameVerified refuses clients whose name could not be verified.
func clientNameVerified(_ context.Context, q *inquiry) (outcome, error) {
	var r smtp.Reply
	switch q.facts.Conn.Resolve {
	case ResolveOK:
		return noOpinion, nil
	case ResolveTemp:
		r = reply(450, "4.4.0", "Relaying temporarily denied. Cannot resolve PTR record for "+q.clientAddr, replyTemporary)
	case ResolveForged:
		r = reply(550, "5.7.1", "Relaying denied. IP name possibly forged "+q.clientName, replyDenied)
	default:
		r = reply(550, "5.7.1", "Relaying denied. IP name lookup failed "+q.clientName, replyDenied)
	}
	return stop(refuse(r)), nil
}

// clientNameRelays permits verified names in our own domain (relay_entire_domain),
// in class w, in relay-domains, or with a Connect: entry RELAY.
func clientNameRelays(ctx context.Context, q *inquiry) (outcome, error) {
	name := q.canonicalClient(ctx)
	for _, test := range []func(context.Context, string) (bool, error){q.isLocal, q.ownsOrRelays} {
		if ours, err := test(ctx, name); ours || err != nil {
			return permitIf(ours), err
		}
	}
	v, err := q.relayEntry(ctx, tagConnect, name)
	return permitIf(v.is("RELAY")), err
}

// canonicalClient is the client's name as the DNS has it, asked once a stage.
func (q *inquiry) canonicalClient(ctx context.Context) string {
	if q.clientCanon == "" {
		q.clientCanon, _ = q.canonName(ctx, q.clientName)
	}
	return q.clientCanon
}
