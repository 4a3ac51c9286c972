package deliver

import (
	"sync"
	"time"
)

// pool has the connections that wait for another message.
type pool struct {
	maxIdle  int
	maxUses  int
	idleTime time.Duration

	mu     sync.Mutex
	closed bool
	idle   []*conn // the one used last is at the end
	timer  *time.Timer
}

// get takes the kept connection that was used last and is still good; nil if there is
// none.
func (p *pool) get() *conn {
	for {
		p.mu.Lock()
		last := len(p.idle) - 1
		if last < 0 {
			p.mu.Unlock()
			return nil
		}
		c := p.idle[last]
		p.idle[last], p.idle = nil, p.idle[:last]
		p.mu.Unlock()
		if time.Since(c.used) < p.idleTime && c.quiet() {
			return c
		}
		c.Close()
	}
}

// put keeps a connection for the next message, if it is of use to one.
func (p *pool) put(c *conn) {
	if c.broken {
		c.Close()
		return
	}
	c.used = time.Now()
	p.mu.Lock()
	keep := !p.closed && len(p.idle) < p.maxIdle && c.uses < p.maxUses
	if keep {
		p.idle = append(p.idle, c)
		if p.timer == nil {
			p.timer = time.AfterFunc(p.idleTime, p.reap)
		}
	}
	p.mu.Unlock()
	if !keep {
		c.quit()
	}
}

// reap closes those that have waited for too long.
func (p *pool) reap() {
	p.mu.Lock()
	n := 0
	for n < len(p.idle) && time.Since(p.idle[n].used) >= p.idleTime {
		n++
	}
	old := append([]*conn(nil), p.idle[:n]...)
	p.idle = append(p.idle[:0], p.idle[n:]...)
	clear(p.idle[len(p.idle):cap(p.idle)])
	if p.timer = nil; len(p.idle) > 0 {
		p.timer = time.AfterFunc(p.idleTime-time.Since(p.idle[0].used), p.reap)
	}
	p.mu.Unlock()
	for _, c := range old {
		c.quit()
	}
}

// drop closes all that wait.
func (p *pool) drop() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, c := range idle {
		c.quit()
	}
}

func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.drop()
}
