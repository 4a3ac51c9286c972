package milter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"time"

	lib "github.com/d--j/go-milter"

	"gatepost/internal/clients"
	"gatepost/internal/front"
	"gatepost/policy"
)

// Defaults and bounds of a Server.
const (
	DefaultTimeout  = 8 * time.Second
	DefaultMaxConns = 4000 // an idle one takes about 10 KiB

	maxLent = 16 << 20 // bytes in buffers of unfinished large frames, all connections together
)

// ErrServerClosed is returned by Serve after Shutdown.
var ErrServerClosed = front.ErrClosed

// Decider is what the front asks.
type Decider = front.Decider

// Config is what a Server is told.
type Config struct {
	// Policy returns the policy in force. It is asked at each CONNECT and the
	// session keeps the answer to its end.
	Policy func() Decider

	// Observe, if set, is told each decision as it is answered, and how long it
	// took. It must not keep its arguments.
	Observe func(*policy.Facts, *policy.Decision, time.Duration)

	// Clients, if set, counts each client's connections, for ratecontrol and
	// conncontrol.
	Clients *clients.Counts

	// Counting, if set, tells whether the policy in force looks at the counts; they
	// are not kept while it does not.
	Counting func() bool

	// ResolveClient, if set, finds out the name of a client of whom the MTA does not
	// say how its name was verified ({client_resolve}): how it came out, the verified
	// name, and the reverse name. It must return soon after ctx is done.
	ResolveClient func(ctx context.Context, addr netip.Addr) (r policy.Resolve, name, ptr string)

	Log *slog.Logger // nil: nothing is logged

	// Timeout bounds one decision; on expiry the answer is 451. It must be below
	// the MTA's own (sendmail: 10 s). 0: DefaultTimeout.
	Timeout time.Duration

	MaxConns int // connections open at once, others are closed at once. 0: DefaultMaxConns
}

// Stats are counts since the start, but Open, which is now.
type Stats struct {
	Open      int64
	Accepted  uint64
	Refused   uint64 // closed at once: over MaxConns
	BadFrames uint64 // connections closed for what they sent
	Panics    uint64 // contained
	Timeouts  uint64 // decisions that were not there in time
}

// Server serves MTAs on any number of listeners.
type Server struct {
	cfg     Config
	log     *slog.Logger
	options [2][]lib.Option // without and with a list of wanted macros
	replies replyCache

	said   front.Complaints
	doors  *front.Doors[*conn]
	judge  front.Judge        // its Base ends with the patience of Shutdown
	cancel context.CancelFunc // of decisions

	badFrames, panics atomic.Uint64

	lent atomic.Int64
}

// NewServer returns a server; Config.Policy must be set.
func NewServer(cfg Config) *Server {
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.MaxConns <= 0 {
		cfg.MaxConns = DefaultMaxConns
	}
	s := &Server{
		cfg:     cfg,
		log:     cfg.Log,
		options: [2][]lib.Option{libraryOptions(false), libraryOptions(true)},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.said.Log = s.log
	s.doors = front.NewDoors[*conn]("milter", cfg.MaxConns, &s.said)
	s.judge = front.Judge{Name: "milter", Timeout: cfg.Timeout, Observe: cfg.Observe}
	s.judge.Base, s.cancel = context.WithCancel(context.Background())
	return s
}

// Stats returns the counts.
func (s *Server) Stats() Stats {
	return Stats{
		Open:      int64(s.doors.Open()),
		Accepted:  s.doors.Accepted(),
		Refused:   s.doors.Refused(),
		BadFrames: s.badFrames.Load(),
		Panics:    s.panics.Load(),
		Timeouts:  s.judge.Late(),
	}
}

// Serve takes connections from ln until ctx ends or Shutdown, and closes ln. It
// returns nil when ctx ended, ErrServerClosed after Shutdown, else what was
// wrong with ln. Sessions go on after it; Shutdown ends them.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	return s.doors.Serve(ctx, ln, s.take)
}

// take starts a session, or closes a connection that is one too many.
func (s *Server) take(nc net.Conn) {
	c := newConn(nc, s)
	if s.doors.Enter(c) {
		go s.serve(c)
		return
	}
	_ = nc.Close()
	if !s.doors.Draining() {
		s.said.Complain("milter connection closed: too many are open", "limit", s.cfg.MaxConns)
	}
}

// serve waits for the negotiation, then hands the connection to a library
// server of its own: so the session knows its connection, and one that never
// says a word costs little.
func (s *Server) serve(c *conn) {
	if !c.greet() {
		_ = c.Close()
		return
	}
	lists := 0
	if lib.OptAction(c.offered())&lib.OptSetMacros != 0 {
		lists = 1
	}
	opts := s.options[lists]
	opts = append(opts[:len(opts):len(opts)], lib.WithDynamicMilter(
		func(_ uint32, actions lib.OptAction, _ lib.OptProtocol, _ lib.DataSize) lib.Milter {
			return newSession(s, c, actions&lib.OptQuarantine != 0)
		}))
	// Serve starts the session in a goroutine and returns at the second Accept.
	if err := lib.NewServer(opts...).Serve(&single{conn: c}); !errors.Is(err, io.EOF) {
		s.log.Error("milter: session not started", "error", err)
	}
}

// single is a listener of one connection.
type single struct {
	conn  net.Conn
	taken bool
}

func (l *single) Accept() (net.Conn, error) {
	if l.taken {
		return nil, io.EOF
	}
	l.taken = true
	return l.conn, nil
}

func (l *single) Close() error   { return nil }
func (l *single) Addr() net.Addr { return l.conn.LocalAddr() }

// Shutdown closes the listeners and the connections that are between messages,
// and waits for messages in progress. When ctx ends first it breaks the
// connections that are left, ends their decisions, and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	defer s.cancel()
	return s.doors.Shutdown(ctx, (*conn).end, (*conn).abandon)
}

// lend accounts for n bytes more (or less) in large buffers; false if there is
// no room for them.
func (s *Server) lend(n int) bool {
	if s.lent.Add(int64(n)) > maxLent && n > 0 {
		s.lent.Add(int64(-n))
		return false
	}
	return true
}

// panicked logs a panic that was contained.
func (s *Server) panicked(at string, v any) {
	s.panics.Add(1)
	s.log.Error("milter: contained a panic", "at", at, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
}
