package setup

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"

	"gatepost/internal/config"
	"gatepost/internal/dns"
	"gatepost/internal/follow"
	"gatepost/policy"
	"gatepost/relay/tlspolicy"
	"gatepost/relay/tlspolicy/sts"
)

// stsFile keeps MTA-STS policies over a restart; it is in the folder of the queue.
const stsFile = "mta-sts.cache"

// TLSOut says how connections to other mail servers must be secured. It is safe for
// concurrent use.
type TLSOut struct {
	*tlspolicy.Finder
	store *sts.Store // nil without MTA-STS
}

// OpenTLSOut makes what [relay] says of TLS to other servers. The table tls_policy and the
// file of authorities are followed; the rest is that of cfg.
func (e *Engine) OpenTLSOut(cfg *config.Config, log *slog.Logger) (*TLSOut, error) {
	r := &cfg.Relay
	cas := func() roots { return roots{} }
	if r.TLSCAFile != "" {
		file, err := follow.Open("the list of certificate authorities", []string{r.TLSCAFile}, func() (*roots, error) { return readRoots(r.TLSCAFile) }, log)
		if err != nil {
			return nil, fmt.Errorf("relay.tls_ca_file: %w", err)
		}
		cas = func() roots { return *file.Get() }
	}
	out := &TLSOut{}
	var resolver dns.Resolver = e
	if r.MTASTS {
		var err error
		out.store, err = sts.Open(sts.Config{
			Resolver: resolver, Roots: func() *x509.CertPool { return cas().public },
			Addresses: e.addresses,
			File:      filepath.Join(r.Spool, stsFile), Log: log,
		})
		if err != nil {
			return nil, fmt.Errorf("relay.mta_sts: %w", err)
		}
	}
	out.Finder = tlspolicy.NewFinder(func() tlspolicy.Settings {
		known := cas()
		return tlspolicy.Settings{
			Level: r.TLSLevel, MinVersion: r.TLSClientMin, Roots: known.named, STSRoots: known.public,
			Table: e.current.Load().tlsPolicy.asked(), Resolver: resolver, STS: out.store,
		}
	}, log)
	return out, nil
}

// addresses are those of a host, by the hosts file or else the DNS. None and no error:
// there is no such host, or it has none.
func (e *Engine) addresses(ctx context.Context, host string) (all []netip.Addr, err error) {
	if _, addrs, found := e.Hosts().Find(host); found {
		return addrs, nil
	}
	var failed error
	for _, t := range []dns.Type{dns.TypeA, dns.TypeAAAA} {
		a, err := e.Lookup(ctx, host, t)
		if err != nil {
			failed = err
		}
		all = append(all, a.Addrs...)
	}
	if len(all) > 0 {
		failed = nil
	}
	return all, failed
}

// Close saves what has been found out and not been saved yet.
func (t *TLSOut) Close() error {
	if t.store == nil {
		return nil
	}
	return t.store.Close()
}

// LookupTLSPolicy searches tls_policy for a next hop such as "[mx.example.org]:587" or
// "example.org", and lists the keys that were tried, up to the one that was found. The error
// says that there is no such table or that this is no next hop; lookups that fail are in the
// answers.
func (e *Engine) LookupTLSPolicy(ctx context.Context, hop string) ([]policy.Answer, error) {
	table := e.current.Load().tlsPolicy
	if table == nil {
		return nil, errors.New("no tls_policy table: [relay] does not name one")
	}
	host, bracketed, port, err := tlspolicy.ParseKey(hop)
	if err != nil {
		return nil, err
	}
	var answers []policy.Answer
	for _, key := range tlspolicy.Keys(host, bracketed, port) {
		entry, found, err := table.asked().Lookup(ctx, key)
		answers = append(answers, policy.Answer{Table: "tls_policy", Key: key, Found: found, Value: entry.Value, Source: entry.Source, Err: err})
		if found || err != nil {
			break
		}
	}
	return answers, nil
}

// roots are authorities. A nil pool is the system's.
type roots struct {
	named  *x509.CertPool // those of the file alone
	public *x509.CertPool // the system's, and those of the file
}

func readRoots(file string) (*roots, error) {
	named, err := readPool(file)
	if err != nil {
		return nil, err
	}
	data, err := follow.Read(file, maxFollowed, false)
	if err != nil {
		return nil, err
	}
	public, err := x509.SystemCertPool()
	if err != nil { // there is none: those of the file are all there are
		public = x509.NewCertPool()
	}
	public.AppendCertsFromPEM(data)
	return &roots{named, public}, nil
}
