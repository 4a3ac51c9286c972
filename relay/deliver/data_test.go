package deliver

import (
	"strconv"
	"strings"
	"testing"

	"gatepost/relay/spool"
)

var bdatHello = join(hello[:len(hello)-1], script{"> 250-CHUNKING", "> 250 DSN"})

// chunks are n chunks of a message, of which the server has heard.
func chunks(n int) (out script) {
	for range n {
		out = append(out, "bdat 32768")
	}
	return out
}

func said(n int, word string) (out script) {
	for range n {
		out = append(out, "> "+word)
	}
	return out
}

// TestBDAT: a message that is larger than one chunk goes by BDAT where that is offered.
func TestBDAT(t *testing.T) {
	lines := strings.Repeat(".\r\nabc\r\n..\r\n", 20_000) // 240,000 bytes: 7 chunks and 10,624
	envelope := func(size string) script {
		return script{"< MAIL FROM:<alice@example.com> SIZE=" + size, bob, "> 250 ok", "> 250 ok"}
	}
	small := join(bdatHello, begin[:2], script{"< DATA", "> 250 ok", "> 250 ok", "> 354 go"}, taken)
	for _, c := range []struct {
		name, body string
		talk       script
		want       string
	}{
		{"small", text, small, "Sent 2.0.0 250 2.0.0 taken"},
		{"whole", lines, join(bdatHello, envelope("240000"), chunks(7), script{"bdat 10624 LAST"}, said(7, "250 ok"), script{"> 250 2.0.0 taken"}), "Sent 2.0.0 250 2.0.0 taken"},
		{"replies at once", lines, join(bdatHello, envelope("240000"), script{"bdat 32768", "> 250 ok", "bdat 32768", "> 250 ok"}, chunks(5), said(5, "250 ok"), script{"bdat 10624 LAST", "> 250 2.0.0 taken"}), "Sent 2.0.0 250 2.0.0 taken"},
		{"even chunks", lines[:2*chunk], join(bdatHello, envelope("65536"), chunks(2), script{"bdat 2 LAST"}, said(2, "250 ok"), script{"> 250 2.0.0 taken"}), "Sent 2.0.0 250 2.0.0 taken"},
		{"refused at the end", lines, join(bdatHello, envelope("240000"), chunks(7), script{"bdat 10624 LAST"}, said(7, "250 ok"), script{"> 554 5.7.0 spam", "hang"}), "Failed 5.7.0 554 5.7.0 spam"},
		{"refused in the middle", lines, join(bdatHello, envelope("240000"), chunks(7), script{"bdat 10624 LAST", "> 250 ok", "> 552 5.3.4 too big"}, said(6, "503 no"), script{"hang"}), "Failed 5.3.4 552 5.3.4 too big"},
		{"later", lines, join(bdatHello, envelope("240000"), chunks(7), script{"bdat 10624 LAST", "> 452 4.3.1 full"}, said(7, "503 no"), script{"hang"}), "Deferred 4.3.1 452 4.3.1 full"},
		{"confused", lines, join(bdatHello, envelope("240000"), chunks(7), script{"bdat 10624 LAST", "> 354 go", "hang"}), "Deferred 4.5.0 unexpected reply: 354 go"},
		{"421", lines, join(bdatHello, envelope("240000"), chunks(7), script{"bdat 10624 LAST", "> 421 4.3.2 down"}), "Deferred 4.3.2 421 4.3.2 down"},
		{"gone", lines, join(bdatHello, envelope("240000"), chunks(7), script{"bdat 10624 LAST"}, said(7, "250 ok")), "Deferred 4.4.2 connection closed while waiting for the reply to the end of the message, which may have been taken"},
		{"no RCPT", lines, join(bdatHello, envelope("240000")[:3], script{"> 550 5.1.1 no", "hang"}), "Failed 5.1.1 550 5.1.1 no"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, c.talk)
			m := message("bob@example.net")
			m.body = c.body
			if got := steady(s.send(s.transport(nil), m)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			want := c.body
			if !strings.HasSuffix(want, "\r\n") {
				want += "\r\n"
			}
			if heard := s.messages(); c.body != text && strings.Contains(c.want, "taken") && len(heard) > 0 && string(heard[0]) != want {
				t.Errorf("the server has another message, of %d bytes for %d", len(heard[0]), len(want))
			}
		})
	}
}

// TestBDATInTime: a server that refuses a large message need not take all of it, and the
// connection is of further use.
func TestBDATInTime(t *testing.T) {
	m := message("bob@example.net")
	m.body = strings.Repeat(strings.Repeat("x", 62)+"\r\n", 15_000)
	m.body = strings.Repeat(m.body, 20)
	s := serve(t, join(slow[:2], script{"> 250-there", "> 250-CHUNKING", "> 250 PIPELINING", "< MAIL FROM:<alice@example.com>", bob, "> 250 ok", "> 250 ok"},
		chunks(maxChunks), script{"> 552 5.3.4 too big"}, said(maxChunks-1, "503 no"),
		script{"< RSET", "< MAIL FROM:<alice@example.com>", bob, "< DATA", "> 250 ok", "> 250 ok", "> 250 ok", "> 354 go"}, taken))
	x := s.transport(nil)
	if got := s.send(x, m); got != "Failed 5.3.4 552 5.3.4 too big" {
		t.Error(got)
	}
	if got := s.send(x, message("bob@example.net")); got != "Sent 2.0.0 250 2.0.0 taken" {
		t.Error(got)
	}
}

// TestBDATLimits: not in LMTP, nor without PIPELINING.
func TestBDATLimits(t *testing.T) {
	m := message("bob@example.net")
	m.body = strings.Repeat("x\r\n", chunk)
	s := serve(t, join(slow[:2], script{"> 250-there", "> 250 CHUNKING", "< MAIL FROM:<alice@example.com>", "> 250 ok", bob, "> 250 ok", "< DATA", "> 354 go"}, taken))
	if got := s.send(s.transport(nil), m); got != "Sent 2.0.0 250 2.0.0 taken" {
		t.Error(got)
	}
	s = serve(t, script{"> 220 there", "< LHLO relay.example.com", "> 250-there", "> 250-PIPELINING", "> 250 CHUNKING", "< MAIL FROM:<alice@example.com>", bob, "< DATA", "> 250 ok", "> 250 ok", "> 354 go", "*", "> 250 2.0.0 taken"})
	if got := s.send(s.transport(func(c *Config) { c.LMTP = true }), m); got != "Sent 2.0.0 250 2.0.0 taken" {
		t.Error(got)
	}
}

// TestBDATCanonical: what is not canonical is not sent by BDAT either.
func TestBDATCanonical(t *testing.T) {
	for _, end := range []string{"\n.\r\n", "\r.\r\n", "\r"} {
		s := serve(t, join(bdatHello, script{"< MAIL FROM:<alice@example.com> SIZE=" + strconv.Itoa(3*chunk+len(end)), bob, "> 250 ok", "> 250 ok"}, chunks(3), script{"hang"}))
		m := message("bob@example.net")
		m.body = strings.Repeat("x\r\n", chunk) + end
		if got := s.send(s.transport(nil), m); got != "Failed 5.6.0 "+errLoneCRLF.Error() {
			t.Error(got)
		}
		if len(s.messages()) != 0 {
			t.Error("the server has a message")
		}
	}
}

// TestDSN: what the sender wants to be told goes to servers that offer DSN, and to no
// others.
func TestDSN(t *testing.T) {
	offered := join(hello[:len(hello)-1], script{"> 250 DSN"})
	for _, c := range []struct {
		name     string
		change   func(*spool.Envelope)
		mail     string
		rcpt     string
		notifies bool
	}{
		{"nothing asked", func(*spool.Envelope) {}, "", "", true},
		{"all asked", func(e *spool.Envelope) {
			e.Ret, e.EnvID = "HDRS", "Q+2B1"
			e.Recipients[0].Notify = spool.NotifySuccess | spool.NotifyFailure | spool.NotifyDelay
			e.Recipients[0].ORcpt = "rfc822;bob+40example.org"
		}, " RET=HDRS ENVID=Q+2B1", " NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;bob+40example.org", true},
		{"never", func(e *spool.Envelope) { e.Recipients[0].Notify = spool.NotifyNever | spool.NotifyDelay }, "", " NOTIFY=NEVER", true},
		{"no parameters", func(e *spool.Envelope) {
			e.Ret, e.EnvID = "ALL", "a b"
			e.Recipients[0].ORcpt = "rfc822;x\r\nDATA"
		}, "", "", true},
		{"too long", func(e *spool.Envelope) { e.Recipients[0].ORcpt = strings.Repeat("x", 501) }, "", "", true},
	} {
		m := message("bob@example.net")
		c.change(&m.env)
		s := serve(t, join(offered, script{mail + c.mail, "< RCPT TO:<bob@example.net>" + c.rcpt}, begin[2:], taken))
		got := s.transport(nil).Deliver(t.Context(), s.addr, m, []int{0})
		if got[0].Outcome != Delivered || !got[0].Notifies || got[0].Code != 250 {
			t.Errorf("%s: %+v", c.name, got)
		}
		s = serve(t, allDone)
		if got := s.transport(nil).Deliver(t.Context(), s.addr, m, []int{0}); got[0].Outcome != Delivered || got[0].Notifies {
			t.Errorf("%s, not offered: %+v", c.name, got)
		}
	}
}

// TestLimits: a server says how much it takes (RFC 9422).
func TestLimits(t *testing.T) {
	limits := func(words string) script {
		return join(hello[:len(hello)-1], script{"> 250 LIMITS " + words})
	}
	s := serve(t, join(limits("RCPTMAX=2 MAILMAX=2 RCPTDOMAINMAX=1 RCPTMAX=x RCPTMAX=0"),
		script{mail, bob, carol, "< DATA", "> 250 ok", "> 250 ok", "> 250 ok", "> 354 go"}, taken,
		script{mail, dave, "< DATA", "> 250 ok", "> 250 ok", "> 354 go"}, taken, script{"< QUIT"}))
	if got := s.send(s.transport(nil), message("bob@example.net", "carol@example.net", "dave@example.net")); got != strings.TrimSuffix(strings.Repeat("Sent 2.0.0 250 2.0.0 taken\n", 3), "\n") {
		t.Error(got)
	}
}
