package session

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"gatepost/internal/smtp"
	"gatepost/policy"
	"gatepost/relay/spool"
)

// script is a Policy of a few lines.
type script struct {
	verdict func(at policy.Stage, f *policy.Facts) policy.Verdict
	pause   time.Duration
}

func (s script) Decide(_ context.Context, at policy.Stage, f *policy.Facts) policy.Decision {
	d := policy.Decision{Stage: at, Verdict: s.verdict(at, f)}
	if at == policy.StageRcpt {
		d.Recipient = smtp.ParseMailbox(f.Rcpt.Recipient.Text(), smtp.Syntax{})
		if d.Recipient.Domain == "" {
			d.Recipient.Domain = "mx.example.com"
		}
	}
	return d
}

func (s script) GreetPause(context.Context, *policy.Facts) time.Duration { return s.pause }

var accept = policy.Verdict{Action: policy.Accept}

func acceptAll(policy.Stage, *policy.Facts) policy.Verdict { return accept }

func refusal(code int, enhanced, text string) policy.Verdict {
	v := policy.Verdict{Action: policy.Reject, Reply: smtp.MustReply(code, enhanced, text)}
	if code < 500 {
		v.Action = policy.Tempfail
	}
	return v
}

// at gives a verdict at one stage and accepts otherwise.
func at(stage policy.Stage, v policy.Verdict) script {
	return script{verdict: func(at policy.Stage, _ *policy.Facts) policy.Verdict {
		if at == stage {
			return v
		}
		return accept
	}}
}

// logBuffer collects log lines of several goroutines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// fixture is a running server on a loopback port, with a spool of its own.
type fixture struct {
	*Server
	t     testing.TB
	addr  string
	log   *logBuffer
	spool *spool.Spool
}

func start(t testing.TB, p Policy, change ...func(*Config)) *fixture {
	t.Helper()
	f := &fixture{t: t, log: &logBuffer{}}
	log := slog.New(slog.NewTextHandler(f.log, nil))
	var err error
	if f.spool, err = spool.Open(t.TempDir(), spool.Options{Log: log}); err != nil {
		t.Fatal(err)
	}
	cfg := Config{HostName: "mx.example.com", Policy: func() Policy { return p }, Spool: Keep(f.spool), Log: log}
	cfg.Limits.ConnsPerClient = 10_000
	for _, c := range change {
		c(&cfg)
	}
	if f.Server, err = NewServer(cfg); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- f.Serve(context.Background(), ln, nil) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		_ = f.Shutdown(ctx)
		if err := <-served; err != ErrServerClosed {
			t.Errorf("Serve returned %v, want ErrServerClosed", err)
		}
		soon(t, "the sessions have ended", func() bool { return f.Stats().Open == 0 })
		if err := f.spool.Close(); err != nil {
			t.Error(err)
		}
		if n := f.Stats().Panics; n > 0 && !strings.Contains(t.Name(), "Panic") {
			t.Errorf("%d panics:\n%s", n, f.log)
		}
	})
	return f
}

func accepting(t testing.TB, change ...func(*Config)) *fixture {
	t.Helper()
	return start(t, script{verdict: acceptAll}, change...)
}

func limits(set func(*Limits)) func(*Config) { return func(c *Config) { set(&c.Limits) } }

// stored are the messages in the spool, without our Received field.
func (f *fixture) stored() []string {
	f.t.Helper()
	var all []string
	for _, m := range f.spool.Messages() {
		all = append(all, withoutReceived(f.t, f.read(m)))
	}
	return all
}

func (f *fixture) read(m *spool.Message) string {
	f.t.Helper()
	r, err := m.Open()
	if err != nil {
		f.t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(b)
}

// withoutReceived cuts off the first field, of three or four lines.
func withoutReceived(t testing.TB, text string) string {
	t.Helper()
	if !strings.HasPrefix(text, "Received: from ") {
		t.Fatalf("no Received field in front: %.200q", text)
	}
	for {
		_, rest, ok := strings.Cut(text, "\r\n")
		if !ok {
			t.Fatalf("no end of the Received field")
		}
		if text = rest; !strings.HasPrefix(text, "\t") {
			return text
		}
	}
}

func (f *fixture) envelope() spool.Envelope {
	f.t.Helper()
	all := f.spool.Messages()
	if len(all) != 1 {
		f.t.Fatalf("%d messages in the spool, want 1", len(all))
	}
	e, err := all[0].Envelope()
	if err != nil {
		f.t.Fatal(err)
	}
	return e
}

// talker is a client that writes and reads as it is told.
type talker struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

const patience = 10 * time.Second

func (f *fixture) dial() *talker {
	f.t.Helper()
	conn, err := net.Dial("tcp4", f.addr)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = conn.Close() })
	return &talker{t: f.t, conn: conn, in: bufio.NewReader(conn)}
}

// greeted is a client that has been greeted and has said EHLO.
func (f *fixture) greeted() *talker {
	f.t.Helper()
	c := f.dial()
	c.expect("220 mx.example.com ESMTP Gatepost")
	c.send("EHLO client.example\r\n")
	c.reply()
	return c
}

func (c *talker) send(text string) {
	c.t.Helper()
	_ = c.conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c.conn, text); err != nil {
		c.t.Fatalf("sending %.80q: %v", text, err)
	}
}

// next reads one reply; "EOF" at the end.
func (c *talker) next() string {
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	var lines []string
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			if os.IsTimeout(err) {
				return fmt.Sprintf("no reply (%v)", err)
			}
			return "EOF"
		}
		lines = append(lines, strings.TrimSuffix(line, "\r\n"))
		if len(line) < 4 || line[3] != '-' {
			return strings.Join(lines, "\n")
		}
	}
}

func (c *talker) reply() string {
	c.t.Helper()
	r := c.next()
	if r == "EOF" || strings.HasPrefix(r, "no reply") {
		c.t.Fatalf("waiting for a reply: %s", r)
	}
	return r
}

func (c *talker) expect(want string) {
	c.t.Helper()
	if got := c.next(); got != want {
		c.t.Fatalf("got %q, want %q", got, want)
	}
}

// say sends a command and expects a reply that begins so.
func (c *talker) say(command, want string) {
	c.t.Helper()
	c.send(command + "\r\n")
	if got := c.next(); !strings.HasPrefix(got, want) {
		c.t.Fatalf("%.100s: got %q, want %q", command, got, want)
	}
}

// transaction goes as far as the reply to DATA.
func (c *talker) transaction() {
	c.t.Helper()
	c.say("MAIL FROM:<a@sender.example>", "250 2.1.0 ")
	c.say("RCPT TO:<u@local.example>", "250 2.1.5 ")
	c.say("DATA", "354 ")
}

// serves fails the test if a plain session is not served, and tells how long it took.
func (f *fixture) serves() time.Duration {
	f.t.Helper()
	begin := time.Now()
	c := f.greeted()
	c.transaction()
	c.say("Subject: fine\r\n\r\nfine\r\n.", "250 2.0.0 ")
	c.say("QUIT", "221 2.0.0 ")
	return time.Since(begin)
}

// soon waits for something that another goroutine does.
func soon(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 500 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("not within 5 s: %s", what)
}
