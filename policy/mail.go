package policy

import (
	"context"
	"strings"

	"gatepost/internal/smtp"
)

// checkMail is rule set check_mail: may this sender be used?
func checkMail(p *Policy) check {
	f := &p.features
	rules := []rule{
		{name: "sender syntax", apply: senderSyntax},
		{name: "null sender", apply: nullSender},
	}
	if !f.AcceptUnqualifiedSenders {
		rules = append(rules, rule{name: "sender at localhost", apply: senderAtLocalhost})
	}
	if p.spammers != nil {
		rules = append(rules, rule{name: "spammers", apply: listedSender})
	}
	rules = append(rules, rule{name: "sender access", apply: senderAccess})
	if !f.AcceptUnqualifiedSenders {
		rules = append(rules, rule{name: "unqualified sender", apply: unqualifiedSender})
	}
	if !f.AcceptUnresolvableDomains {
		rules = append(rules, rule{name: "sender domain", apply: senderDomain})
	}
	if f.BadMX {
		rules = append(rules, rule{name: "badmx", apply: badMX})
	}
	return check{name: "check_mail", parts: [][]rule{rules}}
}

// senderSyntax gives sendmail's reply to an address that it cannot parse; other
// servers pass such addresses on.
func senderSyntax(ctx context.Context, q *inquiry) (outcome, error) {
	sender := q.facts.Mail.Sender
	if fault := sender.Fault(); !fault.IsZero() {
		return stop(refuse(fault)), nil
	}
	// Whether these can be used turns out only when they are looked into.
	if strings.Contains(sender.Text(), `""`) || strings.Contains(sender.Text(), "]!") {
		_, err := q.canonAddr(ctx, sender.Text())
		return noOpinion, err
	}
	return noOpinion, nil
}

// checkSyntax is what remains of MAIL when checks are delayed: the mail server
// itself refuses an address that it cannot parse.
func checkSyntax() check {
	return check{name: "check_mail, delayed", parts: [][]rule{{{name: "sender syntax", apply: senderSyntax}}}}
}

// nullSender accepts "<>" (RFC 5321, section 4.5.5).
func nullSender(_ context.Context, q *inquiry) (outcome, error) {
	if q.facts.Mail.Sender.IsNull() {
		return permit, nil
	}
	return noOpinion, nil
}

// senderAtLocalhost keeps user@localhost for clients that are this host.
func senderAtLocalhost(ctx context.Context, q *inquiry) (outcome, error) {
	text, err := q.senderText(ctx)
	if err != nil || !q.namesLocalhost(text) {
		return noOpinion, err
	}
	local, err := q.isLocal(ctx, q.clientName)
	if local || err != nil || q.facts.Conn.Local {
		return noOpinion, err
	}
	return stop(refuse(replyRealDomain)), nil
}

func (q *inquiry) namesLocalhost(text string) bool {
	i := strings.LastIndexByte(text, '@')
	if i < 0 {
		return false
	}
	domain := text[i+1:]
	for _, name := range []string{"localhost", "[127.0.0.1]", "[IPv6:0:0:0:0:0:0:0:1]", "[IPv6:::1]", "localhost." + q.policy.domain} {
		if strings.EqualFold(domain, name) {
			return true
		}
	}
	return !q.policy.syntax.NoUUCP && strings.EqualFold(domain, "localhost.UUCP")
}

// senderText is what the rule sets are given as the sender: at MAIL what the
// client wrote, later $f.
func (q *inquiry) senderText(ctx context.Context) (string, error) {
	if q.stage == StageMail {
		return q.facts.Mail.Sender.Text(), nil
	}
	return q.envelopeFrom(ctx)
}

// envelopeFrom is $f: the sender with its domain canonified. What its local part
// routes to does not show in it.
func (q *inquiry) envelopeFrom(ctx context.Context) (string, error) {
	a, err := q.canonMailbox(ctx, smtp.ParseMailbox(q.facts.Mail.Sender.Text(), q.policy.syntax))
	if err != nil {
		return "", err
	}
	if host, ok := strings.CutSuffix(a.domain, ".UUCP"); ok && !q.policy.syntax.NoUUCP {
		return host + "!" + a.local, nil
	}
	if err := q.dropDuplicate(ctx, a); err != nil {
		return "", err
	}
	return smtp.Mailbox{Local: a.local, Domain: a.domain}.String(), nil
}

// dropDuplicate makes user%one@two user@one where both are local (rule set final).
func (q *inquiry) dropDuplicate(ctx context.Context, a *address) error {
	for a.domain != "" {
		percent := strings.LastIndexByte(a.local, '%')
		if percent <= 0 {
			return nil
		}
		behind := a.local[percent+1:]
		for _, name := range []string{a.domain, behind} {
			if local, err := q.isLocal(ctx, name); err != nil || !local {
				return err
			}
		}
		a.local, a.domain = a.local[:percent], behind
	}
	return nil
}

// stripQuotes removes quotes, and the backslashes that keep a character from
// having its meaning (sendmail's stripquotes).
func stripQuotes(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		} else if s[i] == '"' {
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// senderAddress is the sender in canonical form, worked out once a stage.
func (q *inquiry) senderAddress(ctx context.Context) (*address, error) {
	if q.sender == nil {
		text, err := q.senderText(ctx)
		if err != nil {
			return nil, err
		}
		if q.sender, err = q.canonAddr(ctx, text); err != nil {
			return nil, err
		}
	}
	return q.sender, nil
}

// senderAccess asks the access map for From: entries. A hit decides, also about
// unqualified senders and domains that do not resolve.
func senderAccess(ctx context.Context, q *inquiry) (outcome, error) {
	a, err := q.senderAddress(ctx)
	if err != nil {
		return noOpinion, err
	}
	v, err := q.searchSender(ctx, a)
	switch {
	case err != nil || !v.found:
		return noOpinion, err
	case v.permits():
		return permitAll, nil
	}
	return q.refusal(uptoBracket(v.text), &q.policy.rejected)
}

func (q *inquiry) searchSender(ctx context.Context, a *address) (value, error) {
	if a.domain != "" {
		if v, err := q.searchUser(ctx, tagFrom, anyKey, a.local, "@"+a.domain); v.found || err != nil {
			return v, err
		}
	}
	v, err := q.searchUser(ctx, tagFrom, anyKey, a.local, "@")
	if v.found || err != nil || a.domain == "" {
		return v, err
	}
	return q.searchDomain(ctx, tagFrom, anyKey, a.domain)
}

// unqualifiedSender refuses a sender without domain.
func unqualifiedSender(ctx context.Context, q *inquiry) (outcome, error) {
	a, err := q.senderAddress(ctx)
	if err != nil || a.domain != "" {
		return noOpinion, err
	}
	from, err := q.envelopeFrom(ctx)
	return stop(refuse(reply(553, "5.5.4", "Domain name required for sender address "+stripQuotes(from), replyRealDomain))), err
}

// senderDomain refuses a sender whose domain the DNS does not have.
func senderDomain(ctx context.Context, q *inquiry) (outcome, error) {
	a, err := q.senderAddress(ctx)
	if err != nil || a.domain == "" || strings.EqualFold(a.domain, q.policy.host) {
		return noOpinion, err
	}
	known := a.resolved
	if known == notAsked {
		_, known = q.canonName(ctx, a.domain)
	}
	if known == isFound {
		return noOpinion, nil
	}
	from, err := q.envelopeFrom(ctx)
	from = stripQuotes(from)
	if known == isAbsent {
		return stop(refuse(reply(553, "5.1.8", "Domain of sender address "+from+" does not exist", replyRealDomain))), err
	}
	return stop(refuse(reply(451, "4.1.8", "Domain of sender address "+from+" does not resolve", replyTemporary))), err
}
