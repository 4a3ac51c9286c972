package milter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"gatepost/internal/listen"
	"gatepost/milter/miltertest"
	"gatepost/policy"
)

func TestJunkLeavesTheDaemonServing(t *testing.T) {
	f := start(t, script(acceptAll))
	for _, j := range junk() {
		t.Run(j.name, func(t *testing.T) {
			before := f.Stats().BadFrames
			c := f.dialRaw()
			send(t, c, j.input)
			if strings.HasPrefix(string(j.input), "\x00\x00\x00\x0dO\x00\x00\x00\x06") {
				if cmd, _, err := c.ReadFrame(); cmd != 'O' || err != nil {
					t.Fatalf("negotiation: got %q, %v", cmd, err)
				}
			}
			if err := c.Closed(); err != nil {
				t.Error(err)
			}
			soon(t, "the connection is counted as bad", func() bool { return f.Stats().BadFrames == before+1 })
			f.serves()
		})
	}
	if n := f.log.count("not what an MTA sends"); n == 0 || n > 3 {
		t.Errorf("%d log lines for %d bad connections within a second or two, want one a second:\n%s", n, len(junk()), f.log)
	}
}

func TestHalfAFrame(t *testing.T) {
	f := start(t, script(acceptAll))
	for name, in := range dialogues() {
		c := f.dialRaw()
		send(t, c, in[:len(in)-3])
		if err := c.Close(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	soon(t, "all connections are gone", func() bool { return f.Stats().Open == 0 })
	f.serves()
}

// A peer that keeps a frame unfinished is closed, however it trickles; one that
// says nothing at first likewise; one that is idle between frames stays.
func TestDeadlines(t *testing.T) {
	neg := miltertest.Negotiation(miltertest.Full())
	helo := miltertest.Frame('H', strings.Repeat("x", 200)+"\x00")
	tests := []struct {
		name    string
		first   []byte // at once
		trickle []byte // a byte a second
		within  time.Duration
		why     string
	}{
		{"says nothing", nil, nil, negotiateWait, "nothing was sent"},
		{"half a negotiation", neg[:9], nil, negotiateWait, "not complete"},
		{"negotiation byte by byte", nil, neg, negotiateWait, "not complete"},
		{"half a frame", append(neg[:len(neg):len(neg)], helo[:9]...), nil, frameWait, "not complete"},
		{"frame byte by byte", append(neg[:len(neg):len(neg)], helo[:2]...), helo[2:], frameWait, "not complete"},
		{"idle", neg, nil, idleWait, "idle"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				log := &logBuffer{}
				s := NewServer(Config{Policy: func() Decider { return script(acceptAll) }, Log: newLog(log)})
				start := time.Now()
				s.take(ours)
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					_, _ = theirs.Write(tt.first)
					trickle(theirs, tt.trickle)
				}()
				buf := make([]byte, 4096)
				var err error
				for err == nil {
					_, err = theirs.Read(buf)
				}
				if took := time.Since(start); took < tt.within || took > tt.within+time.Second {
					t.Errorf("closed after %v, want %v", took, tt.within)
				}
				synctest.Wait()
				if !strings.Contains(log.String(), tt.why) {
					t.Errorf("log does not say %q: %s", tt.why, log)
				}
				_ = theirs.Close()
				<-sent
				s.cancel()
			})
		})
	}
}

func trickle(c net.Conn, b []byte) {
	for i := range b {
		time.Sleep(time.Second)
		if _, err := c.Write(b[i : i+1]); err != nil {
			return
		}
	}
}

func TestMaxConns(t *testing.T) {
	f := start(t, script(acceptAll), func(c *Config) { c.MaxConns = 2 })
	one, two := f.dial(miltertest.Sendmail), f.dial(miltertest.Postfix)
	three := f.dialRaw()
	if err := three.Closed(); err != nil {
		t.Errorf("the third connection: %v", err)
	}
	if s := f.Stats(); s.Open != 2 || s.Refused != 1 || s.Accepted != 3 {
		t.Errorf("got %+v, want 2 open, 1 refused, 3 accepted", s)
	}
	expect(t, "connect of an open one", "c")(one.Connect(peer))
	if err := two.Quit(); err != nil {
		t.Fatal(err)
	}
	soon(t, "there is room again", func() bool { return f.Stats().Open == 1 })
	f.serves()
	if f.log.count("too many are open") != 1 {
		t.Errorf("log: %s", f.log)
	}
}

// faultyListener fails in turn before it works.
type faultyListener struct {
	net.Listener
	mu   sync.Mutex
	errs []error
}

func (l *faultyListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.errs) > 0 {
		err := l.errs[0]
		l.errs = l.errs[1:]
		return nil, err
	}
	return l.Listener.Accept()
}

func opError(e syscall.Errno) error {
	return &net.OpError{Op: "accept", Net: "unix", Err: os.NewSyscallError("accept4", e)}
}

func TestAcceptErrors(t *testing.T) {
	addr := t.TempDir() + "/s"
	ln, err := listen.Open("unix:"+addr, listen.SocketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	faulty := &faultyListener{Listener: ln, errs: []error{opError(syscall.EMFILE), opError(syscall.ENFILE), opError(syscall.ECONNABORTED)}}
	f := startOn(t, faulty, addr, script(acceptAll))
	f.serves()
	if f.log.count("cannot accept a connection") != 1 {
		t.Errorf("log: %s", f.log)
	}
}

func TestAcceptErrorThatStays(t *testing.T) {
	ln, err := listen.Open("unix:"+t.TempDir()+"/s", listen.SocketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(Config{})
	err = s.Serve(context.Background(), &faultyListener{Listener: ln, errs: []error{opError(syscall.EINVAL)}})
	if !errors.Is(err, syscall.EINVAL) {
		t.Errorf("Serve returned %v, want the error of Accept", err)
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	addr := t.TempDir() + "/s"
	ln, err := listen.Open("unix:"+addr, listen.SocketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(Config{Policy: func() Decider { return script(acceptAll) }})
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- s.Serve(ctx, ln) }()
	c, err := miltertest.Dial("unix", addr, miltertest.Sendmail, miltertest.Full())
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve returned %v, want nil", err)
	}
	expect(t, "an open session goes on", "c")(c.Connect(peer))
	if err := s.Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

func TestSeveralListeners(t *testing.T) {
	f := start(t, script(acceptAll))
	ln, err := listen.Open("inet:0@127.0.0.1", listen.SocketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- f.Serve(context.Background(), ln) }()
	c, err := miltertest.Dial("tcp", ln.Addr().String(), miltertest.Postfix, miltertest.Full())
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "connect over TCP", "c")(c.Connect(peer))
	f.serves()
	if err := f.Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-served; err != ErrServerClosed {
		t.Errorf("Serve returned %v", err)
	}
}

func TestShutdown(t *testing.T) {
	f := start(t, script(acceptAll))
	silent := f.dialRaw()
	fresh := f.dial(miltertest.Sendmail)
	between := f.dial(miltertest.Postfix)
	for range 2 {
		converse(t, between, "C=c H:ok=c M:ok=c R=c E=a A")
	}
	refused := f.dial(miltertest.Sendmail)
	converse(t, refused, "C=c H:ok=c R=y")
	busy := f.dial(miltertest.Sendmail)
	converse(t, busy, "C=c H:ok=c M:ok=c R=c")
	soon(t, "five connections are open", func() bool { return f.Stats().Open == 5 })

	done := make(chan error, 1)
	go func() { done <- f.Shutdown(context.Background()) }()
	for name, c := range map[string]*miltertest.Client{"silent": silent, "fresh": fresh, "between messages": between, "refused": refused} {
		if err := c.Closed(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := miltertest.DialRaw("unix", f.addr); err == nil {
		t.Error("a new connection is taken")
	}
	select {
	case err := <-done:
		t.Fatalf("Shutdown returned %v in the middle of a message", err)
	default:
	}
	converse(t, busy, "R=c E=a")
	if err := busy.Closed(); err != nil {
		t.Errorf("after the end of its message: %v", err)
	}
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if n := f.Stats().Open; n != 0 {
		t.Errorf("%d connections open after Shutdown", n)
	}
	if err := f.Shutdown(context.Background()); err != nil {
		t.Errorf("a second Shutdown: %v", err)
	}
}

func TestShutdownIsBounded(t *testing.T) {
	started := make(chan struct{})
	var ended atomic.Bool
	f := start(t, script(func(ctx context.Context, at policy.Stage, _ *policy.Facts) policy.Verdict {
		if at == policy.StageRcpt {
			close(started)
			<-ctx.Done()
			ended.Store(true)
		}
		return accept
	}), func(c *Config) { c.Timeout = time.Hour })
	c := f.dial(miltertest.Sendmail)
	converse(t, c, "C=c M:ok=c")
	send(t, c, miltertest.Frame('R', "<b@example.com>\x00"))
	<-started
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := f.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown returned %v, want that its time ran out", err)
	}
	if err := c.Closed(); err != nil {
		t.Error(err)
	}
	soon(t, "the decision in progress is ended", ended.Load)
	soon(t, "no connection is left", func() bool { return f.Stats().Open == 0 })
}

// A decision that hangs holds up its own session only.
func TestHangingSession(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	f := start(t, script(func(_ context.Context, at policy.Stage, f *policy.Facts) policy.Verdict {
		if at == policy.StageHelo && f.Helo.Name == "hang" {
			<-hang
		}
		return accept
	}))
	c := f.dial(miltertest.Sendmail)
	expect(t, "connect", "c")(c.Connect(peer))
	send(t, c, miltertest.Frame('H', "hang\x00"))
	f.serves()
}

// As many idle connections as there may be are to stay below 64 MiB.
func TestMemoryOfIdleConnections(t *testing.T) {
	const n, most = 1000, 64 << 20 / DefaultMaxConns
	f := start(t, script(acceptAll))
	states := []struct {
		name  string
		ready func(*miltertest.Client)
	}{
		{"silent", func(*miltertest.Client) {}},
		{"negotiated", func(c *miltertest.Client) {
			c.MTA = miltertest.Sendmail
			if err := c.Negotiate(miltertest.Full()); err != nil {
				t.Fatal(err)
			}
		}},
		{"after a message", func(c *miltertest.Client) {
			if err := c.Negotiate(miltertest.Full()); err != nil {
				t.Fatal(err)
			}
			converse(t, c, "C=c H:ok=c M:ok=c R=c E=a")
		}},
	}
	for _, state := range states {
		t.Run(state.name, func(t *testing.T) {
			soon(t, "no connection is open", func() bool { return f.Stats().Open == 0 })
			before := inUse()
			clients := make([]*miltertest.Client, n)
			for i := range clients {
				clients[i] = f.dialRaw()
				state.ready(clients[i])
			}
			soon(t, "all are open", func() bool { return f.Stats().Open == n })
			each := int64(inUse()-before)/n - clientCost(t)
			t.Logf("%d bytes a connection", each)
			if each > most {
				t.Errorf("%d bytes a connection, at most %d wanted", each, most)
			}
			for _, c := range clients {
				_ = c.Close()
			}
		})
	}
}

// inUse is the memory in use by heap and stacks.
func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// clientCost is what the test's own end of a connection takes.
func clientCost(t *testing.T) int64 {
	t.Helper()
	const n = 200
	ln, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	before := inUse()
	clients := make([]*miltertest.Client, n)
	for i := range clients {
		if clients[i], err = miltertest.DialRaw("unix", ln.Addr().String()); err != nil {
			t.Fatal(fmt.Errorf("client %d: %w", i, err))
		}
	}
	cost := int64(inUse()-before) / n
	for _, c := range clients {
		_ = c.Close()
	}
	return cost
}

// Frames that are announced but do not come must not take memory; those that
// come nearly whole take no more than there is room for.
func TestMemoryOfUnfinishedFrames(t *testing.T) {
	f := start(t, script(acceptAll))
	before := inUse()
	body := miltertest.Frame('B', strings.Repeat("x", maxFrame-1))
	const n = 400
	for range n {
		c := f.dial(miltertest.Sendmail)
		send(t, c, body[:len(body)-1])
	}
	soon(t, "the room is used up", func() bool { return f.log.count("too much memory") > 0 })
	if lent := f.lent.Load(); lent > maxLent {
		t.Errorf("%d bytes lent, at most %d wanted", lent, maxLent)
	}
	if grown := int64(inUse()) - int64(before); grown > 64<<20 {
		t.Errorf("%d connections with unfinished frames took %d MiB", n, grown>>20)
	}
	f.serves()
}
