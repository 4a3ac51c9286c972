package setup

import (
	"context"
	"errors"
	"strings"

	"gatepost/internal/dns"
	"gatepost/internal/smtp"
	"gatepost/maps"
	"gatepost/policy"
	"gatepost/relay/route/mailertable"
)

// Lookup asks the resolver in force (dns.Resolver).
func (e *Engine) Lookup(ctx context.Context, name string, t dns.Type) (dns.Answer, error) {
	return e.current.Load().resolver.Lookup(ctx, name, t)
}

// Hosts is the hosts file, as it was at the last reload.
func (e *Engine) Hosts() *dns.Hosts { return e.current.Load().hosts }

// Mailertable is the table of that name as it is now; nil when the configuration has none.
func (e *Engine) Mailertable() maps.Map { return e.current.Load().mailer.asked() }

// Canonical is a recipient's address as the policy understands it: routes taken off, the
// domain canonified. It is what is sent on.
func (e *Engine) Canonical(ctx context.Context, recipient string) (smtp.Mailbox, error) {
	return e.Policy().Canonical(ctx, recipient)
}

// LookupMailertable searches the mailertable for a domain, or for that of an address, and
// lists the keys that were tried. The error says that there is no such table; lookups that
// fail, and values that make no sense, are in the answers.
func (e *Engine) LookupMailertable(ctx context.Context, domain string) ([]policy.Answer, error) {
	table := e.Mailertable()
	if table == nil {
		return nil, errors.New("no mailertable: [relay] does not name one")
	}
	if to := smtp.ParseMailbox(smtp.ParsePath(domain).Text(), smtp.Syntax{NoUUCP: true, NoPercentHack: true}); to.Domain != "" {
		domain = to.Domain
	}
	match, keys, err := mailertable.Find(ctx, table, strings.TrimSuffix(domain, "."))
	answers := make([]policy.Answer, len(keys))
	for i, key := range keys {
		answers[i] = policy.Answer{Table: "mailertable", Key: key}
	}
	last := &answers[len(answers)-1]
	if last.Err = err; match != nil {
		last.Found, last.Value, last.Source = true, match.Entry.Value, match.Entry.Source
	}
	return answers, nil
}
