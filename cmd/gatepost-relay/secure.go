package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"gatepost/internal/config"
	"gatepost/internal/setup"
	"gatepost/relay/sasl"
	"gatepost/relay/sasl/sasldb"
	"gatepost/relay/sasl/users"
	"gatepost/relay/session"
)

// secured is what the listeners' TLS and AUTH are made of, common to all of them.
type secured struct {
	cfg     *config.Config
	cert    *setup.Certificate // nil: there is none
	cas     *setup.CAs         // nil: clients are not asked for certificates
	senders *setup.Senders     // nil: any
	auth    *sasl.Server       // nil: no listener has AUTH
	quotas  map[string]*session.Quota
}

func openSecured(cfg *config.Config, e *setup.Engine, log *setup.Logger) (*secured, error) {
	s := &secured{cfg: cfg, quotas: map[string]*session.Quota{}}
	r := &cfg.Relay
	var err error
	if r.ServerCert != "" {
		if s.cert, err = setup.OpenCertificate(r.ServerCert, r.ServerKey, log.Logger); err != nil {
			return nil, fmt.Errorf("relay.server_cert: %w", err)
		}
	}
	if r.CACert != "" {
		if s.cas, err = setup.OpenCAs(r.CACert, log.Logger); err != nil {
			return nil, fmt.Errorf("relay.ca_cert: %w", err)
		}
	}
	if s.senders, err = setup.OpenSenders(cfg, e.HostName(), log.Logger); err != nil {
		return nil, fmt.Errorf("relay.sender_binding: %w", err)
	}
	if s.auth, err = openAuth(cfg, e.HostName(), log); err != nil {
		return nil, err
	}
	for _, l := range cfg.Listeners {
		if l.Quota > 0 {
			s.quotas[l.Name] = session.NewQuota(l.Quota)
		}
	}
	return s, nil
}

// openAuth opens the accounts if a listener has AUTH.
func openAuth(cfg *config.Config, hostName string, log *setup.Logger) (*sasl.Server, error) {
	r := &cfg.Relay
	if !slices.ContainsFunc(cfg.Listeners, func(l config.Listener) bool { return l.Auth }) {
		return nil, nil
	}
	c := sasl.Config{Mechanisms: r.AuthMechanisms, Realms: r.AuthRealm, HostName: hostName, Log: log.Logger}
	if len(c.Realms) == 0 {
		c.Realms = []string{hostName}
	}
	byPassword := slices.ContainsFunc(r.AuthMechanisms, func(m string) bool { return m != sasl.External })
	if byPassword && r.Users != "" {
		a, err := users.Open(r.Users, log.Logger)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w; gatepost user add NAME makes it", err)
		}
		if err != nil {
			return nil, fmt.Errorf("relay.users: %w", err)
		}
		c.Accounts = append(c.Accounts, a)
	}
	if byPassword && r.SASLDB != "" {
		a, err := sasldb.Open(r.SASLDB, c.Realms, log.Logger)
		if err != nil {
			return nil, fmt.Errorf("relay.sasldb: %w", err)
		}
		c.Accounts = append(c.Accounts, a)
	}
	return sasl.NewServer(c)
}

// rules are what a listener serves under.
func (s *secured) rules(l config.Listener) *session.Rules {
	r := &session.Rules{
		Name: l.Name, TLS: s.tls(l), Implicit: l.TLS == config.TLSImplicit, RequireTLS: l.TLS == config.TLSRequired,
		RequireAuth: l.RequireAuth, Sender: l.Sender, Quota: s.quotas[l.Name],
	}
	if l.Auth {
		r.Auth, r.PlainOK = s.auth, l.PlainAuth
	}
	if s.cas != nil {
		r.ClientCAs = s.cas.Get
	}
	if len(l.Networks) > 0 {
		r.Allowed = within(l.Networks)
	}
	if s.senders != nil {
		r.SenderOf = s.senders.Allowed
	}
	return r
}

// tls is what a listener's handshakes are made with; nil without TLS.
func (s *secured) tls(l config.Listener) *tls.Config {
	if l.TLS == config.TLSNone || s.cert == nil {
		return nil
	}
	c := &tls.Config{
		MinVersion:     s.cfg.Relay.TLSMin,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.cert.Get(), nil },
	}
	if l.MinTLS != 0 {
		c.MinVersion = l.MinTLS
	}
	if c.MinVersion < tls.VersionTLS12 {
		c.CipherSuites = legacySuites()
	}
	return c
}

// legacySuites are those of package tls by default, and behind them those that it has
// given up and old devices know, but RC4.
func legacySuites() []uint16 {
	var all []uint16
	for _, s := range tls.CipherSuites() {
		all = append(all, s.ID)
	}
	return append(all,
		tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_RSA_WITH_AES_128_CBC_SHA256,
		tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA,
		tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA)
}
