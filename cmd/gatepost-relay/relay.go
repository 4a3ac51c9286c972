package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"gatepost/internal/clients"
	"gatepost/internal/config"
	"gatepost/internal/front"
	"gatepost/internal/program"
	"gatepost/internal/setup"
	"gatepost/internal/setup/routes"
	"gatepost/relay/queue"
	"gatepost/relay/session"
	"gatepost/relay/spool"
)

// spoolMemory bounds the bytes of messages that are on their way in; beyond it they
// are written to the disk as they come.
const spoolMemory = 8 << 20

// queueEnd is for how long deliveries under way may go on once no more mail comes in.
const queueEnd = 20 * time.Second

// relayFront is the relay: the way in, the spool, the queue and the ways out.
type relayFront struct {
	addresses []string // --listen
	listeners []net.Listener
	cfg       *config.Config
	engine    *setup.Engine
	log       *setup.Logger
	spool     *spool.Spool
	secured   *secured
	server    *session.Server
	ways      *ways
	queue     *queue.Queue
	endQueue  context.CancelFunc
	delivers  sync.WaitGroup // the queue's Run
}

// Listen opens the listeners.
func (f *relayFront) Listen(cfg *config.Config) (all []net.Listener, err error) {
	all, err = openListeners(cfg, f.addresses)
	f.listeners = all
	return all, err
}

// Open opens what TLS and AUTH need, the spool, then the ways out, then the way in.
func (f *relayFront) Open(_ context.Context, e *setup.Engine, log *setup.Logger) (err error) {
	f.cfg, f.engine, f.log = e.Config(), e, log
	if f.secured, err = openSecured(f.cfg, e, log); err != nil {
		return err
	}
	r := &f.cfg.Relay
	if f.spool, err = spool.Open(r.Spool, spool.Options{Log: log.Logger, MinFree: r.MinFree, MaxMemory: spoolMemory}); err != nil {
		return &program.ExitError{Code: program.ExitTemporary, Err: fmt.Errorf("relay.spool: %w", err)}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.spool.Close())
		}
	}()
	if f.ways, err = openWays(f.cfg, e, routes.New(e, routes.Listening(f.listeners))); err != nil {
		return err
	}
	f.queue = queue.New(queue.Config{
		Spool: f.spool, Log: log.Logger,
		Route:       func(to string) (queue.Route, error) { return f.ways.route(context.Background(), "", to) },
		Concurrency: r.MaxDeliveries, Schedule: schedule(r.Retry), Lifetime: r.QueueLifetime, Drain: queueEnd,
	})
	if f.server, err = f.newServer(); err != nil {
		return err
	}
	if err := e.Register(f.counts()); err != nil {
		log.Error("the relay's own metrics are missing", "error", err)
	}
	var ctx context.Context
	ctx, f.endQueue = context.WithCancel(context.Background())
	f.delivers.Go(func() { f.queue.Run(ctx) })
	return nil
}

func (f *relayFront) newServer() (*session.Server, error) {
	counted, err := clients.New()
	if err != nil {
		return nil, err
	}
	r := &f.cfg.Relay
	return session.NewServer(session.Config{
		HostName:       f.engine.HostName(),
		Policy:         func() session.Policy { return f.engine.Policy() },
		Observe:        f.engine.Observe,
		Clients:        counted,
		Counting:       func() bool { return f.engine.Policy().CountsClients() },
		ResolveClient:  f.engine.ResolveClient,
		Spool:          session.Keep(f.spool),
		Queued:         f.queue.Add,
		LocalRecipient: f.ways.refuses,
		BareNewline:    bareNewline(r),
		Proxies:        within(r.ProxyProtocol),
		Xclient:        within(r.XClient),
		Log:            f.log.Logger,
		Limits: session.Limits{
			Conns: r.MaxConnections, ConnsPerClient: r.MaxConnectionsPerClient,
			TextLine: r.MaxLineLength, MessageSize: r.MaxMessageSize, Hops: r.MaxHops, Recipients: r.MaxRecipients,
			Commands: r.MaxCommands, Errors: r.MaxErrors,
			Decision: r.DecisionTimeout, Session: r.SessionTimeout, Command: r.IdleTimeout,
		},
	})
}

// within tells whether an address is in one of the networks.
func within(networks []netip.Prefix) func(netip.Addr) bool {
	return func(addr netip.Addr) bool {
		addr = addr.Unmap().WithZone("")
		for _, n := range networks {
			if n.Contains(addr) {
				return true
			}
		}
		return false
	}
}

func bareNewline(r *config.Relay) func(netip.Addr) session.Mode {
	listed := within(r.NormalizeFrom)
	return func(client netip.Addr) session.Mode {
		if r.BareNewlineNormalize || listed(client) {
			return session.Normalize
		}
		return session.Reject
	}
}

// schedule waits as long as the list says, and up to a tenth more, so that what failed
// together is not tried together.
func schedule(retry []time.Duration) func(attempt int) time.Duration {
	return func(attempt int) time.Duration {
		d := retry[max(0, min(attempt, len(retry))-1)]
		return d + rand.N(d/10+1)
	}
}

// Serve takes mail.
func (f *relayFront) Serve(ln net.Listener) error {
	at := ln.(ruled)
	if err := f.server.Serve(context.Background(), at.Listener, f.secured.rules(at.as)); !errors.Is(err, front.ErrClosed) {
		return err
	}
	return nil
}

// InForce warns of what needs a restart, and of what makes an odd relay of it.
func (f *relayFront) InForce(cfg *config.Config) {
	before, now := f.cfg.Relay, cfg.Relay
	before.LocalUsers, before.Mailertable = now.LocalUsers, now.Mailertable // followed like the tables
	if !reflect.DeepEqual(before, now) {
		setup.WarnRestart(f.log.Logger, "[relay]")
	}
	if !reflect.DeepEqual(withoutLines(f.cfg.Listeners), withoutLines(cfg.Listeners)) {
		setup.WarnRestart(f.log.Logger, "[[listener]]")
	}
	if f.secured.auth != nil && len(cfg.Features.TrustAuthMech) == 0 {
		f.log.Warn("features.trust_auth_mech is empty: users can log in, and may relay no more than strangers")
	}
	if cfg.Features.CompatCheck {
		f.log.Warn("features.compat_check has no effect: the relay does not ask it yet")
	}
	if cfg.Relay.LocalMail.Kind != config.LocalRefused && !cfg.Relay.LocalUsers.Named {
		f.log.Warn("relay.local_users is not set: local mail is taken for any name, and what the next host refuses is held in the queue")
	}
}

// withoutLines are listeners as far as they matter.
func withoutLines(all []config.Listener) []config.Listener {
	all = slices.Clone(all)
	for i := range all {
		all[i].Line = 0
	}
	return all
}

// Shutdown lets sessions end, then deliveries, each for as long as ctx allows, then
// closes the spool.
func (f *relayFront) Shutdown(ctx context.Context) error {
	err := f.server.Shutdown(ctx)
	stop := context.AfterFunc(ctx, f.queue.Abandon)
	defer stop()
	f.endQueue()
	f.delivers.Wait()
	f.ways.closeAll()
	if closing := f.spool.Close(); closing != nil {
		err = errors.Join(err, fmt.Errorf("close the spool: %w", closing))
	}
	return err
}
