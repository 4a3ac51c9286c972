package sts

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"gatepost/internal/dns"
)

const (
	maxDomains  = 4096             // whose policies are kept
	maxFetches  = 16               // at a time
	pauseFailed = 5 * time.Minute  // before a policy that could not be had is tried again (RFC 8461, 3.3)
	renewAfter  = 24 * time.Hour   // a policy is fetched again though its id is the same, to outlive its max_age
	saveAfter   = 10 * time.Second // changes are written together
)

// Config says what a Store works with.
type Config struct {
	Resolver  dns.Resolver                                                 // for the TXT records
	Addresses func(ctx context.Context, host string) ([]netip.Addr, error) // of the policy hosts
	Roots     func() *x509.CertPool                                        // of their certificates; a nil pool is the system's
	File      string                                                       // keeps the policies over a restart; "" for none
	Log       *slog.Logger
	Port      uint16 // of the policy hosts; 0: 443, as it must be outside of tests
	Now       func() time.Time
}

// Store knows the policies of domains. It is safe for concurrent use.
type Store struct {
	cfg   Config
	room  chan struct{} // one for each fetch under way
	mu    sync.Mutex
	known *lru.Cache[string, *entry]
	saver *time.Timer // nil: nothing is to be saved
	files sync.Mutex  // held while the file is written
}

// entry is what is known of a domain. Its fields are guarded by Store.mu.
type entry struct {
	policy  Policy
	id      string // "": no policy was ever had
	fetched time.Time

	failedID string // what could not be had
	failed   time.Time
	fetching chan struct{} // closed when the fetch under way has ended; nil: none is
}

// Open makes a Store, with the policies that the file has. A file that cannot be read is
// logged, and begun anew: what it had can be had again.
func Open(cfg Config) (*Store, error) {
	if cfg.Resolver == nil || cfg.Addresses == nil {
		return nil, errors.New("mta-sts: no resolver")
	}
	if cfg.Roots == nil {
		cfg.Roots = func() *x509.CertPool { return nil }
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	known, err := lru.New[string, *entry](maxDomains)
	if err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, room: make(chan struct{}, maxFetches), known: known}
	s.load()
	return s, nil
}

// good tells whether there is a policy that is not too old.
func (e *entry) good(now time.Time) bool {
	return e.id != "" && now.Before(e.fetched.Add(e.policy.MaxAge)) && !now.Before(e.fetched.Add(-time.Hour))
}

// due tells whether a policy is to be fetched again though its id is the same.
func (e *entry) due(now time.Time) bool {
	return now.After(e.fetched.Add(min(renewAfter, e.policy.MaxAge/2)))
}

// Find is the policy of a domain; none if there is none, or none was ever had. It is fetched
// if need be, for a minute at most, but the one that is known holds as long as it may when
// neither the record nor the policy can be had (RFC 8461, 5.1).
func (s *Store) Find(ctx context.Context, domain string) (p Policy, found bool) {
	domain = plain(domain)
	if !isName(domain) {
		return Policy{}, false
	}
	id, live := s.liveID(ctx, domain)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.known.Get(domain)
	if !ok {
		if !live {
			return Policy{}, false
		}
		e = &entry{}
		s.known.Add(domain, e)
	}
	now := s.cfg.Now()
	fresh := e.good(now) && (e.id == id || !live)
	if live && (!fresh || e.due(now)) && s.mayFetch(e, id, now) {
		s.begin(e, domain, id)
	}
	if !fresh && e.fetching != nil {
		s.await(ctx, e)
	}
	if !e.good(s.cfg.Now()) {
		return Policy{}, false
	}
	return e.policy, true
}

// liveID is the id of the domain's policy as the DNS has it.
func (s *Store) liveID(ctx context.Context, domain string) (string, bool) {
	ans, err := s.cfg.Resolver.Lookup(ctx, "_mta-sts."+domain, dns.TypeTXT)
	if err != nil {
		s.cfg.Log.Info("the MTA-STS record cannot be asked for, a policy that is known stays in force", "domain", domain, "error", err)
		return "", false
	}
	return recordID(ans.Texts)
}

// mayFetch tells whether it is time. The caller holds s.mu.
func (s *Store) mayFetch(e *entry, id string, now time.Time) bool {
	return e.fetching == nil && (e.failedID != id || now.After(e.failed.Add(pauseFailed)))
}

// await waits for the fetch under way. The caller holds s.mu, which is given up meanwhile.
func (s *Store) await(ctx context.Context, e *entry) {
	done := e.fetching
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// begin fetches the policy. It goes on when those who wait have left, for those who come
// back. The caller holds s.mu.
func (s *Store) begin(e *entry, domain, id string) {
	done := make(chan struct{})
	e.fetching = done
	go func() {
		p, err := s.fetchGuarded(domain)
		s.mu.Lock()
		defer s.mu.Unlock()
		defer close(done)
		e.fetching = nil
		if err != nil {
			e.failedID, e.failed = id, s.cfg.Now()
			s.cfg.Log.Warn("the MTA-STS policy cannot be fetched, one that is known stays in force", "domain", domain, "error", err)
			return
		}
		e.policy, e.id, e.fetched, e.failedID = p, id, s.cfg.Now(), ""
		s.cfg.Log.Info("MTA-STS policy fetched", "domain", domain, "mode", string(p.Mode), "mx", p.MX, "max_age", p.MaxAge)
		s.saveSoon()
	}()
}

// fetchGuarded fetches when there is room for it. What strangers send must end no program.
func (s *Store) fetchGuarded(domain string) (p Policy, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTime)
	defer cancel()
	select {
	case s.room <- struct{}{}:
		defer func() { <-s.room }()
	case <-ctx.Done():
		return Policy{}, errors.New("too many policies are being fetched")
	}
	defer func() {
		if r := recover(); r != nil {
			s.cfg.Log.Error("fault while an MTA-STS policy was fetched", "domain", domain, "panic", r, "stack", string(debug.Stack()))
			p, err = Policy{}, errors.New("internal fault")
		}
	}()
	return s.fetch(ctx, domain)
}
