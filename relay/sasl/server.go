package sasl

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Config is what a Server needs.
type Config struct {
	// Mechanisms in the order in which they are announced (confAUTH_MECHANISMS).
	Mechanisms []string
	// Realms that DIGEST-MD5 offers; the first is the usual one, and HostName when
	// there are none.
	Realms []string
	// Accounts are asked in order; the first that knows the user decides.
	Accounts []Accounts
	// HostName is in CRAM-MD5's challenge, and the host that DIGEST-MD5's digest-uri
	// must name.
	HostName string
	// Aliases are more names that clients know us by: digest-uri may name one of them.
	Aliases []string
	// Concurrency bounds the checks of passwords at once that cost processor time;
	// 0: half of the processors.
	Concurrency int
	// Patience is how long a check waits for its turn; 0: 10 seconds.
	Patience time.Duration
	Throttle Throttle
	Log      *slog.Logger
}

// Server authenticates clients. It is safe for concurrent use.
type Server struct {
	cfg      Config
	log      *slog.Logger
	hosts    []string // that digest-uri may name
	throttle *throttle
	kdf      kdf
	seed     []byte // of made-up salts, when no accounts have one
	counts   map[string]*counts
	now      func() time.Time
	random   func() string // a nonce
}

// NewServer fails when something is missing in cfg, or unknown.
func NewServer(cfg Config) (*Server, error) {
	if cfg.HostName == "" {
		return nil, errors.New("sasl: no host name")
	}
	if len(cfg.Mechanisms) == 0 {
		return nil, errors.New("sasl: no mechanisms")
	}
	if len(cfg.Realms) == 0 {
		cfg.Realms = []string{cfg.HostName}
	}
	if i := slices.IndexFunc(cfg.Realms, func(r string) bool { return !ValidRealm(r) }); i >= 0 {
		return nil, fmt.Errorf("sasl: realm %q: expected a name of letters, digits, dots and hyphens", cfg.Realms[i])
	}
	cfg.Mechanisms = slices.Clone(cfg.Mechanisms)
	s := &Server{cfg: cfg, log: cfg.Log, counts: map[string]*counts{}, now: time.Now, random: rand.Text, seed: []byte(rand.Text())}
	for i, name := range cfg.Mechanisms {
		name = strings.ToUpper(name)
		switch {
		case !slices.Contains(Mechanisms(), name):
			return nil, fmt.Errorf("sasl: mechanism %q is unknown; expected some of %s", name, strings.Join(Mechanisms(), " "))
		case s.counts[name] != nil:
			return nil, fmt.Errorf("sasl: mechanism %s is there twice", name)
		case name != External && len(cfg.Accounts) == 0:
			return nil, fmt.Errorf("sasl: mechanism %s needs accounts", name)
		}
		cfg.Mechanisms[i], s.counts[name] = name, &counts{}
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.hosts = slices.Concat([]string{cfg.HostName}, cfg.Realms, cfg.Aliases)
	s.kdf.init(cfg.Concurrency, cfg.Patience)
	s.throttle = newThrottle(cfg.Throttle, func() time.Time { return s.now() })
	return s, nil
}

// ValidRealm tells what can be a realm. It keeps them to what needs no quoting in any mechanism or file.
func ValidRealm(realm string) bool {
	return realm != "" && len(realm) <= MaxName && strings.Trim(realm, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") == ""
}

// Offered are the mechanisms to announce now; when there are none, AUTH is not
// announced. Ask again when TLS has begun.
func (s *Server) Offered(c *Conn) []string {
	var names []string
	for _, name := range s.cfg.Mechanisms {
		if available(name, c) == nil {
			names = append(names, name)
		}
	}
	return names
}

// available fails with what Begin fails with for a mechanism.
func available(name string, c *Conn) error {
	switch name {
	case Plain, Login:
		if c.TLS == nil && !c.PlainOK {
			return ErrEncryption
		}
	case External:
		if c.TLS == nil || c.Identity == "" {
			return ErrMechanism
		}
	case SCRAMSHA1Plus, SCRAMSHA256Plus:
		if c.TLS == nil {
			return ErrEncryption
		}
		if len(bindingTypes(c)) == 0 {
			return ErrMechanism
		}
	}
	return nil
}

// Begin begins the dialogue of one AUTH command. c must not change before its end. It
// fails with ErrMechanism, ErrEncryption, or ErrThrottled when so many attempts of the
// client's network have failed that no more is looked at for a while.
func (s *Server) Begin(ctx context.Context, mechanism string, c *Conn) (*Exchange, error) {
	name := strings.ToUpper(mechanism)
	n := s.counts[name]
	if n == nil {
		return nil, ErrMechanism
	}
	if err := available(name, c); err != nil {
		return nil, err
	}
	x := &Exchange{server: s, conn: c, name: name, counts: n}
	if name != External && s.throttle.closed(c.Client) {
		n.throttled.Add(1)
		return nil, ErrThrottled
	}
	x.dialogue = s.dialogue(name, x)
	return x, nil
}

func (s *Server) dialogue(name string, x *Exchange) dialogue {
	switch name {
	case Plain:
		return &plain{x: x}
	case Login:
		return &login{x: x}
	case CRAMMD5:
		return &cramMD5{x: x}
	case DigestMD5:
		return &digestMD5{x: x}
	case External:
		return &external{x: x}
	}
	return &scramDialogue{x: x, kind: scramKindOf(name)}
}

// known finds a user's secrets in the first accounts that have some. Who is called the
// same in accounts before those is that user, by whatever form of the name he was found:
// or joe@example.com could log in as joe with a password that is not joe's any more.
func (s *Server) known(ctx context.Context, user, realm string) (Secrets, bool, error) {
	for i, a := range s.cfg.Accounts {
		secrets, found, err := a.Lookup(ctx, user, realm)
		if err == nil && found && i > 0 {
			secrets, err = s.before(ctx, i, realm, secrets)
		}
		if err != nil {
			return Secrets{}, false, fmt.Errorf("%w: %w", ErrTemporary, err)
		}
		if found {
			return secrets, true, nil
		}
	}
	return Secrets{}, false, nil
}

// before is what the first n accounts have under the name that goes with secrets, else secrets.
func (s *Server) before(ctx context.Context, n int, realm string, secrets Secrets) (Secrets, error) {
	for _, a := range s.cfg.Accounts[:n] {
		if first, found, err := a.Lookup(ctx, secrets.Name, realm); err != nil || found {
			return first, err
		}
	}
	return secrets, nil
}

// usual is what secrets of all accounts are like.
func (s *Server) usual() Usual {
	var all Usual
	for _, a := range s.cfg.Accounts {
		u := a.Usual()
		if all.Iterations == 0 {
			all.Iterations = u.Iterations
		}
		if len(all.Seed) == 0 {
			all.Seed = u.Seed
		}
		all.MaxIterations = max(all.MaxIterations, u.MaxIterations)
		all.Passwords = all.Passwords || u.Passwords
	}
	if all.Iterations == 0 {
		all.Iterations = DefaultIterations
	}
	if len(all.Seed) == 0 {
		all.Seed = s.seed
	}
	all.MaxIterations = max(all.MaxIterations, all.Iterations)
	return all
}

// account names an account for the throttle, whether there is one or not: the usual
// realm may be there or not.
func (s *Server) account(user, realm string) string {
	if realm != "" {
		user += "@" + realm
	}
	return strings.TrimSuffix(user, "@"+s.cfg.Realms[0])
}

// ownHost tells whether host, out of a digest-uri, is a name of ours.
func (s *Server) ownHost(host string, c *Conn) bool {
	if slices.ContainsFunc(s.hosts, func(ours string) bool { return strings.EqualFold(ours, host) }) {
		return true
	}
	if !c.Local.IsValid() {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		return c.Local.Unmap().IsLoopback()
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.Unmap() == c.Local.Unmap()
}
