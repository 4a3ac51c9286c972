package deliver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gatepost/relay/spool"
)

// TestKept: a connection takes one message after another, with RSET only where one
// went wrong.
func TestKept(t *testing.T) {
	refused := script{mail, bob, "< DATA", "> 250 ok", "> 550 no bob", "> 503 nobody"}
	s := serve(t, join(hello, begin, taken, begin, taken, refused, script{"< RSET"}, begin[:3], script{"> 250 reset"}, begin[3:], taken, script{"< QUIT"}))
	x := s.transport(func(config *Config) { config.MaxUses = 4 })
	for i, want := range []string{"Sent", "Sent", "Failed", "Sent"} {
		if got := s.send(x, message("bob@example.net")); !strings.HasPrefix(got, want+" ") {
			t.Errorf("message %d: %s", i, got)
		}
	}
	if len(x.pool.idle) != 0 || s.connections() != 1 {
		t.Errorf("%d kept, %d connections; used up after four", len(x.pool.idle), s.connections())
	}
}

// TestKeptClosed: what the server does to a connection between messages costs no
// attempt.
func TestKeptClosed(t *testing.T) {
	for name, end := range map[string]script{
		"closed":                          {},
		"closed with a word":              {"> 421 4.4.2 idle for too long"},
		"talks":                           {"> 250 unasked", "hang"},
		"closed at MAIL":                  {mail, bob, "< DATA"},
		"closed at MAIL, and leaves RCPT": {mail},
		"closed at MAIL with a word":      {mail, bob, "< DATA", "> 421 4.7.0 too many messages"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, join(allDone, end), allDone)
			x := s.transport(nil)
			for i := range 2 {
				if got := s.send(x, message("bob@example.net")); got != "Sent 2.0.0 250 2.0.0 taken" {
					t.Errorf("message %d: %s", i, got)
				}
				time.Sleep(20 * time.Millisecond) // for what the server does next
			}
			if s.connections() != 2 {
				t.Errorf("%d connections", s.connections())
			}
		})
	}
}

// TestKeptNotTwice: once the server has answered, or has the message, no other connection
// is tried; nor a third.
func TestKeptNotTwice(t *testing.T) {
	for name, c := range map[string]struct {
		first, second script
		want          string
	}{
		"gone after the message": {join(begin, script{"*"}), nil, "Deferred 4.4.2 connection closed while waiting for the reply to the end"},
		"gone after MAIL":        {join(begin[:4]), nil, "Deferred 4.4.2 connection closed while waiting for the reply to RCPT"},
		"gone twice":             {begin[:3], join(hello, begin[:3]), "Deferred 4.4.2 connection closed while waiting for the reply to MAIL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			scripts := []script{join(allDone, c.first)}
			if c.second != nil {
				scripts = append(scripts, c.second)
			}
			s := serve(t, scripts...)
			x := s.transport(nil)
			s.send(x, message("bob@example.net"))
			if got := s.send(x, message("bob@example.net")); !strings.HasPrefix(got, c.want) {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if s.connections() != len(scripts) {
				t.Errorf("%d connections", s.connections())
			}
		})
	}
}

// TestIdle: a connection is kept for a while only, and left with QUIT.
func TestIdle(t *testing.T) {
	s := serve(t, join(allDone, script{"< QUIT"}), join(allDone, script{"< QUIT"}), join(allDone, script{"< QUIT"}))
	x := s.transport(func(config *Config) { config.IdleTime = 50 * time.Millisecond })
	s.send(x, message("bob@example.net"))
	time.Sleep(200 * time.Millisecond)
	s.send(x, message("bob@example.net"))
	if s.connections() != 2 {
		t.Errorf("%d connections", s.connections())
	}
	x.Close()
	s.send(x, message("bob@example.net")) // after Close it is not kept
	if len(x.pool.idle) != 0 {
		t.Error("a connection is kept after Close")
	}
}

// TestManyRecipients: no more than the limit go with one MAIL, and those whom the server
// has no room for go with the next one.
func TestManyRecipients(t *testing.T) {
	rcpt := func(n int) string { return fmt.Sprintf("< RCPT TO:<%d@example.net>", n) }
	s := serve(t, join(hello,
		script{mail, rcpt(0), rcpt(1), rcpt(2), "< DATA", "> 250 ok", "> 250 ok", "> 550 no", "> 452 4.5.3 too many", "> 354 go"}, taken,
		script{mail, rcpt(2), rcpt(3), rcpt(4), "< DATA", "> 250 ok", "> 250 ok", "> 452 4.5.3 too many", "> 250 ok", "> 354 go", "*", "> 554 spam"},
		script{"< RSET", mail, rcpt(5), "< DATA", "> 250 ok", "> 250 ok", "> 250 ok", "> 354 go"}, taken))
	x := s.transport(func(config *Config) { config.MaxRecipients = 3 })
	m := message()
	for i := range 6 {
		m.env.Recipients = append(m.env.Recipients, spool.Recipient{Address: fmt.Sprintf("%d@example.net", i)})
	}
	want := "Sent 2.0.0 250 2.0.0 taken\nFailed  550 no\nFailed  554 spam\nDeferred 4.5.3 452 4.5.3 too many\nFailed  554 spam\nSent 2.0.0 250 2.0.0 taken"
	if got := s.send(x, m); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestNeeds: what the message needs and the server does not offer fails before anything
// is sent.
func TestNeeds(t *testing.T) {
	plain := join(slow, script{"< MAIL FROM:<alice@example.com>", "> 250 ok", bob, "> 250 ok", "< DATA", "> 354 go"}, taken)
	for name, c := range map[string]struct {
		server script
		change func(*memory)
		want   string
	}{
		"8-bit": {join(hello, script{mail + " BODY=8BITMIME"}, begin[1:], taken), func(m *memory) { m.env.EightBit = true }, "Sent 2.0.0 250 2.0.0 taken"},
		"8-bit, not offered": {slow, func(m *memory) {
			m.env.EightBit, m.body = true, "Subject: x\r\n\r\n"+strings.Repeat("x", 2*chunk)+"\xe9\r\n"
		},
			"Failed 5.6.3 the next hop does not offer 8BITMIME, which this message needs"},
		"UTF-8": {join(hello, script{mail + " SMTPUTF8", "< RCPT TO:<bób@example.net>"}, begin[2:], taken), func(m *memory) {
			m.env.UTF8 = true
			m.env.Recipients[0].Address = "bób@example.net"
		}, "Sent 2.0.0 250 2.0.0 taken"},
		"8-bit, declared only": {plain, func(m *memory) { m.env.EightBit = true }, "Sent 2.0.0 250 2.0.0 taken"},
		"UTF-8, declared only": {plain, func(m *memory) { m.env.UTF8 = true }, "Sent 2.0.0 250 2.0.0 taken"},
		"UTF-8 address, not offered": {slow, func(m *memory) { m.env.UTF8, m.env.Recipients[0].Address = true, "bób@example.net" },
			"Failed 5.6.7 the next hop does not offer SMTPUTF8, which this message needs"},
		"UTF-8 in the text only, not offered": {slow, func(m *memory) { m.env.EightBit, m.env.UTF8, m.body = true, true, "Subject: x\r\n\r\n\xc3\xa9\r\n" },
			"Failed 5.6.3 the next hop does not offer 8BITMIME, which this message needs"},
		"UTF-8 in the header, not offered": {slow, func(m *memory) { m.env.UTF8, m.body = true, "Subject: \xc3\xa9\r\n\r\nx\r\n" }, "Failed 5.6.7 the next hop does not offer SMTPUTF8, which this message needs"},
		"UTF-8, not asked for":             {nil, func(m *memory) { m.env.Recipients[0].Address = "bób@example.net" }, "Failed 5.6.7 the address is not ASCII, and the message does not ask for SMTPUTF8"},
		"too big":                          {hello, func(m *memory) { m.body = strings.Repeat("x", 1000001) }, "Failed 5.3.4 the message of 1000001 bytes exceeds the 1000000 that the next hop takes"},
		"null sender":                      {join(hello, script{"< MAIL FROM:<> SIZE=26"}, begin[1:], taken), func(m *memory) { m.env.Sender = "" }, "Sent 2.0.0 250 2.0.0 taken"},
		"a command in it":                  {nil, func(m *memory) { m.env.Recipients[0].Address = "x\r\nDATA" }, "Failed 5.1.3 the address has a control character"},
		"a command in the other":           {nil, func(m *memory) { m.env.Sender = "x\nRSET" }, "Failed 5.1.7 the address has a control character"},
		"a parameter in it":                {nil, func(m *memory) { m.env.Sender = "x> SIZE=1" }, "Failed 5.1.7 the address cannot be sent"},
		"no canonical line":                {hello, func(m *memory) { m.body = "a\r\n.\nb\r\n" }, "Failed 5.6.0 " + errLoneCRLF.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s *server
			if c.server == nil {
				s = serve(t)
			} else {
				s = serve(t, c.server)
			}
			m := message("bob@example.net")
			c.change(m)
			if got := s.send(s.transport(nil), m); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestLate: what is wrong with a message beyond its first chunk is found when the server
// has begun to read. It never gets the end.
func TestLate(t *testing.T) {
	s := serve(t, join(slow, script{"< MAIL FROM:<alice@example.com>", "> 250 ok", bob, "> 250 ok", "< DATA", "> 354 go", "hang"}))
	m := message("bob@example.net")
	m.body = strings.Repeat("x\r\n", chunk) + "\n.\r\n"
	if got := s.send(s.transport(nil), m); got != "Failed 5.6.0 "+errLoneCRLF.Error() {
		t.Error(got)
	}
}

// TestBig: a message of many chunks arrives whole.
func TestBig(t *testing.T) {
	s := serve(t, join(slow, script{"< MAIL FROM:<alice@example.com>", "> 250 ok", bob, "> 250 ok", "< DATA", "> 354 go", "*", "> 250 ok"}))
	m := message("bob@example.net")
	m.body = strings.Repeat(".\r\nabc\r\n..\r\n", 50_000)
	if got := s.send(s.transport(nil), m); got != "Sent  250 ok" {
		t.Error(got)
	}
	if got := s.messages(); len(got) != 1 || string(got[0]) != strings.Repeat("..\r\nabc\r\n...\r\n", 50_000)+".\r\n" {
		t.Error("another message has arrived")
	}
}

// TestLMTP: each recipient has a reply of his own after the message.
func TestLMTP(t *testing.T) {
	lmtp := script{"> 220 there LMTP", "< LHLO relay.example.com", "> 250-there", "> 250 PIPELINING"}
	sent := script{"< MAIL FROM:<alice@example.com>", bob, carol, dave, "< DATA", "> 250 ok", "> 250 ok", "> 250 ok"}
	for name, c := range map[string]struct {
		server script
		want   string
	}{
		"mixed": {join(lmtp, sent, script{"> 250 ok", "> 354 go", "*", "> 250 2.1.5 bob", "> 452 4.2.2 carol is full", "> 550 5.2.0 no dave"}),
			"Sent 2.1.5 250 2.1.5 bob\nDeferred 4.2.2 452 4.2.2 carol is full\nFailed 5.2.0 550 5.2.0 no dave"},
		"one refused": {join(lmtp, sent[:7], script{"> 550 no carol", "> 250 ok", "> 354 go", "*", "> 250 bob", "> 250 dave"}),
			"Sent  250 bob\nFailed  550 no carol\nSent  250 dave"},
		"gone in between": {join(lmtp, sent, script{"> 250 ok", "> 354 go", "*", "> 250 bob"}),
			"Sent  250 bob\nDeferred 4.4.2 connection closed while waiting for the reply to the end of the message, which may have been taken\n" +
				"Deferred 4.4.2 connection closed while waiting for the reply to the end of the message, which may have been taken"},
		"all refused": {join(lmtp, sent[:6], script{"> 550 1", "> 550 2", "> 550 3", "> 503 nobody"}), "Failed  550 1\nFailed  550 2\nFailed  550 3"},
		"no LHLO":     {script{"> 220 there", "< LHLO relay.example.com", "> 500 what"}, strings.Repeat("Deferred  500 what (down)\n", 2) + "Deferred  500 what (down)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, c.server)
			x := s.transport(func(config *Config) { config.LMTP = true })
			if got := s.send(x, message("bob@example.net", "carol@example.net", "dave@example.net")); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}
