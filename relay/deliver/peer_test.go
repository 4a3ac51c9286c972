package deliver

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"gatepost/relay/spool"
	"gatepost/relay/tlspolicy"
)

// backend is what a real server calls. It keeps each message as "from to,to: body".
type backend struct {
	mu      sync.Mutex
	kept    []string
	secured bool   // the last one came by TLS
	asked   string // what its sender wants to be told
}

func (b *backend) NewSession(c *gosmtp.Conn) (gosmtp.Session, error) {
	return &session{b: b, conn: c}, nil
}

type session struct {
	b    *backend
	conn *gosmtp.Conn
	from string
	opts gosmtp.MailOptions
	rcpt gosmtp.RcptOptions // of the last recipient
	to   []string
}

func (s *session) Reset()        { s.from, s.to = "", nil }
func (s *session) Logout() error { return nil }
func (s *session) Mail(from string, opts *gosmtp.MailOptions) error {
	s.from, s.opts = from, *opts
	return nil
}

func (s *session) Rcpt(to string, opts *gosmtp.RcptOptions) error {
	s.rcpt = *opts
	if strings.HasPrefix(to, "nobody@") {
		return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "nobody here"}
	}
	s.to = append(s.to, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	body, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	_, s.b.secured = s.conn.TLSConnectionState()
	s.b.asked = fmt.Sprint(s.opts.Return, " ", s.opts.EnvelopeID, " ", s.rcpt.Notify, " ", s.rcpt.OriginalRecipientType, " ", s.rcpt.OriginalRecipient)
	s.b.kept = append(s.b.kept, fmt.Sprintf("%s %s %d %v: %s", s.from, strings.Join(s.to, ","), s.opts.Size, s.opts.Body, body))
	return nil
}

func (s *session) LMTPData(r io.Reader, status gosmtp.StatusCollector) error {
	err := s.Data(r)
	for _, to := range s.to {
		if strings.HasPrefix(to, "full@") {
			status.SetStatus(to, &gosmtp.SMTPError{Code: 452, EnhancedCode: gosmtp.EnhancedCode{4, 2, 2}, Message: "full"})
			continue
		}
		status.SetStatus(to, err)
	}
	return nil
}

// start starts a go-smtp server.
func start(t *testing.T, ln net.Listener, lmtp bool, change ...func(*gosmtp.Server)) *backend {
	b := &backend{}
	server := gosmtp.NewServer(b)
	server.Domain, server.LMTP, server.EnableSMTPUTF8 = "peer.example", lmtp, true
	for _, c := range change {
		c(server)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(ln) }()
	t.Cleanup(func() {
		server.Close()
		if err := <-done; err != nil && !errors.Is(err, gosmtp.ErrServerClosed) {
			t.Error(err)
		}
	})
	return b
}

// TestPeer sends to a server of others, several messages on one connection.
func TestPeer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := start(t, ln, false)
	x, err := NewSMTP(Config{HostName: "relay.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	m := message("bob@example.net", "nobody@example.net", "carol@example.net")
	m.env.EightBit = true
	m.body = "Subject: caf\xe9\r\n\r\n.\r\n..\r\n" + strings.Repeat(".x\r\n", 3*chunk)
	for range 3 {
		got := deliver(x, ln.Addr().String(), m)
		if ok := strings.Split(got, "\n"); len(ok) != 3 || !strings.HasPrefix(ok[0], "Sent 2.0.0 250 ") || ok[1] != "Failed 5.1.1 550 5.1.1 nobody here" || ok[2] != ok[0] {
			t.Error(got)
		}
	}
	want := fmt.Sprintf("alice@example.com bob@example.net,carol@example.net %d 8BITMIME: %s", len(m.body), m.body)
	if len(b.kept) != 3 || b.kept[0] != want || b.kept[1] != want || b.kept[2] != want {
		t.Errorf("%d messages: %.200q", len(b.kept), b.kept)
	}
	if len(x.pool.idle) != 1 {
		t.Errorf("%d connections are kept", len(x.pool.idle))
	}
}

// TestPeerLMTP does the same over a UNIX-domain socket.
func TestPeerLMTP(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lmtp")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	b := start(t, ln, true)
	x, err := NewSMTP(Config{LMTP: true, HostName: "relay.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	for range 2 {
		got := x.Deliver(t.Context(), "unix:"+path, message("full@example.net", "nobody@example.net", "bob@example.net"), []int{0, 1, 2})
		if got[0].Outcome != Deferred || got[1].Outcome != Failed || got[2].Outcome != Delivered || got[2].Relay != "unix:"+path {
			t.Errorf("%+v", got)
		}
	}
	if len(b.kept) != 2 || !bytes.HasSuffix([]byte(b.kept[0]), []byte(text)) {
		t.Errorf("%q", b.kept)
	}
}

// TestPeerTLS sends by STARTTLS, and by TLS from the first byte, what has a report asked
// for, to a server of others.
func TestPeerTLS(t *testing.T) {
	for _, implicit := range []bool{false, true} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		config := serverTLS(t, "127.0.0.1")
		addr := ln.Addr().String()
		if implicit {
			ln = tls.NewListener(ln, config)
		}
		b := start(t, ln, false, func(s *gosmtp.Server) { s.TLSConfig, s.EnableDSN = config, true })
		x, err := NewSMTP(Config{HostName: "relay.example.com"})
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		secureBy(tlspolicy.Policy{Level: tlspolicy.Encrypt, Implicit: implicit})(&x.config)
		m := message("bob@example.net")
		m.body = strings.Repeat(".x\r\n", 3*chunk)
		m.env.Ret, m.env.EnvID = "HDRS", "Q+2B1"
		m.env.Recipients[0].Notify, m.env.Recipients[0].ORcpt = spool.NotifySuccess|spool.NotifyDelay, "rfc822;bob+2Bx@example.org"
		for range 3 {
			got := x.Deliver(t.Context(), addr, m, []int{0})
			if got[0].Outcome != Delivered || got[0].Secured != "TLSv1.3, encrypted" || !got[0].Notifies {
				t.Errorf("%+v", got)
			}
		}
		if len(b.kept) != 3 || !strings.HasSuffix(b.kept[2], m.body) || !b.secured || b.asked != "HDRS Q+1 [SUCCESS DELAY] RFC822 bob+x@example.org" {
			t.Errorf("%d messages, secured %v, asked %s", len(b.kept), b.secured, b.asked)
		}
		if len(x.pool.idle) != 1 {
			t.Errorf("%d connections are kept", len(x.pool.idle))
		}
	}
}

// TestPeers sends to several servers at once, some with TLS, over connections that are
// kept: each has what is meant for it, and no more.
func TestPeers(t *testing.T) {
	const servers, messages, senders = 4, 200, 16
	var peers []*backend
	var addrs []string
	for i := range servers {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addrs = append(addrs, ln.Addr().String())
		peers = append(peers, start(t, ln, false, func(s *gosmtp.Server) {
			if i%2 == 1 {
				s.TLSConfig = serverTLS(t, "127.0.0.1")
			}
		}))
	}
	x, err := NewSMTP(Config{HostName: "relay.example.com", MaxIdle: 10, MaxIdlePeer: 4, MaxUses: 7})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	var next atomic.Int64
	var running sync.WaitGroup
	for range senders {
		running.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= servers*messages {
					return
				}
				m := message(fmt.Sprintf("to%d@example.net", n%servers))
				got := x.Deliver(t.Context(), addrs[n%servers], m, []int{0})
				if got[0].Outcome != Delivered || (got[0].Secured != "") != (n%servers%2 == 1) {
					t.Errorf("%+v", got)
				}
			}
		})
	}
	running.Wait()
	if n := len(x.pool.idle); n == 0 || n > 10 {
		t.Errorf("%d connections are kept", n)
	}
	for i, b := range peers {
		if len(b.kept) != messages {
			t.Errorf("server %d has %d messages", i, len(b.kept))
		}
		for _, m := range b.kept {
			if want := fmt.Sprintf("alice@example.com to%d@example.net ", i); !strings.HasPrefix(m, want) {
				t.Fatalf("server %d has %.60q", i, m)
			}
		}
	}
}
