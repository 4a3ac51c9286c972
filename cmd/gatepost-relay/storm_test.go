package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"
)

// tally is a mail server that counts what it has taken, by recipient.
type tally struct {
	t   *testing.T
	mu  sync.Mutex
	got map[string]int
}

func (k *tally) NewSession(*gosmtp.Conn) (gosmtp.Session, error) { return &tallySession{tally: k}, nil }

type tallySession struct {
	*tally
	to string
}

func (s *tallySession) Reset()                                      { s.to = "" }
func (s *tallySession) Logout() error                               { return nil }
func (s *tallySession) Mail(string, *gosmtp.MailOptions) error      { return nil }
func (s *tallySession) Rcpt(to string, _ *gosmtp.RcptOptions) error { s.to = to; return nil }

// Data takes a message that came to its end, and holds it to what was sent.
func (s *tallySession) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	number, _, _ := strings.Cut(strings.TrimPrefix(s.to, "u"), "@")
	i, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	if !strings.HasSuffix(string(text), stormText(i)) {
		s.t.Errorf("the message to %s is not the one that was sent; %d bytes", s.to, len(text))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got[s.to]++
	return nil
}

// stormText is a message that no other has; some are too large for the log.
func stormText(i int) string {
	lines := []int{1, 20, 100, 700}[i%4]
	if i%50 == 0 {
		lines = 6000
	}
	return fmt.Sprintf("Subject: %d\r\n\r\n", i) + strings.Repeat(fmt.Sprintf("line of message %07d, which is %d lines long\r\n", i, lines), lines)
}

// stormClient sends messages over one connection, until it breaks.
type stormClient struct {
	net.Conn
	in *bufio.Reader
}

func (c *stormClient) say(text, want string) error {
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	for {
		line, err := c.in.ReadString('\n')
		switch {
		case err != nil:
			return err
		case !strings.HasPrefix(line, want):
			return fmt.Errorf("the answer is %q", line)
		case len(line) > 3 && line[3] == ' ':
			return nil
		}
	}
}

func dialStorm(addr string) (*stormClient, error) {
	nc, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	c := &stormClient{nc, bufio.NewReader(nc)}
	c.SetDeadline(time.Now().Add(10 * time.Second))
	for _, line := range []string{"", "XCLIENT ADDR=" + trusted + " NAME=[UNAVAILABLE]\r\n", "EHLO client.example\r\n"} {
		if err := c.say(line, "2"); err != nil {
			nc.Close()
			return nil, err
		}
	}
	return c, nil
}

func (c *stormClient) message(i int) error {
	c.SetDeadline(time.Now().Add(10 * time.Second))
	for _, step := range [][2]string{
		{"MAIL FROM:<me@a.example>\r\n", "250"}, {fmt.Sprintf("RCPT TO:<u%d@elsewhere.example>\r\n", i), "250"},
		{"DATA\r\n", "354"}, {stormText(i) + ".\r\n", "250"},
	} {
		if err := c.say(step[0], step[1]); err != nil {
			return err
		}
	}
	return nil
}

// storm is clients that send messages to an address, each until it was answered 250.
type storm struct {
	sent     chan struct{} // closed when all were
	messages int64
	next     atomic.Int64
	again    atomic.Int64 // attempts that failed
}

func newStorm(ctx context.Context, addr string, messages int64) *storm {
	s := &storm{sent: make(chan struct{}), messages: messages}
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() { s.client(ctx, addr) })
	}
	go func() { clients.Wait(); close(s.sent) }()
	return s
}

func (s *storm) client(ctx context.Context, addr string) {
	var c *stormClient
	for i := s.next.Add(1) - 1; i < s.messages && ctx.Err() == nil; i = s.next.Add(1) - 1 {
		for ctx.Err() == nil {
			var err error
			if c == nil {
				c, err = dialStorm(addr)
			}
			if err == nil {
				if err = c.message(int(i)); err == nil {
					break
				}
				c.Close()
				c = nil
			}
			s.again.Add(1)
		}
	}
	if c != nil {
		c.Close()
	}
}

// keptSocket is a listening socket that outlives the program, as systemd's do.
func keptSocket(t *testing.T) (addr string, socket *os.File) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	if socket, err = ln.(*net.TCPListener).File(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return ln.Addr().String(), socket
}

// killing kills the program again and again until done is closed, and leaves it running.
func (s *site) killing(socket *os.File, done <-chan struct{}, pause func() time.Duration) (kills int) {
	for p := s.process(socket); ; p = s.process(socket) {
		select {
		case <-done:
			return kills
		case <-time.After(pause()):
			_ = p.Process.Kill()
			_ = p.Wait()
			kills++
		}
	}
}

// TestKilledAgainAndAgain kills the program every half a second while mail comes in and
// goes out. Clients send again what was not answered 250; in the end each message must
// have arrived, whole.
func TestKilledAgainAndAgain(t *testing.T) {
	const messages = int64(3000)
	s := newSite(t)
	hop := &tally{t: t, got: map[string]int{}}
	hopListener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := gosmtp.NewServer(hop)
	server.Domain, server.ErrorLog = "sink.example", slog.NewLogLogger(slog.DiscardHandler, 0)
	go server.Serve(hopListener)
	t.Cleanup(func() { server.Close() })
	s.write("gatepost.toml", strings.Replace(siteConfig, "SMART", hopListener.Addr().String(), 1))

	addr, socket := keptSocket(t)
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	storm := newStorm(ctx, addr, messages)
	kills := s.killing(socket, storm.sent, func() time.Duration { return 300*time.Millisecond + rand.N(400*time.Millisecond) })
	if ctx.Err() != nil {
		t.Fatalf("after six minutes clients were at message %d; log:\n%s", storm.next.Load(), s.stderr.String())
	}
	s.eventually("the queue is empty", func() bool { return s.status().Messages == 0 })
	hop.mu.Lock()
	defer hop.mu.Unlock()
	lost, twice := 0, 0
	for i := range messages {
		n := hop.got[fmt.Sprintf("u%d@elsewhere.example", i)]
		if n == 0 {
			lost++
		}
		twice += max(0, n-1)
	}
	t.Logf("%d messages, %d kills; %d attempts of clients failed, %d copies too many", messages, kills, storm.again.Load(), twice)
	if lost > 0 {
		t.Errorf("%d messages are lost", lost)
	}
	if most := deliveriesAtOnce * kills; twice > most {
		t.Errorf("%d copies too many; at most %d are from what was under way", twice, most)
	}
	if kills < 2 {
		t.Errorf("only %d kills", kills)
	}
}

// deliveriesAtOnce is how many transactions to the one smart host can be open, each of
// which a kill may repeat.
const deliveriesAtOnce = 20
