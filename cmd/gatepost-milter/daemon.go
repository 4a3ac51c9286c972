package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"gatepost/internal/clients"
	"gatepost/internal/config"
	"gatepost/internal/program"
	"gatepost/internal/setup"
	"gatepost/milter"
)

// patience is how long messages in progress may take to end after SIGTERM.
const patience = 30 * time.Second

// daemon is one run of the program.
type daemon struct {
	stderr  io.Writer
	signals <-chan os.Signal
	listen  []string // --listen
	load    func() (*config.Config, error)

	log     *setup.Logger
	engine  *setup.Engine
	server  *milter.Server
	clients *clients.Counts
	admin   *admin
	failed  chan error     // a listener broke
	workers sync.WaitGroup // all goroutines of ours
}

func (d *daemon) run(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	cfg, err := d.load()
	if err != nil {
		cancel()
		return program.Usage(err)
	}
	if d.log, err = setup.NewLogger(cfg.Log, programName, d.stderr); err != nil {
		cancel()
		return err
	}
	defer func() {
		cancel()
		d.workers.Wait()
		end, done := context.WithTimeout(context.Background(), time.Second)
		defer done()
		d.log.Close(end)
	}()
	listeners, err := d.open(ctx, cfg)
	if err != nil {
		return program.Usage(err)
	}
	d.start(ctx, cfg, listeners)
	return d.wait(ctx)
}

// open opens the listeners, then the engine. Connections wait meanwhile.
func (d *daemon) open(ctx context.Context, cfg *config.Config) ([]net.Listener, error) {
	listeners, err := d.listeners(cfg)
	if err != nil {
		return nil, err
	}
	if d.admin, err = newAdmin(cfg, d.log.Logger); err != nil {
		closeAll(listeners)
		return nil, err
	}
	if d.engine, err = setup.Open(ctx, cfg, d.log.Logger); err != nil {
		closeAll(listeners)
		d.admin.close()
		return nil, err
	}
	if d.clients, err = clients.New(); err != nil {
		closeAll(listeners)
		d.admin.close()
		return nil, err
	}
	return listeners, nil
}

// start serves on the listeners.
func (d *daemon) start(ctx context.Context, cfg *config.Config, listeners []net.Listener) {
	d.server = milter.NewServer(milter.Config{
		Policy:        func() milter.Decider { return d.engine.Policy() },
		Observe:       d.engine.Observe,
		Clients:       d.clients,
		Counting:      func() bool { return d.engine.Policy().CountsClients() },
		Log:           d.log.Logger,
		Timeout:       cfg.Milter.Timeout,
		ResolveClient: d.engine.ResolveClient,
		MaxConns:      cfg.Milter.MaxConnections,
	})
	if err := d.engine.Register(frontMetrics{d.server, d.log}); err != nil {
		d.log.Error("the milter's own metrics are missing", "error", err)
	}
	d.failed = make(chan error, len(listeners)+1)
	d.workers.Go(func() { d.engine.Run(ctx) })
	d.workers.Go(func() { d.report(d.admin.serve(d.engine)) })
	for _, ln := range listeners {
		d.log.Info("listening", "address", ln.Addr().String())
		d.workers.Go(func() { d.report(d.server.Serve(context.WithoutCancel(ctx), ln)) })
	}
	d.warnIneffective()
	d.admin.ready.Store(true)
	d.log.Info("ready", "version", program.Version(version), "config", cfg.File, "pid", os.Getpid())
	notify(d.log.Logger, "READY=1")
}

// warnIneffective names what a milter has no part in.
func (d *daemon) warnIneffective() {
	f := &d.engine.Config().Features
	if f.GreetPause {
		d.log.Warn("features.greet_pause has no effect: the mail server greets, so it belongs into sendmail.mc or postscreen")
	}
	if f.CompatCheck {
		d.log.Warn("features.compat_check has no effect: the mail server delivers, so it belongs into sendmail.mc")
	}
}

// report takes what ended a listener.
func (d *daemon) report(err error) {
	if err != nil && !errors.Is(err, milter.ErrServerClosed) {
		d.failed <- err
	}
}

// listeners are those that systemd passed, and those of the command line or
// else, when systemd passed none, of the configuration.
func (d *daemon) listeners(cfg *config.Config) ([]net.Listener, error) {
	all, err := milter.SystemdListeners()
	if err != nil {
		return nil, err
	}
	addrs := d.listen
	if len(addrs) == 0 && len(all) == 0 {
		addrs = cfg.Milter.Listen
	}
	for _, a := range addrs {
		ln, err := milter.Listen(a, socketOptions(cfg))
		if err != nil {
			closeAll(all)
			return nil, err
		}
		all = append(all, ln)
	}
	return all, nil
}

func socketOptions(cfg *config.Config) milter.SocketOptions {
	m := &cfg.Milter
	return milter.SocketOptions{Owner: m.SocketOwner, Group: m.SocketGroup, Mode: m.SocketMode}
}

func closeAll(listeners []net.Listener) {
	for _, ln := range listeners {
		ln.Close()
	}
}

// wait serves until a signal, the end of ctx, or a broken listener.
func (d *daemon) wait(ctx context.Context) error {
	watchdog, stop := watchdogTicks(d.log.Logger)
	defer stop()
	var reloads reloader
	for {
		select {
		case s := <-d.signals:
			if s != syscall.SIGHUP {
				d.log.Info("stopping", "signal", s.String())
				d.drain()
				return nil
			}
			reloads.request(d, ctx)
		case <-reloads.done:
			reloads.finished(d, ctx)
		case <-watchdog:
			notify(d.log.Logger, "WATCHDOG=1")
		case err := <-d.failed:
			d.drain()
			return &program.ExitError{Code: program.ExitTemporary, Err: fmt.Errorf("a listener broke: %w", err)}
		case <-ctx.Done():
			d.drain()
			return nil
		}
	}
}

// drain lets messages in progress end; another signal, SIGHUP aside, cuts that short.
func (d *daemon) drain() {
	d.admin.ready.Store(false)
	notify(d.log.Logger, "STOPPING=1")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ended := make(chan struct{})
	d.workers.Go(func() {
		for {
			select {
			case s := <-d.signals:
				if s != syscall.SIGHUP {
					cancel()
					return
				}
			case <-ended:
				return
			}
		}
	})
	err := d.server.Shutdown(ctx)
	close(ended)
	if err != nil {
		d.log.Warn("not all messages in progress could end", "error", err)
	}
	d.admin.close()
	d.log.Info("stopped")
}
