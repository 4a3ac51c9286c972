package session

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"gatepost/internal/certtest"
	"gatepost/policy"
)

func TestRequireTLS(t *testing.T) {
	site := newSite(t)
	f := accepting(t).listen(&Rules{TLS: site.server(), RequireTLS: true})
	c := f.greeted()
	for _, command := range []string{"MAIL FROM:<a@b>", "RCPT TO:<a@b>", "DATA", "VRFY x", "AUTH PLAIN", "HELP"} {
		c.say(command, "530 5.7.0 Must issue a STARTTLS command first")
	}
	c.say("BDAT 6 LAST\r\nNOOP", "503 ")
	c.say("NOOP", "250 ")
	c.say("RSET", "250 ")
	c.starttls(site.client())
	c.say("MAIL FROM:<a@b>", "250 ")
}

func TestFencedListener(t *testing.T) {
	site := newSite(t)
	base := accepting(t, func(c *Config) { c.Proxies, c.Xclient = isAt("127.0.0.2/32"), isLocal })
	plain := base.listen(&Rules{Name: "device", Allowed: isAt("192.0.2.0/24")})
	c := plain.dial()
	c.expect("554 mx.example.com ESMTP not accepting messages")
	c.expect("EOF")
	implicit := base.listen(&Rules{Implicit: true, TLS: site.server(), Allowed: isAt("192.0.2.0/24")})
	if err := tls.Client(implicit.dial().conn, site.client()).Handshake(); err == nil {
		t.Error("TLS with a stranger")
	}
	if n := base.Stats().Fenced; n != 2 {
		t.Errorf("%d turned away, want 2", n)
	}
	// Who is meant is the client, not the proxy.
	for addr, want := range map[string]string{"192.0.2.7": "220 ", "203.0.113.9": "554 "} {
		conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).Dial("tcp4", plain.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		c := plain.dial()
		c.conn = conn
		c.in.Reset(conn)
		c.send("PROXY TCP4 " + addr + " 192.0.2.1 1 25\r\n")
		if r := c.next(); !strings.HasPrefix(r, want) {
			t.Errorf("client %s: %q, want %q", addr, r, want)
		}
	}
	inside := base.listen(&Rules{Allowed: isLocal})
	c = inside.greeted()
	c.say("XCLIENT ADDR=203.0.113.9", "554 mx.example.com ESMTP not accepting messages")
	c.expect("EOF")
}

func TestForcedSender(t *testing.T) {
	var judged []string
	f := start(t, script{verdict: func(at policy.Stage, f *policy.Facts) policy.Verdict {
		if at == policy.StageMail {
			judged = append(judged, f.Mail.Sender.Raw())
		}
		return accept
	}}).listen(&Rules{Sender: "scanner@office.example"})
	c := f.greeted()
	c.say("MAIL FROM:<a@b@c>", "553 5.1.3 <a@b@c>... ")
	for _, from := range []string{"<>", "<boss@office.example>", "<@route:x@y>"} {
		c.say("MAIL FROM:"+from, "250 2.1.0 <scanner@office.example>... Sender ok")
		c.say("RCPT TO:<u@local.example>", "250 ")
		c.say("DATA", "354 ")
		c.say(".", "250 ")
	}
	if got := strings.Join(judged, " "); got != strings.TrimSpace(strings.Repeat("<scanner@office.example> ", 3)) {
		t.Errorf("judged %s", got)
	}
	for _, m := range f.spool.Messages() {
		if e, err := m.Envelope(); err != nil || e.Sender != "scanner@office.example" {
			t.Errorf("stored with %q, %v", e.Sender, err)
		}
	}
}

func TestQuota(t *testing.T) {
	quota := NewQuota(2)
	base := accepting(t)
	f, other := base.listen(&Rules{Quota: quota}), base.listen(&Rules{Quota: quota})
	const over = "452 4.7.1 Too many messages from your address, please try again later"
	c, d := f.greeted(), other.greeted()
	for range 5 { // what does not come about does not count
		c.say("MAIL FROM:<a@b>", "250 ")
		c.say("RSET", "250 ")
	}
	c.transaction()
	d.say("MAIL FROM:<a@b>", "250 ")
	e := f.greeted()
	e.say("MAIL FROM:<a@b>", over)
	d.say("QUIT", "221 ")
	soon(t, "it counts no more", func() bool { return base.Stats().Open == 2 })
	c.say("text\r\n.", "250 ")
	c.transaction()
	c.say(".", "250 ")
	c.say("MAIL FROM:<a@b>", over)
	base.greeted().say("MAIL FROM:<a@b>", "250 ") // another listener's rules
}

func TestQuotaWindow(t *testing.T) {
	q, now := NewQuota(1), time.Now()
	a, near := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	if !q.take(a, now) || q.take(near, now.Add(59*time.Minute)) || !q.take(near, now.Add(time.Hour)) {
		t.Error("a /64 has one message an hour")
	}
	for i := range 2 * quotaClients {
		q.take(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now)
	}
	if n := q.used.Len(); n != quotaClients {
		t.Errorf("%d clients remembered, want %d", n, quotaClients)
	}
}

func TestUnsoundRules(t *testing.T) {
	f := accepting(t)
	for _, r := range []*Rules{
		{Name: "a", Implicit: true}, {Name: "a", RequireTLS: true}, {Name: "a", RequireAuth: true},
		{Name: "a", Sender: "nobody"}, {Name: "a", Sender: "a@b c"}, {Name: "a", Sender: "<a@b>"}, {Name: "a", Sender: "a@b>\r\nRCPT"},
	} {
		ln, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Serve(context.Background(), ln, r); err == nil || !strings.Contains(err.Error(), "rules of listener a: ") {
			t.Errorf("%+v: %v", r, err)
		}
		if _, err := ln.Accept(); err == nil {
			t.Error("the listener is still open")
		}
	}
}

// On a port with TLS from the first byte nothing is said in the clear.
func TestTurnedAwayFromImplicitTLS(t *testing.T) {
	site := newSite(t)
	f := accepting(t, limits(func(l *Limits) { l.ConnsPerClient = 1 })).listen(&Rules{Implicit: true, TLS: site.server()})
	f.dialTLS(site.client()).expect("220 mx.example.com ESMTP Gatepost")
	if got, _ := io.ReadAll(f.dial().conn); len(got) > 0 {
		t.Errorf("turned away with %q", got)
	}
}

// What comes behind a DATA that is refused is found within TLS too, in a record of its
// own that is there already.
func TestRefusedDataWithinTLS(t *testing.T) {
	site := newSite(t)
	f := accepting(t).listen(&Rules{Implicit: true, TLS: site.server()})
	c := f.dial()
	held := &holding{Conn: c.conn, free: 2}
	c.conn = held
	c.upgrade(site.client())
	c.expect("220 mx.example.com ESMTP Gatepost")
	c.send("DATA\r\n")
	c.send("MAIL FROM:<forged@sender.example>\r\n")
	held.release(t)
	c.expect("503 5.0.0 Need MAIL command")
	c.expect("EOF")
}

// A client that resumes TLS is the one whose certificate it was, and that is judged anew.
func TestResumedTLS(t *testing.T) {
	site := newSite(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		seen, believed := make(chan policy.TLS, 1), site.ca.Pool()
		f := start(t, script{verdict: func(at policy.Stage, f *policy.Facts) policy.Verdict {
			if at == policy.StageMail {
				seen <- f.TLS
			}
			return accept
		}}).listen(&Rules{TLS: site.server(), Implicit: true, ClientCAs: func() *x509.CertPool { return believed }})
		config := site.client(site.ca.Issue(certtest.Name(t, "/CN=x"), nil))
		config.ClientSessionCache, config.MaxVersion = tls.NewLRUClientSessionCache(1), version
		for i, want := range []string{"OK", "OK", "FAIL"} {
			if i == 2 {
				believed = x509.NewCertPool()
			}
			c := f.dial()
			resumed := c.upgrade(config).DidResume
			c.expect("220 mx.example.com ESMTP Gatepost")
			c.say("MAIL FROM:<a@b>", "250 ")
			if got := <-seen; got.Verify != want || got.CertSubject != "/CN=x" || resumed != (i > 0) {
				t.Errorf("connection %d: resumed %v, %+v, want %s", i, resumed, got, want)
			}
			c.say("QUIT", "221 ")
			c.expect("EOF")
		}
	}
}
