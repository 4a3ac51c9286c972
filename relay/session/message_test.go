package session

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"gatepost/internal/smtp"
	"gatepost/policy"
	"gatepost/relay/spool"
)

func TestStoredMessage(t *testing.T) {
	const mail, rcpt = "MAIL FROM:<a@sender.example>\r\n", "RCPT TO:<u@local.example>\r\n"
	tests := []struct{ name, envelope, text, want string }{
		{"as it is", mail + rcpt, "Subject: x\r\n\r\n..dot\r\n", "Subject: x\r\n\r\n.dot\r\n"},
		{"empty", mail + rcpt, "", ""},
		{"no header", mail + rcpt, "hello\r\nyou\r\n", "\r\nhello\r\nyou\r\n"},
		{"a header that ends without an empty line", mail + rcpt, "A: b\r\n c\r\nhello: there\r\nno field: x\r\n", "A: b\r\n c\r\nhello: there\r\n\r\nno field: x\r\n"},
		{"only an empty line", mail + rcpt, "\r\nhello\r\n", "\r\nhello\r\n"},
		{"continuation first", mail + rcpt, " A: b\r\n", "\r\n A: b\r\n"},
		{"old form of a field", mail + rcpt, "Subject : x\r\n\r\nA\r\n", "Subject : x\r\n\r\nA\r\n"},
		{"eight bits", mail + rcpt, "Subject: \xff\r\n\r\n\xfe\r\n", "Subject: \xff\r\n\r\n\xfe\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, bytewise := range []bool{false, true} {
				f := accepting(t)
				c := f.greeted()
				c.send(tt.envelope + "DATA\r\n")
				c.reply()
				c.reply()
				c.reply()
				text := tt.text + ".\r\n"
				for len(text) > 0 && bytewise {
					c.send(text[:1])
					text = text[1:]
				}
				c.send(text)
				if r := c.reply(); !strings.HasPrefix(r, "250 2.0.0 ") {
					t.Fatal(r)
				}
				if got := f.stored(); len(got) != 1 || got[0] != tt.want {
					t.Errorf("stored %q, want %q", got, tt.want)
				}
			}
		})
	}
}

func TestBdatMessage(t *testing.T) {
	f := accepting(t)
	c := f.greeted()
	c.say("MAIL FROM:<a@sender.example> BODY=8BITMIME SMTPUTF8", "250 ")
	c.say("RCPT TO:<ü@local.example>", "250 ")
	for _, chunk := range []string{"Subject: x\r", "\n\r\n", "", ".\r\n..\r\nno end"} {
		c.send(fmt.Sprintf("BDAT %d\r\n%s", len(chunk), chunk))
		c.expect("250 2.0.0 Chunk accepted")
	}
	c.say("BDAT 0 LAST", "250 2.0.0 ")
	if got, want := f.stored(), "Subject: x\r\n\r\n.\r\n..\r\nno end\r\n"; len(got) != 1 || got[0] != want {
		t.Errorf("stored %q, want %q", got, want)
	}
	e := f.envelope()
	if !e.EightBit || !e.UTF8 || e.Recipients[0].Address != "ü@local.example" {
		t.Errorf("envelope %+v", e)
	}
	if got := f.read(f.spool.Messages()[0]); !strings.Contains(got, "with UTF8SMTP id "+e.ID+"\r\n\tfor <ü@local.example>;") {
		t.Errorf("Received field in %q", got)
	}
}

func TestFailedBdatEndsTheTransaction(t *testing.T) {
	f := accepting(t)
	c := f.greeted()
	c.say("MAIL FROM:<a@b>", "250 ")
	c.say("RCPT TO:<u@local.example>", "250 ")
	c.send("BDAT 3\r\na\nbBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n")
	c.expect("554 5.6.0 Bare <LF> not allowed")
	c.expect("503 5.0.0 Need MAIL command")
	c.expect("250 2.0.0 OK")
	if n := len(f.spool.Messages()); n != 0 {
		t.Errorf("%d messages stored", n)
	}
}

func TestEnvelopeAndReceived(t *testing.T) {
	f := accepting(t, func(c *Config) {
		c.ResolveClient = func(_ context.Context, a netip.Addr) (policy.Resolve, string, string) {
			return policy.ResolveOK, "client.example.net", "client.example.net"
		}
	})
	c := f.dial()
	c.expect("220 mx.example.com ESMTP Gatepost")
	c.say("HELO [192.0.2.1]", "250 mx.example.com Hello client.example.net [127.0.0.1], pleased to meet you")
	c.say(`MAIL FROM:<@a.example,@b.example:"q q"@c.example>`, "250 ")
	c.say("RCPT TO:<u@local.example>", "250 ")
	c.say("RCPT TO:<u@local.example>", "250 ")
	c.say("DATA", "354 ")
	c.say("A: b\r\n\r\nx\r\n.", "250 ")
	e := f.envelope()
	if e.Sender != `"q q"@c.example` || len(e.Recipients) != 1 || e.Recipients[0].Address != "u@local.example" || e.Hold != "" {
		t.Errorf("envelope %+v", e)
	}
	if c := e.Client; c.Addr != netip.MustParseAddr("127.0.0.1") || c.Name != "client.example.net" || c.Helo != "[192.0.2.1]" {
		t.Errorf("client %+v", c)
	}
	form := regexp.MustCompile(`^Received: from \[192\.0\.2\.1\] \(client\.example\.net \[127\.0\.0\.1\]\)\r\n` +
		`\tby mx\.example\.com with SMTP id ` + e.ID + `\r\n\tfor <u@local\.example>;\r\n\t\w{3}, \d+ \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}\r\nA: b\r\n`)
	if got := f.read(f.spool.Messages()[0]); !form.MatchString(got) {
		t.Errorf("message %q", got)
	}
}

func TestNamesCannotInject(t *testing.T) {
	f := accepting(t, func(c *Config) {
		c.ResolveClient = func(context.Context, netip.Addr) (policy.Resolve, string, string) {
			return policy.ResolveOK, "a)\r\nX-Evil: yes", "a)\r\nX-Evil: yes"
		}
	})
	c := f.greeted()
	c.say("MAIL FROM:<>", "250 ")
	c.say(`RCPT TO:<"a> b;c"@local.example>`, "250 ")
	c.say("DATA", "354 ")
	c.say(".", "250 ")
	got := f.read(f.spool.Messages()[0])
	if strings.Contains(got, "Evil") || strings.Contains(got, "for ") {
		t.Errorf("message %q", got)
	}
}

func TestDiscardAndQuarantine(t *testing.T) {
	verdicts := map[string]policy.Verdict{
		"<drop@local.example>":  {Action: policy.Discard},
		"<hold@local.example>":  {Action: policy.Quarantine, Reason: "first"},
		"<hold2@local.example>": {Action: policy.Quarantine, Reason: "second"},
		"<no@local.example>":    refusal(550, "5.7.1", "No"),
	}
	f := start(t, script{verdict: func(_ policy.Stage, f *policy.Facts) policy.Verdict {
		if v, ok := verdicts[f.Rcpt.Recipient.Raw()]; ok {
			return v
		}
		return accept
	}})
	c := f.greeted()
	send := func(rcpts string) {
		c.say("MAIL FROM:<a@b>", "250 ")
		for _, to := range strings.Fields(rcpts) {
			c.send("RCPT TO:<" + to + "@local.example>\r\n")
			c.reply()
		}
		c.say("DATA", "354 ")
		c.say("X: "+rcpts+"\r\n.", "250 2.0.0 ")
	}
	for _, rcpts := range []string{"ok drop", "hold ok hold2", "no ok", "hold drop"} {
		send(rcpts)
	}
	held := map[string]string{}
	for _, m := range f.spool.Messages() {
		e, err := m.Envelope()
		if err != nil {
			t.Fatal(err)
		}
		held[withoutReceived(t, f.read(m))] = e.Hold
	}
	if len(held) != 2 || held["X: hold ok hold2\r\n"] != "first" || held["X: no ok\r\n"] != "" {
		t.Errorf("stored %q", held)
	}
	if s := f.Stats(); s.Messages != 4 || s.Discarded != 2 || s.Held != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestLocalRecipientAndQueued(t *testing.T) {
	var queued atomic.Int32
	f := accepting(t, func(c *Config) {
		c.LocalRecipient = func(_ context.Context, m smtp.Mailbox) smtp.Reply {
			if m.Local == "gone" {
				return smtp.MustReply(550, "5.1.1", "User unknown")
			}
			return smtp.Reply{}
		}
		c.Queued = func(m *spool.Message) { queued.Add(int32(m.Size())) }
	})
	c := f.greeted()
	c.say("MAIL FROM:<a@b>", "250 ")
	c.say("RCPT TO:<gone@local.example>", "550 5.1.1 <gone@local.example>... User unknown")
	if log := f.log.String(); !strings.Contains(log, "recipient=<gone@local.example> reply=\"550 5.1.1 User unknown\"") {
		t.Errorf("the log has no refusal:\n%s", log)
	}
	c.say("RCPT TO:<u@local.example>", "250 ")
	c.say("DATA", "354 ")
	c.say("A: b\r\n.", "250 ")
	if n := queued.Load(); n < 6 {
		t.Errorf("queued %d bytes", n)
	}
}

func TestHopsAndSizes(t *testing.T) {
	f := accepting(t, limits(func(l *Limits) { l.MessageSize, l.Header, l.TextLine = 5000, 2000, 1500 }))
	hop := "received: by x\r\n"
	tests := []struct{ name, text, want string }{
		{"25 hops", strings.Repeat(hop, 25), "250 "},
		{"26 hops", strings.Repeat(hop, 26), "554 5.4.6 Too many hops (25 max)"},
		{"in the text they do not count", "\r\n" + strings.Repeat(hop, 30), "250 "},
		{"large", "\r\n" + strings.Repeat("xxxx\r\n", 834), "552 5.3.4 Message size exceeds maximum value (5000)"},
		{"just as large as it may be", "\r\n" + strings.Repeat("xxxx\r\n", 833), "250 "},
		{"large header", "A: b\r\n" + strings.Repeat(" c\r\n", 500), "552 5.3.4 Headers too large (2000 bytes max)"},
		{"long line", strings.Repeat("x", 1499) + "\r\n", "554 5.6.0 Line too long (1500 bytes max)"},
	}
	c := f.greeted()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c.t = t
			c.transaction()
			c.say(tt.text+".", tt.want)
		})
	}
	c.t = t
	c.say("MAIL FROM:<a@b>", "250 ")
	c.say("RCPT TO:<u@local.example>", "250 ")
	c.say("BDAT 99999999999 LAST", "552 5.3.4 ")
	c.expect("EOF")
}

// failing is a spool that does not do what is asked.
type failing struct{ create, write, commit error }

type failingWriter struct {
	failing
	aborted *atomic.Int32
}

var aborted atomic.Int32

func (f failing) Create(spool.Envelope) (Writer, error) {
	return failingWriter{f, &aborted}, f.create
}
func (w failingWriter) ID() string                  { return "ID" }
func (w failingWriter) Write(p []byte) (int, error) { return len(p), w.write }
func (w failingWriter) Abort()                      { w.aborted.Add(1) }
func (w failingWriter) Commit(context.Context) (*spool.Message, error) {
	return nil, w.commit
}

func TestSpoolFailures(t *testing.T) {
	full := fmt.Errorf("write: %w", spool.ErrFull)
	broken := errors.New("disk on fire")
	for _, tt := range []struct {
		name       string
		spool      failing
		data, text string
	}{
		{"create, full", failing{create: full}, "452 4.3.1 Insufficient disk space; try again later", ""},
		{"create", failing{create: broken}, "451 4.3.0 Temporary failure, please try again later", ""},
		{"write, full", failing{write: full}, "354 ", "452 4.3.1 "},
		{"write", failing{write: broken}, "354 ", "451 4.3.0 Temporary failure, please try again later"},
		{"commit", failing{commit: broken}, "354 ", "451 4.3.0 "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := accepting(t, func(c *Config) { c.Spool = tt.spool })
			before := aborted.Load()
			c := f.greeted()
			c.say("MAIL FROM:<a@b>", "250 ")
			c.say("RCPT TO:<u@local.example>", "250 ")
			c.say("DATA", tt.data)
			if tt.text != "" {
				c.say("x\r\n.", tt.text)
				if aborted.Load() != before+1 {
					t.Error("the message was not aborted")
				}
			}
			c.say("MAIL FROM:<a@b>", "250 ")
		})
	}
}

func TestVanishedClientLeavesNothing(t *testing.T) {
	f := accepting(t)
	for _, end := range []string{"DATA\r\nhello\r\n", "BDAT 10\r\nhello", "BDAT 5\r\nhello"} {
		c := f.greeted()
		c.send("MAIL FROM:<a@b>\r\nRCPT TO:<u@local.example>\r\n" + end)
		c.reply()
		c.reply()
		_ = c.conn.Close()
	}
	soon(t, "all sessions end", func() bool { return f.Stats().Open == 0 })
	if n := len(f.spool.Messages()); n != 0 {
		t.Errorf("%d messages stored", n)
	}
	if n := f.Stats().Lost; n != 3 {
		t.Errorf("%d sessions lost, want 3", n)
	}
	f.serves()
}

func TestNoRoomForWhatIsAnnounced(t *testing.T) {
	f := accepting(t, func(c *Config) { c.Room = func(size int64) bool { return size <= 1000 } })
	c := f.greeted()
	c.say("MAIL FROM:<a@b> SIZE=1001", "452 4.3.1 Insufficient disk space; try again later")
	c.say("MAIL FROM:<a@b> SIZE=1000", "250 ")
}
