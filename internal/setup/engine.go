package setup

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"gatepost/internal/config"
	"gatepost/maps"
	"gatepost/policy"
)

// Engine keeps the policy current. It is safe for concurrent use.
type Engine struct {
	log     *slog.Logger
	host    host
	local   config.LocalKind // what becomes of local mail, until a restart
	metrics *metrics
	lines   sync.Pool // of *attrs, log lines in the making
	current atomic.Pointer[state]

	mu       sync.Mutex    // one change at a time
	reopened chan struct{} // a reload opened other tables
	renewed  chan struct{} // there is another policy
	failed   atomic.Bool   // the last reload or rebuild did not succeed
}

// Open makes everything that the configuration describes and the first policy.
// It fails when a table that the configuration names cannot be read. It asks the
// DNS about this host itself, for a few seconds at most.
func Open(ctx context.Context, cfg *config.Config, log *slog.Logger) (*Engine, error) {
	return open(ctx, cfg, log, thisHost())
}

func open(ctx context.Context, cfg *config.Config, log *slog.Logger, h host) (*Engine, error) {
	e := &Engine{log: log, host: h, local: cfg.Relay.LocalMail.Kind, metrics: newMetrics(), reopened: make(chan struct{}, 1), renewed: make(chan struct{}, 1)}
	s, err := e.build(ctx, cfg)
	if err != nil {
		return nil, err
	}
	e.swap(s)
	if err := e.Register(e); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return e, nil
}

// Policy is the policy in force. A session that keeps it sees one policy to its end.
func (e *Engine) Policy() *policy.Policy { return e.current.Load().policy }

// PolicyConfig is what the policy in force was made of, for those who want to try
// another one. Its tables are maps.Snapshots, or maps.Chains of them and of servers.
func (e *Engine) PolicyConfig() policy.Config { return e.current.Load().policyConfig() }

// Tables are the tables in force, as they are now.
func (e *Engine) Tables() Tables { return e.current.Load().snapshots() }

// Config is the configuration in force.
func (e *Engine) Config() *config.Config { return e.current.Load().cfg }

// HostName is this host's full name ($j).
func (e *Engine) HostName() string { return e.current.Load().hostName }

// Generation counts the policies that have been in force, from 1.
func (e *Engine) Generation() uint64 { return e.current.Load().generation }

// Reload reads the configuration by load and all tables anew, and builds a new
// policy. On any error, which is logged, everything stays as it was.
func (e *Engine) Reload(ctx context.Context, load func() (*config.Config, error)) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, err := e.reload(ctx, load)
	e.failed.Store(err != nil)
	if err != nil {
		e.log.Error("reload failed, the old configuration stays in force", "error", err)
		return err
	}
	e.warnUnchangeable(s.cfg)
	e.swap(s)
	select {
	case e.reopened <- struct{}{}:
	default:
	}
	e.log.Info("reloaded", "generation", s.generation)
	return nil
}

func (e *Engine) reload(ctx context.Context, load func() (*config.Config, error)) (*state, error) {
	cfg, err := load()
	if err != nil {
		return nil, err
	}
	return e.build(ctx, cfg)
}

// Run follows the edits of the tables until ctx ends, and searches each policy
// for an open relay.
func (e *Engine) Run(ctx context.Context) {
	var reviews sync.WaitGroup
	reviews.Go(func() { e.review(ctx) })
	for ctx.Err() == nil {
		e.watch(ctx)
	}
	reviews.Wait()
}

// watch follows the tables of the state in force, and the DNS lists, until a
// reload opens others.
func (e *Engine) watch(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() { maps.Watch(ctx, e.log, e.current.Load().stores(), e.rebuild) })
	all.Go(func() { e.lookAfterLists(ctx) })
	select {
	case <-e.reopened:
		cancel()
	case <-ctx.Done():
	}
	all.Wait()
}

// rebuild makes a new policy of the tables as they are now.
func (e *Engine) rebuild() {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := *e.current.Load()
	err := s.makePolicy()
	e.failed.Store(err != nil)
	if err != nil {
		e.log.Error("no new policy could be made, the old one stays in force", "error", err)
		return
	}
	e.swap(&s)
	e.log.Info("policy renewed after an edit", "generation", s.generation)
}

// swap puts s in force. The caller holds e.mu, or is the only one to know e.
func (e *Engine) swap(s *state) {
	s.generation = 1
	if old := e.current.Load(); old != nil {
		s.generation = old.generation + 1
	}
	s.since = time.Now()
	e.current.Store(s)
	select {
	case e.renewed <- struct{}{}:
	default:
	}
	if s.cfg.Features.PromiscuousRelay && !s.cfg.Accepts("promiscuous_relay") {
		e.log.Warn("features.promiscuous_relay is on: Gatepost lets every client relay, so the mail server must have relay checks of its own")
	}
	if s.cfg.Features.CheckRcpt == "off" && !s.cfg.Accepts("check_rcpt") {
		e.log.Warn("features.check_rcpt is \"off\": Gatepost lets every client relay, so the mail server must have relay checks of its own")
	}
}

// warnUnchangeable tells of settings that a reload cannot change.
func (e *Engine) warnUnchangeable(cfg *config.Config) {
	old := e.Config()
	for _, part := range []struct {
		name    string
		changed bool
	}{
		{"[admin]", old.Admin != cfg.Admin},
		{"log.format or log.output", old.Log.Format != cfg.Log.Format || old.Log.Output != cfg.Log.Output},
	} {
		if part.changed {
			WarnRestart(e.log, part.name)
		}
	}
}

// WarnRestart tells of a setting that was changed and is not in force.
func WarnRestart(log *slog.Logger, setting string) {
	log.Warn("a changed setting needs a restart to take effect", "setting", setting)
}
