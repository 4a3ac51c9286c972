package socketmap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
)

// dialAgain is how long to wait for a busy server.
const dialAgain = 10 * time.Millisecond

// pool has the connections of a client. Whoever holds one of the places may have one
// connection; kept ones are used before another is opened. So there are never more
// connections than places.
type pool struct {
	network, address string
	maxIdle          int
	places           chan struct{} // one in it for each lookup under way

	mu     sync.Mutex
	closed bool
	idle   []*conn // the one used last is at the end
}

func newPool(config Config) *pool {
	return &pool{network: config.Network, address: config.Address, maxIdle: config.MaxIdle, places: make(chan struct{}, maxOpen)}
}

// acquire waits for a place, as long as ctx lets it.
func (p *pool) acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if p.isClosed() {
		return ErrClosed
	}
	select {
	case p.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("all %d connections are in use: %w", maxOpen, ctx.Err())
	}
}

func (p *pool) release() { <-p.places }

func (p *pool) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// kept takes the kept connection that was used last. It is nil when there is none, or
// none that is still good.
func (p *pool) kept() *conn {
	p.mu.Lock()
	var c *conn
	if last := len(p.idle) - 1; last >= 0 {
		c, p.idle = p.idle[last], p.idle[:last]
	}
	p.mu.Unlock()
	if c == nil {
		return nil
	}
	if time.Since(c.used) > maxIdleTime || !c.quiet() {
		c.Close()
		p.dropIdle()
		return nil
	}
	return c
}

// dial opens a connection. A server on a UNIX-domain socket refuses with EAGAIN when many
// connect before it has accepted them; that is tried again.
func (p *pool) dial(ctx context.Context) (*conn, error) {
	if p.isClosed() {
		return nil, ErrClosed
	}
	for {
		var d net.Dialer
		c, err := d.DialContext(ctx, p.network, p.address)
		if err == nil {
			return newConn(c), nil
		}
		if !errors.Is(err, syscall.EAGAIN) {
			return nil, err
		}
		select {
		case <-time.After(dialAgain):
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", err, ctx.Err())
		}
	}
}

// keep keeps a connection for the next question, if there is room for it.
func (p *pool) keep(c *conn) {
	c.used, c.reused = time.Now(), true
	p.mu.Lock()
	keep := !p.closed && len(p.idle) < p.maxIdle
	if keep {
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	if !keep {
		c.Close()
	}
}

// dropIdle closes all kept connections.
func (p *pool) dropIdle() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, c := range idle {
		c.Close()
	}
}

func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.dropIdle()
}
