package servers

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// Socketmap is a server of the socketmap protocol on a socket of its own. A test of
// package socketmap has Postfix ask it.
type Socketmap struct {
	net.Listener
	Accepted atomic.Int64 // connections
	Asked    atomic.Int64 // questions that ServeTable has answered

	handle SocketmapHandler
	mu     sync.Mutex
	table  map[string]string
	conns  map[net.Conn]bool
	done   sync.WaitGroup
}

// SocketmapHandler serves a connection, which is closed afterwards. ServeTable is the
// usual one.
type SocketmapHandler func(s *Socketmap, conn net.Conn, r *bufio.Reader)

// StartSocketmap starts a server on network "unix" or "tcp" that ends with the test.
func StartSocketmap(t testing.TB, network string, handle SocketmapHandler) *Socketmap {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return ServeSocketmap(t, l, handle, nil)
}

// ServeSocketmap serves what connects to l until the test ends; table is as for SetAll.
func ServeSocketmap(t testing.TB, l net.Listener, handle SocketmapHandler, table map[string]string) *Socketmap {
	s := &Socketmap{Listener: l, handle: handle, conns: map[net.Conn]bool{}, table: map[string]string{}}
	if table != nil {
		s.table = table
	}
	s.done.Go(s.accept)
	t.Cleanup(s.Stop)
	return s
}

// Set has ServeTable answer a question, "NAME KEY", with a reply. Whatever it has no
// reply for is not found.
func (s *Socketmap) Set(request, reply string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table[request] = reply
}

// SetAll has ServeTable answer these questions and no others.
func (s *Socketmap) SetAll(table map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table = table
}

// Stop ends the server.
func (s *Socketmap) Stop() {
	s.Close()
	s.CloseConns()
	s.done.Wait()
}

// CloseConns closes the connections, as a server does that has enough of idle clients.
func (s *Socketmap) CloseConns() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
}

func (s *Socketmap) accept() {
	for {
		c, err := s.Accept()
		if err != nil {
			return
		}
		s.Accepted.Add(1)
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

// ReadRequest reads a question, "NAME KEY"; its form is checked.
func ReadRequest(r *bufio.Reader) (string, error) {
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

// Netstring writes a string as the protocol sends it.
func Netstring(s string) string { return fmt.Sprintf("%d:%s,", len(s), s) }

// Answer is the reply to a question.
func (s *Socketmap) Answer(request string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if reply, ok := s.table[request]; ok {
		return reply
	}
	return "NOTFOUND "
}

// ServeTable answers from the table that Set fills.
func ServeTable(s *Socketmap, conn net.Conn, r *bufio.Reader) {
	for {
		request, err := ReadRequest(r)
		if err != nil {
			return
		}
		s.Asked.Add(1)
		if _, err := io.WriteString(conn, Netstring(s.Answer(request))); err != nil {
			return
		}
	}
}

// Saying answers each question with these bytes, and keeps the connection open.
func Saying(text string) SocketmapHandler {
	return func(_ *Socketmap, conn net.Conn, r *bufio.Reader) {
		for {
			if _, err := ReadRequest(r); err != nil {
				return
			}
			if _, err := io.WriteString(conn, text); err != nil {
				return
			}
		}
	}
}
