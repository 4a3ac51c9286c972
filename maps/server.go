package maps

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"gatepost/maps/ldap"
	"gatepost/maps/socketmap"
)

const (
	// serverFresh is for how long an answer of a server is given again.
	serverFresh = 5 * time.Second
	// serverRest is for how long a server that failed is not asked again.
	serverRest = time.Second
	// serverTime bounds a question.
	serverTime = 3 * time.Second
	// serverRemembers is how many answers of a server are remembered.
	serverRemembers = 10_000
	// maxRememberedKey is the longest key whose answer is remembered, in bytes.
	maxRememberedKey = 1024
)

// Server is a table that is asked key by key: a socketmap or a directory. Answers
// are given again for five seconds; with KeepLast also later, while the server
// cannot be asked. It is safe for concurrent use.
type Server struct {
	spec  Spec
	where string
	log   *slog.Logger
	ask   func(ctx context.Context, key string) (value string, found bool, err error)
	cache *lru.Cache[string, remembered]

	mu     sync.Mutex
	status Status
	rest   time.Time // not to be asked before
}

// remembered is an answer and when it was given.
type remembered struct {
	value string
	found bool
	at    time.Time
}

func openServer(spec Spec, log *slog.Logger) (s *Server, err error) {
	s = &Server{spec: spec}
	switch spec.Kind {
	case KindSocketmap:
		err = s.useSocketmap()
	case KindLDAP:
		err = s.useLDAP()
	default:
		err = fmt.Errorf("a %s map is no server", spec.Kind)
	}
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", spec.Name, err)
	}
	s.log = log.With("table", spec.Name, "path", s.where)
	s.status = Status{Name: spec.Name, Kind: spec.Kind, Path: s.where}
	s.cache, err = lru.New[string, remembered](serverRemembers)
	return s, err
}

func (s *Server) useSocketmap() error {
	network, address, name, err := socketmap.ParseAddress(s.spec.Path)
	if err != nil {
		return fmt.Errorf("socketmap:%s: %w", s.spec.Path, err)
	}
	s.where = "socketmap:" + s.spec.Path
	s.ask = socketmap.New(socketmap.Config{Network: network, Address: address, Name: name, Timeout: serverTime}).Lookup
	return nil
}

func (s *Server) useLDAP() error {
	s.where = s.spec.LDAP.String()
	cfg := s.spec.LDAP
	cfg.Timeout = serverTime
	client, err := ldap.New(cfg)
	if err != nil {
		return fmt.Errorf("ldap:%s: %w", s.spec.Path, err)
	}
	s.ask = client.Lookup
	return nil
}

// Map is the server itself: what it says changes without our knowing.
func (s *Server) Map() Map { return s }

// Reload forgets the answers that are remembered.
func (s *Server) Reload() (changed bool, err error) {
	if !s.spec.KeepLast {
		s.cache.Purge()
	}
	return false, nil
}

// Is implements Store.
func (s *Server) Is(spec Spec) bool { return s.spec.sameServer(spec) }

// Status is the table's state. Entries are not known.
func (s *Server) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// Lookup implements Map. As with sendmail, the server is asked in lower case.
func (s *Server) Lookup(ctx context.Context, key string) (Entry, bool, error) {
	if key == "" {
		return Entry{}, false, nil
	}
	key = foldLower(key)
	last, known := s.cache.Get(key)
	if known && time.Since(last.at) < serverFresh {
		return s.entry(last)
	}
	err := s.resting()
	if err == nil {
		var now remembered
		if now, err = s.askNow(ctx, key); err == nil {
			return s.entry(now)
		}
	}
	if known && s.spec.KeepLast {
		return s.entry(last)
	}
	return Entry{}, false, fmt.Errorf("%s: %w", s.where, err)
}

func (s *Server) entry(r remembered) (Entry, bool, error) {
	if !r.found {
		return Entry{}, false, nil
	}
	return Entry{Value: r.value, Source: Source{File: s.where}}, true, nil
}

// resting is the fault for which the server is left alone for a while: a session
// must not wait for it with each key.
func (s *Server) resting() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().Before(s.rest) {
		return s.status.LastError
	}
	return nil
}

func (s *Server) askNow(ctx context.Context, key string) (remembered, error) {
	inTime, cancel := context.WithTimeout(ctx, serverTime)
	defer cancel()
	value, found, err := s.ask(inTime, key)
	if err == nil && s.spec.Check != nil && found {
		if bad := s.spec.Check(key, value); bad != nil {
			return remembered{}, fmt.Errorf("key %s: %w", key, bad)
		}
	}
	if err != nil {
		if ctx.Err() == nil { // our patience ended, not the session's
			s.failed(err)
		}
		return remembered{}, err
	}
	s.answered()
	r := remembered{value, found, time.Now()}
	if len(key) <= maxRememberedKey {
		s.cache.Add(key, r)
	}
	return r, nil
}

func (s *Server) answered() {
	s.mu.Lock()
	recovered := s.status.LastError != nil
	s.status.LastError, s.status.LastErrorAt, s.rest = nil, time.Time{}, time.Time{}
	s.status.LoadedAt = time.Now()
	s.mu.Unlock()
	if recovered {
		s.log.Info("table's server answers again")
	}
}

func (s *Server) failed(err error) {
	s.mu.Lock()
	first := s.status.LastError == nil
	if first {
		s.status.LastErrorAt = time.Now()
	}
	s.status.LastError = err
	s.rest = time.Now().Add(serverRest)
	s.mu.Unlock()
	if first {
		s.log.Error("table's server could not be asked", "error", err, "then", s.spec.whenGone())
	}
}

// sameServer tells whether two Specs mean the same map on a server.
func (s *Spec) sameServer(other Spec) bool {
	return s.Name == other.Name && s.Kind == other.Kind && s.Path == other.Path &&
		s.KeepLast == other.KeepLast && s.MaxStale == other.MaxStale && reflect.DeepEqual(s.LDAP, other.LDAP)
}

// whenGone says in the log what a server's absence means.
func (s *Spec) whenGone() string {
	if s.KeepLast {
		return "what was last known of it stands"
	}
	return "what needs it is a temporary failure"
}
