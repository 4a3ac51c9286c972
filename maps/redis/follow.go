package redis

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// Follow listens for keyspace notifications of the hash and its version key, on a
// connection of its own. changed is called once when the subscription stands, for what may
// have changed before, and then on each event; it must not block. Follow returns,
// always with an error, when ctx ends, the connection breaks or the server has not
// answered a ping within Timeout. A server that has notifications switched off is
// followed in silence: see Events.
func (c *Client) Follow(ctx context.Context, changed func()) error {
	cn, err := c.dial(ctx)
	if err != nil {
		return fmt.Errorf("%v: %w", c.cfg, err)
	}
	stop := context.AfterFunc(ctx, func() { cn.Close() })
	defer stop()
	defer cn.Close()
	done := make(chan struct{})
	defer close(done)
	err = cn.subscribe(c.cfg)
	if err == nil {
		changed()
		go cn.keepPinging(c.cfg.Timeout/2, done)
		for err == nil {
			err = cn.event(changed)
		}
	}
	return fmt.Errorf("%v: notifications: %w", c.cfg, because(ctx, err))
}

func (cn *conn) subscribe(cfg Config) error {
	prefix := "__keyspace@" + strconv.Itoa(cfg.DB) + "__:"
	channels := []string{prefix + cfg.Key, prefix + cfg.VersionKey}
	if err := cn.send(appendCommand(nil, "SUBSCRIBE", channels[0], channels[1])); err != nil {
		return err
	}
	for range channels {
		if err := cn.replies.array(3); err != nil {
			return err
		}
		for range 2 {
			if _, err := cn.replies.bulk(nil); err != nil {
				return err
			}
		}
		if _, err := cn.replies.number(kindInteger); err != nil {
			return err
		}
	}
	return nil
}

// keepPinging makes a living server send something before the read deadline. A
// write that fails shows in the reader.
func (cn *conn) keepPinging(every time.Duration, done <-chan struct{}) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	ping := appendCommand(nil, "PING")
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			if _, err := cn.Write(ping); err != nil {
				return
			}
		}
	}
}

// event reads one message: "message", channel and event, or "pong" and nothing.
func (cn *conn) event(changed func()) error {
	cn.replies.left = 4 * maxString
	n, err := cn.replies.number(kindArray)
	if err != nil {
		return err
	}
	if n != 2 && n != 3 {
		return fmt.Errorf("%w: a message of %d parts", errProtocol, n)
	}
	kind, err := cn.replies.bulk(nil)
	for range n - 1 {
		if err == nil {
			_, err = cn.replies.bulk(nil)
		}
	}
	if err == nil && string(kind) == "message" {
		changed()
	}
	return err
}
