// Package redis reads a table that is kept as one hash on a Redis server, so that
// a fleet of mail servers has one copy: a field is a key of the table, its value the
// value. It speaks the protocol; when to read, what to do with the old table and
// what a failure means are its caller's matter.
//
// Who changes the table changes the version along with it, in one transaction:
//
//	MULTI
//	HSET access From:spam.example REJECT
//	INCR access:version
//	EXEC
//
// Stamp then sees every change in one round trip. Without a version it sees only
// another number of entries; with keyspace notifications (notify-keyspace-events
// of "Kgh$" or more) Follow hears of changes at once, though not of FLUSHALL.
//
// What a user of the server's ACL needs:
//
//	~access ~access:version &__keyspace@0__:access*
//	+select +info +multi +exec +get +hlen +hgetall +subscribe +ping +config|get
//
// INFO and CONFIG GET may be left out; see Stamp.Server, and Events.
package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"gatepost/maps/internal/credentials"
)

// A Stamp says which state of a table was seen. States with unequal stamps may
// differ; compare with ==.
type Stamp struct {
	// Server is the run id of the server, which it takes anew at each start, for it may
	// start with older data. Empty if our user may not use INFO.
	Server  string
	Version string // what the version key holds; empty if it does not exist
	Entries int64
}

// Events says whether a server notifies of changes to a table.
type Events int

// Whether a server sends the keyspace notifications that Follow waits for.
const (
	EventsUnknown Events = iota // it does not say: CONFIG GET is refused
	EventsOff
	EventsOn
)

// A Client reads one table. Its methods may be called at the same time.
type Client struct {
	cfg Config

	mu     sync.Mutex
	idle   *conn // one connection is kept; most calls come one after the other
	closed bool
}

// New checks the configuration, including the files that it names, and connects to nothing.
func New(cfg Config) (*Client, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	if cfg.PasswordFile != "" {
		if err := credentials.CheckPrivate(cfg.PasswordFile); err != nil {
			return nil, fmt.Errorf("redis: %w", err)
		}
		if _, err := credentials.Password(cfg.PasswordFile); err != nil {
			return nil, fmt.Errorf("redis: %w", err)
		}
	}
	if _, err := cfg.TLS.Config(cfg.host()); err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	return &Client{cfg: cfg}, nil
}

// Close closes the connection that is kept. Calls under way end by their context.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.idle != nil {
		c.idle.Close()
		c.idle = nil
	}
}

// Stamp asks for the state of the table without reading it. It takes at most Timeout.
func (c *Client) Stamp(ctx context.Context) (Stamp, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	var st Stamp
	err := c.do(ctx, func(cn *conn) (err error) {
		st, err = cn.transaction(c.cfg, nil)
		return err
	})
	return st, err
}

// Fetch reads the table as it is at one moment, with the stamp of that moment.
// yield gets each entry, in no order, in slices that are good until it returns; its
// error ends the reading and is returned. After an error what was yielded is not the
// table and must be thrown away. It takes at most FetchTimeout.
func (c *Client) Fetch(ctx context.Context, yield func(key, value []byte) error) (Stamp, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.FetchTimeout)
	defer cancel()
	var st Stamp
	err := c.do(ctx, func(cn *conn) (err error) {
		st, err = cn.transaction(c.cfg, func(key, value []byte) error {
			cn.reused = false // what was yielded cannot be taken back: no second try
			return yield(key, value)
		})
		if err == nil && st.Entries == 0 {
			err = cn.mayBeEmpty(c.cfg)
		}
		return err
	})
	return st, err
}

// Events asks whether the server notifies of changes to hashes and to keys as a whole.
func (c *Client) Events(ctx context.Context) (Events, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	answer := EventsUnknown
	err := c.do(ctx, func(cn *conn) (err error) {
		answer, err = cn.events()
		return err
	})
	return answer, err
}

// do makes a call on the connection that is kept or on another one. If the one that was kept
// turns out to be dead, which a server's restart brings about, it is made once more.
func (c *Client) do(ctx context.Context, call func(*conn) error) error {
	for {
		cn, err := c.take(ctx)
		if err != nil {
			return fmt.Errorf("%v: %w", c.cfg, err)
		}
		stop := context.AfterFunc(ctx, func() { cn.Close() })
		err = call(cn)
		if stop() && err == nil {
			c.keep(cn)
			return nil
		}
		cn.Close()
		if err == nil {
			return nil
		}
		var said *Error
		if !cn.reused || ctx.Err() != nil || errors.As(err, &said) || errors.Is(err, errProtocol) {
			return fmt.Errorf("%v: %w", c.cfg, because(ctx, err))
		}
	}
}

func (c *Client) take(ctx context.Context) (*conn, error) {
	c.mu.Lock()
	cn := c.idle
	c.idle = nil
	c.mu.Unlock()
	if cn != nil {
		cn.reused = true
		return cn, nil
	}
	return c.dial(ctx)
}

func (c *Client) keep(cn *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.idle != nil || cn.replies.in.Buffered() > 0 {
		cn.Close()
		return
	}
	c.idle = cn
}

// transaction reads the stamp and, if yield is not nil, the table that belongs to it.
func (cn *conn) transaction(cfg Config, yield func(key, value []byte) error) (Stamp, error) {
	commands := [][]string{{"GET", cfg.VersionKey}, {"HLEN", cfg.Key}}
	if yield != nil {
		commands = append(commands, []string{"HGETALL", cfg.Key})
	}
	out := appendCommand(nil, "MULTI")
	for _, words := range commands {
		out = appendCommand(out, words...)
	}
	if err := cn.send(appendCommand(out, "EXEC")); err != nil {
		return Stamp{}, err
	}
	if err := cn.replies.simple("OK"); err != nil {
		return Stamp{}, err
	}
	for range commands {
		if err := cn.replies.simple("QUEUED"); err != nil {
			return Stamp{}, err
		}
	}
	if err := cn.replies.array(int64(len(commands))); err != nil {
		return Stamp{}, err
	}
	st, err := cn.stamp(cfg)
	if err == nil && yield != nil {
		cn.replies.left = cfg.MaxBytes
		err = cn.entries(cfg.Key, yield)
	}
	return st, err
}

func (cn *conn) stamp(cfg Config) (Stamp, error) {
	version, err := cn.replies.bulk(nil)
	if err != nil {
		return Stamp{}, fmt.Errorf("key %q: %w", cfg.VersionKey, err)
	}
	entries, err := cn.replies.number(kindInteger)
	if err == nil && entries < 0 {
		err = fmt.Errorf("%w: a number of entries of %d", errProtocol, entries)
	}
	if err != nil {
		return Stamp{}, fmt.Errorf("key %q: %w", cfg.Key, err)
	}
	return Stamp{Server: cn.server, Version: string(version), Entries: entries}, nil
}

// entries reads the reply of HGETALL: keys and values in turn. There may be fewer
// than HLEN says, which counts fields that have expired too.
func (cn *conn) entries(name string, yield func(key, value []byte) error) error {
	n, err := cn.replies.number(kindArray)
	if err == nil && (n < 0 || n%2 != 0) {
		err = fmt.Errorf("%w: %d keys and values", errProtocol, n)
	}
	if err != nil {
		return fmt.Errorf("key %q: %w", name, err)
	}
	var key, value []byte
	entries := n / 2
	for i := range entries {
		if key, err = cn.replies.bulk(key); err != nil {
			return fmt.Errorf("key %q: entry %d of %d: %w", name, i+1, entries, err)
		}
		if value, err = cn.replies.bulk(value); err != nil {
			return fmt.Errorf("key %q: entry %d of %d (%q): %w", name, i+1, entries, key[:min(len(key), 80)], err)
		}
		if key == nil || value == nil {
			return fmt.Errorf("key %q: %w: an entry without key or value", name, errProtocol)
		}
		if err := yield(key, value); err != nil {
			return err
		}
	}
	return nil
}

// mayBeEmpty reports why a table without entries cannot be believed: a replica that
// has never reached its master has no data at all, and by default serves it.
func (cn *conn) mayBeEmpty(cfg Config) error {
	if cfg.Required {
		return fmt.Errorf("key %q does not exist", cfg.Key)
	}
	if err := cn.send(appendCommand(nil, "INFO", "replication")); err != nil {
		return err
	}
	info, err := cn.info()
	if err == nil && field(info, "role") == "slave" && field(info, "master_link_status") != "up" {
		err = fmt.Errorf("key %q does not exist, on a replica that does not reach its master", cfg.Key)
	}
	return err
}

// events reads which notifications are on: K for the channel of a key, A for all
// events or h and g for those of hashes and of keys as a whole.
func (cn *conn) events() (Events, error) {
	if err := cn.send(appendCommand(nil, "CONFIG", "GET", "notify-keyspace-events")); err != nil {
		return EventsUnknown, err
	}
	n, err := cn.replies.number(kindArray)
	if refused(err) || err == nil && n == 0 {
		return EventsUnknown, nil
	}
	if err == nil && n != 2 {
		err = fmt.Errorf("%w: %d elements, expected 2", errProtocol, n)
	}
	if err != nil {
		return EventsUnknown, err
	}
	if _, err := cn.replies.bulk(nil); err != nil {
		return EventsUnknown, err
	}
	value, err := cn.replies.bulk(nil)
	if err != nil {
		return EventsUnknown, err
	}
	on := string(value)
	if strings.Contains(on, "K") && (strings.Contains(on, "A") || strings.Contains(on, "h") && strings.Contains(on, "g")) {
		return EventsOn, nil
	}
	return EventsOff, nil
}
