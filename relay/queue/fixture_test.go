package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"gatepost/relay/bounce"
	"gatepost/relay/deliver"
	"gatepost/relay/spool"
)

// peer is a go-smtp server. Rcpt says what it answers to a recipient; nil takes it.
type peer struct {
	addr string
	rcpt func(to string) error

	mu    sync.Mutex
	taken []string // recipients of messages that it has taken
}

func (p *peer) NewSession(*gosmtp.Conn) (gosmtp.Session, error) { return &peerSession{p: p}, nil }

type peerSession struct {
	p  *peer
	to []string
}

func (s *peerSession) Reset()                                 { s.to = nil }
func (s *peerSession) Logout() error                          { return nil }
func (s *peerSession) Mail(string, *gosmtp.MailOptions) error { return nil }
func (s *peerSession) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	if s.p.rcpt != nil {
		if err := s.p.rcpt(to); err != nil {
			return err
		}
	}
	s.to = append(s.to, to)
	return nil
}

func (s *peerSession) Data(r io.Reader) error {
	body, err := io.ReadAll(r)
	if err == nil && string(body) != body4k {
		err = errors.New("another message")
	}
	if err != nil {
		return err
	}
	s.p.mu.Lock()
	s.p.taken = append(s.p.taken, s.to...)
	s.p.mu.Unlock()
	return nil
}

func (p *peer) all() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.taken...)
}

// start has it serve at an address, "127.0.0.1:0" for any.
func (p *peer) start(t testing.TB, at string) {
	t.Helper()
	ln, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	p.addr = ln.Addr().String()
	server := gosmtp.NewServer(p)
	server.Domain, server.ErrorLog = "peer.example", slog.NewLogLogger(slog.DiscardHandler, 0)
	done := make(chan struct{})
	go func() { server.Serve(ln); close(done) }()
	t.Cleanup(func() { server.Close(); <-done })
}

func later(text string) error {
	return &gosmtp.SMTPError{Code: 450, EnhancedCode: gosmtp.EnhancedCode{4, 2, 1}, Message: text}
}

func never(text string) error {
	return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: text}
}

// fixed is a transport to one next hop.
type fixed struct {
	*deliver.SMTP
	to string
}

func (f fixed) String() string { return "smtp:" + f.to }

func (f fixed) Deliver(ctx context.Context, _ string, m deliver.Message, to []int) []deliver.Result {
	return f.SMTP.Deliver(ctx, f.to, m, to)
}

func smtpTo(t testing.TB, addr string) fixed {
	t.Helper()
	x, err := deliver.NewSMTP(deliver.Config{HostName: "relay.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Close)
	return fixed{x, addr}
}

// counting is a transport that counts what is asked of another, or of a function.
type counting struct {
	deliver.Transport
	does func(ctx context.Context, id string, to []int) []deliver.Result

	mu    sync.Mutex
	calls []string // ids
}

func (c *counting) Deliver(ctx context.Context, destination string, m deliver.Message, to []int) []deliver.Result {
	id := m.Envelope().ID
	c.mu.Lock()
	c.calls = append(c.calls, id)
	c.mu.Unlock()
	if c.does != nil {
		return c.does(ctx, id, to)
	}
	return c.Transport.Deliver(ctx, destination, m, to)
}

func (c *counting) String() string { return "counting" }

func (c *counting) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.calls)
}

func openSpool(t testing.TB, dir string) *spool.Spool {
	t.Helper()
	s, err := spool.Open(dir, spool.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

var body4k = "Subject: x\r\n\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 57)

func commit(t testing.TB, s *spool.Spool, e spool.Envelope, to ...string) *spool.Message {
	t.Helper()
	if e.Sender == "" {
		e.Sender = "alice@example.com"
	}
	for _, address := range to {
		e.Recipients = append(e.Recipients, spool.Recipient{Address: address})
	}
	w, err := s.Create(e)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if _, err := io.WriteString(w, body4k); err != nil {
		t.Fatal(err)
	}
	m, err := w.Commit(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// run starts a queue whose waits are short. stop ends it.
func run(t testing.TB, c Config) (q *Queue, stop func()) {
	t.Helper()
	if c.Schedule == nil {
		c.Schedule = func(int) time.Duration { return 20 * time.Millisecond }
	}
	if c.Pause == nil {
		c.Pause = func(int) time.Duration { return 50 * time.Millisecond }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	q = New(c)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { q.Run(ctx); close(done) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return q, stop
}

func one(x deliver.Transport) func(context.Context, string, string) (Route, error) {
	return func(context.Context, string, string) (Route, error) { return Route{Transport: x}, nil }
}

// eventually waits for something that must become so.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// states is what the spool knows of a message's recipients.
func states(t testing.TB, m *spool.Message) string {
	t.Helper()
	env, err := m.Envelope()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range env.Recipients {
		_, reply, _ := strings.Cut(r.Reply, ": ")
		out = append(out, fmt.Sprintf("%s %v %s", r.Address, r.State, reply))
	}
	return strings.Join(out, "\n") + "\n" + env.Hold
}

// told keeps what reports were asked for, and writes none.
type told struct {
	mu  sync.Mutex
	all []string
	err error
}

func (r *told) report(_ context.Context, b *bounce.Report) ([]*spool.Message, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return nil, r.err
	}
	for _, i := range b.Recipients {
		to := &b.Envelope.Recipients[i]
		_, reply, _ := strings.Cut(to.Reply, ": ")
		r.all = append(r.all, fmt.Sprintf("%v %s %v %s %s", b.Kind, to.Address, to.State, to.Status, reply))
	}
	return nil, nil
}

func (r *told) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.all, "\n")
}

func (r *told) fails(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
