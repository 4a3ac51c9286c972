package policy

import (
	"context"
	"errors"
	"slices"
	"strings"

	"gatepost/internal/smtp"
)

// checkRcpt is rule set check_rcpt: may this client send to this recipient? Its
// first part is Rcpt_ok (the recipient is one of ours), its second Relay_ok (the
// client may send to anyone).
func checkRcpt(p *Policy) check {
	if p.features.CheckRcpt == CheckRcptUnixWare {
		return checkRcptUnixWare(p)
	}
	return check{
		name:      "relaying denied",
		parts:     [][]rule{recipientRules(&p.features), relayRules(p)},
		otherwise: func(q *inquiry) Verdict { return refuse(q.policy.denied.reply(q)) },
	}
}

// recipientRules is rule set Rcpt_ok.
func recipientRules(f *Features) []rule {
	rules := addressRules(f)
	if f.PromiscuousRelay || f.CheckRcpt == CheckRcptOff {
		if f.BlockBadHelo && f.DelayChecks == DelayNone {
			rules = append(rules, badHeloRule)
		}
		if f.PromiscuousRelay {
			return append(rules, rule{name: "promiscuous_relay", apply: anyRecipient})
		}
		return append(rules, rule{name: "check_rcpt", apply: anyRecipient})
	}
	rules = append(rules, rule{name: "certificate", apply: certificate, onFault: ignoreFault})
	if len(f.TrustAuthMech) > 0 {
		rules = append(rules, rule{name: "trust_auth_mech", apply: trustedMechanism})
	}
	rules = append(rules, routeRules(f)...)
	rules = append(rules,
		rule{name: "recipient domain", apply: recipientDomain},
		rule{name: "recipient access", apply: recipientAccess, onFault: rememberTemporary})
	if f.RelayBasedOnMX {
		rules = append(rules, rule{name: "relay_based_on_MX", apply: recipientMX, onFault: rememberTemporary})
	}
	return append(rules, rule{name: "unqualified recipient", apply: unqualifiedRecipient})
}

// addressRules find out whom a recipient address is for, and whether mail for it
// is wanted at all.
func addressRules(f *Features) []rule {
	rules := []rule{
		{name: "recipient syntax", apply: recipientSyntax},
		{name: "recipient address", apply: recipientRouting, onFault: routingFault},
	}
	if f.BlocklistRecipients {
		rules = append(rules, rule{name: "blocklist_recipients", apply: blockedRecipient})
	}
	return rules
}

// routeRules leave a recipient that still has a route in it to what is known of
// the client.
func routeRules(f *Features) []rule {
	var rules []rule
	if f.NoUUCP == SpecialReject || f.NoPercentHack == SpecialReject {
		rules = append(rules, rule{name: "nouucp, nopercenthack", apply: specialRecipient})
	}
	return append(rules, rule{name: "hidden route", apply: hiddenRoute})
}

// recipientSyntax refuses the empty recipient, and gives sendmail's reply to an
// address that it cannot parse.
func recipientSyntax(_ context.Context, q *inquiry) (outcome, error) {
	r := q.facts.Rcpt.Recipient
	if fault := r.Fault(); !fault.IsZero() {
		return stop(refuse(fault)), nil
	}
	if r.Text() == "" {
		return stop(refuse(replyNoRecipient)), nil
	}
	return noOpinion, nil
}

// recipientRouting works out whom the recipient address is really for: routes,
// percent signs and exclamation marks through domains of ours are followed.
func recipientRouting(ctx context.Context, q *inquiry) (outcome, error) {
	parse := q.parseRecipient
	if q.policy.features.LooseRelayCheck {
		parse = q.canonAddr
	}
	a, err := parse(ctx, q.facts.Rcpt.Recipient.Text())
	if a != nil {
		q.recipient = a // also where it is not known whether the route goes on: a client that may relay passes
	}
	return noOpinion, err
}

// routingFault: it is not known whom the address is for. Where only the MX records
// could not be asked, a client that may relay passes, as with sendmail.
func routingFault(err error) outcome {
	var mx mxFault
	if errors.As(err, &mx) {
		return rememberTemporary(err)
	}
	return temporaryFailure(err)
}

// blockedRecipient is FEATURE(blocklist_recipients): To: entries that refuse.
func blockedRecipient(ctx context.Context, q *inquiry) (outcome, error) {
	if q.recipient.local == "" { // "" in quotes: no pattern of the rule set takes it
		return noOpinion, nil
	}
	v, err := q.searchRecipient(ctx)
	switch {
	case err != nil || !v.found || v.permits() || q.skips(v):
		return noOpinion, err
	case !q.policy.features.NoSpamTags && q.policy.features.DelayChecks != DelayNone && (v.is("SPAMFRIEND") || v.is("SPAMHATER")):
		return noOpinion, nil // as in sendmail 8.10, where Spam: entries had the tag To:
	}
	return q.refusal(uptoBracket(v.text), &q.policy.blocked)
}

func (q *inquiry) searchRecipient(ctx context.Context) (value, error) {
	a := q.recipient
	if a.domain == "" {
		return q.searchUser(ctx, tagTo, anyKey, a.local, "@")
	}
	v, err := q.searchUser(ctx, tagTo, anyKey, a.local, "@"+a.domain)
	if v.found || err != nil {
		return v, err
	}
	local, err := q.isLocal(ctx, a.domain)
	if err != nil {
		return value{}, err
	}
	if local {
		if v, err = q.searchUser(ctx, tagTo, anyKey, a.local, "@"); v.found || err != nil {
			return v, err
		}
	}
	return q.searchDomain(ctx, tagTo, anyKey, a.domain)
}

// anyRecipient is FEATURE(promiscuous_relay), and check_rcpt = "off".
func anyRecipient(context.Context, *inquiry) (outcome, error) { return permit, nil }

// certificate is rule set RelayTLS: a verified client certificate whose issuer,
// or issuer and subject, the access map lets relay.
func certificate(ctx context.Context, q *inquiry) (outcome, error) {
	t := &q.facts.TLS
	if t.Verify != "OK" && t.Verify != "TRUSTED" || t.CertIssuer == "" {
		return noOpinion, nil
	}
	v, err := q.searchExact(ctx, tagCertIssuer, taggedKey, t.CertIssuer)
	if v.is("SUBJECT") && t.CertSubject != "" {
		v, err = q.searchExact(ctx, tagCertSubject, taggedKey, t.CertSubject)
	}
	if err == nil && v.is("RELAY") {
		return permitAll, nil
	}
	return noOpinion, err
}

// trustedMechanism is TRUST_AUTH_MECH: the client logged in by a mechanism that may relay.
func trustedMechanism(_ context.Context, q *inquiry) (outcome, error) {
	used := q.facts.Auth.Type
	trusted := func(mech string) bool { return strings.EqualFold(mech, used) }
	if used != "" && slices.ContainsFunc(q.policy.features.TrustAuthMech, trusted) {
		return permitAll, nil
	}
	return noOpinion, nil
}

// specialRecipient is the argument reject of nouucp and nopercenthack: such a
// local part makes the recipient remote, whatever its domain.
func specialRecipient(_ context.Context, q *inquiry) (outcome, error) {
	f := &q.policy.features
	if f.NoUUCP == SpecialReject && smtp.IndexUnquoted(q.recipient.local, "!") >= 0 ||
		f.NoPercentHack == SpecialReject && smtp.IndexUnquoted(q.recipient.local, "%") >= 0 {
		return leavePart, nil
	}
	return noOpinion, nil
}

// hiddenRoute takes a recipient for remote whose local part still has a routing
// character, in plain sight or behind quotes and backslashes: what sendmail takes
// for the name of a local user, Postfix follows, and so does the next host. Where
// loose_relay_check leaves routes to relayed domains, only local ones are looked at.
func hiddenRoute(ctx context.Context, q *inquiry) (outcome, error) {
	routing := q.policy.routing
	if q.facts.Conn.Routes {
		routing = "@%!"
	}
	a := q.recipient
	if a.local == "" { // "" in quotes: no pattern of the rule set takes it
		return leavePart, nil
	}
	if !strings.ContainsAny(a.local, routing) {
		return noOpinion, nil
	}
	if q.policy.features.LooseRelayCheck && a.domain != "" {
		if local, err := q.isLocal(ctx, a.domain); !local || err != nil {
			return noOpinion, err
		}
	}
	return leavePart, nil
}

// recipientDomain permits what is local, in our own domain (relay_entire_domain)
// or in relay-domains.
func recipientDomain(ctx context.Context, q *inquiry) (outcome, error) {
	domain := q.recipient.domain
	if domain == "" {
		return noOpinion, nil
	}
	for _, test := range []func(context.Context, string) (bool, error){q.isLocal, q.ownsOrRelays} {
		if ours, err := test(ctx, domain); ours || err != nil {
			return permitIf(ours), err
		}
	}
	return noOpinion, nil
}

func permitIf(ok bool) outcome {
	if ok {
		return permit
	}
	return noOpinion
}

// recipientAccess permits recipients with a To: entry RELAY. No other value does, OK neither.
func recipientAccess(ctx context.Context, q *inquiry) (outcome, error) {
	a := q.recipient
	if a.domain == "" {
		return noOpinion, nil
	}
	v, err := q.relayRecipient(ctx, a)
	return permitIf(v.is("RELAY")), err
}

func (q *inquiry) relayRecipient(ctx context.Context, a *address) (value, error) {
	if !q.policy.features.RelayToFullAddress {
		return q.relayEntry(ctx, tagTo, a.domain)
	}
	if q.policy.features.RelayHostsOnly {
		if v, err := q.searchExact(ctx, tagTo, taggedKey, a.local+"@"+a.domain); v.found || err != nil {
			return v, err
		}
		return q.relayEntry(ctx, tagTo, a.domain)
	}
	if v, err := q.searchUser(ctx, tagTo, anyKey, a.local, "@"+a.domain); v.found || err != nil {
		return v, err
	}
	if v, err := q.searchDomain(ctx, tagTo, anyKey, a.domain); v.found || err != nil {
		return v, err
	}
	return q.searchExact(ctx, tagTo, anyKey, a.local+"@")
}

// recipientMX is FEATURE(relay_based_on_MX).
func recipientMX(ctx context.Context, q *inquiry) (outcome, error) {
	if q.recipient.domain == "" {
		return noOpinion, nil
	}
	ours, err := q.servesMX(ctx, q.recipient.domain)
	return permitIf(ours), err
}

// unqualifiedRecipient permits recipients without domain: they are local.
func unqualifiedRecipient(_ context.Context, q *inquiry) (outcome, error) {
	return permitIf(q.recipient.domain == ""), nil
}
