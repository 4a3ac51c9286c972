package setup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"

	"gatepost/internal/config"
	"gatepost/internal/follow"
	"gatepost/internal/lint"
	"gatepost/maps"
	"gatepost/policy"
	"gatepost/relay/authinfo"
	"gatepost/relay/authinfo/token"
	"gatepost/relay/sasl/saslclient"
)

// Logins says what to log in with at other servers: relay.authinfo, or without it the
// entries AuthInfo: of the access table, as in sendmail. It is safe for concurrent use.
type Logins struct {
	table  *authinfo.Table
	access *authinfo.Access
}

// OpenLogins reads the table, and follows its changes. access gives the access table as it
// is at the time; nil, and a nil table: there is none. It fails for a table that cannot be
// used.
func OpenLogins(cfg *config.Config, access func() maps.Map, log *slog.Logger) (*Logins, error) {
	o := loginOptions(cfg, log)
	if cfg.Relay.AuthInfo.Path == "" {
		if access == nil {
			return &Logins{}, nil
		}
		return &Logins{access: authinfo.NewAccess(access, o)}, nil
	}
	spec, err := authinfoSpec(cfg)
	if err != nil {
		return nil, err
	}
	table, err := authinfo.Open(spec, o)
	if err != nil {
		return nil, fmt.Errorf("relay.authinfo: %w", err)
	}
	return &Logins{table: table}, nil
}

func loginOptions(cfg *config.Config, log *slog.Logger) authinfo.Options {
	clients := map[string]token.Client{}
	for _, o := range cfg.OAuth2 {
		clients[o.Name] = token.Client{TokenURL: o.TokenURL, ClientID: o.ClientID, ClientSecretFile: o.ClientSecretFile,
			RefreshTokenFile: o.RefreshTokenFile, Scopes: o.Scope, Basic: o.Basic}
	}
	return authinfo.Options{Clear: cfg.Relay.ClearAllowed, Tokens: token.NewSources(clients, nil, log), Log: log}
}

func authinfoSpec(cfg *config.Config) (maps.Spec, error) {
	s := &state{cfg: cfg}
	t := tableSpec{name: "authinfo", table: config.Table{Named: true}, format: maps.FormatAccess}
	return s.mapSpec(t, cfg.Relay.AuthInfo)
}

// Find is what to log in with at a server: host is its own name, as sendmail's
// {server_name}, or empty. nil is without a login. An error means that it cannot be told:
// the server is not to be used now.
func (l *Logins) Find(ctx context.Context, host string, addr netip.Addr) (*saslclient.Credentials, error) {
	switch {
	case l.table != nil:
		return l.table.Find(ctx, host, addr)
	case l.access != nil:
		return l.access.Find(ctx, host, addr)
	}
	return nil, nil
}

// FindNamed is Find without the entry AuthInfo: for all servers.
func (l *Logins) FindNamed(ctx context.Context, host string, addr netip.Addr) (*saslclient.Credentials, error) {
	switch {
	case l.table != nil:
		return l.table.FindNamed(ctx, host, addr)
	case l.access != nil:
		return l.access.FindNamed(ctx, host, addr)
	}
	return nil, nil
}

// Fault is why the table as it is now is not in force; nil when it is.
func (l *Logins) Fault() error {
	if l.table == nil {
		return nil
	}
	return l.table.Fault()
}

// Lookup lists the keys that Find tries for a server's name or address, up to the one that
// it finds, without passwords. The error says that there is no table.
func (l *Logins) Lookup(ctx context.Context, server string) ([]policy.Answer, error) {
	name := "authinfo"
	host, addr := server, netip.Addr{}
	if a, err := netip.ParseAddr(strings.Trim(strings.TrimPrefix(server, "IPv6:"), "[]")); err == nil {
		host, addr = "", a
	}
	var tried []authinfo.Tried
	switch {
	case l.table != nil:
		tried = l.table.Explain(ctx, host, addr)
	case l.access != nil:
		name, tried = "access", l.access.Explain(ctx, host, addr)
	default:
		return nil, errors.New("no authinfo table: relay.authinfo does not name one, and there is no access table")
	}
	var answers []policy.Answer
	for _, t := range tried {
		answers = append(answers, policy.Answer{Table: name, Key: t.Key, Found: t.Found, Value: t.Value, Source: t.Source, Err: t.Err})
	}
	return answers, nil
}

// maxSecretFile bounds files with a secret, in bytes.
const maxSecretFile = 16 << 10

// LoginFaults reads all that logins need and returns what would keep the relay from its
// start, or from getting tokens.
func LoginFaults(cfg *config.Config) error {
	var faults []error
	if cfg.Relay.AuthInfo.Path != "" {
		spec, err := authinfoSpec(cfg)
		if err == nil {
			err = authinfo.Check(spec, loginOptions(cfg, nil).Tokens)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("relay.authinfo: %w", err))
		}
	}
	for _, o := range cfg.OAuth2 {
		for _, file := range []string{o.ClientSecretFile, o.RefreshTokenFile} {
			if file == "" {
				continue
			}
			if _, err := follow.Read(file, maxSecretFile, true); err != nil {
				faults = append(faults, fmt.Errorf("oauth2 %s: %w", o.Name, err))
			}
		}
	}
	return errors.Join(faults...)
}

// ReviewLogins finds what is wrong with the entries AuthInfo: of the access table, nil
// when there is none: passwords that everybody on this host can read, and lines that mean
// nothing.
func ReviewLogins(cfg *config.Config, access maps.Map) []lint.Finding {
	table, ok := access.(lint.Listing)
	if !ok {
		return nil
	}
	checker := authinfo.NewAccess(func() maps.Map { return access }, loginOptions(cfg, nil))
	var found []lint.Finding
	for key, e := range table.All() {
		if !strings.HasPrefix(key, "authinfo:") {
			continue
		}
		if err := checker.Check(e); err != nil {
			found = append(found, lint.Finding{Check: "authinfo", Source: e.Source, Text: "AuthInfo: " + err.Error()})
		}
	}
	return found
}
