// Package ldap looks keys up in an LDAP directory the way sendmail's ldap map does
// (sendmail/README, LDAP; libsm/ldap.c): one search for each key, of whose result
// one attribute's first value is taken. Where it differs: %s in a filter is escaped
// like %0, for in sendmail a key that goes into %s can change the filter; there is one
// attribute, and its types DN, FILTER and URL are not known; referrals are not followed.
package ldap

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	ldapv3 "github.com/go-ldap/ldap/v3"
)

const (
	// A filter that finds more than this for one key is not one that names a key.
	maxMatches = 16
	// Idle longer than this, a connection may have been forgotten by a firewall
	// between, which no one would hear of.
	maxIdle = time.Minute
)

var errReferral = errors.New("the server refers to another one; referrals are not followed")

// A Client looks up keys of one table. Its methods may be called at the same time.
type Client struct {
	cfg   settings
	slots chan struct{} // one for each connection in use

	mu     sync.Mutex
	idle   []*conn // the one used last at the end
	closed bool
}

// New checks the configuration, including the files that it names, and connects to nothing.
func New(cfg Config) (*Client, error) {
	s, err := parse(cfg)
	if err != nil {
		return nil, fmt.Errorf("ldap: %w", err)
	}
	return &Client{cfg: s, slots: make(chan struct{}, s.MaxConns)}, nil
}

// Close closes the connections. Lookups under way end by their context.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.dropIdle()
}

// Lookup searches the directory for the key. found is false if no entry matches or
// none of those that do has the attribute; nor do servers tell of an entry that the
// bind DN may not read. Whatever else keeps it from an answer is
// an error: every result code but success, a base DN that does not exist, a
// referral, an answer of more than 64 KiB. It takes at most Timeout.
func (c *Client) Lookup(ctx context.Context, key string) (value string, found bool, err error) {
	if key == "" {
		// No string of a directory is empty (RFC 4517, 3.3.6), and (a=%0*) must not become (a=*).
		return "", false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return "", false, fmt.Errorf("%v: all %d connections are busy: %w", c.cfg.Config, c.cfg.MaxConns, ctx.Err())
	}
	for again := true; ; again = false {
		cn, err := c.take(ctx, again)
		if err != nil {
			return "", false, fmt.Errorf("%v: %w", c.cfg.Config, err)
		}
		value, found, err := c.search(ctx, cn, key)
		if err == nil {
			return value, found, nil
		}
		if !again || !cn.reused || !lost(err) || ctx.Err() != nil || cn.guard.tripped.Load() {
			return "", false, fmt.Errorf("%v: %w", c.cfg.Config, cn.because(ctx, err))
		}
		c.dropIdle() // they are as old as the one that was closed
	}
}

// search makes one search on the connection and puts it back if it is still good.
func (c *Client) search(ctx context.Context, cn *conn, key string) (value string, found bool, err error) {
	cn.guard.left.Store(maxAnswer)
	stop := context.AfterFunc(ctx, func() { cn.guard.Close() })
	err = protect(func() error {
		req := ldapv3.NewSearchRequest(c.cfg.BaseDN, c.cfg.scope, ldapv3.NeverDerefAliases, maxMatches, 0, false,
			c.cfg.filter.with(key), []string{c.cfg.Attribute}, nil)
		result, err := cn.Search(req)
		value, found, err = c.choose(result, err)
		return err
	})
	if stop() && !lost(err) {
		c.keep(cn)
	} else {
		cn.close()
	}
	return value, found, err
}

// choose takes the value from what was found.
func (c *Client) choose(result *ldapv3.SearchResult, err error) (value string, found bool, _ error) {
	more := ldapv3.IsErrorWithCode(err, ldapv3.LDAPResultSizeLimitExceeded)
	if result == nil || err != nil && !more {
		return "", false, err
	}
	matches := 0
	for _, entry := range result.Entries {
		if v := entry.GetEqualFoldAttributeValues(c.cfg.Attribute); len(v) > 0 {
			if matches++; matches == 1 {
				value = v[0]
			}
		}
	}
	switch {
	case c.cfg.SingleMatch && matches > 1:
		return "", false, nil
	case more && (matches == 0 || c.cfg.SingleMatch):
		return "", false, err
	case matches == 0 && len(result.Referrals) > 0:
		return "", false, errReferral
	}
	return value, matches > 0, nil
}

// lost reports that an error is one of the connection, not of the search. A server
// that is shutting down says unavailable.
func lost(err error) bool {
	if err == nil || errors.Is(err, errReferral) {
		return false
	}
	var e *ldapv3.Error
	return !errors.As(err, &e) || e.ResultCode >= ldapv3.ErrorNetwork || e.ResultCode == ldapv3.LDAPResultUnavailable
}

// take gets a connection: one that is idle if that will do, else another one.
func (c *Client) take(ctx context.Context, reuse bool) (*conn, error) {
	for reuse {
		cn := c.pop()
		if cn == nil {
			break
		}
		if !cn.IsClosing() && time.Since(cn.since) < maxIdle {
			cn.reused = true
			return cn, nil
		}
		cn.close()
	}
	return c.dial(ctx)
}

func (c *Client) pop() *conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.idle)
	if n == 0 {
		return nil
	}
	cn := c.idle[n-1]
	c.idle = c.idle[:n-1]
	return cn
}

func (c *Client) keep(cn *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		cn.close()
		return
	}
	cn.since = time.Now()
	c.idle = append(c.idle, cn)
}

func (c *Client) dropIdle() {
	for cn := c.pop(); cn != nil; cn = c.pop() {
		cn.close()
	}
}
