package session

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatepost/internal/certtest"
	"gatepost/policy"
)

func TestStartTLS(t *testing.T) {
	site := newSite(t)
	f := accepting(t).listen(&Rules{Name: "MTA", TLS: site.server()})
	for _, version := range []struct {
		number             uint16
		name, cipher, bits string
	}{
		{tls.VersionTLS13, "TLSv1.3", "TLS_AES_128_GCM_SHA256", "128"},
		{tls.VersionTLS12, "TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256", "128"},
	} {
		t.Run(version.name, func(t *testing.T) {
			c := f.dial()
			c.expect("220 mx.example.com ESMTP Gatepost")
			c.send("EHLO client.example\r\n")
			if r := c.reply(); !strings.Contains(r, "\n250-STARTTLS\n") {
				t.Errorf("before TLS: %q", r)
			}
			c.say("STARTTLS now", "501 5.5.2 ")
			config := site.client()
			config.MaxVersion = version.number
			if r := c.starttls(config); strings.Contains(r, "STARTTLS") {
				t.Errorf("within TLS: %q", r)
			}
			c.say("STARTTLS", "503 5.5.0 TLS already active")
			c.transaction()
			c.say("Subject: x\r\n\r\ntext\r\n.", "250 2.0.0 ")
			c.say("QUIT", "221 2.0.0 ")
			c.expect("EOF")
			all := f.spool.Messages()
			text := f.read(all[len(all)-1])
			want := " with ESMTPS id "
			how := "\r\n\t(version=" + version.name + " cipher=" + version.cipher + " bits=" + version.bits + " verify=NOT)\r\n\tfor <u@local.example>;\r\n\t"
			if !strings.Contains(text, want) || !strings.Contains(text, how) {
				t.Errorf("no %q and %q in %q", want, how, text)
			}
		})
	}
	if !strings.Contains(f.log.String(), "tls_version=TLSv1.3 cipher=TLS_AES_128_GCM_SHA256 verify=NOT") {
		t.Errorf("log: %s", f.log)
	}
}

// A large message crosses TLS whole, at both ends of what a record can hold.
func TestLargeMessageWithinTLS(t *testing.T) {
	site := newSite(t)
	f := accepting(t).listen(&Rules{TLS: site.server()})
	text := "Subject: x\r\n\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 30_000)
	for _, piece := range []int{len(text), 1 << 14, 1000, 3} {
		c := f.greeted()
		c.starttls(site.client())
		c.transaction()
		if piece < 1000 { // a record each
			text = text[:20_000] + "\r\n"
		}
		for p := text; p != ""; p = p[min(piece, len(p)):] {
			c.send(p[:min(piece, len(p))])
		}
		c.say(".", "250 2.0.0 ")
		all := f.stored()
		if got := all[len(all)-1]; got != text {
			t.Errorf("in pieces of %d: %d bytes stored, want %d", piece, len(got), len(text))
		}
	}
	if n := f.lender.lent.Load(); n != 0 {
		soon(t, "the buffers are back", func() bool { return f.lender.lent.Load() == 0 })
	}
}

func TestNoTLSWithoutCertificate(t *testing.T) {
	site := newSite(t)
	var there atomic.Bool
	f := accepting(t).listen(&Rules{TLS: &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if !there.Load() {
			return nil, errors.New("the file is gone")
		}
		return &site.cert, nil
	}}})
	c := f.dial()
	c.expect("220 mx.example.com ESMTP Gatepost")
	c.send("EHLO x\r\n")
	if r := c.reply(); strings.Contains(r, "STARTTLS") {
		t.Errorf("announced without a certificate: %q", r)
	}
	c.say("STARTTLS", "454 4.3.3 TLS not available")
	if !strings.Contains(f.log.String(), "STARTTLS is not announced") || !strings.Contains(f.log.String(), "the file is gone") {
		t.Errorf("log: %s", f.log)
	}
	there.Store(true)
	c.starttls(site.client())
}

// TestCertificateReloads replaces the server's certificate between two sessions.
func TestCertificateReloads(t *testing.T) {
	site := newSite(t)
	var now atomic.Pointer[tls.Certificate]
	now.Store(&site.cert)
	f := accepting(t).listen(&Rules{Implicit: true, TLS: &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return now.Load(), nil }}})
	for range 2 {
		c := f.dial()
		state := c.upgrade(site.client())
		if !bytes.Equal(state.PeerCertificates[0].Raw, now.Load().Certificate[0]) {
			t.Error("another certificate was shown")
		}
		c.expect("220 mx.example.com ESMTP Gatepost")
		next := site.ca.Host("mx.example.com")
		now.Store(&next)
	}
}

// What was said before TLS is forgotten.
func TestStartTLSForgets(t *testing.T) {
	site := newSite(t)
	var seen atomic.Value
	f := start(t, script{verdict: func(at policy.Stage, f *policy.Facts) policy.Verdict {
		if at == policy.StageMail {
			seen.Store(f.Helo.Name)
		}
		return accept
	}}).listen(&Rules{TLS: site.server()})
	c := f.greeted()
	c.say("MAIL FROM:<a@before.example>", "250 ")
	c.say("RCPT TO:<u@local.example>", "250 ")
	c.say("STARTTLS", "220 ")
	c.upgrade(site.client())
	c.say("RCPT TO:<u@local.example>", "503 5.0.0 Need MAIL before RCPT")
	c.say("MAIL FROM:<a@after.example>", "250 ")
	if seen.Load() != "" {
		t.Errorf("the name %q was kept", seen.Load())
	}
}

// TestStartTLSInjection sends commands behind STARTTLS, in the clear: in the same
// packet, after its reply, and in front of the client's TLS. None is ever carried out.
func TestStartTLSInjection(t *testing.T) {
	site := newSite(t)
	const injected = "MAIL FROM:<evil@injected.example>\r\nRCPT TO:<u@local.example>\r\nDATA\r\nSubject: evil\r\n\r\n.\r\n"
	var mails atomic.Int32
	f := start(t, script{verdict: func(at policy.Stage, _ *policy.Facts) policy.Verdict {
		if at == policy.StageMail {
			mails.Add(1)
		}
		return accept
	}}).listen(&Rules{TLS: site.server()})
	t.Run("pipelined", func(t *testing.T) {
		c := f.greeted()
		c.send("STARTTLS\r\n" + injected)
		c.expect("554 5.5.0 Nothing may follow STARTTLS before its reply, closing connection")
		c.expect("EOF")
	})
	t.Run("one byte", func(t *testing.T) {
		c := f.greeted()
		c.send("STARTTLS\r\n\x16")
		c.expect("554 5.5.0 Nothing may follow STARTTLS before its reply, closing connection")
	})
	t.Run("instead of TLS", func(t *testing.T) {
		c := f.greeted()
		c.say("STARTTLS", "220 ")
		c.send(injected)
		if rest, _ := io.ReadAll(c.conn); bytes.Contains(rest, []byte("250")) || bytes.Contains(rest, []byte("354")) {
			t.Errorf("answered %q", rest)
		}
	})
	t.Run("in front of TLS", func(t *testing.T) {
		c := f.greeted()
		c.say("STARTTLS", "220 ")
		c.send("RSET\r\n")
		conn := tls.Client(c.conn, site.client())
		_ = conn.SetDeadline(time.Now().Add(patience))
		if conn.Handshake() == nil {
			t.Error("the handshake went on")
		}
	})
	soon(t, "the sessions have ended", func() bool { return f.Stats().Open == 0 })
	if n := mails.Load(); n != 0 || len(f.spool.Messages()) != 0 || f.Stats().Secured != 0 || f.Stats().NoTLS != 2 {
		t.Errorf("%d senders, %d messages, stats %+v", n, len(f.spool.Messages()), f.Stats())
	}
}

func TestImplicitTLS(t *testing.T) {
	site := newSite(t)
	base := accepting(t, func(c *Config) { c.Proxies = isLocal })
	f := base.listen(&Rules{Implicit: true, TLS: site.server()})
	// The proxy's header and the client's first bytes in one packet.
	c := f.dial()
	c.conn = &prefixed{Conn: c.conn, first: []byte("PROXY TCP4 192.0.2.77 192.0.2.1 1 465\r\n")}
	c.upgrade(site.client())
	c.expect("220 mx.example.com ESMTP Gatepost")
	c.send("EHLO x\r\n")
	if r := c.reply(); !strings.Contains(r, "[192.0.2.77]") || strings.Contains(r, "STARTTLS") {
		t.Errorf("EHLO: %q", r)
	}
	c.say("STARTTLS", "503 ")
	c.say("QUIT", "221 ")
	c.expect("EOF")
}

// prefixed sends something in front of the first write.
type prefixed struct {
	net.Conn
	first []byte
}

func (c *prefixed) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(append(c.first, p...))
	n -= len(c.first)
	c.first = nil
	return max(n, 0), err
}

// A client that speaks before the greeting is found within TLS too, also when its
// words come together with the end of its handshake.
func TestEarlyTalkerWithinTLS(t *testing.T) {
	site := newSite(t)
	f := accepting(t).listen(&Rules{Implicit: true, TLS: site.server()})
	c := f.dial()
	held := &holding{Conn: c.conn, free: 1}
	conn := tls.Client(held, site.client())
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "MAIL FROM:<a@b>\r\n"); err != nil {
		t.Fatal(err)
	}
	held.release(t)
	c.conn, c.in = conn, nil
	got := make([]byte, 200)
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	n, _ := io.ReadAtLeast(conn, got, 10)
	if !strings.HasPrefix(string(got[:n]), "554 mx.example.com ESMTP not accepting messages\r\n") {
		t.Errorf("greeted with %q", got[:n])
	}
}

// A pause before the greeting ends in a read that found nothing, which TLS must bear.
func TestGreetPauseWithinTLS(t *testing.T) {
	site := newSite(t)
	f := start(t, script{verdict: acceptAll, pause: 100 * time.Millisecond}).listen(&Rules{Implicit: true, TLS: site.server()})
	c := f.dialTLS(site.client())
	c.expect("220 mx.example.com ESMTP Gatepost")
	c.say("EHLO x", "250-")
	c.transaction()
	c.say(".", "250 ")
	early := f.dialTLS(site.client())
	early.send("NOOP\r\n")
	early.expect("554 mx.example.com ESMTP not accepting messages")
}

// holding keeps back all that is written after some pieces.
type holding struct {
	net.Conn
	free int
	held []byte
}

func (c *holding) Write(p []byte) (int, error) {
	if c.free--; c.free >= 0 {
		return c.Conn.Write(p)
	}
	c.held = append(c.held, p...)
	return len(p), nil
}

func (c *holding) release(t *testing.T) {
	if _, err := c.Conn.Write(c.held); err != nil {
		t.Fatal(err)
	}
}

func TestClientCertificates(t *testing.T) {
	site := newSite(t)
	const issuer, subject = "/C=US/O=Example+20Corp/CN=Example+20CA", "/C=US/O=Example+20Corp/OU=R+20+28and+29+20D/CN=bob"
	name := certtest.Name(t, "/C=US/O=Example Corp/OU=R (and) D/CN=bob")
	stranger := certtest.New(t, certtest.Name(t, "/C=XX/CN=Untrusted CA"))
	for _, tt := range []struct {
		name  string
		certs []tls.Certificate
		want  policy.TLS
	}{
		{"good", []tls.Certificate{site.ca.Issue(name, nil)}, policy.TLS{Verify: "OK", CertSubject: subject, CertIssuer: issuer}},
		{"none", nil, policy.TLS{Verify: "NO"}},
		{"of a stranger", []tls.Certificate{stranger.Issue(name, nil)}, policy.TLS{Verify: "FAIL", CertSubject: subject, CertIssuer: "/C=XX/CN=Untrusted+20CA"}},
		{"expired", []tls.Certificate{site.ca.Issue(name, nil, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })}, policy.TLS{Verify: "FAIL", CertSubject: subject, CertIssuer: issuer}},
		{"a server's", []tls.Certificate{site.ca.Issue(name, nil, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		})}, policy.TLS{Verify: "FAIL", CertSubject: subject, CertIssuer: issuer}},
		{"too long a name", []tls.Certificate{site.ca.Issue(certtest.Name(t, "/CN="+strings.Repeat("x", 252)), nil)}, policy.TLS{Verify: "OK"}},
		{"no name", []tls.Certificate{site.ca.Issue([]byte(emptyName), []string{"bob.example"})}, policy.TLS{Verify: "OK", CertIssuer: issuer}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			seen := make(chan policy.TLS, 1)
			f := start(t, script{verdict: func(at policy.Stage, f *policy.Facts) policy.Verdict {
				if at == policy.StageMail {
					seen <- f.TLS
				}
				return accept
			}}).listen(&Rules{TLS: site.server(), ClientCAs: site.ca.Pool})
			c := f.greeted()
			c.starttls(site.client(tt.certs...))
			c.say("MAIL FROM:<a@b>", "250 ")
			if got := <-seen; got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestNotAskedForCertificate(t *testing.T) {
	site := newSite(t)
	seen := make(chan string, 2)
	f := start(t, script{verdict: func(at policy.Stage, f *policy.Facts) policy.Verdict {
		if at == policy.StageMail {
			seen <- f.TLS.Verify
		}
		return accept
	}}, func(c *Config) { c.Xclient = isLocal }).listen(&Rules{TLS: site.server()})
	c := f.greeted()
	c.say("MAIL FROM:<a@b>", "250 ")
	if got := <-seen; got != "NONE" {
		t.Errorf("without TLS verify is %s", got)
	}
	c.say("RSET", "250 ")
	c.starttls(site.client(site.ca.Issue(certtest.Name(t, "/CN=x"), nil)))
	c.say("XCLIENT ADDR=192.0.2.1", "220 ") // whoever that is, it is not its TLS
	c.say("MAIL FROM:<a@b>", "250 ")
	if got := <-seen; got != "NONE" {
		t.Errorf("after XCLIENT verify is %s", got)
	}
}

// TestSlowHandshakes: a client that does not go on with its handshake does not stop
// Shutdown.
func TestSlowHandshakes(t *testing.T) {
	site := newSite(t)
	f := accepting(t).listen(&Rules{Implicit: true, TLS: site.server()})
	c := f.dial()
	c.send("\x16\x03\x01\x02\x00\x01")
	soon(t, "it is open", func() bool { return f.Stats().Open == 1 })
	time.Sleep(50 * time.Millisecond)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := f.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

func TestHandshakeWaitsAreBounded(t *testing.T) {
	site := newSite(t)
	r, err := (&Rules{TLS: site.server()}).ready()
	if err != nil {
		t.Fatal(err)
	}
	server, client := net.Pipe()
	defer client.Close()
	w := newWire(server, &lender{}, DefaultCommandLine)
	begin := time.Now()
	if _, err := w.secure(r.TLS, begin.Add(100*time.Millisecond), func() bool { return false }); !timedOut(err) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("waited %v", took)
	}
}

func isAt(prefix string) func(netip.Addr) bool { return netip.MustParsePrefix(prefix).Contains }
