package setup

import (
	"context"
	"strings"

	"gatepost/internal/config"
	"gatepost/maps"
	"gatepost/policy"
	"gatepost/relay/rewrite"
)

// rewriteTables are those by which addresses are rewritten; nil where none is configured.
type rewriteTables struct {
	generics, domains, exceptions, exposed, genericsDomains *table
}

func (t *rewriteTables) parts() (all []maps.Store) {
	for _, one := range []*table{t.generics, t.domains, t.exceptions, t.exposed, t.genericsDomains} {
		all = append(all, one.parts()...)
	}
	return all
}

// specs are the tables that openTables opens.
func (t *rewriteTables) specs(old *rewriteTables, cfg *config.Config) []opening {
	m := &cfg.Relay.Masquerade
	generics := cfg.Tables.GenericsTable
	generics.Named = true // who asks for the feature has the table
	class := func(to **table, from *table, name string, c *config.Class) opening {
		return opening{to, from, c.File.Named, tableSpec{name, c.File, maps.FormatClass, nil}}
	}
	return []opening{
		{&t.generics, old.generics, cfg.Features.GenericsTable, tableSpec{"genericstable", generics, maps.FormatAccess, rewrite.CheckGeneric}},
		class(&t.domains, old.domains, "masquerade_domain_file", &m.MasqueradeDomain),
		class(&t.exceptions, old.exceptions, "masquerade_exception_file", &m.MasqueradeException),
		class(&t.exposed, old.exposed, "exposed_user_file", &m.ExposedUser),
		class(&t.genericsDomains, old.genericsDomains, "generics_domain_file", &m.GenericsDomain),
	}
}

// Rewriter is what addresses are rewritten by, as of now. It changes with the tables and
// the configuration, so a message asks for it once.
func (e *Engine) Rewriter() *rewrite.Rewriter { return e.current.Load().rewriter }

// makeRewriter builds the rewriter over the tables as they are now.
func (s *state) makeRewriter() *rewrite.Rewriter {
	m, f, p := &s.cfg.Relay.Masquerade, &s.cfg.Features.MasqueradeFeatures, s.policyConfig()
	c := rewrite.Config{
		HostName:        s.hostName,
		MasqueradeAs:    m.MasqueradeAs,
		Local:           p.LocalHostNames,
		Domains:         s.class("masquerade_domain", &m.MasqueradeDomain, s.rewrite.domains),
		Exceptions:      s.class("masquerade_exception", &m.MasqueradeException, s.rewrite.exceptions),
		Exposed:         s.class("exposed_user", &m.ExposedUser, s.rewrite.exposed),
		Generics:        s.rewrite.generics.asked(),
		GenericsDomains: s.class("generics_domain", &m.GenericsDomain, s.rewrite.genericsDomains),
		Accounts:        accounts(&s.cfg.Relay),
		Features: rewrite.Features{
			MasqueradeEnvelope:     f.MasqueradeEnvelope,
			MasqueradeEntireDomain: f.MasqueradeEntireDomain,
			LimitedMasquerade:      f.LimitedMasquerade,
			AllMasquerade:          f.AllMasquerade,
			LocalNoMasquerade:      f.LocalNoMasquerade,
			GenericsEntireDomain:   f.GenericsEntireDomain,
			AlwaysAddDomain:        f.AlwaysAddDomain,
			AddDomain:              f.AddDomain,
		},
	}
	c.Syntax.NoUUCP = p.Features.NoUUCP != policy.SpecialRoute
	c.Syntax.NoPercentHack = p.Features.NoPercentHack != policy.SpecialRoute
	return rewrite.New(c)
}

// class is a class: the words of the configuration, and a file of them.
func (s *state) class(key string, c *config.Class, file *table) []maps.Map {
	var all []maps.Map
	if len(c.Words) > 0 {
		at := maps.Source{File: "relay." + key}
		if s.cfg.File != "" {
			at = maps.Source{File: s.cfg.File, Line: config.KeyLine(s.cfg.File, "relay."+key)}
		}
		all = append(all, words{maps.NewClass(key, c.Words), at})
	}
	return append(all, maps.Parts(file.asked())...)
}

// words is a class that the configuration lists.
type words struct {
	maps.Snapshot
	at maps.Source
}

// Lookup implements maps.Map.
func (w words) Lookup(ctx context.Context, key string) (maps.Entry, bool, error) {
	e, found, err := w.Snapshot.Lookup(ctx, key)
	e.Source = w.at
	return e, found, err
}

// accounts are those as which mail is sent, by next hops.
func accounts(r *config.Relay) rewrite.Accounts {
	a := rewrite.Accounts{Hosts: map[string]string{}}
	if r.SendAs != "" {
		for _, hop := range r.SmartHost.Hops {
			a.Hosts[strings.ToLower(hop.Host)] = r.SendAs
		}
	}
	for host, account := range r.SendAsByHost {
		a.Hosts[host] = account
	}
	return a
}
