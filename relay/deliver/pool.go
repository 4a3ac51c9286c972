package deliver

import (
	"slices"
	"sync"
	"time"
)

// pool has the connections that wait for another message. Being few, they are looked
// through one by one.
type pool struct {
	maxIdle  int
	maxPeer  int // of those at one place
	maxUses  int
	idleTime time.Duration

	mu     sync.Mutex
	closed bool
	idle   []*conn // the one used last is at the end
	timer  *time.Timer
}

// has tells whether a connection to a place waits.
func (p *pool) has(at place) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.find(at, nil) >= 0
}

// find is where the connection is that was used last; negative if there is none. The
// identity may be any if it is nil.
func (p *pool) find(at place, id *identity) int {
	for i := len(p.idle) - 1; i >= 0; i-- {
		if c := p.idle[i]; c.place == at && (id == nil || c.demand.id == *id) {
			return i
		}
	}
	return -1
}

// get takes the kept connection to a place that was used last and is still good; nil if
// there is none. One that was made for another identity stays.
func (p *pool) get(at place, id identity) *conn {
	for {
		p.mu.Lock()
		i := p.find(at, &id)
		if i < 0 {
			p.mu.Unlock()
			return nil
		}
		c := p.idle[i]
		p.idle = slices.Delete(p.idle, i, i+1)
		p.mu.Unlock()
		switch {
		case time.Since(c.used) >= p.idleTime:
			c.quit()
		case c.quiet():
			return c
		default:
			c.Close()
		}
	}
}

// put keeps a connection for the next message, if it is of use to one. When there is no
// room, the one goes that has waited longest.
func (p *pool) put(c *conn) {
	if c.broken {
		c.Close()
		return
	}
	c.used = time.Now()
	p.mu.Lock()
	out := c
	if !p.closed && p.idleTime > 0 && c.uses < c.maxUses(p.maxUses) {
		out = p.keep(c)
	}
	p.mu.Unlock()
	if out != nil {
		out.quit()
	}
}

// keep adds a connection, and returns the one that must go for it.
func (p *pool) keep(c *conn) (out *conn) {
	here, oldest := 0, 0
	for i := len(p.idle) - 1; i >= 0; i-- {
		if p.idle[i].place == c.place {
			here, oldest = here+1, i
		}
	}
	switch {
	case here >= p.maxPeer:
		out = p.idle[oldest]
		p.idle = slices.Delete(p.idle, oldest, oldest+1)
	case len(p.idle) >= p.maxIdle:
		out = p.idle[0]
		p.idle = slices.Delete(p.idle, 0, 1)
	}
	p.idle = append(p.idle, c)
	if p.timer == nil {
		p.timer = time.AfterFunc(p.idleTime, p.reap)
	}
	return out
}

// reap closes those that have waited for too long.
func (p *pool) reap() {
	p.mu.Lock()
	n := 0
	for n < len(p.idle) && time.Since(p.idle[n].used) >= p.idleTime {
		n++
	}
	old := slices.Clone(p.idle[:n])
	p.idle = slices.Delete(p.idle, 0, n)
	if p.timer = nil; len(p.idle) > 0 {
		p.timer = time.AfterFunc(p.idleTime-time.Since(p.idle[0].used), p.reap)
	}
	p.mu.Unlock()
	for _, c := range old {
		c.quit()
	}
}

// drop closes all that wait at a place.
func (p *pool) drop(at place) {
	p.dropIf(func(c *conn) bool { return c.place == at })
}

func (p *pool) dropIf(goes func(*conn) bool) {
	p.mu.Lock()
	var out []*conn
	p.idle = slices.DeleteFunc(p.idle, func(c *conn) bool {
		if !goes(c) {
			return false
		}
		out = append(out, c)
		return true
	})
	p.mu.Unlock()
	for _, c := range out {
		c.quit()
	}
}

func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.dropIf(func(*conn) bool { return true })
}
