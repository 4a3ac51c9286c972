package config

import (
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatepost/internal/smtp"
)

// Relay is the relay front, gatepost-relay.
type Relay struct {
	Given     bool     // the file has a section [relay]
	Listen    []string // HOST:PORT; no HOST is every address
	Spool     string   // the folder of the queue
	LocalMail LocalMail

	LocalUsers           Table // users that local mail is taken for; not Named: all
	BareNewlineNormalize bool  // a line that ends in a bare LF is taken, as if it ended in CRLF
	NormalizeFrom        []netip.Prefix
	ProxyProtocol        []netip.Prefix // clients that begin with a PROXY header
	XClient              []netip.Prefix // clients that may say XCLIENT

	MaxMessageSize          int64 // bytes
	MaxRecipients           int   // of a message
	MaxConnections          int
	MaxConnectionsPerClient int
	MaxErrors               int           // in a session, until a message has been taken
	MaxCommands             int           // in a session, of those that move no mail
	MaxLineLength           int           // of a message's line, bytes without CRLF
	IdleTimeout             time.Duration // for the next command, or the next bytes of a message
	SessionTimeout          time.Duration
	DecisionTimeout         time.Duration
	MaxHops                 int   // Received: fields
	MinFree                 int64 // bytes kept free on the spool's disk

	MaxDeliveries int             // at once, to all destinations together
	Retry         []time.Duration // after the first, second, ... attempt; the last one goes on
	QueueLifetime time.Duration

	Queue
	Secure
	TLSOut
	Logins
	Sockets
	Masquerade
	Routes
}

// LocalMail says what becomes of mail for local domains.
type LocalMail struct {
	Kind    LocalKind
	Address string // the path of the maildirs, with %u for the user and %d for the domain; or HOST:PORT or the path of an LMTP server
}

// LocalKind is the kind of LocalMail.
type LocalKind uint8

// The kinds of LocalMail.
const (
	LocalRefused   LocalKind = iota // "refuse"
	LocalSmartHost                  // "smart_host": goes the way of other mail
	LocalMaildir                    // "maildir:PATH"
	LocalLMTP                       // "lmtp:HOST:PORT"
	LocalLMTPUnix                   // "lmtp:unix:/PATH"
)

// String is how it is written in the configuration.
func (m LocalMail) String() string {
	return [...]string{"refuse", "smart_host", "maildir:", "lmtp:", "lmtp:unix:"}[m.Kind] + m.Address
}

func defaultRelay() Relay {
	return Relay{
		Listen:                  []string{"127.0.0.1:25"},
		Spool:                   "/var/spool/gatepost",
		MaxMessageSize:          50 << 20,
		MaxRecipients:           1000,
		MaxConnections:          1000,
		MaxConnectionsPerClient: 50,
		MaxErrors:               20,
		MaxCommands:             100_000,
		MaxLineLength:           64 << 10,
		IdleTimeout:             5 * time.Minute,
		SessionTimeout:          4 * time.Hour,
		DecisionTimeout:         20 * time.Second,
		MaxHops:                 25,
		MinFree:                 100 << 20,
		MaxDeliveries:           200,
		Retry:                   []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour},
		QueueLifetime:           5 * 24 * time.Hour,
		Queue:                   defaultQueue(),
		Secure:                  defaultSecure(),
		TLSOut:                  defaultTLSOut(),
		Sockets:                 defaultSockets(),
		Routes:                  defaultRoutes(),
	}
}

func relayKeys() []key {
	return slices.Concat([]key{
		{"listen", readRelayListen},
		{"spool", func(c *Config, v value) {
			if s, ok := v.file("/var/spool/gatepost"); ok {
				c.Relay.Spool = s
			}
		}},
		{"local_mail", readLocalMail},
		{"local_users", func(c *Config, v value) { readTable(&c.Relay.LocalUsers, v, "/etc/gatepost/local-users") }},
		{"bare_newline", func(c *Config, v value) {
			s, _ := v.oneOf("reject", "normalize")
			c.Relay.BareNewlineNormalize = s == "normalize"
		}},
		networksKey("normalize_bare_newline", func(r *Relay) *[]netip.Prefix { return &r.NormalizeFrom }),
		networksKey("proxy_protocol", func(r *Relay) *[]netip.Prefix { return &r.ProxyProtocol }),
		networksKey("xclient", func(r *Relay) *[]netip.Prefix { return &r.XClient }),
		{"retry", readRetry},
	}, relayLimits(), routeKeys(), queueKeys(), secureKeys(), tlsOutKeys(), loginKeys(), socketKeys(), masqueradeKeys())
}

// relayLimits are the keys that bound something.
func relayLimits() []key {
	number := func(name string, low, high int64, at func(*Relay) *int) key {
		return key{name, func(c *Config, v value) {
			if n, ok := v.integer(low, high); ok {
				*at(&c.Relay) = n
			}
		}}
	}
	size := func(name string, low, high int64, at func(*Relay) *int64) key {
		return key{name, func(c *Config, v value) {
			if n, ok := v.size(low, high); ok {
				*at(&c.Relay) = n
			}
		}}
	}
	duration := func(name string, low, high time.Duration, at func(*Relay) *time.Duration) key {
		return key{name, func(c *Config, v value) {
			if d, ok := v.duration(low, high); ok {
				*at(&c.Relay) = d
			}
		}}
	}
	return []key{
		size("max_message_size", 64<<10, 2<<30, func(r *Relay) *int64 { return &r.MaxMessageSize }), // RFC 5321, 4.5.3.1.7
		number("max_recipients", 100, 10_000, func(r *Relay) *int { return &r.MaxRecipients }),      // RFC 5321, 4.5.3.1.8; the spool takes no more
		number("max_connections", 1, 100_000, func(r *Relay) *int { return &r.MaxConnections }),
		number("max_connections_per_client", 1, 100_000, func(r *Relay) *int { return &r.MaxConnectionsPerClient }),
		number("max_errors", 1, 10_000, func(r *Relay) *int { return &r.MaxErrors }),
		number("max_commands", 10, 10_000_000, func(r *Relay) *int { return &r.MaxCommands }),
		number("max_line_length", 1000, 1<<20, func(r *Relay) *int { return &r.MaxLineLength }), // RFC 5321, 4.5.3.1.6
		duration("idle_timeout", time.Second, time.Hour, func(r *Relay) *time.Duration { return &r.IdleTimeout }),
		duration("session_timeout", time.Second, 24*time.Hour, func(r *Relay) *time.Duration { return &r.SessionTimeout }),
		duration("decision_timeout", 100*time.Millisecond, 5*time.Minute, func(r *Relay) *time.Duration { return &r.DecisionTimeout }),
		number("max_hops", 1, 1000, func(r *Relay) *int { return &r.MaxHops }),
		size("min_free", 0, 1<<50, func(r *Relay) *int64 { return &r.MinFree }),
		number("max_deliveries", 1, 10_000, func(r *Relay) *int { return &r.MaxDeliveries }),
		duration("queue_lifetime", time.Minute, 100*24*time.Hour, func(r *Relay) *time.Duration { return &r.QueueLifetime }),
	}
}

// readRelayListen reads relay.listen; an empty list is for a relay that has only
// [[listener]] tables.
func readRelayListen(c *Config, v value) {
	if l, ok := v.v.([]any); ok && len(l) == 0 {
		c.Relay.Listen = nil
		return
	}
	c.Relay.Listen = v.listenAddresses("127.0.0.1:25")
}

// CheckListenAddress checks HOST:PORT. No HOST is every address of this machine; an
// IPv6 address is in brackets. Port 0 lets the system choose.
func CheckListenAddress(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if _, isAddr := netip.ParseAddr(host); err != nil || host != "" && isAddr != nil && !hostName(host) {
		return errors.New(`expected HOST:PORT such as "127.0.0.1:25", "[::1]:25", or ":25" for every address`)
	}
	return nil
}

func readLocalMail(c *Config, v value) {
	const expected = `expected "refuse", "smart_host", "maildir:PATH", "lmtp:HOST:PORT" or "lmtp:unix:/PATH"`
	s, ok := v.text("refuse")
	if !ok {
		return
	}
	kind, rest, _ := strings.Cut(s, ":")
	switch {
	case s == "refuse":
		c.Relay.LocalMail = LocalMail{}
	case s == "smart_host":
		c.Relay.LocalMail = LocalMail{Kind: LocalSmartHost}
	case kind == "maildir":
		if path, ok := (value{v.r, v.path, rest}).file("/var/mail/%u"); ok {
			if strings.ContainsRune(strings.NewReplacer("%u", "", "%d", "", "%%", "").Replace(path), '%') {
				v.wrong("expected %%u for the user, %%d for the domain or %%%% after %%")
			}
			c.Relay.LocalMail = LocalMail{LocalMaildir, path}
		}
	case kind == "lmtp" && strings.HasPrefix(rest, "unix:"):
		path := strings.TrimPrefix(rest, "unix:")
		if !filepath.IsAbs(path) || len(path) > 107 { // sun_path of unix(7), less its NUL
			v.wrong("expected a path of at most 107 bytes that begins with / after lmtp:unix:")
		}
		c.Relay.LocalMail = LocalMail{LocalLMTPUnix, path}
	case kind == "lmtp":
		hops, err := smtp.ParseNextHops(rest)
		if err != nil || len(hops) != 1 || hops[0].Port == 0 {
			v.wrong("expected HOST:PORT after lmtp:, such as \"lmtp:127.0.0.1:24\"")
			return
		}
		c.Relay.LocalMail = LocalMail{LocalLMTP, net.JoinHostPort(hops[0].Host, strconv.Itoa(int(hops[0].Port)))}
	default:
		v.wrong(expected)
	}
}

// networksKey is a key for a list of networks.
func networksKey(name string, at func(*Relay) *[]netip.Prefix) key {
	return key{name, func(c *Config, v value) { *at(&c.Relay) = v.networks() }}
}

// network reads ADDRESS/BITS, or an address alone.
func network(v value, s string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		v.wrong("expected a network such as \"10.0.0.0/8\" or \"2001:db8::/32\", or an address")
	case p.Addr().Is4In6():
		v.wrong("expected an IPv4 network to be written without ::ffff:")
	case p != p.Masked():
		v.wrong("which has bits set beyond its length, expected %q", p.Masked())
	case p.Bits() == 0:
		v.wrong("which is everybody, expected the networks of hosts that you run")
	case p.Bits() < 8:
		v.wrong("which is a good part of the internet, expected the networks of hosts that you run")
	default:
		return p, true
	}
	return netip.Prefix{}, false
}

// readRetry reads how long the queue waits after each attempt.
func readRetry(c *Config, v value) {
	list, ok := v.list("5m")
	if !ok {
		return
	}
	c.Relay.Retry = nil
	for _, e := range list {
		if d, ok := e.duration(time.Second, 24*time.Hour); ok {
			c.Relay.Retry = append(c.Relay.Retry, d)
		}
	}
}

// checkRelay checks what no single key of [relay] can tell.
func (r *reader) checkRelay(c *Config) {
	l := &c.Relay
	_, l.Given = r.doc.lines["relay"]
	if l.BareNewlineNormalize && len(l.NormalizeFrom) > 0 {
		r.fault("relay.normalize_bare_newline", "relay.normalize_bare_newline means nothing when relay.bare_newline is \"normalize\", expected one of the two")
	}
	if l.LocalUsers.Named && l.LocalMail.Kind == LocalRefused {
		r.fault("relay.local_users", "relay.local_users means nothing while relay.local_mail refuses all local mail")
	}
	if l.LocalMail.Kind == LocalMaildir && !l.LocalUsers.Named {
		r.fault("relay.local_mail", "relay.local_mail is a maildir, which needs relay.local_users, a list of the users: without it any name gets a folder")
	}
	if l.SessionTimeout < l.IdleTimeout {
		r.fault("relay.session_timeout", "relay.session_timeout is %q, expected at least relay.idle_timeout, %q", l.SessionTimeout, l.IdleTimeout)
	}
	r.checkRoutes(c)
}
