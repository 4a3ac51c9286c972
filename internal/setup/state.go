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
	"gatepost/policy/dnsbl"
	"gatepost/relay/rewrite"
)

// state is one configuration made real. Only its policy is ever replaced, in a copy.
type state struct {
	cfg        *config.Config
	access     *table // nil without access_db
	relay      *table // class R
	local      *table // the files of class w
	trusted    *table // nil unless it is used
	spammers   *table // nil unless it is named
	virtual    *table // nil unless it is named
	users      *table // whom local mail is taken for; nil unless it is named
	tlsPolicy  *table // what is demanded of next hops; nil unless it is named
	rewrite    rewriteTables
	rewriter   *rewrite.Rewriter
	mailer     *table   // the mailertable; nil unless it is named
	always     maps.Map // what always belongs to class w
	own        maps.Map // class m
	hostName   string   // $j
	hosts      *dns.Hosts
	dns        dns.Config // what client was made of
	client     *dns.Client
	resolver   dns.Resolver // the client; in tests of a policy, its facts
	lists      *dnsbl.Set   // what is known of the DNS lists; nil in tests of a policy
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
	s.watchLists(old)
	if err := s.makePolicy(); err != nil {
		return nil, err
	}
	return s, nil
}

// openResolver keeps the old resolver, and with it what it remembers, when its settings are the same.
func (s *state) openResolver(h host, old *state, log *slog.Logger) (err error) {
	if s.hosts, err = dns.ReadHosts(h.hostsFile); err != nil {
		return err
	}
	if s.dns, err = resolverConfig(s.cfg.DNS, h.resolvConf); err != nil {
		return err
	}
	if old != nil && reflect.DeepEqual(old.dns, s.dns) && sameKeys(old.cfg, s.cfg) {
		s.client, s.resolver = old.client, old.client
		return nil
	}
	c := s.dns
	c.Log = hideKeys(log, s.cfg)
	s.client, err = dns.NewClient(c)
	s.resolver = s.client
	return err
}

// resolverConfig is what the configuration says of the resolver. What it does not
// say, resolv.conf does, unless the servers are named.
func resolverConfig(c config.DNS, resolvConf string) (out dns.Config, err error) {
	out.Servers = c.Servers
	if len(c.Servers) == 0 {
		if out, err = dns.ReadResolvConf(resolvConf); err != nil {
			return dns.Config{}, err
		}
	}
	if c.Timeout != 0 {
		out.Timeout = c.Timeout
	}
	if c.Attempts != 0 {
		out.Attempts = c.Attempts
	}
	if c.Rotate != nil {
		out.Rotate = *c.Rotate
	}
	if c.TCP != nil {
		out.TCP = *c.TCP
	}
	out.CacheSize, out.ServeStale, out.TrustAD = c.CacheSize, c.ServeStale, c.TrustAD
	return out, nil
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

// makePolicy builds the policy, and what rewrites addresses, over the tables as they are now.
func (s *state) makePolicy() (err error) {
	if s.policy, err = policy.New(s.policyConfig()); err == nil {
		s.rewriter = s.makeRewriter()
	}
	return err
}

// policyConfig is what the policy is made of.
func (s *state) policyConfig() policy.Config { return s.configOver(s.snapshots()) }

// configOver is the policy's configuration over the tables.
func (s *state) configOver(t Tables) policy.Config {
	return policy.Config{
		HostName:       s.hostName,
		Domain:         domainOf(s.hostName),
		Access:         t.Access,
		RelayDomains:   maps.Parts(t.RelayDomains),
		LocalHostNames: append(maps.Parts(t.LocalHostNames), s.always),
		Trusted:        t.Trusted,
		Spammers:       t.Spammers,
		VirtualHosts:   maps.Parts(t.VirtualHosts),
		OwnDomains:     []maps.Map{s.own},
		Features:       features(s.cfg),
		Messages: policy.Messages{
			Reject:  message(s.cfg.Messages.Reject),
			Relay:   message(s.cfg.Messages.Relay),
			RcptRej: message(s.cfg.Messages.RcptRej),
		},
		Resolver: s.resolver,
		Hosts:    s.hosts,
		Lists:    s.lists,
	}
}
