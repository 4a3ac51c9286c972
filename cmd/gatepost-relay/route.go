package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"gatepost/internal/config"
	"gatepost/internal/setup"
	"gatepost/internal/setup/routes"
	"gatepost/internal/smtp"
	"gatepost/relay/deliver"
	"gatepost/relay/queue"
	"gatepost/relay/route"
	"gatepost/relay/route/mailertable"
)

// routeWait bounds the lookups of a route: the queue waits for them.
const routeWait = 2 * time.Second

// errNoLocalMail: it was taken when the configuration had another word about it.
var errNoLocalMail = errors.New("mail for this domain is local, and relay.local_mail refuses local mail")

// ways are the ways out: what the router says, and the transports for it.
type ways struct {
	engine *setup.Engine
	router *route.Router
	smtp   deliver.Transport
	lmtp   deliver.Transport
	local  queue.Route // no Transport: local mail is refused
	close  []func()
}

func openWays(cfg *config.Config, e *setup.Engine, router *route.Router) (*ways, error) {
	w := &ways{engine: e, router: router}
	w.smtp, w.lmtp = w.client(false), w.client(true)
	switch m := cfg.Relay.LocalMail; m.Kind {
	case config.LocalSmartHost:
		w.local = queue.Route{Transport: w.smtp, Destination: router.ToSmartHost().Destination}
	case config.LocalMaildir:
		t, err := deliver.NewMaildir(m.Address, e.HostName())
		if err != nil {
			return nil, fmt.Errorf("relay.local_mail: %w", err)
		}
		w.local.Transport = t
	case config.LocalLMTP:
		w.local = queue.Route{Transport: w.lmtp, Destination: bracketed(m.Address)}
	case config.LocalLMTPUnix:
		w.local = queue.Route{Transport: w.lmtp, Destination: "unix:" + m.Address}
	}
	return w, nil
}

// bracketed is HOST:PORT as a destination whose MX records are not looked up.
func bracketed(hostPort string) string {
	if strings.HasPrefix(hostPort, "[") {
		return hostPort
	}
	host, port, _ := strings.Cut(hostPort, ":")
	return "[" + host + "]:" + port
}

// route is the way for a recipient, an address as the session has put it into the
// spool. The tables are asked now: a domain may have become local, or ceased to be.
func (w *ways) route(ctx context.Context, sender, recipient string) (queue.Route, error) {
	ctx, cancel := context.WithTimeout(ctx, routeWait)
	defer cancel()
	a, err := w.router.Route(ctx, sender, recipient)
	var none deliver.NoRoute
	if errors.As(err, &none) {
		return queue.Route{Transport: deliver.Refuse{Status: none.Status, Text: none.Text}}, nil
	}
	if err != nil {
		return queue.Route{}, err
	}
	r, err := w.transport(a)
	if err == nil && !strings.EqualFold(a.User, recipient) && a.User != "" {
		r.Transport = redirected{r.Transport, a.User}
	}
	return r, err
}

// transport is what delivers what the router has found.
func (w *ways) transport(a route.Answer) (queue.Route, error) {
	switch a.Mailer {
	case mailertable.Local:
		if w.local.Transport == nil {
			return queue.Route{}, errNoLocalMail
		}
		return w.local, nil
	case mailertable.LMTP:
		return queue.Route{Transport: w.lmtp, Destination: a.Destination}, nil
	case mailertable.Error:
		return queue.Route{Transport: deliver.Refuse{Status: a.Fault.Enhanced(), Text: a.Fault.String()}}, nil
	case mailertable.Discard:
		return queue.Route{Transport: deliver.Discard{}}, nil
	}
	return queue.Route{Transport: w.smtp, Destination: a.Destination}, nil
}

// refuses is the reply to a recipient whom the policy accepts and nobody will take: a local
// user that there is not, one whom the mailertable refuses. What cannot be told now is not
// refused: the mail waits in the queue for it.
func (w *ways) refuses(ctx context.Context, to smtp.Mailbox) smtp.Reply {
	if r := w.engine.LocalRecipient(ctx, to); !r.IsZero() {
		return r
	}
	return routes.Refusal(ctx, w.engine, w.router, to)
}

func (w *ways) closeAll() {
	for _, c := range w.close {
		c()
	}
}

// redirected delivers to another address than the recipient's own (user@host and local:user
// in the mailertable), once for all recipients. It is comparable.
type redirected struct {
	deliver.Transport
	to string
}

func (r redirected) Deliver(ctx context.Context, destination string, m deliver.Message, recipients []int) []deliver.Result {
	if len(recipients) == 0 {
		return nil
	}
	one := r.Transport.Deliver(ctx, destination, readdressed{m, recipients[0], r.to}, recipients[:1])
	results := make([]deliver.Result, len(recipients))
	for i := range results {
		results[i] = one[0]
	}
	return results
}
