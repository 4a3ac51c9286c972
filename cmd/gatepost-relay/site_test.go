package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"gatepost/internal/setup"
)

// The clients of tests, told by XCLIENT.
const (
	stranger = "203.0.113.9"
	trusted  = "192.0.2.7" // by Connect: in siteAccess
)

const siteConfig = `
host_name = "mx.example.com"
dont_probe_interfaces = true
[tables]
access = "access"
relay_domains = "relay-domains"
local_host_names = "local-host-names"
[features]
nocanonify = true
accept_unresolvable_domains = true
[relay]
listen = "127.0.0.1:0"
spool = "DIR/spool"
smart_host = "SMART"
xclient = "127.0.0.1"
retry = ["1s"]
control = "DIR/control.sock"
submission = "DIR/submission.sock"
[admin]
listen = "unix:DIR/a.sock"
[dns]
servers = ["127.0.0.1:9"]
timeout = "100ms"
attempts = 1
`

const siteAccess = "Connect:192.0.2\tRELAY\nFrom:doubtful.example\tQUARANTINE:looked at by hand\nFrom:trap.example\tDISCARD\n"

// buffer is a bytes.Buffer that may be read while the program writes.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// site is a folder with a configuration, its tables and a spool, a smart host that
// keeps what it gets, and the program on it.
type site struct {
	t       *testing.T
	dir     string
	smart   *sink
	stderr  buffer
	signals chan os.Signal
	exit    chan int
}

func newSite(t *testing.T) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "gp") // t.TempDir is too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &site{t: t, dir: dir, smart: newSink(t, false), signals: make(chan os.Signal, 4), exit: make(chan int, 1)}
	s.write("gatepost.toml", siteConfig)
	s.write("access", siteAccess)
	s.write("relay-domains", "example.net\n")
	s.write("local-host-names", "example.com\n")
	return s
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// write replaces a file, in whose text DIR and SMART stand for the folder and the smart host.
func (s *site) write(name, text string) {
	s.t.Helper()
	s.put(name, strings.NewReplacer("DIR", s.dir, "SMART", s.smart.addr).Replace(text))
}

// put replaces a file.
func (s *site) put(name, text string) {
	s.t.Helper()
	tmp := s.path(name + ".new")
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(tmp, s.path(name)); err != nil {
		s.t.Fatal(err)
	}
}

// relay adds lines to [relay].
func (s *site) relay(lines string) {
	s.write("gatepost.toml", strings.Replace(siteConfig, "[relay]\n", "[relay]\n"+lines+"\n", 1))
}

// start runs the program and waits until it is ready.
func (s *site) start(args ...string) {
	s.t.Helper()
	args = append([]string{programName, "--config", s.path("gatepost.toml")}, args...)
	go func() {
		s.exit <- run(context.Background(), args, strings.NewReader(""), io.Discard, &s.stderr, s.signals)
	}()
	s.t.Cleanup(s.stop)
	s.ready()
}

func (s *site) ready() {
	s.t.Helper()
	s.eventually("it is ready", func() bool { return strings.Contains(s.stderr.String(), "msg=ready") })
}

func (s *site) stop() {
	s.signals <- syscall.SIGTERM
	s.signals <- syscall.SIGTERM
	s.ended()
}

// ended waits for the end of the program.
func (s *site) ended() int {
	s.t.Helper()
	select {
	case code := <-s.exit:
		s.exit <- code
		return code
	case <-time.After(20 * time.Second):
		s.t.Fatalf("the program did not end; its log:\n%s", s.stderr.String())
		return 0
	}
}

func (s *site) eventually(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(15 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("waited 15 s until %s; log:\n%s", what, s.stderr.String())
		}
	}
}

// address is where the program takes mail.
func (s *site) address() string { return s.at("MTA") }

// at is where a listener takes mail.
func (s *site) at(listener string) string {
	s.t.Helper()
	at := regexp.MustCompile(`msg=listening address=(\S+) listener=` + listener + `\n`).FindStringSubmatch(s.stderr.String())
	if at == nil {
		s.t.Fatalf("no address of %s in the log:\n%s", listener, s.stderr.String())
	}
	return at[1]
}

// client is one SMTP session.
type client struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

// from begins a session of the client with an address, up to EHLO.
func (s *site) from(addr string) *client {
	s.t.Helper()
	nc, err := net.Dial("tcp", s.address())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { nc.Close() })
	c := &client{t: s.t, Conn: nc, in: bufio.NewReader(nc)}
	c.expect("220 ", "")
	c.expect("220 ", "XCLIENT ADDR="+addr+" NAME=[UNAVAILABLE]")
	c.expect("250", "EHLO client.example")
	return c
}

// say sends a line and returns the last line of the answer.
func (c *client) say(line string) string {
	c.t.Helper()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if line != "" {
		if _, err := io.WriteString(c, line+"\r\n"); err != nil {
			return err.Error()
		}
	}
	for {
		answer, err := c.in.ReadString('\n')
		if err != nil {
			return err.Error()
		}
		if len(answer) < 4 || answer[3] != '-' {
			return strings.TrimRight(answer, "\r\n")
		}
	}
}

func (c *client) expect(want, line string) string {
	c.t.Helper()
	got := c.say(line)
	if !strings.HasPrefix(got, want) {
		c.t.Errorf("%q was answered %q, want %s...", line, got, want)
	}
	return got
}

// message sends one message and returns the answer to it, or to the first of its
// recipients that is refused.
func (c *client) message(from string, to ...string) string {
	c.t.Helper()
	if got := c.say("MAIL FROM:<" + from + ">"); got[0] != '2' {
		return got
	}
	for _, r := range to {
		if got := c.say("RCPT TO:" + r); got[0] != '2' {
			c.say("RSET")
			return got
		}
	}
	c.expect("354 ", "DATA")
	return c.say("Subject: test\r\n\r\nfor " + strings.Join(to, ",") + "\r\n..dot\r\n.")
}

// status is what /status says of the relay.
func (s *site) status() setup.RelayStatus {
	s.t.Helper()
	var status setup.Status
	_, body := s.get("/status")
	if err := json.Unmarshal([]byte(body), &status); err != nil || status.Relay == nil {
		s.t.Fatalf("/status gave %s: %v", body, err)
	}
	return *status.Relay
}

func (s *site) get(path string) (int, string) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", s.path("a.sock"))
		},
	}}
	resp, err := client.Get("http://admin" + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

// sink is a mail server that keeps what it gets.
type sink struct {
	addr string
	mu   sync.Mutex
	got  []mail
}

type mail struct {
	from string
	to   []string
	text string
}

func newSink(t *testing.T, lmtp bool) *sink {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{addr: ln.Addr().String()}
	s.serve(t, ln, lmtp)
	return s
}

func (k *sink) serve(t *testing.T, ln net.Listener, lmtp bool) {
	server := gosmtp.NewServer(k)
	server.LMTP, server.Domain = lmtp, "sink.example"
	go server.Serve(ln)
	t.Cleanup(func() { server.Close() })
}

func (k *sink) NewSession(*gosmtp.Conn) (gosmtp.Session, error) { return &sinkSession{sink: k}, nil }

// mail is what came for a recipient, nil for nothing.
func (k *sink) mail(to string) []mail {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []mail
	for _, m := range k.got {
		if slices.Contains(m.to, to) {
			out = append(out, m)
		}
	}
	return out
}

type sinkSession struct {
	sink *sink
	mail mail
}

func (s *sinkSession) Reset()        { s.mail = mail{} }
func (s *sinkSession) Logout() error { return nil }

func (s *sinkSession) Mail(from string, _ *gosmtp.MailOptions) error {
	s.mail.from = from
	return nil
}

func (s *sinkSession) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	if strings.HasPrefix(to, "unwanted@") {
		return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "not wanted"}
	}
	s.mail.to = append(s.mail.to, to)
	return nil
}

func (s *sinkSession) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	s.mail.text = string(text)
	s.sink.mu.Lock()
	defer s.sink.mu.Unlock()
	s.sink.got = append(s.sink.got, s.mail)
	return err
}
