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
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	lib "github.com/d--j/go-milter"

	"gatepost/internal/clients"
	"gatepost/policy"
)

// Defaults and bounds of a Server.
const (
	DefaultTimeout  = 8 * time.Second
	DefaultMaxConns = 4000 // an idle one takes about 10 KiB

	maxLent       = 16 << 20 // bytes in buffers of unfinished large frames, all connections together
	complainEvery = time.Second
	acceptPauses  = time.Second // longest pause after a failed Accept
)

// ErrServerClosed is returned by Serve after Shutdown.
var ErrServerClosed = errors.New("milter: server closed")

// Decider is what the front asks. Decide must return soon after ctx is done;
// what it then says is not heeded. Facts belong to the session: they must not be
// kept after the return.
type Decider interface {
	Decide(ctx context.Context, at policy.Stage, f *policy.Facts) policy.Decision
}

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

	base   context.Context // of decisions; ends with the patience of Shutdown
	cancel context.CancelFunc

	draining atomic.Bool
	mu       sync.Mutex
	lns      map[net.Listener]struct{}
	conns    map[*conn]struct{}
	empty    chan struct{} // closed when draining and no connection is left

	accepted, refused, badFrames, panics, timeouts atomic.Uint64

	lent       atomic.Int64
	complainAt atomic.Int64 // unix nanoseconds before which complaints are only counted
	unsaid     atomic.Uint64
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
		lns:     map[net.Listener]struct{}{},
		conns:   map[*conn]struct{}{},
		empty:   make(chan struct{}),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.base, s.cancel = context.WithCancel(context.Background())
	return s
}

// Stats returns the counts.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	open := len(s.conns)
	s.mu.Unlock()
	return Stats{
		Open:      int64(open),
		Accepted:  s.accepted.Load(),
		Refused:   s.refused.Load(),
		BadFrames: s.badFrames.Load(),
		Panics:    s.panics.Load(),
		Timeouts:  s.timeouts.Load(),
	}
}

// Serve takes connections from ln until ctx ends or Shutdown, and closes ln. It
// returns nil when ctx ended, ErrServerClosed after Shutdown, else what was
// wrong with ln. Sessions go on after it; Shutdown ends them.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	if !s.addListener(ln) {
		_ = ln.Close()
		return ErrServerClosed
	}
	defer s.closeListener(ln)
	stop := context.AfterFunc(ctx, func() { s.closeListener(ln) })
	defer stop()
	var pause time.Duration
	for {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			pause = 0
			s.take(nc)
		case s.draining.Load():
			return ErrServerClosed
		case ctx.Err() != nil:
			return nil
		case !passing(err):
			return fmt.Errorf("milter: accept on %s: %w", ln.Addr(), err)
		default:
			pause = min(max(2*pause, 5*time.Millisecond), acceptPauses)
			s.complain("milter: cannot accept a connection", "error", err.Error(), "retry", pause)
			sleep(ctx, pause)
		}
	}
}

// passing tells whether Accept may succeed later.
func passing(err error) bool {
	for _, e := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EPROTO, syscall.EINTR, syscall.EAGAIN, syscall.EPERM,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func (s *Server) addListener(ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return false
	}
	s.lns[ln] = struct{}{}
	return true
}

func (s *Server) closeListener(ln net.Listener) {
	s.mu.Lock()
	_, open := s.lns[ln]
	delete(s.lns, ln)
	s.mu.Unlock()
	if open {
		_ = ln.Close()
	}
}

// take starts a session, or closes a connection that is one too many.
func (s *Server) take(nc net.Conn) {
	s.accepted.Add(1)
	c := newConn(nc, s)
	s.mu.Lock()
	draining, room := s.draining.Load(), len(s.conns) < s.cfg.MaxConns
	if room && !draining {
		s.conns[c] = struct{}{}
	}
	s.mu.Unlock()
	if draining {
		_ = nc.Close()
		return
	}
	if !room {
		s.refused.Add(1)
		_ = nc.Close()
		s.complain("milter connection closed: too many are open", "limit", s.cfg.MaxConns)
		return
	}
	go s.serve(c)
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

// forget drops a connection that is closed.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if len(s.conns) == 0 && s.draining.Load() {
		s.closeEmpty()
	}
}

func (s *Server) closeEmpty() {
	select {
	case <-s.empty:
	default:
		close(s.empty)
	}
}

// Shutdown closes the listeners and the connections that are between messages,
// and waits for messages in progress. When ctx ends first it breaks the
// connections that are left, ends their decisions, and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.draining.Store(true)
	lns, conns := s.lns, make([]*conn, 0, len(s.conns))
	s.lns = map[net.Listener]struct{}{}
	for c := range s.conns {
		conns = append(conns, c)
	}
	if len(conns) == 0 {
		s.closeEmpty()
	}
	s.mu.Unlock()
	var errs []error
	for ln := range lns {
		errs = append(errs, ln.Close())
	}
	for _, c := range conns {
		c.end()
	}
	defer s.cancel()
	select {
	case <-s.empty:
		return errors.Join(errs...)
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.Warn("milter: connections broken at shutdown", "open", len(s.conns))
	for c := range s.conns {
		c.abandon()
	}
	return ctx.Err()
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

// complain logs a warning that peers can provoke: one a second, with the number
// of those left out.
func (s *Server) complain(msg string, args ...any) {
	now := time.Now().UnixNano()
	at := s.complainAt.Load()
	if now < at || !s.complainAt.CompareAndSwap(at, now+int64(complainEvery)) {
		s.unsaid.Add(1)
		return
	}
	if n := s.unsaid.Swap(0); n > 0 {
		args = append(args, "unsaid", n)
	}
	s.log.Warn(msg, args...)
}

// panicked logs a panic that was contained.
func (s *Server) panicked(at string, v any) {
	s.panics.Add(1)
	s.log.Error("milter: contained a panic", "at", at, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
}
