package setup

import (
	"fmt"
	"log/slog"
	"slices"

	"gatepost/internal/config"
	"gatepost/maps"
	"gatepost/maps/ldap"
	"gatepost/policy"
	"gatepost/relay/route/mailertable"
	"gatepost/relay/tlspolicy"
)

// table is one of the administrator's tables: its maps, in the order in which
// they are asked.
type table struct {
	name string
	maps []maps.Store
}

// asked is what a policy asks: the one map, or the list of them, as they are now.
func (t *table) asked() maps.Map {
	if t == nil {
		return nil
	}
	if len(t.maps) == 1 {
		return t.maps[0].Map()
	}
	chain := make(maps.Chain, len(t.maps))
	for i, m := range t.maps {
		chain[i] = m.Map()
	}
	return chain
}

// parts are the maps of t, each for itself.
func (t *table) parts() []maps.Store {
	if t == nil {
		return nil
	}
	return t.maps
}

// tableSpec says what a table is like, whatever it is kept in.
type tableSpec struct {
	name   string
	table  config.Table
	format maps.Format
	check  func(key, value string) error
}

// openTables opens all maps, or reads anew those that are open already: so a
// reload cannot lose the last good content of a file that has vanished meanwhile.
func (s *state) openTables(old *state, log *slog.Logger) error {
	if old == nil {
		old = &state{}
	}
	t := &s.cfg.Tables
	list := []opening{
		{&s.access, old.access, s.cfg.Features.AccessDB, tableSpec{"access", t.Access, maps.FormatAccess, policy.AccessCheck()}},
		{&s.relay, old.relay, true, tableSpec{"relay_domains", t.RelayDomains, maps.FormatClass, nil}},
		{&s.local, old.local, true, tableSpec{"local_host_names", t.LocalHostNames, maps.FormatClass, nil}},
		{&s.trusted, old.trusted, s.cfg.UsesTrusted(), tableSpec{"trusted", t.Trusted, maps.FormatAccess, policy.CheckTrusted}},
		{&s.spammers, old.spammers, t.Spammers.Named, tableSpec{"spammers", t.Spammers, maps.FormatAccess, policy.CheckSpammers}},
		{&s.virtual, old.virtual, t.VirtualHosts.Named, tableSpec{"virtual_hosts", t.VirtualHosts, maps.FormatClass, nil}},
		{&s.users, old.users, s.cfg.Relay.LocalUsers.Named, tableSpec{"local_users", s.cfg.Relay.LocalUsers, maps.FormatClass, nil}},
		{&s.tlsPolicy, old.tlsPolicy, s.cfg.Relay.TLSPolicy.Named, tableSpec{"tls_policy", s.cfg.Relay.TLSPolicy, maps.FormatAccess, tlspolicy.CheckEntry}},
		{&s.mailer, old.mailer, s.cfg.Relay.Mailertable.Named, tableSpec{"mailertable", s.cfg.Relay.Mailertable, maps.FormatAccess,
			mailertable.Check(s.cfg.Relay.LocalMail.Kind != config.LocalRefused)}},
	}
	return s.openAll(append(list, s.rewrite.specs(&old.rewrite, s.cfg)...), log)
}

// opening is a table that is to be opened.
type opening struct {
	to   **table
	from *table // of the state before
	used bool
	spec tableSpec
}

func (s *state) openAll(list []opening, log *slog.Logger) (err error) {
	for _, one := range list {
		if !one.used {
			continue
		}
		if *one.to, err = s.openTable(one.spec, one.from, log); err != nil {
			return err
		}
	}
	return nil
}

func (s *state) openTable(spec tableSpec, old *table, log *slog.Logger) (*table, error) {
	t := &table{name: spec.name}
	for _, m := range spec.table.Maps {
		one, err := s.mapSpec(spec, m)
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", spec.name, err)
		}
		store, err := openMap(one, old.parts(), log)
		if err != nil {
			return nil, err
		}
		t.maps = append(t.maps, store)
	}
	return t, nil
}

// openMap opens a map, or reads it anew when it is one of old.
func openMap(spec maps.Spec, old []maps.Store, log *slog.Logger) (maps.Store, error) {
	same := func(s maps.Store) bool { return s.Is(spec) }
	if i := slices.IndexFunc(old, same); i >= 0 {
		_, err := old[i].Reload()
		return old[i], err
	}
	return maps.OpenStore(spec, log)
}

// mapSpec is one map of a table in the terms of package maps.
func (s *state) mapSpec(t tableSpec, m config.Map) (maps.Spec, error) {
	kind, err := maps.ParseKind(m.Kind)
	spec := maps.Spec{
		Name: t.name, Kind: kind, Path: m.Path, Format: t.format, Optional: !t.table.Named, Check: t.check,
		KeepLast: s.cfg.Tables.OnUnavailable == "last", MaxStale: s.cfg.Tables.MaxStale,
	}
	if kind == maps.KindLDAP {
		d, _ := s.cfg.Directory(m.Path)
		spec.LDAP = directory(d, t.name, s.cfg.HostName)
	}
	switch {
	case m.Text != "":
		spec.Beside = maps.Beside{Kind: maps.KindText, Path: m.Text, IfNewer: true}
	case m.Database != "":
		spec.Beside = maps.Beside{Kind: maps.KindDB, Path: m.Database}
	}
	return spec, err
}

// directory is an [[ldap]] in the terms of package ldap. Without a filter it is asked
// as sendmail asks under FEATURE(access_db, LDAP) for the table and the host.
func directory(d config.LDAP, table, host string) (c ldap.Config) {
	c = ldap.Config{
		URL: d.URL, StartTLS: d.StartTLS, BindDN: d.BindDN, PasswordFile: d.PasswordFile, BaseDN: d.Base,
		Scope: d.Scope, Filter: d.Filter, Attribute: d.Attribute, SingleMatch: d.SingleMatch,
	}
	c.TLS.CAFile = d.CAFile
	if c.Filter == "" {
		c.Filter, c.SingleMatch = ldap.SendmailFilter(table, d.Cluster, host), true
	}
	return c
}

// stores are all maps of all tables.
func (s *state) stores() []maps.Store {
	return slices.Concat(s.access.parts(), s.relay.parts(), s.local.parts(), s.trusted.parts(), s.spammers.parts(), s.virtual.parts(), s.users.parts(), s.tlsPolicy.parts(), s.mailer.parts(), s.rewrite.parts())
}
