package setup

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"gatepost/internal/config"
	"gatepost/internal/lint"
	"gatepost/maps"
)

// Check of findings about listeners: a heading of docs/check.md.
const checkListeners = "listeners, certificate and accounts"

// expirySoon is how long before its end a certificate is a finding.
const expirySoon = 14 * 24 * time.Hour

// ReviewListeners finds what is wrong with the listeners of gatepost-relay, the files
// that they need, and who may relay by a login. The error is what would keep the relay
// from starting.
func ReviewListeners(cfg *config.Config, now time.Time) ([]lint.Finding, error) {
	r := listenerReview{cfg: cfg, now: now}
	if cfg.Relay.ServerCert != "" {
		r.certificate()
	}
	if file := cfg.Relay.CACert; file != "" {
		_, err := OpenCAs(file, slog.New(slog.DiscardHandler))
		r.opened("relay.ca_cert", err)
	}
	_, err := OpenSenders(cfg, cfg.HostName, slog.New(slog.DiscardHandler))
	r.opened("relay.sender_binding", err)
	r.logins()
	return r.found, errors.Join(r.faults...)
}

type listenerReview struct {
	cfg    *config.Config
	now    time.Time
	found  []lint.Finding
	faults []error
}

// add adds a finding about a key.
func (r *listenerReview) add(key, format string, args ...any) {
	r.addAt(config.KeyLine(r.cfg.File, key), format, args...)
}

func (r *listenerReview) addAt(line int, format string, args ...any) {
	at := maps.Source{File: r.cfg.File, Line: line}
	r.found = append(r.found, lint.Finding{Source: at, Check: checkListeners, Text: fmt.Sprintf(format, args...)})
}

// opened takes what came of opening a file. Whoever looks may not be the relay: that it
// is out of bounds for him is no fault of it.
func (r *listenerReview) opened(key string, err error) bool {
	switch {
	case errors.Is(err, fs.ErrPermission):
		r.add(key, "%s cannot be looked at by this user: %v; run this as root, or as the relay's user", key, err)
	case err != nil:
		r.faults = append(r.faults, fmt.Errorf("%s: %w", key, err))
	}
	return err == nil
}

func (r *listenerReview) certificate() {
	c, err := OpenCertificate(r.cfg.Relay.ServerCert, r.cfg.Relay.ServerKey, slog.New(slog.DiscardHandler))
	if !r.opened("relay.server_cert", err) {
		return
	}
	const key = "relay.server_cert"
	leaf := c.Get().Leaf
	day := leaf.NotAfter.UTC().Format("2 January 2006")
	switch {
	case r.now.After(leaf.NotAfter):
		r.add(key, "the certificate %s expired on %s: clients refuse it", r.cfg.Relay.ServerCert, day)
	case r.now.Before(leaf.NotBefore):
		r.add(key, "the certificate %s is valid only from %s on: clients refuse it", r.cfg.Relay.ServerCert, leaf.NotBefore.UTC().Format("2 January 2006"))
	case r.now.Add(expirySoon).After(leaf.NotAfter):
		r.add(key, "the certificate %s expires on %s; a new one is taken over without a restart", r.cfg.Relay.ServerCert, day)
	}
	if name := r.cfg.HostName; name != "" && leaf.VerifyHostname(name) != nil {
		r.add(key, "the certificate %s is not for host_name, %s, but for %s: users who connect to that name are warned", r.cfg.Relay.ServerCert, name, namesOf(leaf))
	}
}

func namesOf(c *x509.Certificate) string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return "no name (its subject is " + c.Subject.String() + ", which clients do not look at)"
	}
	return strings.Join(names, ", ")
}

// logins looks at what AUTH needs to be of use.
func (r *listenerReview) logins() {
	var with []config.Listener
	for _, l := range r.cfg.AllListeners() {
		if l.Auth {
			with = append(with, l)
		}
		if l.PlainAuth {
			r.addAt(l.Line, "listener %s takes passwords in the clear: whoever can see the wires of its networks can read them", l.Name)
		}
	}
	if len(with) == 0 {
		if config.KeyLine(r.cfg.File, "relay") != config.KeyLine(r.cfg.File, "relay.users") {
			r.add("relay.users", "relay.users names accounts, but no [[listener]] offers AUTH: nobody can log in")
		}
		return
	}
	trusted := r.cfg.Features.TrustAuthMech
	isTrusted := func(mechanism string) bool {
		return slices.ContainsFunc(trusted, func(t string) bool { return strings.EqualFold(t, mechanism) })
	}
	if len(trusted) == 0 {
		r.addAt(with[0].Line, "listener %s lets users log in, but features.trust_auth_mech is empty, so that they may relay no more than strangers; expected trust_auth_mech = [%s] under [features]",
			with[0].Name, quotedList(r.cfg.Relay.AuthMechanisms))
	} else {
		for _, m := range r.cfg.Relay.AuthMechanisms {
			if !isTrusted(m) {
				r.add("features.trust_auth_mech", "relay.auth_mechanisms offers %s and features.trust_auth_mech does not name it: whose program chooses it logs in and may not relay", m)
			}
		}
	}
	r.accounts()
}

func quotedList(words []string) string {
	q := make([]string, len(words))
	for i, w := range words {
		q[i] = fmt.Sprintf("%q", w)
	}
	return strings.Join(q, ", ")
}

// accounts looks at the files of accounts.
func (r *listenerReview) accounts() {
	for _, one := range []struct{ key, file, hint string }{
		{"relay.users", r.cfg.Relay.Users, "gatepost user add NAME"},
		{"relay.sasldb", r.cfg.Relay.SASLDB, "saslpasswd2 NAME"},
	} {
		if one.file == "" {
			continue
		}
		info, err := os.Stat(one.file)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			r.add(one.key, "the accounts in %s do not exist yet, and without them the relay does not start; %s makes one", one.file, one.hint)
		case err != nil:
			r.add(one.key, "%s cannot be looked at: %v", one.key, err)
		case info.Mode().Perm()&0o007 != 0:
			r.add(one.key, "%s has mode %04o: everybody on this host can read what passwords are checked with, and guess at leisure, so the relay refuses it; chmod o= %s", one.file, info.Mode().Perm(), one.file)
		}
	}
}
