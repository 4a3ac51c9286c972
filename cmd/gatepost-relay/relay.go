package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"gatepost/internal/clients"
	"gatepost/internal/config"
	"gatepost/internal/front"
	"gatepost/internal/listen"
	"gatepost/internal/program"
	"gatepost/internal/setup"
	"gatepost/internal/setup/routes"
	"gatepost/relay/bounce"
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
	operator  *operator
	missing   []*missing // sockets, until that has been logged
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
	if all, err = openListeners(cfg, f.addresses); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			listen.Close(all)
			all = nil
		}
		f.listeners = all
	}()
	if len(f.addresses) == 0 {
		if all, err = f.add(all, openSubmission, cfg); err != nil {
			return all, err
		}
	}
	return f.add(all, openControl, cfg)
}

// add opens one more listener, if there is to be one.
func (f *relayFront) add(all []net.Listener, open func(*config.Config) (net.Listener, *missing, error), cfg *config.Config) ([]net.Listener, error) {
	ln, gone, err := open(cfg)
	if gone != nil {
		f.missing = append(f.missing, gone)
	}
	if ln != nil {
		all = append(all, ln)
	}
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
	if f.ways, err = openWays(f.cfg, e, routes.New(e, routes.Listening(f.listeners)), log.Logger); err != nil {
		return err
	}
	qc := queueConfig(r, e.HostName(), f.spool, log.Logger)
	qc.Route = f.ways.route
	f.queue = queue.New(qc)
	if f.server, err = f.newServer(); err != nil {
		return err
	}
	f.operator = newOperator(f.spool, f.queue, f.ways.explain, log.Logger)
	for _, m := range f.missing {
		log.Warn("a socket cannot be opened, the relay goes on without it", "setting", m.key, "path", m.path, "error", m.err)
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

// queueConfig is what the configuration says of the queue; ways out are left to be added.
func queueConfig(r *config.Relay, hostName string, s *spool.Spool, log *slog.Logger) queue.Config {
	reports := bounce.New(bounce.Config{
		Spool: s, HostName: hostName, Size: r.BounceSize, Lifetime: r.QueueLifetime, Log: log,
		CopyTo: qualified(r.CopyErrorsTo, hostName), DoubleTo: qualified(r.DoubleBounceAddress, hostName),
	})
	return queue.Config{
		Spool: s, Report: reports.Write, Log: log,
		MaxDeliveries: r.MaxDeliveries, PerDestination: r.MaxDeliveriesPerDestination,
		Schedule: schedule(r.Retry), Lifetime: r.QueueLifetime, Warn: r.QueueWarn, Drain: queueEnd,
	}
}

// qualified is an address with a domain: this host's where it has none.
func qualified(address, hostName string) string {
	if address == "" || strings.Contains(address, "@") {
		return address
	}
	return address + "@" + hostName
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
	at, mail := ln.(ruled)
	if !mail {
		return f.operator.serve(ln)
	}
	if err := f.server.Serve(context.Background(), at.Listener, f.rules(at)); !errors.Is(err, front.ErrClosed) {
		return err
	}
	return nil
}

// rules are what a listener serves under.
func (f *relayFront) rules(at ruled) *session.Rules {
	if at.local {
		return &session.Rules{Name: at.as.Name, Local: true}
	}
	return f.secured.rules(at.as)
}

// InForce warns of what needs a restart, and of what makes an odd relay of it.
func (f *relayFront) InForce(cfg *config.Config) {
	before, now := f.cfg.Relay, cfg.Relay
	// Followed like the tables:
	before.LocalUsers, before.Mailertable, before.TLSPolicy, before.Masquerade = now.LocalUsers, now.Mailertable, now.TLSPolicy, now.Masquerade
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
		f.log.Warn("relay.local_users is not set: local mail is taken for any name, and what the next host refuses is returned to senders who may never have sent it")
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
	err := errors.Join(f.operator.shutdown(ctx), f.server.Shutdown(ctx))
	stop := context.AfterFunc(ctx, f.queue.Abandon)
	defer stop()
	f.endQueue()
	f.delivers.Wait()
	err = errors.Join(err, f.ways.closeAll())
	if closing := f.spool.Close(); closing != nil {
		err = errors.Join(err, fmt.Errorf("close the spool: %w", closing))
	}
	return err
}
