package main

import (
	"context"
	"errors"
	"net"
	"reflect"

	"gatepost/internal/clients"
	"gatepost/internal/config"
	"gatepost/internal/daemon"
	"gatepost/internal/listen"
	"gatepost/internal/setup"
	"gatepost/milter"
)

// front serves mail servers over the milter protocol.
type front struct {
	addresses []string // --listen
	log       *setup.Logger
	cfg       *config.Config // that it was opened with
	server    *milter.Server
}

// Listen opens the listeners in sendmail's socket syntax.
func (f *front) Listen(cfg *config.Config) ([]net.Listener, error) {
	return listen.All(f.addresses, cfg.Milter.Listen, func(addr string) (net.Listener, error) {
		return listen.Open(addr, daemon.SocketOptions(cfg))
	})
}

// Open makes the server.
func (f *front) Open(_ context.Context, e *setup.Engine, log *setup.Logger) error {
	counted, err := clients.New()
	if err != nil {
		return err
	}
	cfg := e.Config()
	f.log, f.cfg = log, cfg
	f.server = milter.NewServer(milter.Config{
		Policy:        func() milter.Decider { return e.Policy() },
		Observe:       e.Observe,
		Clients:       counted,
		Counting:      func() bool { return e.Policy().CountsClients() },
		Log:           log.Logger,
		Timeout:       cfg.Milter.Timeout,
		ResolveClient: e.ResolveClient,
		MaxConns:      cfg.Milter.MaxConnections,
	})
	if err := e.Register(daemon.Counts(f.counts)); err != nil {
		log.Error("the milter's own metrics are missing", "error", err)
	}
	return nil
}

// Serve serves mail servers.
func (f *front) Serve(ln net.Listener) error {
	if err := f.server.Serve(context.Background(), ln); !errors.Is(err, milter.ErrServerClosed) {
		return err
	}
	return nil
}

// InForce names what needs a restart, and what a milter has no part in.
func (f *front) InForce(cfg *config.Config) {
	if !reflect.DeepEqual(f.cfg.Milter, cfg.Milter) {
		setup.WarnRestart(f.log.Logger, "[milter]")
	}
	if cfg.Features.GreetPause {
		f.log.Warn("features.greet_pause has no effect: the mail server greets, so it belongs into sendmail.mc or postscreen")
	}
	if cfg.Features.CompatCheck {
		f.log.Warn("features.compat_check has no effect: the mail server delivers, so it belongs into sendmail.mc")
	}
}

// Status has nothing to add.
func (f *front) Status(*setup.Status) {}

// Shutdown ends the server.
func (f *front) Shutdown(ctx context.Context) error { return f.server.Shutdown(ctx) }
