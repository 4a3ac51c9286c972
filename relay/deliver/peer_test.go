package deliver

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	gosmtp "github.com/emersion/go-smtp"
)

// backend is what a real server calls. It keeps each message as "from to,to: body".
type backend struct {
	mu   sync.Mutex
	kept []string
}

func (b *backend) NewSession(*gosmtp.Conn) (gosmtp.Session, error) { return &session{b: b}, nil }

type session struct {
	b    *backend
	from string
	opts gosmtp.MailOptions
	to   []string
}

func (s *session) Reset()        { s.from, s.to = "", nil }
func (s *session) Logout() error { return nil }
func (s *session) Mail(from string, opts *gosmtp.MailOptions) error {
	s.from, s.opts = from, *opts
	return nil
}

func (s *session) Rcpt(to string, _ *gosmtp.RcptOptions) error {
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
func start(t *testing.T, ln net.Listener, lmtp bool) *backend {
	b := &backend{}
	server := gosmtp.NewServer(b)
	server.Domain, server.LMTP, server.EnableSMTPUTF8 = "peer.example", lmtp, true
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
