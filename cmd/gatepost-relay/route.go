package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"gatepost/internal/config"
	"gatepost/internal/setup"
	"gatepost/internal/setup/routes"
	"gatepost/internal/smtp"
	"gatepost/maps"
	"gatepost/relay/deliver"
	"gatepost/relay/queue"
	"gatepost/relay/rewrite"
	"gatepost/relay/route"
	"gatepost/relay/route/mailertable"
	"gatepost/relay/sasl/saslclient"
	"gatepost/relay/tlspolicy"
)

// routeWait bounds the lookups of a route: the queue waits for them.
const routeWait = 2 * time.Second

// errNoLocalMail: it was taken when the configuration had another word about it.
var errNoLocalMail = errors.New("mail for this domain is local, and relay.local_mail refuses local mail")

// ways are the ways out: what the router says, and the transports for it. Each writes
// addresses by the rules of its mailer.
type ways struct {
	engine *setup.Engine
	router *route.Router
	log    *slog.Logger
	tls    *setup.TLSOut
	logins *setup.Logins
	direct deliver.Transport // to the exchangers of strangers' domains
	smtp   deliver.Transport // to what the mailertable names so
	relay  deliver.Transport // to the smart host, and to what the mailertable names so
	lmtp   deliver.Transport
	local  queue.Route // no Transport: local mail is refused
	close  []func() error
}

func openWays(cfg *config.Config, e *setup.Engine, router *route.Router, log *slog.Logger) (w *ways, err error) {
	w = &ways{engine: e, router: router, log: log}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.closeAll())
		}
	}()
	if w.tls, err = e.OpenTLSOut(cfg, log); err != nil {
		return w, err
	}
	w.close = append(w.close, w.tls.Close)
	if w.logins, err = setup.OpenLogins(cfg, func() maps.Map { return e.Tables().Access }, log); err != nil {
		return w, err
	}
	smtp, err := w.client(toNamed)
	if err != nil {
		return w, err
	}
	direct, err := w.client(toStrangers)
	if err != nil {
		return w, err
	}
	lmtp, err := w.client(byLMTP)
	if err != nil {
		return w, err
	}
	w.direct = w.rewritten(direct, rewrite.SMTP)
	w.smtp, w.relay, w.lmtp = w.rewritten(smtp, rewrite.SMTP), w.rewritten(smtp, rewrite.Relay), w.rewritten(lmtp, rewrite.LMTP)
	w.local, err = w.localMail(cfg.Relay.LocalMail, lmtp)
	return w, err
}

// localMail is the way for mail of this host's own domains.
func (w *ways) localMail(m config.LocalMail, lmtp deliver.Transport) (queue.Route, error) {
	switch m.Kind {
	case config.LocalSmartHost:
		return queue.Route{Transport: w.relay, Destination: w.router.ToSmartHost().Destination}, nil
	case config.LocalMaildir:
		t, err := deliver.NewMaildir(m.Address, w.engine.HostName())
		if err != nil {
			return queue.Route{}, fmt.Errorf("relay.local_mail: %w", err)
		}
		return queue.Route{Transport: w.rewritten(t, rewrite.Local)}, nil
	case config.LocalLMTP:
		return queue.Route{Transport: w.rewritten(lmtp, rewrite.Local), Destination: bracketed(m.Address)}, nil
	case config.LocalLMTPUnix:
		return queue.Route{Transport: w.rewritten(lmtp, rewrite.Local), Destination: "unix:" + m.Address}, nil
	}
	return queue.Route{}, nil
}

// kind is what a client is for: it decides which logins it has.
type kind uint8

const (
	toNamed     kind = iota // to servers that the configuration names, or their domain
	toStrangers             // to servers that recipients' domains name
	byLMTP                  // to delivery agents that the configuration names
)

// client speaks SMTP, or LMTP, to any destination.
func (w *ways) client(k kind) (deliver.Transport, error) {
	c, err := deliver.NewSMTP(deliver.Config{
		LMTP: k == byLMTP, HostName: w.engine.HostName(), Log: w.log,
		Exchangers: w.router.Exchangers, Resolve: w.router.Resolve,
		Secure: func(ctx context.Context, to deliver.Peer) (tlspolicy.Policy, error) { return w.demands(ctx, to, k) },
		Login: func(ctx context.Context, to deliver.Peer) (*saslclient.Credentials, error) {
			return w.login(ctx, to, k)
		},
	})
	if err == nil {
		w.close = append(w.close, func() error { c.Close(); return nil })
	}
	return c, err
}

func (w *ways) rewritten(t deliver.Transport, by rewrite.Mailer) deliver.Transport {
	return &rewrite.Transport{Next: t, Mailer: by, Rewriter: w.engine.Rewriter, Log: w.log}
}

// demands says how a connection must be secured. Where we log in, more is asked; of a
// delivery agent on this host nothing is.
func (w *ways) demands(ctx context.Context, to deliver.Peer, k kind) (tlspolicy.Policy, error) {
	if k == byLMTP && to.Addr.IsLoopback() {
		return tlspolicy.Policy{}, nil
	}
	credentials, err := w.login(ctx, to, k)
	if err != nil {
		return tlspolicy.Policy{}, err
	}
	return w.tls.Find(ctx, tlspolicy.Ask{
		Domain: to.Hop.Host, Bracketed: !to.Hop.MX, Host: to.Host, Port: to.Port, Authentic: to.Authentic, Login: credentials != nil,
		Strange: k == toStrangers,
	})
}

// login is who we are to a server; nil: nobody in particular. Whoever publishes a domain
// names its servers and their addresses: only an entry of the server's own name, for which
// its certificate must be, is for them. The entry for all would tell the password to every
// recipient's server, and delivery agents offer no AUTH.
func (w *ways) login(ctx context.Context, to deliver.Peer, k kind) (*saslclient.Credentials, error) {
	switch k {
	case toStrangers:
		if _, err := netip.ParseAddr(to.Host); err == nil {
			return nil, nil
		}
		return w.logins.FindNamed(ctx, to.Host, netip.Addr{})
	case byLMTP:
		return w.logins.FindNamed(ctx, to.Host, to.Addr)
	}
	return w.logins.Find(ctx, to.Host, to.Addr)
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
	if errors.Is(err, errNoLocalMail) && sender == "" { // a report: waiting helps nobody
		return queue.Route{Transport: deliver.Refuse{Status: smtp.EnhancedCode{Class: 5, Subject: 1, Detail: 1}, Text: err.Error()}}, nil
	}
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
	case mailertable.Relay:
		return queue.Route{Transport: w.relay, Destination: a.Destination}, nil
	case mailertable.Error:
		return queue.Route{Transport: deliver.Refuse{Status: a.Fault.Enhanced(), Text: a.Fault.String()}}, nil
	case mailertable.Discard:
		return queue.Route{Transport: deliver.Discard{}}, nil
	}
	if a.Strange {
		return queue.Route{Transport: w.direct, Destination: a.Destination}, nil
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

// explain says which way a recipient's mail goes now, and which line has decided that.
func (w *ways) explain(ctx context.Context, sender, recipient string) (wayOut, error) {
	way, err := w.route(ctx, sender, recipient)
	if err != nil {
		return wayOut{}, err
	}
	a, err := w.router.Route(ctx, sender, recipient)
	if none := (deliver.NoRoute{}); err != nil && !errors.As(err, &none) { // else the way is to refuse it
		return wayOut{}, err
	}
	return wayOut{nextHop: way.String(), source: strings.TrimSpace(a.Source + " " + a.Rule)}, nil
}

func (w *ways) closeAll() error {
	var errs []error
	for _, c := range w.close {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
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
	one := r.Transport.Deliver(ctx, destination, readdressed{m, recipients, r.to}, recipients[:1])
	results := make([]deliver.Result, len(recipients))
	for i := range results {
		results[i] = one[0]
		results[i].Notifies = one[0].Notifies && i == 0 // the next hop knows of no others
	}
	return results
}
