package deliver

import (
	"context"
	"strings"
	"testing"
	"time"
)

// TestScripts has servers behave in every way, and looks at what is made of it.
func TestScripts(t *testing.T) {
	three := script{mail, bob, carol, dave, "< DATA", "> 250 ok"}
	cases := []struct {
		name   string
		to     int // recipients
		server script
		want   string
	}{
		{"taken", 1, allDone, "Sent 2.0.0 250 2.0.0 taken"},
		{"no extensions", 1, join(slow, script{"< MAIL FROM:<alice@example.com>", "> 250 ok", bob, "> 250 ok", "< DATA", "> 354 go", "*", "> 250 taken"}),
			"Sent  250 taken"},
		{"HELO", 1, script{"> 220-there", "> 220 SMTP", "< EHLO relay.example.com", "> 502 what", "< HELO relay.example.com", "> 250 hi",
			"< MAIL FROM:<alice@example.com>", "> 250 ok", bob, "> 250 ok", "< DATA", "> 354 go", "*", "> 250 taken"}, "Sent  250 taken"},
		{"no HELO either", 1, script{"> 220 there", "< EHLO relay.example.com", "> 502 what", "< HELO relay.example.com", "> 550 go away"},
			"Deferred  550 go away (down)"},
		{"EHLO later", 1, script{"> 220 there", "< EHLO relay.example.com", "> 451 4.3.0 busy"}, "Deferred 4.3.0 451 4.3.0 busy (down)"},
		{"not welcome", 1, script{"> 554 5.7.1 go away"}, "Deferred 4.7.1 554 5.7.1 go away (down)"},
		{"closing at the greeting", 1, script{"> 421 4.3.2 down"}, "Deferred 4.3.2 421 4.3.2 down (down)"},
		{"closing at EHLO", 1, script{"> 220 there", "< EHLO relay.example.com", "> 421 4.3.2 down"}, "Deferred 4.3.2 421 4.3.2 down (down)"},
		{"not a server", 1, script{"> SSH-2.0-OpenSSH_9.6"}, "Deferred 4.5.0 instead of the greeting: protocol error: SSH-2.0-OpenSSH_9.6 (down)"},
		{"some refused", 3, join(hello, three, script{"> 550 5.1.1 no bob", "> 250 ok", "> 450 4.2.1 dave later", "> 354 go", "*", "> 250 2.0.0 taken"}),
			"Failed 5.1.1 550 5.1.1 no bob\nSent 2.0.0 250 2.0.0 taken\nDeferred 4.2.1 450 4.2.1 dave later"},
		{"some refused, step by step", 2, join(slow, script{"< MAIL FROM:<alice@example.com>", "> 250 ok", bob, "> 550 no bob", carol, "> 250 ok", "< DATA", "> 354 go", "*", "> 250 taken"}),
			"Failed  550 no bob\nSent  250 taken"},
		{"all refused", 3, join(hello, three, script{"> 550 5.1.1 no bob", "> 550 5.1.1 no carol", "> 450 4.2.1 dave later", "> 503 5.5.1 nobody"}),
			"Failed 5.1.1 550 5.1.1 no bob\nFailed 5.1.1 550 5.1.1 no carol\nDeferred 4.2.1 450 4.2.1 dave later"},
		{"all refused, and 354", 3, join(hello, three, script{"> 550 1", "> 550 2", "> 550 3", "> 354 go"}), "Failed  550 1\nFailed  550 2\nFailed  550 3"},
		{"all refused, step by step", 1, join(slow, script{"< MAIL FROM:<alice@example.com>", "> 250 ok", bob, "> 550 no bob"}), "Failed  550 no bob"},
		{"sender refused", 2, join(hello, script{mail, bob, carol, "< DATA", "> 550 5.1.8 no alice", "> 503 5.5.1 MAIL first", "> 503 5.5.1 MAIL first", "> 503 5.5.1 MAIL first"}),
			"Failed 5.1.8 550 5.1.8 no alice\nFailed 5.1.8 550 5.1.8 no alice"},
		{"sender refused, the rest accepted", 1, join(hello, script{mail, bob, "< DATA", "> 451 4.7.1 later", "> 250 ok", "> 354 go"}), "Deferred 4.7.1 451 4.7.1 later"},
		{"sender refused, step by step", 1, join(slow, script{"< MAIL FROM:<alice@example.com>", "> 550 no alice"}), "Failed  550 no alice"},
		{"DATA refused", 1, join(hello, script{mail, bob, "< DATA", "> 250 ok", "> 250 ok", "> 554 5.6.0 no"}), "Failed 5.6.0 554 5.6.0 no"},
		{"DATA later", 1, join(hello, script{mail, bob, "< DATA", "> 250 ok", "> 250 ok", "> 450 no"}), "Deferred  450 no"},
		{"DATA taken for a message", 1, join(hello, script{mail, bob, "< DATA", "> 250 ok", "> 250 ok", "> 250 ok"}), "Deferred 4.5.0 unexpected reply: 250 ok"},
		{"354, then 4xx", 1, join(hello, begin, script{"*", "> 452 4.3.1 full"}), "Deferred 4.3.1 452 4.3.1 full"},
		{"354, then 5xx", 1, join(hello, begin, script{"*", "> 554 5.7.0 spam"}), "Failed 5.7.0 554 5.7.0 spam"},
		{"354, then 3xx", 1, join(hello, begin, script{"*", "> 354 more"}), "Deferred 4.5.0 unexpected reply: 354 more"},
		{"354 at MAIL", 1, join(hello, script{mail, bob, "< DATA", "> 354 go"}), "Deferred 4.5.0 unexpected reply: 354 go"},
		{"closing at MAIL", 1, join(hello, script{mail, "> 421 4.3.2 down"}), "Deferred 4.3.2 421 4.3.2 down"},
		{"closing at RCPT", 2, join(hello, script{mail, "> 250 ok", "> 550 no bob", "> 421 4.3.2 down"}), "Failed  550 no bob\nDeferred 4.3.2 421 4.3.2 down"},
		{"closing after RCPT", 2, join(hello, script{mail, "> 250 ok", "> 250 ok", "> 421 down"}), "Deferred  421 down\nDeferred  421 down"},
		{"closing at DATA", 1, join(hello, script{mail, bob, "< DATA", "> 250 ok", "> 250 ok", "> 421 4.3.2 down"}), "Deferred 4.3.2 421 4.3.2 down"},
		{"closing at the end", 1, join(hello, begin, script{"*", "> 421 4.3.2 down"}), "Deferred 4.3.2 421 4.3.2 down"},
		{"gone at MAIL", 1, join(hello, script{mail, bob, "< DATA"}), "Deferred 4.4.2 connection closed while waiting for the reply to MAIL"},
		{"gone at RCPT", 1, join(hello, script{mail, bob, "< DATA", "> 250 ok", "close"}), "Deferred 4.4.2 connection closed while waiting for the reply to RCPT"},
		{"gone at the end", 1, join(hello, begin, script{"*"}), "Deferred 4.4.2 connection closed while waiting for the reply to the end of the message, which may have been taken"},
		{"junk", 1, join(hello, script{mail, bob, "< DATA", "> 250 ok", "> 550 5.1.1 caf\xe9 \x1b[31m\\", "> 503 nobody"}), `Failed 5.1.1 550 5.1.1 caf\xe9 \x1b[31m\\`},
		{"several lines", 1, join(hello, begin, script{"*", "> 554-5.7.0 one", "> 554-5.7.0 two", "> 554 5.7.0 three"}), "Failed 5.7.0 554 5.7.0 one; two; three"},
		{"two codes", 1, join(hello, begin, script{"*", "> 554-one", "> 250 two"}), "Deferred 4.5.0 instead of the reply to the end of the message, which may have been taken: protocol error: 250 two"},
		{"replies for ever", 1, join(hello, begin, script{"*", "more 250-again"}), "Deferred 4.5.0 instead of the reply to the end of the message, which may have been taken: protocol error: a reply of more than 100 lines"},
		{"a line for ever", 1, join(hello, begin, script{"*", "> 250 " + strings.Repeat("x", 5000)}), "Deferred 4.5.0 instead of the reply to the end of the message, which may have been taken: protocol error: a reply line of more than 2048 bytes"},
		{"a long line", 1, join(hello, begin, script{"*", "> 250 2.0.0 " + strings.Repeat("x", 2000)}), "Sent 2.0.0 250 2.0.0 " + strings.Repeat("x", MaxReply-13) + "..."},
		{"a reply to nothing after DATA", 1, join(hello, script{mail, bob, "< DATA", "> 250 ok\r\n250 ok\r\n354 go\r\n250 taken", "hang"}), "Deferred 4.5.0 a reply to nothing after the one to DATA"},
		{"a reply before its command", 1, script{"> 220 there\r\n250-there\r\n250 PIPELINING", "hang"}, "Deferred 4.5.0 instead of the reply to EHLO: protocol error: a reply to nothing (down)"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, append(c.server, tail(c.server)...))
			got := s.send(s.transport(nil), message([]string{"bob@example.net", "carol@example.net", "dave@example.net"}[:c.to]...))
			got = steady(got)
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			for _, m := range s.messages() {
				if string(m) != "Subject: one\r\n\r\n..two\r\n...\r\n.\r\n" {
					t.Errorf("the server has heard %q", m)
				}
			}
		})
	}
}

// tail has a server take what the client still says, so that closing does not reset.
func tail(s script) script {
	if last := s[len(s)-1]; strings.HasPrefix(last, "> ") && !strings.HasPrefix(last, "> 421") {
		return script{"hang"}
	}
	return nil
}

// TestHangs: a server that says no more at any stage costs the time of that stage only.
func TestHangs(t *testing.T) {
	cases := []struct {
		server script
		set    func(*Timeouts)
		want   string
	}{
		{script{}, func(t *Timeouts) { t.Greeting = 50 * time.Millisecond }, "the greeting (down)"},
		{hello[:2], func(t *Timeouts) { t.Hello = 50 * time.Millisecond }, "the reply to EHLO (down)"},
		{join(offers, upgrade[:1]), func(t *Timeouts) { t.Hello = 50 * time.Millisecond }, "the reply to STARTTLS (down)"},
		{hello, func(t *Timeouts) { t.Mail = 50 * time.Millisecond }, "the reply to MAIL"},
		{join(hello, begin[:4]), func(t *Timeouts) { t.Rcpt = 50 * time.Millisecond }, "the reply to RCPT"},
		{join(hello, begin[:5]), func(t *Timeouts) { t.Data = 50 * time.Millisecond }, "the reply to DATA"},
		{join(hello, begin), func(t *Timeouts) { t.End = 50 * time.Millisecond }, "the reply to the end of the message, which may have been taken"},
		{join(hello, begin), func(t *Timeouts) { t.Transaction = 100 * time.Millisecond }, "the reply to the end of the message, which may have been taken"},
	}
	for _, c := range cases {
		t.Run(c.want, func(t *testing.T) {
			t.Parallel()
			s := serve(t, append(c.server[:len(c.server):len(c.server)], "hang"))
			begun := time.Now()
			m := message("bob@example.net")
			results := s.transport(func(config *Config) { c.set(&config.Timeouts) }).Deliver(context.Background(), s.addr, m, all(m))
			if got := show(results); !results[0].Silent || got != "Deferred 4.4.2 timeout while waiting for "+c.want || time.Since(begun) > 4*time.Second {
				t.Errorf("after %v: %s", time.Since(begun), got)
			}
		})
	}
}

// TestBlockTimeout: a server that stops reading.
func TestBlockTimeout(t *testing.T) {
	big := message("bob@example.net")
	big.body = strings.Repeat(strings.Repeat("x", 70)+"\r\n", 500_000)
	s := serve(t, join(slow, script{"< MAIL FROM:<alice@example.com>", "> 250 ok", bob, "> 250 ok", "< DATA", "> 354 go"}, script{"wait"}))
	x := s.transport(func(config *Config) { config.Timeouts.Block = 100 * time.Millisecond })
	got := s.send(x, big)
	if got != "Deferred 4.4.2 timeout while waiting for the server to take more of the message" {
		t.Error(got)
	}
}

// TestCut: a server that closes in the middle of the message may say why.
func TestCut(t *testing.T) {
	big := message("bob@example.net")
	big.body = strings.Repeat(strings.Repeat("x", 70)+"\r\n", 500_000)
	s := serve(t, join(slow, script{"< MAIL FROM:<alice@example.com>", "> 250 ok", bob, "> 250 ok", "< DATA", "> 354 go", "cut", "> 552 5.3.4 too big"}))
	got := s.send(s.transport(nil), big)
	if !strings.HasPrefix(got, "Deferred 4.4.2 connection lost while waiting for the server to take more of the message: ") ||
		!strings.HasSuffix(got, "; the last it said is 552 5.3.4 too big") {
		t.Error(got)
	}
}

// TestDeliverEnds: the end of the context ends what waits.
func TestDeliverEnds(t *testing.T) {
	for _, at := range []script{{}, hello, join(hello, begin)} {
		s := serve(t, append(at[:len(at):len(at)], "hang"))
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		begun := time.Now()
		m := message("bob@example.net")
		got := show(s.transport(nil).Deliver(ctx, s.addr, m, all(m)))
		cancel()
		if !strings.HasPrefix(got, "Deferred 4.4.2 given up while waiting for ") || strings.Contains(got, "down") || time.Since(begun) > 3*time.Second {
			t.Errorf("after %v: %s", time.Since(begun), got)
		}
	}
}
