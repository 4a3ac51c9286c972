package session

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"gatepost/internal/certtest"
)

// listen has the server serve one more port, under rules, and returns the fixture of
// that port.
func (f *fixture) listen(rules *Rules) *fixture {
	f.t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- f.Serve(context.Background(), ln, rules) }()
	f.t.Cleanup(func() {
		_ = ln.Close()
		<-served
	})
	other := *f
	other.addr = ln.Addr().String()
	return &other
}

// site is an authority, and the server's certificate.
type site struct {
	ca   *certtest.Authority
	cert tls.Certificate
}

func newSite(t testing.TB) *site {
	ca := certtest.New(t, certtest.Name(t, "/C=US/O=Example Corp/CN=Example CA"))
	return &site{ca, ca.Host("mx.example.com")}
}

// server is what listeners do TLS with.
func (s *site) server() *tls.Config { return &tls.Config{Certificates: []tls.Certificate{s.cert}} }

// client is what clients do it with, with their certificates if they have some.
func (s *site) client(certs ...tls.Certificate) *tls.Config {
	return &tls.Config{RootCAs: s.ca.Pool(), ServerName: "mx.example.com", Certificates: certs}
}

// upgrade begins TLS.
func (c *talker) upgrade(config *tls.Config) *tls.ConnectionState {
	c.t.Helper()
	conn := tls.Client(c.conn, config)
	_ = conn.SetDeadline(time.Now().Add(patience))
	if err := conn.Handshake(); err != nil {
		c.t.Fatalf("handshake: %v", err)
	}
	c.conn, c.in = conn, bufio.NewReader(conn)
	state := conn.ConnectionState()
	return &state
}

// starttls is STARTTLS and EHLO again, whose reply it returns.
func (c *talker) starttls(config *tls.Config) string {
	c.t.Helper()
	c.say("STARTTLS", "220 2.0.0 Ready to start TLS")
	c.upgrade(config)
	c.send("EHLO client.example\r\n")
	return c.reply()
}

// dialTLS is a client of a listener with TLS from the first byte.
func (f *fixture) dialTLS(config *tls.Config) *talker {
	f.t.Helper()
	c := f.dial()
	c.upgrade(config)
	return c
}
