package deliver

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"gatepost/internal/smtp"
)

// Timeouts bound what an SMTP client waits for (RFC 5321, 4.5.3.2). A zero field has the
// value of DefaultTimeouts.
type Timeouts struct {
	Connect     time.Duration // to one address
	Greeting    time.Duration
	Hello       time.Duration // the reply to EHLO, HELO or LHLO
	Mail        time.Duration // also RSET
	Rcpt        time.Duration
	Data        time.Duration // the reply to DATA
	Block       time.Duration // 32 KiB of the message to be taken
	End         time.Duration // the reply to the end of the message; each, in LMTP
	Transaction time.Duration // all of MAIL to the last reply
}

// DefaultTimeouts are those that the RFC asks for. It has none for the transaction as a
// whole, and one for the connection that is not waited for in practice.
func DefaultTimeouts() Timeouts {
	return Timeouts{
		Connect: 30 * time.Second, Greeting: 5 * time.Minute, Hello: 5 * time.Minute,
		Mail: 5 * time.Minute, Rcpt: 5 * time.Minute, Data: 2 * time.Minute,
		Block: 3 * time.Minute, End: 10 * time.Minute, Transaction: 2 * time.Hour,
	}
}

func (t *Timeouts) complete() {
	d := DefaultTimeouts()
	for _, f := range []struct{ at, or *time.Duration }{
		{&t.Connect, &d.Connect}, {&t.Greeting, &d.Greeting}, {&t.Hello, &d.Hello}, {&t.Mail, &d.Mail}, {&t.Rcpt, &d.Rcpt},
		{&t.Data, &d.Data}, {&t.Block, &d.Block}, {&t.End, &d.End}, {&t.Transaction, &d.Transaction},
	} {
		if *f.at <= 0 {
			*f.at = *f.or
		}
	}
}

// Config is what an SMTP transport is told.
type Config struct {
	// Address is the next hop: host:port or [host]:port, where host is a name or an
	// address and the port is 25, in LMTP 24, when it is left out; or, in LMTP only,
	// unix:/path. MX records are not looked up.
	Address string

	// LMTP has RFC 2033 spoken.
	LMTP bool

	// HostName is what we call ourselves in EHLO.
	HostName string

	// Resolve returns the addresses of a host, to be tried in their order; none and no
	// error when the host does not exist. It is needed only for names.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)

	Timeouts Timeouts

	// MaxRecipients is how many recipients go with one MAIL; default 100, which every
	// server must take (RFC 5321, 4.5.3.1.8).
	MaxRecipients int

	// A connection is kept for the next message for IdleTime (default 5 s; negative: not
	// at all), and takes MaxUses messages (default 100). MaxIdle (default 20) wait at once.
	IdleTime time.Duration
	MaxUses  int
	MaxIdle  int
}

// SMTP is the transport to one fixed next hop.
type SMTP struct {
	config  Config
	address address
	pool    pool
}

// NewSMTP returns the transport to a next hop; the error says what is wrong with its
// address. Close closes the connections that it keeps.
func NewSMTP(config Config) (*SMTP, error) {
	port := uint16(25)
	if config.LMTP {
		port = 24
	}
	a, err := parseAddress(config.Address, port)
	switch {
	case err != nil:
		return nil, err
	case a.path != "" && !config.LMTP:
		return nil, fmt.Errorf("%q: SMTP goes to host:port; a socket is for LMTP", config.Address)
	case a.host != "" && config.Resolve == nil:
		return nil, fmt.Errorf("%q: nothing to look up names with", config.Address)
	}
	config.Timeouts.complete()
	config.MaxRecipients = or(config.MaxRecipients, 100)
	config.MaxUses = or(config.MaxUses, 100)
	config.MaxIdle = or(config.MaxIdle, 20)
	if config.IdleTime == 0 {
		config.IdleTime = 5 * time.Second
	}
	return &SMTP{
		config:  config,
		address: a,
		pool:    pool{maxIdle: config.MaxIdle, maxUses: config.MaxUses, idleTime: config.IdleTime},
	}, nil
}

func or(n, otherwise int) int {
	if n <= 0 {
		return otherwise
	}
	return n
}

// String is "smtp:host:port", or lmtp.
func (s *SMTP) String() string {
	if s.config.LMTP {
		return "lmtp:" + s.address.String()
	}
	return "smtp:" + s.address.String()
}

// Close closes the connections that wait for another message. Those in use are closed
// after it.
func (s *SMTP) Close() { s.pool.close() }

// Deliver sends m with as few transactions as the next hop lets it. All recipients of one
// transaction share the reply to the message, except in LMTP.
func (s *SMTP) Deliver(ctx context.Context, _ string, m Message, recipients []int) []Result {
	env := m.Envelope()
	results := make([]Result, len(recipients))
	todo := make([]int, 0, len(recipients))
	sender := checkPath(env.Sender, env.UTF8, statusBadSender)
	for i, r := range recipients {
		p := sender
		if p == nil {
			p = checkPath(env.Recipients[r].Address, env.UTF8, statusBadMailbox)
		}
		if p != nil {
			results[i] = p.result("")
			continue
		}
		todo = append(todo, i)
	}
	for len(todo) > 0 {
		n := min(len(todo), s.config.MaxRecipients)
		t := transaction{message: m, env: &env, to: recipients, of: todo[:n], results: results, accepted: make([]int, 0, n)}
		p, relay, usable := s.transact(ctx, &t)
		if p != nil {
			p.fill(results, t.of, relay)
			if !usable {
				p.fill(results, todo, relay)
				break
			}
		}
		todo = append(t.left(), todo[n:]...)
	}
	return results
}

// left are those whom the server had no room for beside others, who have the message now:
// they may have it at once.
func (t *transaction) left() (again []int) {
	if !t.full || len(t.accepted) == 0 || t.results[t.accepted[0]].Outcome != Delivered {
		return nil
	}
	for _, i := range t.of {
		if r := &t.results[i]; r.Outcome == Deferred && strings.HasPrefix(r.Reply, "452") {
			*r = Result{}
			again = append(again, i)
		}
	}
	return again
}

// checkPath looks for what would make another command of an address. The way in lets
// none of it pass.
func checkPath(path string, utf8 bool, status smtp.EnhancedCode) *problem {
	ascii := true
	for i := range len(path) {
		if path[i] < ' ' || path[i] == 0x7f {
			return &problem{outcome: Failed, status: status, text: "the address has a control character"}
		}
		ascii = ascii && path[i] < 0x80
	}
	switch {
	case len(path) > smtp.MaxPath || smtp.IndexUnquoted(path, " <>") >= 0:
		return &problem{outcome: Failed, status: status, text: "the address cannot be sent"}
	case !ascii && !utf8:
		return &problem{outcome: Failed, status: statusNonASCII, text: "the address is not ASCII, and the message does not ask for SMTPUTF8"}
	}
	return nil
}

// transact makes one transaction on a kept connection, or on a fresh one. A kept one that
// turns out to have been closed counts for nothing. usable tells whether another
// transaction may be made after a problem.
func (s *SMTP) transact(ctx context.Context, t *transaction) (p *problem, relay string, usable bool) {
	if c := s.pool.get(); c != nil {
		p := c.run(ctx, t, s.config.LMTP)
		usable := !c.broken
		s.pool.put(c)
		if p == nil || !p.stale {
			return p, c.relay, usable
		}
		s.pool.drop() // it is not alone
	}
	c, p, relay := s.connect(ctx)
	if p != nil {
		return p, relay, false
	}
	p = c.run(ctx, t, s.config.LMTP)
	usable = !c.broken
	s.pool.put(c)
	return p, c.relay, usable
}

// connect opens a connection to the first address of the next hop that greets us.
func (s *SMTP) connect(ctx context.Context) (c *conn, p *problem, relay string) {
	addrs, p := s.addresses(ctx)
	if p != nil {
		return nil, p, s.address.String()
	}
	for _, addr := range addrs {
		relay = s.address.relay(addr)
		if c, p = s.open(ctx, addr, relay); p == nil {
			return c, nil, relay
		}
		if ctx.Err() != nil {
			break
		}
	}
	// Even a 5xx greeting is about the host, not about the message (RFC 5321, 3.1), and
	// somebody has to set it right.
	p.outcome, p.down = Deferred, ctx.Err() == nil
	return nil, p, relay
}

func (s *SMTP) open(ctx context.Context, addr netip.Addr, relay string) (*conn, *problem) {
	network, where := "unix", s.address.path
	if where == "" {
		network, where = "tcp", netip.AddrPortFrom(addr, s.address.port).String()
	}
	d := net.Dialer{Timeout: s.config.Timeouts.Connect}
	nc, err := d.DialContext(ctx, network, where)
	if err != nil {
		return nil, &problem{status: statusNoAnswer, text: "cannot connect: " + cause(err)}
	}
	c := newConn(nc, relay, &s.config.Timeouts)
	release := c.guard(ctx)
	p := c.hello(s.config.HostName, s.config.LMTP)
	release()
	if p != nil {
		c.Close()
		return nil, p
	}
	return c, nil
}

// addresses are those of the next hop, in the order in which they are tried.
func (s *SMTP) addresses(ctx context.Context) ([]netip.Addr, *problem) {
	if s.address.host == "" {
		return []netip.Addr{s.address.addr}, nil
	}
	addrs, err := s.config.Resolve(ctx, s.address.host)
	switch {
	case err != nil:
		return nil, &problem{status: statusNoRoute, text: cut("cannot look up " + s.address.host + ": " + Sanitise([]byte(err.Error()))), down: ctx.Err() == nil}
	case len(addrs) == 0:
		return nil, &problem{status: statusNoRoute, text: s.address.host + " has no address", down: true}
	}
	return addrs, nil
}
