package socketmap

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// server is a socketmap server on a socket of its own. TestPeers has Postfix ask it.
type server struct {
	net.Listener
	// handle serves a connection; it is closed afterwards. serveTable is the usual one.
	handle func(s *server, conn net.Conn, r *bufio.Reader)
	table  map[string]string // by "NAME KEY": the whole reply

	accepted atomic.Int64
	mu       sync.Mutex
	conns    map[net.Conn]bool
	done     sync.WaitGroup
}

// start starts a server on network "unix" or "tcp" that ends with the test.
func start(t testing.TB, network string, handle func(*server, net.Conn, *bufio.Reader)) *server {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, l, handle)
}

func serve(t testing.TB, l net.Listener, handle func(*server, net.Conn, *bufio.Reader)) *server {
	s := &server{Listener: l, handle: handle, conns: map[net.Conn]bool{}, table: map[string]string{
		"access a": "OK REJECT", "access empty": "OK ", "access b c": "OK two words", "access nobody": "NOTFOUND ",
		"access bare": "NOTFOUND", "access binary\n\x00,": "OK \x00,\n", "access temp": "TEMP overloaded",
		"access timeout": "TIMEOUT no backend", "access perm": "PERM no such map",
		"access long": "OK " + strings.Repeat("v", maxReply-3),
	}}
	s.done.Go(s.accept)
	t.Cleanup(s.stop)
	return s
}

func (s *server) stop() {
	s.Close()
	s.closeConns()
	s.done.Wait()
}

// closeConns closes the connections, as a server does that has enough of idle clients.
func (s *server) closeConns() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
}

func (s *server) accept() {
	for {
		c, err := s.Accept()
		if err != nil {
			return
		}
		s.accepted.Add(1)
		s.mu.Lock()
		s.conns[c] = true
		s.mu.Unlock()
		s.done.Go(func() {
			s.handle(s, c, bufio.NewReader(c))
			c.Close()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		})
	}
}

// readRequest reads a question; its form is checked.
func readRequest(r *bufio.Reader) (string, error) {
	var n int
	if _, err := fmt.Fscanf(r, "%d:", &n); err != nil {
		return "", err
	}
	body := make([]byte, n+1)
	if _, err := io.ReadFull(r, body); err != nil {
		return "", err
	}
	if body[n] != ',' {
		return "", fmt.Errorf("no comma after %q", body[:n])
	}
	return string(body[:n]), nil
}

func netstring(s string) string { return fmt.Sprintf("%d:%s,", len(s), s) }

// answer is the reply to a question.
func (s *server) answer(request string) string {
	if reply, ok := s.table[request]; ok {
		return reply
	}
	return "NOTFOUND "
}

func serveTable(s *server, conn net.Conn, r *bufio.Reader) {
	for {
		request, err := readRequest(r)
		if err != nil {
			return
		}
		if _, err := io.WriteString(conn, netstring(s.answer(request))); err != nil {
			return
		}
	}
}

// saying answers each question with these bytes, and keeps the connection open.
func saying(text string) func(*server, net.Conn, *bufio.Reader) {
	return func(_ *server, conn net.Conn, r *bufio.Reader) {
		for {
			if _, err := readRequest(r); err != nil {
				return
			}
			if _, err := io.WriteString(conn, text); err != nil {
				return
			}
		}
	}
}

func clientOf(t testing.TB, s *server, change func(*Config)) *Client {
	t.Helper()
	config := Config{Network: s.Addr().Network(), Address: s.Addr().String(), Name: "access"}
	if change != nil {
		change(&config)
	}
	c := New(config)
	t.Cleanup(c.Close)
	return c
}
