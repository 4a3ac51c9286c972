package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"gatepost/maps/internal/credentials"
)

// A conn is a connection that has been authenticated and has its database selected.
type conn struct {
	net.Conn
	replies *replies
	server  string // the server's run id, if it tells
	reused  bool   // it has answered before, and may have been closed since
}

// timed gives each read and write its own deadline: a peer that stops sending is
// noticed however much has been sent.
type timed struct {
	net.Conn
	timeout time.Duration
}

func (t timed) Read(p []byte) (int, error) {
	if err := t.SetReadDeadline(time.Now().Add(t.timeout)); err != nil {
		return 0, err
	}
	return t.Conn.Read(p)
}

func (t timed) Write(p []byte) (int, error) {
	if err := t.SetWriteDeadline(time.Now().Add(t.timeout)); err != nil {
		return 0, err
	}
	return t.Conn.Write(p)
}

// dial makes a connection. It takes at most Timeout.
func (c *Client) dial(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	password, err := c.password()
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	raw, err := d.DialContext(ctx, c.cfg.Network, c.cfg.Address)
	if err != nil {
		return nil, because(ctx, err)
	}
	cn := &conn{Conn: timed{raw, c.cfg.Timeout}}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	if c.cfg.UseTLS {
		err = cn.startTLS(ctx, c.cfg)
	}
	if err == nil {
		cn.replies = newReplies(cn.Conn)
		err = cn.greet(c.cfg, password)
	}
	if err != nil {
		raw.Close()
		return nil, because(ctx, err)
	}
	return cn, nil
}

func (c *Client) password() (string, error) {
	if c.cfg.PasswordFile == "" {
		return c.cfg.Password, nil
	}
	return credentials.Password(c.cfg.PasswordFile)
}

func (cn *conn) startTLS(ctx context.Context, cfg Config) error {
	config, err := cfg.TLS.Config(cfg.host())
	if err != nil {
		return err
	}
	secure := tls.Client(cn.Conn, config)
	cn.Conn = secure
	if err := secure.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	return nil
}

// greet authenticates, selects the database and asks who the server is. A server
// that is loading its data answers all of this; the commands that follow tell.
func (cn *conn) greet(cfg Config, password string) error {
	var out []byte
	switch {
	case cfg.User != "":
		out = appendCommand(out, "AUTH", cfg.User, password)
	case password != "":
		out = appendCommand(out, "AUTH", password)
	}
	authenticated := len(out) > 0
	out = appendCommand(out, "SELECT", strconv.Itoa(cfg.DB))
	out = appendCommand(out, "INFO", "server")
	if err := cn.send(out); err != nil {
		return err
	}
	if authenticated {
		if err := cn.replies.simple("OK"); err != nil {
			return fmt.Errorf("authentication: %w", err)
		}
	}
	if err := cn.replies.simple("OK"); err != nil {
		return fmt.Errorf("database %d: %w", cfg.DB, err)
	}
	info, err := cn.info()
	cn.server = field(info, "run_id")
	return err
}

// send writes commands and allows the replies the few bytes that all have but a table.
func (cn *conn) send(out []byte) error {
	cn.replies.left = 2 * maxString
	_, err := cn.Write(out)
	return err
}

// info reads the reply of INFO; nothing from a server that refuses it to our user.
func (cn *conn) info() ([]byte, error) {
	text, err := cn.replies.bulk(nil)
	if refused(err) {
		return nil, nil
	}
	return text, err
}

// refused reports that the server lets this user not use the command, or does not have it.
func refused(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Code == "NOPERM" || e.Code == "ERR")
}

// field finds a value in the reply of INFO: lines of name:value.
func field(info []byte, name string) string {
	for line := range strings.Lines(string(info)) {
		if value, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), name+":"); ok {
			return value
		}
	}
	return ""
}

// because puts the context's end in place of the error that it caused by closing
// the connection, and one wording in place of all that a deadline brings about.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("no answer in time")
	}
	return err
}
