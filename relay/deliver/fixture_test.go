package deliver

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gatepost/relay/spool"
)

// memory is a message that is in no spool.
type memory struct {
	env  spool.Envelope
	body string
}

func (m *memory) Envelope() spool.Envelope { return m.env }
func (m *memory) Size() int64              { return int64(len(m.body)) }
func (m *memory) Open() (io.ReadSeekCloser, error) {
	return struct {
		io.ReadSeeker
		io.Closer
	}{strings.NewReader(m.body), io.NopCloser(nil)}, nil
}

const text = "Subject: one\r\n\r\n.two\r\n..\r\n"

func message(to ...string) *memory {
	m := &memory{env: spool.Envelope{ID: "1A", Sender: "alice@example.com"}, body: text}
	for _, address := range to {
		m.env.Recipients = append(m.env.Recipients, spool.Recipient{Address: address})
	}
	return m
}

// all are the indexes of all recipients.
func all(m Message) (out []int) {
	for i := range m.Envelope().Recipients {
		out = append(out, i)
	}
	return out
}

// script is what a server does on a connection, step by step: "> " says a line, "< "
// waits for exactly this line, "*" reads the message to its end, "hang" waits until the
// client has gone, "tls" speaks TLS from here on, "bdat" reads a chunk, "wait" until the end of the test without reading, "cut" reads one byte, and
// "more" says a line for ever. At its end, which "close" makes plain, the connection closes.
type script []string

// server plays a script for each connection, in the order in which they come.
type server struct {
	t    *testing.T
	addr string
	done chan struct{} // closed at the end of the test
	tls  *tls.Config

	mu    sync.Mutex
	heard [][]byte // messages with their end
	conns int
}

func serve(t *testing.T, scripts ...script) *server {
	t.Helper()
	return serveAt(t, "127.0.0.1:0", nil, scripts...)
}

func serveAt(t *testing.T, addr string, config *tls.Config, scripts ...script) *server {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, addr: ln.Addr().String(), done: make(chan struct{}), tls: config}
	var running sync.WaitGroup
	running.Go(func() {
		for _, script := range scripts {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns++
			s.mu.Unlock()
			running.Go(func() { s.play(c, script) })
		}
		ln.Close()
	})
	t.Cleanup(func() { close(s.done); ln.Close(); running.Wait() })
	return s
}

// player is one connection.
type player struct {
	net.Conn
	in     *bufio.Reader
	chunks []byte
}

func (s *server) play(c net.Conn, script script) {
	p := &player{Conn: c, in: bufio.NewReader(c)}
	defer func() { p.Close() }()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	for _, step := range script {
		if err := s.step(p, step); err != nil {
			s.t.Errorf("at %q: %v", step, err)
			return
		}
	}
}

func (s *server) step(p *player, step string) error {
	switch verb, line, _ := strings.Cut(step, " "); verb {
	case ">":
		_, err := io.WriteString(p, line+"\r\n")
		return err
	case "<":
		got, err := p.in.ReadString('\n')
		if err == nil && got != line+"\r\n" {
			err = fmt.Errorf("the client says %q", got)
		}
		return err
	case "*":
		return s.message(p.in)
	case "bdat":
		return s.chunk(p, line)
	case "tls":
		t := tls.Server(p.Conn, s.tls)
		if err := t.Handshake(); err != nil && line != "fails" {
			return err
		}
		p.Conn, p.in = t, bufio.NewReader(t)
	case "hang":
		io.Copy(io.Discard, p.in)
	case "cut":
		_, err := p.in.ReadByte()
		return err
	case "wait":
		<-s.done
	case "more":
		for {
			if _, err := io.WriteString(p, line+"\r\n"); err != nil {
				return nil
			}
		}
	}
	return nil
}

// chunk reads a chunk, whose command must be BDAT with these arguments.
func (s *server) chunk(p *player, arguments string) error {
	line, err := p.in.ReadString('\n')
	if err != nil {
		return err
	}
	if line != "BDAT "+arguments+"\r\n" {
		return fmt.Errorf("the client says %q", line)
	}
	size, last, _ := strings.Cut(arguments, " ")
	n, err := strconv.Atoi(size)
	if err != nil {
		return err
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(p.in, data); err != nil {
		return err
	}
	if p.chunks = append(p.chunks, data...); last == "LAST" {
		s.hear(p.chunks)
		p.chunks = nil
	}
	return nil
}

func (s *server) hear(message []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = append(s.heard, message)
}

func (s *server) message(in *bufio.Reader) error {
	var got []byte
	for !bytes.HasSuffix(got, []byte("\r\n.\r\n")) {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return err
		}
		got = append(got, line...)
	}
	s.hear(got)
	return nil
}

func (s *server) messages() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard
}

func (s *server) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns
}

// transport is one to the server. Time-outs are short.
func (s *server) transport(change func(*Config)) *SMTP {
	s.t.Helper()
	config := Config{HostName: "relay.example.com", Log: slog.New(slog.DiscardHandler), Timeouts: allTimeouts(5 * time.Second)}
	if change != nil {
		change(&config)
	}
	x, err := NewSMTP(config)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(x.Close)
	return x
}

func allTimeouts(d time.Duration) Timeouts {
	return Timeouts{Connect: d, Greeting: d, Hello: d, TLS: d, Auth: d, Mail: d, Rcpt: d, Data: d, Block: d, End: d, Transaction: 10 * d, Search: 10 * d}
}

// show is results in short.
func show(results []Result) string {
	var out []string
	for _, r := range results {
		s := fmt.Sprintf("%v %v %s", r.Outcome, r.Status, r.Reply)
		if r.Down {
			s += " (down)"
		}
		out = append(out, s)
	}
	return strings.Join(out, "\n")
}

// send sends a message to the server.
func (s *server) send(x Transport, m Message) string { return deliver(x, s.addr, m) }

func deliver(x Transport, destination string, m Message) string {
	return show(x.Deliver(context.Background(), destination, m, all(m)))
}

// steady takes out of what was shown how a connection was closed: the rest of what the
// client had to say is lost with a reset connection, or not.
func steady(shown string) string {
	return lost.ReplaceAllString(shown, "connection closed while waiting for $1")
}

var lost = regexp.MustCompile(`connection lost while waiting for ([^:\n]+): (?:connection reset by peer|broken pipe)`)

// Parts of scripts.
var (
	hello   = script{"> 220 there ESMTP", "< EHLO relay.example.com", "> 250-there", "> 250-pipelining", "> 250-SIZE 1000000", "> 250-8BitMIME", "> 250 SMTPUTF8"}
	slow    = script{"> 220 there ESMTP", "< EHLO relay.example.com", "> 250 there"} // no extensions
	mail    = "< MAIL FROM:<alice@example.com> SIZE=26"
	bob     = "< RCPT TO:<bob@example.net>"
	carol   = "< RCPT TO:<carol@example.net>"
	dave    = "< RCPT TO:<dave@example.net>"
	begin   = script{mail, bob, "< DATA", "> 250 2.1.0 ok", "> 250 2.1.5 ok", "> 354 go"}
	taken   = script{"*", "> 250 2.0.0 taken"}
	allDone = join(hello, begin, taken)
)

func join(parts ...script) (out script) {
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}
