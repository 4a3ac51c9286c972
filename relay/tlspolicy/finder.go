package tlspolicy

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	"gatepost/internal/dns"
	"gatepost/maps"
	"gatepost/relay/tlspolicy/sts"
)

// Ask is about one connection.
type Ask struct {
	Domain    string // the next hop as mail is routed: the domain, or the host or address if Bracketed
	Bracketed bool   // no MX is looked up: [host]
	Host      string // the host that is connected to, after MX
	Port      uint16 // that is connected to
	Authentic bool   // the answers that led from Domain to the address were signed (DNSSEC)
	Login     bool   // we are to log in
	Strange   bool   // the recipient's domain has named the host, not the administrator
}

// Settings are what a Finder goes by.
type Settings struct {
	Level      string         // where nothing else is said: none, may, encrypt, verify or dane
	Table      maps.Map       // Postfix's smtp_tls_policy_maps; nil for none
	Resolver   dns.Resolver   // for TLSA records
	Roots      *x509.CertPool // see Policy
	MinVersion uint16         // see Policy
	STS        *sts.Store     // nil: MTA-STS is off
	STSRoots   *x509.CertPool // of servers that MTA-STS is about; nil is the system's
}

// Finder says how connections must be secured. It is safe for concurrent use.
type Finder struct {
	now func() Settings
	log *slog.Logger
}

// NewFinder makes a Finder that asks now for the settings in force each time.
func NewFinder(now func() Settings, log *slog.Logger) *Finder { return &Finder{now, log} }

var (
	errTable    = errors.New("the table tls_policy cannot be asked")
	errNoTLSA   = errors.New("the level is dane-only, and there are no TLSA records that are signed and usable")
	errAskTLSA  = errors.New("TLSA records cannot be asked for")
	errNotInSTS = errors.New("the host is not among those of the domain's MTA-STS policy")
)

// Find says what is demanded of a connection. An error means that it must not be made
// now: what is demanded cannot be found out, or the host is one that it cannot be had with.
//
// The table has the first word, then DANE where it is the default, then MTA-STS, then the
// default. Who logs in gets verify at least, unless the table says otherwise: a password
// must not be told to whoever answers. Where strangers name the host not even the table can:
// what it says of their domain was not said of the host that the login is for.
func (f *Finder) Find(ctx context.Context, a Ask) (Policy, error) {
	s := f.now()
	a.Domain, a.Host = plain(a.Domain), plain(a.Host)
	r, source, found, err := s.lookup(ctx, a)
	if err != nil {
		return Policy{}, err
	}
	if !found {
		return f.findUnlisted(ctx, &s, a)
	}
	p, err := s.apply(ctx, r, source, a)
	// dane asks for more than verify, and without records it would be less.
	if err == nil && a.Login && p.Level != DANE && (a.Strange || r.level == wordDANE) {
		return forLogin(p, a), nil
	}
	return p, err
}

// lookup finds the table's entry.
func (s *Settings) lookup(ctx context.Context, a Ask) (r rule, source string, found bool, err error) {
	if s.Table == nil {
		return rule{}, "", false, nil
	}
	for _, key := range Keys(a.Domain, a.Bracketed, a.Port) {
		e, found, err := s.Table.Lookup(ctx, key)
		if err != nil {
			return rule{}, "", false, fmt.Errorf("%w: key %q: %w", errTable, key, err)
		}
		if !found {
			continue
		}
		if r, err = parseRule(e.Value); err != nil { // only of servers: files are checked when they are read
			return rule{}, "", false, fmt.Errorf("%s: key %q: %w", e.Source, key, err)
		}
		return r, e.Source.String(), true, nil
	}
	return rule{}, "", false, nil
}

// findUnlisted is for what is not in the table.
func (f *Finder) findUnlisted(ctx context.Context, s *Settings, a Ask) (Policy, error) {
	r, err := parseRule(s.Level)
	if err != nil {
		return Policy{}, fmt.Errorf("relay.tls_security_level: %w", err)
	}
	p, err := s.apply(ctx, r, "relay.tls_security_level", a)
	if err != nil || p.Level == DANE {
		return p, err
	}
	q, demanded, err := f.bySTS(ctx, s, a)
	switch {
	case err != nil:
		return Policy{}, err
	case demanded:
		return q, nil
	case a.Login && p.Level <= Encrypt:
		return forLogin(p, a), nil
	}
	return p, nil
}

// forLogin makes a policy the least that a login needs.
func forLogin(p Policy, a Ask) Policy {
	p.Level, p.Names, p.Fingerprints, p.TLSA, p.Source = Verify, []string{a.Host}, nil, nil, "a login is sent"
	return p
}

// apply makes a policy of a rule.
func (s *Settings) apply(ctx context.Context, r rule, source string, a Ask) (Policy, error) {
	p := Policy{Implicit: r.wrapped, Roots: s.Roots, MinVersion: s.MinVersion, Source: source}
	if r.minVersion != 0 {
		p.MinVersion = r.minVersion
	}
	switch r.level {
	case wordNone:
		p.Level = None
	case wordMay:
		p.Level = May
	case wordEncrypt:
		p.Level = Encrypt
	case wordFingerprint:
		p.Level, p.Fingerprints = Fingerprint, r.prints
	case wordVerify, wordSecure:
		p.Level, p.Names = Verify, r.names(a)
	case wordDANE, wordDANEOnly:
		return s.byDANE(ctx, p, r.level == wordDANEOnly, a)
	}
	return p, nil
}

// byDANE looks for TLSA records (RFC 7672, 2.2). Without any that are signed it is as with
// may, or nothing is sent if only is set. With records of which none is usable TLS is
// demanded, and any certificate does.
func (s *Settings) byDANE(ctx context.Context, p Policy, only bool, a Ask) (Policy, error) {
	records, base, err := s.tlsa(ctx, a)
	if err != nil {
		return Policy{}, err
	}
	usable := Usable(records)
	switch {
	case only && len(usable) == 0:
		return Policy{}, errNoTLSA
	case len(records) == 0:
		return p, nil
	}
	p.Level, p.Source = Encrypt, "TLSA of "+base
	if len(usable) > 0 {
		p.Level, p.TLSA, p.Names = DANE, usable, []string{base}
		if a.Domain != base {
			p.Names = append(p.Names, a.Domain)
		}
	}
	return p, nil
}

// tlsa are the host's records: at the end of its CNAMEs, or else under its own name
// (RFC 7672, 2.2.2). None: there are none, or they are not signed.
func (s *Settings) tlsa(ctx context.Context, a Ask) (records []TLSA, base string, err error) {
	if !a.Authentic || isAddr(a.Host) {
		return nil, "", nil
	}
	bases := []string{a.Host}
	alias, err := s.Resolver.Lookup(ctx, a.Host, dns.TypeA)
	if err != nil || alias.Empty() {
		alias, err = s.Resolver.Lookup(ctx, a.Host, dns.TypeAAAA)
	}
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", errAskTLSA, err)
	}
	if end := plain(alias.Name); alias.Authentic && end != a.Host {
		bases = []string{end, a.Host}
	}
	for _, base := range bases {
		ans, err := s.Resolver.Lookup(ctx, "_"+strconv.Itoa(int(a.Port))+"._tcp."+base, dns.TypeTLSA)
		if err != nil {
			return nil, "", fmt.Errorf("%w: %w", errAskTLSA, err)
		}
		if ans.Authentic && len(ans.TLSA) > 0 {
			return ans.TLSA, base, nil
		}
	}
	return nil, "", nil
}

// bySTS applies the domain's MTA-STS policy (RFC 8461, 5), if there is one in force. A host
// that is not in it is not to be used.
func (f *Finder) bySTS(ctx context.Context, s *Settings, a Ask) (p Policy, demanded bool, err error) {
	if s.STS == nil || a.Bracketed || isAddr(a.Domain) {
		return Policy{}, false, nil
	}
	policy, found := s.STS.Find(ctx, a.Domain)
	if !found || policy.Mode == sts.None {
		return Policy{}, false, nil
	}
	in := policy.Has(a.Host)
	if policy.Mode == sts.Testing {
		if !in {
			f.log.Info("host is not among those of the MTA-STS policy, which is in testing", "domain", a.Domain, "host", a.Host)
		}
		return Policy{}, false, nil
	}
	if !in {
		return Policy{}, false, fmt.Errorf("%w: %q", errNotInSTS, a.Host)
	}
	return Policy{
		Level: Verify, Names: []string{a.Host}, Roots: s.STSRoots, MinVersion: s.MinVersion, Source: "MTA-STS of " + a.Domain,
	}, true, nil
}
