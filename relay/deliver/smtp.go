package deliver

import (
	"context"
	"errors"
	"log/slog"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"gatepost/relay/sasl/saslclient"
	"gatepost/relay/tlspolicy"
)

// Timeouts bound what an SMTP client waits for (RFC 5321, 4.5.3.2). A zero field has the
// value of DefaultTimeouts.
type Timeouts struct {
	Connect     time.Duration // to one address
	Greeting    time.Duration
	Hello       time.Duration // the reply to EHLO, HELO, LHLO or STARTTLS
	TLS         time.Duration // the handshake
	Auth        time.Duration // each reply of a login
	Ready       time.Duration // all before the first transaction: greeting, TLS and login
	Mail        time.Duration // also RSET
	Rcpt        time.Duration
	Data        time.Duration // the reply to DATA
	Block       time.Duration // 32 KiB of the message to be taken
	End         time.Duration // the reply to the end of the message; each, in LMTP
	Transaction time.Duration // all of MAIL to the last reply
	Search      time.Duration // no other server is tried when so much time has gone by
}

// DefaultTimeouts are those that the RFC asks for. It has none for TLS, AUTH, the search
// and the transaction as a whole, and one for the connection that is not waited for in
// practice.
func DefaultTimeouts() Timeouts {
	return Timeouts{
		Connect: 30 * time.Second, Greeting: 5 * time.Minute, Hello: 5 * time.Minute, TLS: 2 * time.Minute, Auth: 5 * time.Minute,
		Ready: 20 * time.Minute,
		Mail:  5 * time.Minute, Rcpt: 5 * time.Minute, Data: 2 * time.Minute,
		Block: 3 * time.Minute, End: 10 * time.Minute, Transaction: 2 * time.Hour, Search: 10 * time.Minute,
	}
}

func (t *Timeouts) complete() {
	d := DefaultTimeouts()
	for _, f := range []struct{ at, or *time.Duration }{
		{&t.Connect, &d.Connect}, {&t.Greeting, &d.Greeting}, {&t.Hello, &d.Hello}, {&t.TLS, &d.TLS}, {&t.Auth, &d.Auth}, {&t.Ready, &d.Ready},
		{&t.Mail, &d.Mail}, {&t.Rcpt, &d.Rcpt}, {&t.Data, &d.Data}, {&t.Block, &d.Block}, {&t.End, &d.End},
		{&t.Transaction, &d.Transaction}, {&t.Search, &d.Search},
	} {
		if *f.at <= 0 {
			*f.at = *f.or
		}
	}
}

// Config is what an SMTP transport is told. Its functions are called for every attempt,
// by many goroutines, and keep what they have to ask others for.
type Config struct {
	// LMTP has RFC 2033 spoken. Its destinations are hosts and sockets, never domains.
	LMTP bool

	// HostName is what we call ourselves in EHLO.
	HostName string

	// Exchangers returns the hosts that take mail for a domain, and Resolve the addresses
	// of a host; none and no error when it does not exist. A NoRoute error says itself what
	// becomes of the mail; with any other it waits.
	Exchangers func(ctx context.Context, domain string) (Exchangers, error)
	Resolve    func(ctx context.Context, host string) (Addresses, error)

	// Secure says how connections to a server must be secured; nil: TLS where it is
	// offered. A server is not used if there is an error. It is not asked about sockets.
	Secure func(ctx context.Context, peer Peer) (tlspolicy.Policy, error)

	// Login returns what to log in with; nil and no error: nothing. A server is not used
	// if there is an error. It is not asked about sockets.
	Login func(ctx context.Context, peer Peer) (*saslclient.Credentials, error)

	Log *slog.Logger // is told when TLS is done without; nil: slog.Default()

	Timeouts Timeouts

	// MaxRecipients is how many recipients go with one MAIL; default 100, which every
	// server must take (RFC 5321, 4.5.3.1.8).
	MaxRecipients int

	// A connection is kept for the next message for IdleTime (default 5 s; negative: not
	// at all), and takes MaxUses messages (default 100). MaxIdle (default 100) wait at
	// once, and MaxIdlePeer (default 20) at one server.
	IdleTime    time.Duration
	MaxUses     int
	MaxIdle     int
	MaxIdlePeer int

	// DeadTime is for how long an address that did not answer is tried after all others;
	// default 5 min, negative: not at all.
	DeadTime time.Duration
}

// SMTP is the transport to all servers that speak SMTP, or LMTP.
type SMTP struct {
	config Config
	port   uint16
	hasty  Timeouts // with Hurry
	pool   pool
	dead   pauses[deadKey]  // addresses that did not answer
	denied pauses[loginKey] // logins that were refused
	turns  turns

	choose func(*saslclient.Credentials, []string, string, *tlsState) (saslclient.Mechanism, error)
}

// How much is remembered of servers that are in trouble.
const (
	maxDead   = 10_000
	maxDenied = 1000
)

// NewSMTP returns a transport. Close closes the connections that it keeps.
func NewSMTP(config Config) (*SMTP, error) {
	if config.HostName == "" {
		return nil, errors.New("no host name to introduce ourselves by")
	}
	if config.Log == nil {
		config.Log = slog.Default()
	}
	config.Timeouts.complete()
	config.MaxRecipients = or(config.MaxRecipients, 100)
	config.MaxUses = or(config.MaxUses, 100)
	config.MaxIdle = or(config.MaxIdle, 100)
	config.MaxIdlePeer = or(config.MaxIdlePeer, 20)
	if config.IdleTime == 0 {
		config.IdleTime = 5 * time.Second
	}
	if config.DeadTime == 0 {
		config.DeadTime = 5 * time.Minute
	}
	s := &SMTP{
		config: config,
		port:   25,
		pool:   pool{maxIdle: config.MaxIdle, maxPeer: config.MaxIdlePeer, maxUses: config.MaxUses, idleTime: config.IdleTime},
		choose: saslclient.Choose,
	}
	if config.LMTP {
		s.port = 24
	}
	s.hasty = config.Timeouts.hasty()
	s.dead.cache, _ = lru.New[deadKey, pause](maxDead)
	s.denied.cache, _ = lru.New[loginKey, pause](maxDenied)
	s.turns = newTurns(maxDenied)
	return s, nil
}

func or(n, otherwise int) int {
	if n <= 0 {
		return otherwise
	}
	return n
}

// String is "smtp" or "lmtp".
func (s *SMTP) String() string {
	if s.config.LMTP {
		return "lmtp"
	}
	return "smtp"
}

// Close closes the connections that wait for another message. Those in use are closed
// after it.
func (s *SMTP) Close() { s.pool.close() }
