package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatepost/internal/clients"
	"gatepost/internal/smtp"
	"gatepost/policy"
)

func TestGreetPause(t *testing.T) {
	f := start(t, script{verdict: acceptAll, pause: 200 * time.Millisecond})
	begin := time.Now()
	c := f.dial()
	c.expect("220 mx.example.com ESMTP Gatepost")
	if took := time.Since(begin); took < 200*time.Millisecond {
		t.Errorf("greeted after %v", took)
	}
	early := f.dial()
	early.send("EHLO x\r\nMAIL FROM:<a@b>\r\n")
	early.expect("554 mx.example.com ESMTP not accepting messages")
	if r := early.reply(); !strings.HasPrefix(r, "250-") {
		t.Errorf("EHLO: %q", r)
	}
	early.expect("550 5.0.0 Command rejected")
	early.say("QUIT", "221 ")
	if n := f.Stats().Early; n != 1 {
		t.Errorf("%d early clients, want 1", n)
	}
}

// TestForeignProtocols: clients of another protocol are sent away at once.
func TestForeignProtocols(t *testing.T) {
	tls := "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("a", 40) // no line end
	for _, text := range []string{tls, tls + "\n", tls + "\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "SSH-2.0-OpenSSH_9.6\r\n"} {
		for _, pause := range []time.Duration{0, 50 * time.Millisecond} {
			f := start(t, script{verdict: acceptAll, pause: pause})
			c := f.dial()
			if pause == 0 {
				c.expect("220 mx.example.com ESMTP Gatepost")
				c.send(text)
			} else {
				c.send(text)
				c.expect("554 mx.example.com ESMTP not accepting messages")
			}
			c.expect("421 4.7.0 mx.example.com This is a mail server, closing connection")
			if n := f.Stats().Foreign; n != 1 {
				t.Errorf("%q: %d foreign connections, want 1", text, n)
			}
		}
	}
}

func TestEarlyTalkerWithoutPause(t *testing.T) {
	release := make(chan struct{})
	f := start(t, script{verdict: func(at policy.Stage, _ *policy.Facts) policy.Verdict {
		if at == policy.StageConnect {
			<-release
		}
		return accept
	}})
	c := f.dial()
	c.send("MAIL FROM:<a@b>\r\n")
	time.Sleep(20 * time.Millisecond) // the kernel has it
	close(release)
	c.expect("554 mx.example.com ESMTP not accepting messages")
	c.expect("550 5.0.0 Command rejected")
}

func TestClientFacts(t *testing.T) {
	counts, err := clients.New()
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan policy.Conn, 9)
	f := start(t, script{verdict: func(at policy.Stage, f *policy.Facts) policy.Verdict {
		if at == policy.StageConnect {
			seen <- f.Conn
		}
		return accept
	}}, func(c *Config) {
		c.Clients = counts
		c.ResolveClient = func(ctx context.Context, a netip.Addr) (policy.Resolve, string, string) {
			if d, ok := ctx.Deadline(); !ok || time.Until(d) > DefaultDecision/2 {
				t.Errorf("deadline %v, %v", d, ok)
			}
			return policy.ResolveForged, "", "forged.example"
		}
	})
	for i := 1; i <= 2; i++ {
		c := f.dial()
		c.expect("220 mx.example.com ESMTP Gatepost")
		want := policy.Conn{Routes: true, Addr: netip.MustParseAddr("127.0.0.1"), Resolve: policy.ResolveForged, Ptr: "forged.example", Rate: i, Open: i}
		if got := <-seen; got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		c.say("HELO x", "250 mx.example.com Hello forged.example [127.0.0.1] (may be forged), pleased to meet you")
	}
	soonOpen := func() bool { _, open := counts.Begin(netip.MustParseAddr("127.0.0.1")); return open >= 3 }
	if !soonOpen() {
		t.Error("the connections were not counted")
	}
}

func TestObserve(t *testing.T) {
	var told atomic.Value
	told.Store("")
	f := start(t, at(policy.StageRcpt, refusal(550, "5.7.1", "No")), func(c *Config) {
		c.Observe = func(f *policy.Facts, d *policy.Decision, _ time.Duration) {
			told.Store(told.Load().(string) + fmt.Sprintf("%s %s %s%s;", d.Stage, d.Verdict.Action, f.Mail.Sender.Raw(), f.Rcpt.Recipient.Raw()))
		}
	})
	c := f.greeted()
	c.say("MAIL FROM:<a@b>", "250 ")
	c.say("RCPT TO:<c@d>", "550 ")
	if got, want := told.Load(), "connect accept ;helo accept ;mail accept <a@b>;rcpt reject <a@b><c@d>;"; got != want {
		t.Errorf("observed %q, want %q", got, want)
	}
}

func TestLateDecision(t *testing.T) {
	f := start(t, lateAtMail{}, limits(func(l *Limits) { l.Decision = 30 * time.Millisecond }))
	c := f.greeted()
	c.say("MAIL FROM:<a@b>", "451 4.3.0 Temporary failure, please try again later")
	if n := f.Stats().Timeouts; n != 1 {
		t.Errorf("%d late decisions, want 1", n)
	}
}

type lateAtMail struct{ script }

func (lateAtMail) Decide(ctx context.Context, at policy.Stage, _ *policy.Facts) policy.Decision {
	if at == policy.StageMail {
		<-ctx.Done()
	}
	return policy.Decision{Stage: at, Verdict: accept}
}

func TestContainsPanics(t *testing.T) {
	f := start(t, script{verdict: func(at policy.Stage, f *policy.Facts) policy.Verdict {
		if at == policy.StageMail && f.Mail.Sender.Text() == "bad@b" {
			panic("a mistake of ours")
		}
		return accept
	}})
	c := f.greeted()
	c.say("MAIL FROM:<bad@b>", "421 4.3.0 mx.example.com Service not available, closing transmission channel")
	c.expect("EOF")
	f.serves()
	if n := f.Stats().Panics; n != 1 {
		t.Errorf("%d panics, want 1", n)
	}
}

func TestLimits(t *testing.T) {
	f := accepting(t, limits(func(l *Limits) {
		l.Recipients, l.Transactions, l.Commands, l.Errors, l.Refusals = 2, 3, 40, 5, 3
	}), func(c *Config) {
		c.LocalRecipient = func(_ context.Context, m smtp.Mailbox) smtp.Reply {
			if m.Local == "gone" {
				return smtp.MustReply(550, "5.1.1", "User unknown")
			}
			return smtp.Reply{}
		}
	})
	t.Run("recipients", func(t *testing.T) {
		c := f.greeted()
		c.say("MAIL FROM:<a@b>", "250 ")
		c.say("RCPT TO:<1@b>", "250 ")
		c.say("RCPT TO:<2@b>", "250 ")
		c.say("RCPT TO:<3@b>", "452 4.5.3 Too many recipients")
	})
	t.Run("transactions", func(t *testing.T) {
		c := f.greeted()
		for range 3 {
			c.say("MAIL FROM:<a@b>", "250 ")
			c.say("RSET", "250 ")
		}
		c.say("MAIL FROM:<a@b>", "421 4.7.0 ")
		c.expect("EOF")
	})
	t.Run("commands", func(t *testing.T) {
		c := f.greeted()
		for range 39 {
			c.say("NOOP", "250 ")
		}
		c.say("NOOP", "421 4.7.0 ")
		c.expect("EOF")
	})
	t.Run("errors", func(t *testing.T) {
		c := f.greeted()
		for range 5 {
			c.say("FOO", "500 ")
		}
		c.expect("421 4.7.0 mx.example.com Too many bad commands; closing connection")
		c.expect("EOF")
	})
	t.Run("refusals, until a message is taken", func(t *testing.T) {
		c := f.greeted()
		for range 2 {
			c.say("MAIL FROM:<a@b>", "250 ")
			c.say("RCPT TO:<gone@b>", "550 ")
			c.say("RCPT TO:<gone@b>", "550 ")
			c.say("RCPT TO:<u@b>", "250 ")
			c.say("DATA", "354 ")
			c.say(".", "250 ")
		}
		c.say("MAIL FROM:<a@b>", "250 ")
		for range 3 {
			c.say("RCPT TO:<gone@b>", "550 ")
		}
		c.expect("421 4.7.0 mx.example.com Too many bad commands; closing connection")
	})
}

func TestWaitsAreBounded(t *testing.T) {
	f := accepting(t, limits(func(l *Limits) {
		l.Command, l.Text, l.Message = 100*time.Millisecond, 100*time.Millisecond, 300*time.Millisecond
	}))
	const late = "421 4.4.2 mx.example.com Timeout waiting for input, closing connection"
	t.Run("a command that does not come", func(t *testing.T) {
		f.greeted().expect(late)
	})
	t.Run("a command that comes slowly", func(t *testing.T) {
		c := f.greeted()
		go dribble(c.conn, "x")
		c.expect(late)
	})
	t.Run("text that does not come", func(t *testing.T) {
		c := f.greeted()
		c.transaction()
		c.expect(late)
	})
	t.Run("text that comes slowly", func(t *testing.T) {
		c := f.greeted()
		c.transaction()
		go dribble(c.conn, "x\r\n")
		c.expect(late)
	})
	whole := accepting(t, limits(func(l *Limits) { l.Session = 200 * time.Millisecond }))
	t.Run("the session", func(t *testing.T) {
		c := whole.greeted()
		go dribble(c.conn, "NOOP\r\n")
		for {
			if r := c.reply(); r != "250 2.0.0 OK" {
				if r != late {
					t.Errorf("got %q", r)
				}
				return
			}
		}
	})
	if n := len(f.spool.Messages()); n != 0 {
		t.Errorf("%d messages stored", n)
	}
}

// dribble writes the same over and over, until it fails.
func dribble(c net.Conn, text string) {
	for {
		if _, err := c.Write([]byte(text)); err != nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestTooManyConnections(t *testing.T) {
	f := accepting(t, limits(func(l *Limits) { l.ConnsPerClient = 2 }))
	first := f.greeted()
	f.greeted()
	f.dial().expect("421 4.7.0 mx.example.com Too many connections from your address, please try again later")
	first.say("QUIT", "221 ")
	soon(t, "there is room again", func() bool { return f.Stats().Open == 1 })
	f.greeted()

	all := accepting(t, limits(func(l *Limits) { l.Conns = 1 }))
	all.greeted()
	all.dial().expect("421 4.3.2 mx.example.com Too many connections, please try again later")
	if n := all.Stats().Refused; n != 1 {
		t.Errorf("%d connections refused, want 1", n)
	}
}

func TestShutdown(t *testing.T) {
	f := accepting(t)
	idle, busy, between := f.greeted(), f.greeted(), f.greeted()
	busy.transaction()
	between.transaction()
	between.say(".", "250 ")
	soon(t, "all of them wait", func() bool {
		return idle.t != nil && f.Stats().Messages == 1
	})
	ended := make(chan error, 1)
	go func() { ended <- f.Shutdown(context.Background()) }()
	idle.expect("421 4.3.2 mx.example.com Server shutting down, please try again later")
	idle.expect("EOF")
	between.expect("421 4.3.2 mx.example.com Server shutting down, please try again later")
	busy.say("hello\r\n.\r\nMAIL FROM:<a@b>", "250 2.0.0 ")
	busy.expect("421 4.3.2 mx.example.com Server shutting down, please try again later")
	if err := <-ended; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if n := len(f.spool.Messages()); n != 2 {
		t.Errorf("%d messages stored, want 2", n)
	}
}

func TestShutdownBreaksWhatIsLeft(t *testing.T) {
	f := accepting(t)
	c := f.greeted()
	c.transaction()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := f.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	c.expect("EOF")
	if n := len(f.spool.Messages()); n != 0 {
		t.Errorf("%d messages stored", n)
	}
}

func TestNewServerWantsWhatItNeeds(t *testing.T) {
	p := func() Policy { return nil }
	for _, cfg := range []Config{{}, {Policy: p}, {Policy: p, Spool: failing{}}, {Policy: p, Spool: failing{}, HostName: "a b"}} {
		if _, err := NewServer(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}
