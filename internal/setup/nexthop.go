package setup

import (
	"context"

	"gatepost/internal/dns"
	"gatepost/internal/smtp"
	"gatepost/maps"
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
