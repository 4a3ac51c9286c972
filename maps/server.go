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
	// serverRemembers is how many answers of a server are remembered.
	serverRemembers = 10_000
	// maxServerKey is the longest key that a server is asked for, in bytes. Whatever
	// the protocol makes of longer ones, no mail has them.
	maxServerKey = 16 << 10
	// maxRemembered is the longest key and value that are remembered, in bytes together.
	maxRemembered = 4096
)

// serverPace is how a server is asked; tests make it faster.
type serverPace struct {
	fresh    time.Duration // for so long an answer is given again
	patience time.Duration // bounds a question
	slow     time.Duration // a failure that took so long costs the server a rest
	rest     time.Duration // for so long it is not asked then
}

func normalServerPace() serverPace {
	return serverPace{fresh: 5 * time.Second, patience: 3 * time.Second, slow: 250 * time.Millisecond, rest: time.Second}
}

// Server is a table that is asked key by key: a socketmap or a directory. Answers
// are given again for five seconds; with KeepLast also later, while the server
// cannot be asked. It is safe for concurrent use.
type Server struct {
	spec  Spec
	where string
	log   *slog.Logger
	ask   func(ctx context.Context, key string) (value string, found bool, err error)
	cache *lru.Cache[string, remembered]
	pace  serverPace

	mu       sync.Mutex
	status   Status
	rest     time.Time // not to be asked before
	reloaded time.Time // answers from before are not fresh
}

// remembered is an answer and when it was given.
type remembered struct {
	value string
	found bool
	at    time.Time
}

func openServer(spec Spec, log *slog.Logger) (s *Server, err error) {
	return openServerAt(spec, log, normalServerPace())
}

func openServerAt(spec Spec, log *slog.Logger, pace serverPace) (s *Server, err error) {
	s = &Server{spec: spec, pace: pace}
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
	s.ask = socketmap.New(socketmap.Config{Network: network, Address: address, Name: name, Timeout: s.pace.patience}).Lookup
	return nil
}

func (s *Server) useLDAP() error {
	s.where = s.spec.LDAP.String()
	cfg := s.spec.LDAP
	cfg.Timeout = s.pace.patience
	client, err := ldap.New(cfg)
	if err != nil {
		return fmt.Errorf("ldap:%s: %w", s.spec.Path, err)
	}
	s.ask = client.Lookup
	return nil
}

// Map is the server itself: what it says changes without our knowing.
func (s *Server) Map() Map { return s }

// Reload has each key asked anew, also of a server at rest. The answers that are
// remembered serve only as the last ones, with KeepLast.
func (s *Server) Reload() (changed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reloaded, s.rest = time.Now(), time.Time{}
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
	if len(key) > maxServerKey {
		return Entry{}, false, fmt.Errorf("%s: a key of %d bytes is not asked for, at most %d are", s.where, len(key), maxServerKey)
	}
	key = foldLower(key)
	last, known := s.cache.Get(key)
	fresh, err := s.before(last)
	if known && fresh {
		return s.entry(last)
	}
	if err == nil {
		var now remembered
		if now, err = s.askNow(ctx, key); err == nil {
			return s.entry(now)
		}
	}
	if known && s.spec.KeepLast {
		return s.entry(last)
	}
	return Entry{}, false, err
}

func (s *Server) entry(r remembered) (Entry, bool, error) {
	if !r.found {
		return Entry{}, false, nil
	}
	return Entry{Value: r.value, Source: Source{File: s.where}}, true, nil
}

// before is what stands before a question: whether an answer is fresh, and the fault
// for which the server is left alone for a while, since a session must not wait for it
// with each key.
func (s *Server) before(last remembered) (fresh bool, fault error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if now.Before(s.rest) {
		fault = s.status.LastError
	}
	return now.Sub(last.at) < s.pace.fresh && last.at.After(s.reloaded), fault
}

func (s *Server) askNow(ctx context.Context, key string) (remembered, error) {
	start := time.Now()
	inTime, cancel := context.WithTimeout(ctx, s.pace.patience)
	defer cancel()
	value, found, err := s.ask(inTime, key)
	if err != nil {
		if ctx.Err() == nil { // our patience ended, not the session's
			s.failed(err, time.Since(start))
		}
		return remembered{}, err
	}
	s.answered()
	if found && s.spec.Check != nil {
		if err := s.spec.Check(key, value); err != nil {
			return remembered{}, fmt.Errorf("%s: key %s: %w", s.where, key, err)
		}
	}
	// Of the time before the question: what changes meanwhile may have come too late for it.
	r := remembered{value, found, start}
	if len(key)+len(value) <= maxRemembered {
		s.cache.Add(key, r)
	} else {
		s.cache.Remove(key)
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

// failed notes a fault. A server that fails fast is asked on: what it cannot answer
// may be this one key.
func (s *Server) failed(err error, took time.Duration) {
	s.mu.Lock()
	first := s.status.LastError == nil
	if first {
		s.status.LastErrorAt = time.Now()
	}
	s.status.LastError = err
	if took >= s.pace.slow {
		s.rest = time.Now().Add(s.pace.rest)
	}
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
