package main

import (
	"context"
	"errors"
	"fmt"

	"gatepost/internal/config"
	"gatepost/internal/setup"
	"gatepost/internal/smtp"
	"gatepost/relay/deliver"
	"gatepost/relay/queue"
)

// errNoLocalMail: it was taken when the configuration had another word about it.
var errNoLocalMail = errors.New("mail for this domain is local, and relay.local_mail refuses local mail")

// routes are the ways out: a transport for local mail, and the smart host for the rest.
type routes struct {
	engine *setup.Engine
	smart  queue.Route
	local  queue.Route // no Transport: local mail is refused
	close  []func()
}

func openRoutes(cfg *config.Config, e *setup.Engine) (*routes, error) {
	r, hostName := &routes{engine: e}, e.HostName()
	resolve := func(ctx context.Context, host string) (deliver.Addresses, error) {
		addrs, err := e.Addresses(ctx, host)
		return deliver.Addresses{Addrs: addrs}, err
	}
	hop := func(address string, lmtp bool) (queue.Route, error) {
		hops, err := deliver.ParseDestination(address)
		if err != nil {
			return queue.Route{}, err
		}
		hops[0].MX = false // it is a host
		t, err := deliver.NewSMTP(deliver.Config{LMTP: lmtp, HostName: hostName, Resolve: resolve})
		if err == nil {
			r.close = append(r.close, t.Close)
		}
		return queue.Route{Transport: t, Destination: deliver.FormatDestination(hops)}, err
	}
	var err error
	if r.smart, err = hop(cfg.Relay.SmartHost.String(), false); err != nil {
		return nil, fmt.Errorf("relay.smart_host: %w", err)
	}
	switch m := cfg.Relay.LocalMail; m.Kind {
	case config.LocalSmartHost:
		r.local = r.smart
	case config.LocalMaildir:
		r.local.Transport, err = deliver.NewMaildir(m.Address, hostName)
	case config.LocalLMTP:
		r.local, err = hop(m.Address, true)
	case config.LocalLMTPUnix:
		r.local, err = hop("unix:"+m.Address, true)
	}
	if err != nil {
		return nil, fmt.Errorf("relay.local_mail: %w", err)
	}
	return r, nil
}

// route is the way for a recipient, an address as the session has put it into the
// spool. The domain is looked at now: it may have become local, or ceased to be.
func (r *routes) route(ctx context.Context, _, recipient string) (queue.Route, error) {
	// What routes there are in it was settled when the policy judged it.
	to := smtp.ParseMailbox(recipient, smtp.Syntax{NoUUCP: true, NoPercentHack: true})
	switch local, err := r.engine.IsLocal(ctx, to.Domain); {
	case err != nil:
		return queue.Route{}, fmt.Errorf("whether %s is local cannot be told: %w", to.Domain, err)
	case !local:
		return r.smart, nil
	case r.local.Transport == nil:
		return queue.Route{}, errNoLocalMail
	}
	return r.local, nil
}

func (r *routes) closeAll() {
	for _, c := range r.close {
		c()
	}
}
