// Package daemon is what the programs that serve have in common: the order in
// which all is opened and closed, signals, reloads, systemd's watchdog, and the
// listener for those who run the machine. What a program serves is its Front.
package daemon

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

	"gatepost/internal/config"
	"gatepost/internal/listen"
	"gatepost/internal/program"
	"gatepost/internal/setup"
)

// patience is how long messages in progress may take to end after SIGTERM.
const patience = 30 * time.Second

// Front is what a program serves with. Its methods are called in this order.
type Front interface {
	// Listen opens the listeners. Connections wait in them until Serve, while
	// tables are read.
	Listen(cfg *config.Config) ([]net.Listener, error)

	// Open makes ready to serve. When it fails it leaves nothing open.
	Open(ctx context.Context, e *setup.Engine, log *setup.Logger) error

	// Serve serves a listener until Shutdown, then it returns nil; an error means
	// that the listener broke. There is one call for each listener.
	Serve(ln net.Listener) error

	// InForce is told that a configuration is in force: once at the start, and
	// after each reload. It warns of what has no effect.
	InForce(cfg *config.Config)

	// Status adds what the front knows to what /status says.
	Status(s *setup.Status)

	// Shutdown ends the listeners, lets messages in progress end for as long as ctx
	// allows, and closes what Open opened.
	Shutdown(ctx context.Context) error
}

// Daemon is one run of a program that serves. All exported fields must be set,
// but a nil Signals never signals.
type Daemon struct {
	Name    string // of the program, in syslog
	Version string // what the linker was told
	Stderr  io.Writer
	Signals <-chan os.Signal // SIGHUP reloads, all others end it
	Load    func() (*config.Config, error)
	Front   Front

	log     *setup.Logger
	engine  *setup.Engine
	admin   *admin
	failed  chan error     // a listener broke
	workers sync.WaitGroup // all goroutines of ours
}

// Run serves until a signal or the end of ctx. The error says with which code the
// process is to end (program.ExitError).
func (d *Daemon) Run(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	cfg, err := d.Load()
	if err != nil {
		cancel()
		return program.Usage(err)
	}
	if d.log, err = setup.NewLogger(cfg.Log, d.Name, d.Stderr); err != nil {
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
		return asExit(err)
	}
	d.start(ctx, cfg, listeners)
	return d.wait(ctx)
}

// asExit ends the program as a fault of its configuration does, unless err itself
// says how.
func asExit(err error) error {
	if exit := new(program.ExitError); errors.As(err, &exit) {
		return err
	}
	return program.Usage(err)
}

// open opens the listeners, then the engine, then what the front has besides.
func (d *Daemon) open(ctx context.Context, cfg *config.Config) (listeners []net.Listener, err error) {
	defer func() {
		if err != nil {
			listen.Close(listeners)
			if d.admin != nil {
				d.admin.close()
			}
		}
	}()
	if listeners, err = d.Front.Listen(cfg); err != nil {
		return nil, err
	}
	if d.admin, err = newAdmin(cfg, d.log.Logger); err != nil {
		return listeners, err
	}
	if d.engine, err = setup.Open(ctx, cfg, d.log.Logger); err != nil {
		return listeners, err
	}
	return listeners, d.Front.Open(ctx, d.engine, d.log)
}

// start serves on the listeners.
func (d *Daemon) start(ctx context.Context, cfg *config.Config, listeners []net.Listener) {
	if err := d.engine.Register(logCounts(d.log)); err != nil {
		d.log.Error("the log's own metrics are missing", "error", err)
	}
	d.failed = make(chan error, len(listeners)+1)
	d.workers.Go(func() { d.engine.Run(ctx) })
	d.workers.Go(func() { d.report(d.admin.serve(d.routes())) })
	for _, ln := range listeners {
		listening := d.log.With("address", ln.Addr().String())
		if named, ok := ln.(interface{ Name() string }); ok {
			listening = listening.With("listener", named.Name())
		}
		listening.Info("listening")
		d.workers.Go(func() { d.report(d.Front.Serve(ln)) })
	}
	d.Front.InForce(cfg)
	d.admin.ready.Store(true)
	d.log.Info("ready", "version", program.Version(d.Version), "config", cfg.File, "pid", os.Getpid())
	notify(d.log.Logger, "READY=1")
}

// report takes what ended a listener.
func (d *Daemon) report(err error) {
	if err != nil {
		d.failed <- err
	}
}

// wait serves until a signal, the end of ctx, or a broken listener.
func (d *Daemon) wait(ctx context.Context) error {
	watchdog, stop := watchdogTicks(d.log.Logger)
	defer stop()
	var reloads reloader
	for {
		select {
		case s := <-d.Signals:
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
func (d *Daemon) drain() {
	d.admin.ready.Store(false)
	notify(d.log.Logger, "STOPPING=1")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ended := make(chan struct{})
	d.workers.Go(func() {
		for {
			select {
			case s := <-d.Signals:
				if s != syscall.SIGHUP {
					cancel()
					return
				}
			case <-ended:
				return
			}
		}
	})
	err := d.Front.Shutdown(ctx)
	close(ended)
	if err != nil {
		d.log.Warn("not all messages in progress could end", "error", err)
	}
	d.admin.close()
	d.log.Info("stopped")
}
