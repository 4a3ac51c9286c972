package ldap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	ldapv3 "github.com/go-ldap/ldap/v3"

	"gatepost/maps/internal/credentials"
)

// maxAnswer bounds what a server may send in one lookup. The library believes the
// lengths in an answer, and copies what is nested once for each level (up to 1000),
// so that this is also a thousandth of the memory that a hostile server can cost.
const maxAnswer = 64 << 10

var errTooLong = fmt.Errorf("the answer is longer than %d KiB", maxAnswer>>10)

// A guard ends the connection when the server sends more than is left to it.
type guard struct {
	net.Conn
	left    atomic.Int64
	tripped atomic.Bool
}

func (g *guard) Read(p []byte) (int, error) {
	left := g.left.Load()
	if left <= 0 {
		g.tripped.Store(true)
		return 0, errTooLong
	}
	n, err := g.Conn.Read(p[:min(int64(len(p)), left)])
	g.left.Add(-int64(n))
	return n, err
}

// A conn is a connection that has been bound. One lookup uses it at a time.
type conn struct {
	*ldapv3.Conn
	guard  *guard
	reused bool      // it has answered before, and may have been closed since
	since  time.Time // it is idle since then
}

// dial makes a connection, until ctx ends.
func (c *Client) dial(ctx context.Context) (*conn, error) {
	var d net.Dialer
	raw, err := d.DialContext(ctx, c.cfg.network, c.cfg.address)
	if err != nil {
		return nil, err
	}
	g := &guard{Conn: raw}
	g.left.Store(maxAnswer)
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	cn := &conn{guard: g}
	err = protect(func() error {
		if err := cn.start(ctx, c.cfg); err != nil {
			return fmt.Errorf("TLS: %w", err)
		}
		return cn.bind(c.cfg)
	})
	if err != nil {
		cn.close()
		return nil, cn.because(ctx, err)
	}
	return cn, nil
}

// start begins the protocol, over TLS if so configured.
func (cn *conn) start(ctx context.Context, cfg settings) error {
	if !cfg.usesTLS() {
		cn.Conn = ldapv3.NewConn(cn.guard, false)
		cn.Conn.Start()
		return nil
	}
	config, err := cfg.TLS.Config(cfg.host)
	if err != nil {
		return err
	}
	if cfg.StartTLS {
		cn.Conn = ldapv3.NewConn(cn.guard, false)
		cn.Conn.Start()
		return cn.Conn.StartTLS(config)
	}
	secure := tls.Client(cn.guard, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return err
	}
	cn.Conn = ldapv3.NewConn(secure, true)
	cn.Conn.Start()
	return nil
}

func (cn *conn) bind(cfg settings) error {
	if cfg.BindDN == "" {
		return nil
	}
	password, err := credentials.Password(cfg.PasswordFile)
	if err != nil {
		return err
	}
	if err := cn.Bind(cfg.BindDN, password); err != nil {
		return fmt.Errorf("bind as %q: %w", cfg.BindDN, err)
	}
	return nil
}

// close ends the connection. The library's own Close may wait for a goroutine of its
// that waits for the network, which ends first therefore; nobody waits for the rest.
func (cn *conn) close() {
	cn.guard.Close()
	if cn.Conn != nil {
		go cn.Conn.Close()
	}
}

// because explains an error of the connection: by the context's end or the limit, which close it.
func (cn *conn) because(ctx context.Context, err error) error {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return errors.New("no answer in time")
	case ctx.Err() != nil:
		return ctx.Err()
	case cn.guard.tripped.Load():
		return errTooLong
	}
	var e *ldapv3.Error
	if errors.As(err, &e) {
		return fmt.Errorf("%s%s", strings.TrimSuffix(err.Error(), e.Error()), printable(explain(e)))
	}
	return errors.New(printable(err.Error()))
}

// explain names a result code (RFC 4511, A.1), and what the server said with it.
func explain(e *ldapv3.Error) string {
	if e.ResultCode >= ldapv3.ErrorNetwork {
		return reason(e)
	}
	text := fmt.Sprintf("the server says: %s (%d)", ldapv3.LDAPResultCodeMap[e.ResultCode], e.ResultCode)
	if said := e.Err.Error(); said != "" {
		text += ": " + said
	}
	return text
}

// printable makes one short line of a text that a server may have written.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return '?'
		}
		return r
	}, s[:min(len(s), 300)])
}

// protect makes an error of a panic: what the library reads comes from outside.
func protect(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("malformed answer: %v", p)
		}
	}()
	return f()
}
