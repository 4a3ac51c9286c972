package setup

import (
	"context"
	"log/slog"
	"reflect"
	"time"

	"gatepost/internal/config"
	"gatepost/internal/dns"
	"gatepost/maps"
	"gatepost/policy"
)

// state is one configuration made real. Only its policy is ever replaced, in a copy.
type state struct {
	cfg        *config.Config
	access     *maps.Table // nil without access_db
	relay      *maps.Table // class R
	local      *maps.Table // the file of class w
	trusted    *maps.Table // nil unless it is used
	spammers   *maps.Table // nil unless it is named
	virtual    *maps.Table // nil unless it is named
	always     maps.Map    // what always belongs to class w
	own        maps.Map    // class m
	hostName   string      // $j
	hosts      *dns.Hosts
	client     *dns.Client
	resolver   dns.Resolver // the client; in tests of a policy, its facts
	policy     *policy.Policy
	generation uint64
	since      time.Time
}

// build opens everything anew and makes a policy of it.
func (e *Engine) build(ctx context.Context, cfg *config.Config) (*state, error) {
	old := e.current.Load()
	s := &state{cfg: cfg}
	if err := s.openTables(old, e.log); err != nil {
		return nil, err
	}
	if err := s.openResolver(e.host, old, e.log); err != nil {
		return nil, err
	}
	if err := s.identify(ctx, e.host, e.log); err != nil {
		return nil, err
	}
	if err := s.makePolicy(); err != nil {
		return nil, err
	}
	return s, nil
}

// openTables opens the files, or reads anew those that are open already: so a
// reload cannot lose the last good content of one that has vanished meanwhile.
func (s *state) openTables(old *state, log *slog.Logger) (err error) {
	if old == nil {
		old = &state{}
	}
	t := &s.cfg.Tables
	if s.cfg.Features.AccessDB {
		spec := maps.Spec{Name: "access", Path: t.Access.Path, Format: maps.FormatAccess, Optional: !t.Access.Named, Check: policy.CheckAccess}
		if s.access, err = openTable(spec, old.access, log); err != nil {
			return err
		}
	}
	spec := maps.Spec{Name: "relay_domains", Path: t.RelayDomains.Path, Format: maps.FormatClass, Optional: !t.RelayDomains.Named}
	if s.relay, err = openTable(spec, old.relay, log); err != nil {
		return err
	}
	spec = maps.Spec{Name: "local_host_names", Path: t.LocalHostNames.Path, Format: maps.FormatClass, Optional: !t.LocalHostNames.Named}
	if s.local, err = openTable(spec, old.local, log); err != nil {
		return err
	}
	return s.openUnixWare(old, log)
}

// openUnixWare opens the tables that sendmail itself does not have.
func (s *state) openUnixWare(old *state, log *slog.Logger) (err error) {
	t := &s.cfg.Tables
	if s.cfg.UsesTrusted() {
		spec := maps.Spec{Name: "trusted", Path: t.Trusted.Path, Format: maps.FormatAccess, Optional: !t.Trusted.Named, Check: policy.CheckTrusted}
		if s.trusted, err = openTable(spec, old.trusted, log); err != nil {
			return err
		}
	}
	if t.Spammers.Named {
		spec := maps.Spec{Name: "spammers", Path: t.Spammers.Path, Format: maps.FormatAccess, Check: policy.CheckSpammers}
		if s.spammers, err = openTable(spec, old.spammers, log); err != nil {
			return err
		}
	}
	if t.VirtualHosts.Named {
		spec := maps.Spec{Name: "virtual_hosts", Path: t.VirtualHosts.Path, Format: maps.FormatClass}
		s.virtual, err = openTable(spec, old.virtual, log)
	}
	return err
}

func openTable(spec maps.Spec, old *maps.Table, log *slog.Logger) (*maps.Table, error) {
	if old != nil && old.Status().Path == spec.Path {
		_, err := old.Reload()
		return old, err
	}
	return maps.Open(spec, log)
}

func (s *state) tables() []*maps.Table {
	all := []*maps.Table{s.relay, s.local}
	for _, t := range []*maps.Table{s.access, s.trusted, s.spammers, s.virtual} {
		if t != nil {
			all = append(all, t)
		}
	}
	return all
}

// openResolver keeps the old resolver, and with it what it remembers, when its settings are the same.
func (s *state) openResolver(h host, old *state, log *slog.Logger) (err error) {
	if s.hosts, err = dns.ReadHosts(h.hostsFile); err != nil {
		return err
	}
	c := s.cfg.DNS
	if old != nil && len(c.Servers) > 0 && reflect.DeepEqual(old.cfg.DNS, c) {
		s.client, s.resolver = old.client, old.client
		return nil
	}
	servers := c.Servers
	if len(servers) == 0 {
		if servers, _, _, err = dns.ReadResolvConf(h.resolvConf); err != nil {
			return err
		}
	}
	s.client, err = dns.NewClient(dns.Config{
		Servers: servers, Timeout: c.Timeout, Attempts: c.Attempts, CacheSize: c.CacheSize, Log: log,
	})
	s.resolver = s.client
	return err
}

// identify finds out who this host is.
func (s *state) identify(ctx context.Context, h host, log *slog.Logger) (err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	n := names{s.hosts, s.resolver}
	if s.hostName = s.cfg.HostName; s.hostName == "" {
		if s.hostName, err = h.fullName(ctx, n, log); err != nil {
			return err
		}
	}
	s.always = maps.NewClass("this host", h.localWords(ctx, n, s.hostName, !s.cfg.DontProbeInterfaces, log))
	var own []string
	if d := domainOf(s.hostName); d != "" {
		own = []string{d}
	}
	s.own = maps.NewClass("this host", own)
	return nil
}

// makePolicy builds the policy over the tables as they are now.
func (s *state) makePolicy() (err error) {
	s.policy, err = policy.New(s.policyConfig())
	return err
}

// policyConfig is what the policy is made of.
func (s *state) policyConfig() policy.Config { return s.configOver(s.snapshots()) }

// configOver is the policy's configuration over the tables.
func (s *state) configOver(t Tables) policy.Config {
	c := policy.Config{
		HostName:       s.hostName,
		Domain:         domainOf(s.hostName),
		RelayDomains:   []maps.Map{t.RelayDomains},
		LocalHostNames: []maps.Map{t.LocalHostNames, s.always},
		OwnDomains:     []maps.Map{s.own},
		Features:       features(s.cfg),
		Messages: policy.Messages{
			Reject:  message(s.cfg.Messages.Reject),
			Relay:   message(s.cfg.Messages.Relay),
			RcptRej: message(s.cfg.Messages.RcptRej),
		},
		Resolver: s.resolver,
		Hosts:    s.hosts,
	}
	if t.Access != nil {
		c.Access = t.Access
	}
	if t.Trusted != nil {
		c.Trusted = t.Trusted
	}
	if t.Spammers != nil {
		c.Spammers = t.Spammers
	}
	if t.VirtualHosts != nil {
		c.VirtualHosts = []maps.Map{t.VirtualHosts}
	}
	return c
}

func sameMilter(a, b *config.Milter) bool { return reflect.DeepEqual(a, b) }
