package milter

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gatepost/internal/listen"
	"gatepost/internal/smtp"
	"gatepost/milter/miltertest"
	"gatepost/policy"
)

// script is a Decider of a few lines.
type script func(ctx context.Context, at policy.Stage, f *policy.Facts) policy.Verdict

func (s script) Decide(ctx context.Context, at policy.Stage, f *policy.Facts) policy.Decision {
	return policy.Decision{Stage: at, Verdict: s(ctx, at, f)}
}

var accept = policy.Verdict{Action: policy.Accept}

func acceptAll(context.Context, policy.Stage, *policy.Facts) policy.Verdict { return accept }

func refusal(code int, enhanced, text string) policy.Verdict {
	v := policy.Verdict{Action: policy.Reject, Reply: smtp.MustReply(code, enhanced, text)}
	if code < 500 {
		v.Action = policy.Tempfail
	}
	return v
}

// atStage gives a verdict at one stage and accepts otherwise.
func atStage(stage policy.Stage, v policy.Verdict) script {
	return func(_ context.Context, at policy.Stage, _ *policy.Facts) policy.Verdict {
		if at == stage {
			return v
		}
		return accept
	}
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

func (l *logBuffer) count(s string) int { return strings.Count(l.String(), s) }

// fixture is a running server on a unix socket.
type fixture struct {
	*Server
	t    *testing.T
	addr string
	log  *logBuffer
	ln   net.Listener
}

func start(t *testing.T, d Decider, change ...func(*Config)) *fixture {
	t.Helper()
	addr := filepath.Join(t.TempDir(), "s")
	ln, err := listen.Open("unix:"+addr, listen.SocketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return startOn(t, ln, addr, d, change...)
}

func startOn(t *testing.T, ln net.Listener, addr string, d Decider, change ...func(*Config)) *fixture {
	t.Helper()
	log := &logBuffer{}
	cfg := Config{Policy: func() Decider { return d }, Log: newLog(log)}
	for _, c := range change {
		c(&cfg)
	}
	f := &fixture{Server: NewServer(cfg), t: t, addr: addr, log: log, ln: ln}
	served := make(chan error, 1)
	go func() { served <- f.Serve(context.Background(), ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		_ = f.Shutdown(ctx)
		if err := <-served; err != ErrServerClosed {
			t.Errorf("Serve returned %v, want ErrServerClosed", err)
		}
	})
	return f
}

func (f *fixture) dial(mta miltertest.MTA) *miltertest.Client {
	f.t.Helper()
	return f.dialOffer(mta, miltertest.Full())
}

func (f *fixture) dialOffer(mta miltertest.MTA, o miltertest.Offer) *miltertest.Client {
	f.t.Helper()
	c, err := miltertest.Dial("unix", f.addr, mta, o)
	if err != nil {
		f.t.Fatalf("dial: %v", err)
	}
	f.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (f *fixture) dialRaw() *miltertest.Client {
	f.t.Helper()
	c, err := miltertest.DialRaw("unix", f.addr)
	if err != nil {
		f.t.Fatalf("dial: %v", err)
	}
	f.t.Cleanup(func() { _ = c.Close() })
	return c
}

// serves fails the test if the daemon does not serve a plain session.
func (f *fixture) serves() {
	f.t.Helper()
	c := f.dial(miltertest.Sendmail)
	expect(f.t, "connect", "c")(c.Connect(peer))
	expect(f.t, "helo", "c")(c.Helo("client.example.net"))
	expect(f.t, "mail", "c")(c.Mail("<a@example.net>"))
	expect(f.t, "rcpt", "c")(c.Rcpt("<b@example.com>"))
	expect(f.t, "end of message", "a")(c.Message())
	if err := c.Quit(); err != nil {
		f.t.Errorf("quit: %v", err)
	}
}

var peer = miltertest.Peer{Addr: netip.MustParseAddr("203.0.113.25"), Name: "client.example.net", Ptr: "client.example.net"}

// expect compares the answer to a command.
func expect(t *testing.T, what, want string) func(miltertest.Answer, error) {
	t.Helper()
	return func(a miltertest.Answer, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if a.String() != want {
			t.Errorf("%s: got %q, want %q", what, a, want)
		}
	}
}

// soon waits for something that another goroutine does.
func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 500 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("not within 5 s: %s", what)
}

func bothMTAs(t *testing.T, run func(*testing.T, miltertest.MTA)) {
	for _, mta := range []miltertest.MTA{miltertest.Sendmail, miltertest.Postfix} {
		t.Run(mta.String(), func(t *testing.T) { run(t, mta) })
	}
}
