package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"gatepost/internal/front"
)

// ErrServerClosed is returned by Serve after Shutdown.
var ErrServerClosed = front.ErrClosed

// Stats are counts since the start, but Open, which is now.
type Stats struct {
	Open      int64
	Accepted  uint64 // connections
	Refused   uint64 // of them, closed at once: too many are open
	Early     uint64 // clients that spoke before the greeting
	Foreign   uint64 // connections closed for another protocol, no PROXY header, or commands behind STARTTLS
	Fenced    uint64 // connections closed: the listener is not for them
	Secured   uint64 // TLS handshakes
	NoTLS     uint64 // those that failed
	Logins    uint64 // by AUTH
	Denied    uint64 // those that failed
	Messages  uint64 // taken, those that were dropped or are held included
	Discarded uint64 // of them, dropped
	Held      uint64 // of them, held
	Faulty    uint64 // messages refused for what was in them
	Lost      uint64 // connections that ended without QUIT
	Slow      uint64 // connections closed for a timeout
	Panics    uint64 // contained
	Timeouts  uint64 // decisions that were not there in time
}

// Server serves SMTP clients on any number of listeners.
type Server struct {
	cfg    Config
	log    *slog.Logger
	said   front.Complaints
	doors  *front.Doors[*session]
	judge  front.Judge        // its Base ends with the patience of Shutdown
	cancel context.CancelFunc // of what sessions wait for
	lender lender
	places places

	rcptMemory atomic.Int64 // of the recipients of messages in the making

	crowded, early, foreign, fenced, secured, noTLS, logins, denied atomic.Uint64

	messages, discarded, held, faulty, lost, slow, panics atomic.Uint64
}

// NewServer returns a server. It fails when Config lacks what a session needs.
func NewServer(cfg Config) (*Server, error) {
	switch {
	case cfg.Policy == nil:
		return nil, errors.New("session: no policy")
	case cfg.Spool == nil:
		return nil, errors.New("session: no spool")
	case !validHelo(cfg.HostName):
		return nil, fmt.Errorf("session: %q is no host name", cfg.HostName)
	}
	cfg.Limits.setDefaults()
	s := &Server{cfg: cfg, log: cfg.Log, places: places{max: cfg.Limits.ConnsPerClient, taken: map[seat]int{}}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.said.Log = s.log
	s.doors = front.NewDoors[*session]("smtp", cfg.Limits.Conns, &s.said)
	s.judge = front.Judge{Name: "smtp", Timeout: cfg.Limits.Decision, Observe: cfg.Observe}
	s.judge.Base, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Stats returns the counts.
func (s *Server) Stats() Stats {
	return Stats{
		Open:      int64(s.doors.Open()),
		Accepted:  s.doors.Accepted(),
		Refused:   s.doors.Refused() + s.crowded.Load(),
		Early:     s.early.Load(),
		Foreign:   s.foreign.Load(),
		Fenced:    s.fenced.Load(),
		Secured:   s.secured.Load(),
		NoTLS:     s.noTLS.Load(),
		Logins:    s.logins.Load(),
		Denied:    s.denied.Load(),
		Messages:  s.messages.Load(),
		Discarded: s.discarded.Load(),
		Held:      s.held.Load(),
		Faulty:    s.faulty.Load(),
		Lost:      s.lost.Load(),
		Slow:      s.slow.Load(),
		Panics:    s.panics.Load(),
		Timeouts:  s.judge.Late(),
	}
}

// Serve takes connections from ln, under rules (nil: the zero Rules), until ctx ends
// or Shutdown, and closes ln. It returns nil when ctx ended, ErrServerClosed after
// Shutdown, else what was wrong with the rules or ln. Sessions go on after it;
// Shutdown ends them.
func (s *Server) Serve(ctx context.Context, ln net.Listener, rules *Rules) error {
	r, err := rules.ready()
	if err != nil {
		_ = ln.Close()
		return err
	}
	return s.doors.Serve(ctx, ln, func(nc net.Conn) { s.take(nc, r) })
}

// Shutdown closes the listeners and, with 421, the sessions that are between
// transactions, and waits for transactions in progress. When ctx ends first it
// breaks the connections that are left, ends their decisions, and returns ctx's
// error.
func (s *Server) Shutdown(ctx context.Context) error {
	defer s.cancel()
	return s.doors.Shutdown(ctx, func(s *session) { s.wire.end() }, func(s *session) { s.wire.abandon() })
}

// take starts a session, or turns a connection away that is one too many.
func (s *Server) take(nc net.Conn, rules *Rules) {
	peer := addrOf(nc.RemoteAddr())
	c := &session{server: s, rules: rules, peer: peer}
	if rules.Local && !c.meet(nc) {
		s.turnAway(nc, rules, "421 4.3.0 "+s.cfg.HostName+" Service not available, closing transmission channel")
		return
	}
	c.proxy = s.cfg.Proxies != nil && peer.IsValid() && s.cfg.Proxies(peer)
	// Behind a proxy is everybody.
	c.trusted = !c.proxy && s.cfg.Xclient != nil && peer.IsValid() && s.cfg.Xclient(peer)
	if !c.proxy && !c.sit(peer) {
		s.turnAway(nc, rules, "421 4.7.0 "+s.cfg.HostName+" Too many connections from your address, please try again later")
		return
	}
	c.wire = newWire(nc, &s.lender, s.cfg.Limits.CommandLine)
	if !s.doors.Enter(c) {
		c.rise()
		s.turnAway(nc, rules, "421 4.3.2 "+s.cfg.HostName+" Too many connections, please try again later")
		if !s.doors.Draining() {
			s.said.Complain("smtp: connection closed: too many are open", "limit", s.cfg.Limits.Conns)
		}
		return
	}
	go c.serve()
}

// turnAway closes a connection with a reply, if the client can read one. A new
// connection has room for that, so this does not wait.
func (s *Server) turnAway(nc net.Conn, rules *Rules, reply string) {
	if !rules.Implicit {
		_ = nc.SetWriteDeadline(time.Now().Add(lingerWait))
		_, _ = nc.Write([]byte(reply + "\r\n"))
	}
	_ = nc.Close()
}

// decideBy is when a decision that begins now must be there.
func (s *Server) decideBy() time.Time { return time.Now().Add(s.cfg.Limits.Decision) }

// panicked logs a panic that was contained.
func (s *Server) panicked(v any) {
	s.panics.Add(1)
	s.log.Error("smtp: contained a panic", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
}

// addrOf is the IP address of a connection's end; invalid if it has none.
func addrOf(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}

// seatOf is whose place a client takes: with IPv6 its network's, since a host has
// as many addresses there as it likes.
func seatOf(client netip.Addr) netip.Addr {
	if client.Is6() {
		if network, err := client.Prefix(64); err == nil {
			return network.Addr()
		}
	}
	return client
}

// seat is whose place a connection takes; zero: nobody's.
type seat struct {
	addr  netip.Addr
	local bool
	uid   uint32 // of a local one
}

// places bounds the connections of one client.
type places struct {
	max   int
	mu    sync.Mutex
	taken map[seat]int
}

func (p *places) take(client seat) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken[client] >= p.max {
		return false
	}
	p.taken[client]++
	return true
}

func (p *places) leave(client seat) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken[client]--; p.taken[client] <= 0 {
		delete(p.taken, client)
	}
}
