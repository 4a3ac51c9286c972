// Package socketmap asks the servers of the socketmap protocol: of sendmail's maps of
// class socket, and of Postfix's socketmap: tables (socketmap_table(5)). Both send a
// question as one netstring (https://cr.yp.to/proto/netstrings.txt), "NAME KEY", and read one
// netstring as the answer: "OK VALUE", "NOTFOUND ", or "TEMP", "TIMEOUT" or "PERM" with a reason.
//
// Nothing but OK and NOTFOUND is an answer. All else, and whatever a server sends
// that is not of this form, is an error: the key could not be asked.
package socketmap

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// maxReply is the longest reply in bytes, without what makes it a netstring, as Postfix has it.
	maxReply = 100_000
	// maxOpen is how many connections a client has open at most; further lookups wait.
	maxOpen = 32
	// maxIdleTime is how long a kept connection may be unused and still be trusted. Servers
	// and firewalls between forget connections, not always with a word.
	maxIdleTime = time.Minute

	defaultTimeout = 10 * time.Second
	defaultIdle    = 4
)

// ErrClosed is the error of a lookup after Close.
var ErrClosed = errors.New("the socketmap client is closed")

// Config says where a map is. ParseAddress makes the first three fields of what an
// administrator writes.
type Config struct {
	Network string // "tcp", "tcp6" or "unix"
	Address string // host:port, or the path of the socket
	Name    string // of the map at the server

	// Timeout bounds a whole lookup, with waiting for a connection and a second try; 0 is 10 s.
	Timeout time.Duration
	// MaxIdle is how many unused connections are kept, up to 32; 0 is 4, less than 0 is none.
	MaxIdle int
}

// Client asks one map. It is safe for concurrent use, and has at most 32 connections
// open: further lookups wait for one.
type Client struct {
	config Config
	pool   *pool
}

// New makes a client. It connects when there is something to ask.
func New(config Config) *Client {
	if config.Timeout <= 0 {
		config.Timeout = defaultTimeout
	}
	switch {
	case config.MaxIdle == 0:
		config.MaxIdle = defaultIdle
	case config.MaxIdle < 0:
		config.MaxIdle = 0
	}
	config.MaxIdle = min(config.MaxIdle, maxOpen)
	return &Client{config: config, pool: newPool(config)}
}

// Lookup asks for a key, as it is: a server sees the case of its letters. found=false with
// a nil error means that the server said NOTFOUND. An error means that there was no answer,
// of which it names the map; it wraps context.DeadlineExceeded when that took too long.
func (c *Client) Lookup(ctx context.Context, key string) (value string, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	reply, err := c.ask(ctx, key)
	if err == nil {
		value, found, err = parseReply(reply)
	}
	if err != nil {
		return "", false, fmt.Errorf("socketmap %q at %s: %w", c.config.Name, c.config.Address, err)
	}
	return value, found, nil
}

// ask sends the question and reads the reply. A server may close a connection that
// was kept, at any time before it has the next question: then a new one is tried.
func (c *Client) ask(ctx context.Context, key string) (string, error) {
	if err := c.pool.acquire(ctx); err != nil {
		return "", err
	}
	defer c.pool.release()
	request := appendRequest(nil, c.config.Name, key)
	if conn := c.pool.kept(); conn != nil {
		reply, err := c.askOn(ctx, conn, request)
		if !errors.Is(err, errStale) {
			return reply, err
		}
		c.pool.dropIdle() // the others are as old, or older
	}
	conn, err := c.pool.dial(ctx)
	if err != nil {
		return "", err
	}
	return c.askOn(ctx, conn, request)
}

func (c *Client) askOn(ctx context.Context, conn *conn, request []byte) (string, error) {
	reply, err := conn.roundTrip(ctx, request)
	if err != nil {
		conn.Close()
		return "", err
	}
	c.pool.keep(conn)
	return reply, nil
}

// Close closes the connections that are kept. Lookups under way come to their end;
// those that begin later fail with ErrClosed.
func (c *Client) Close() { c.pool.close() }
