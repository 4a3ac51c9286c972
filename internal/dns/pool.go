package dns

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

const (
	poolSlots  = 2   // sockets that take queries at a time
	maxSockets = 256 // those that wait for the last of theirs included

	// A burst must not overrun the receive buffer of the server's socket: what is
	// lost there costs a time-out. So not more than a window of queries is
	// unanswered at a time, but for those that have been so for a while: they wait
	// for somebody else, and are no longer in the buffer.
	window  = 128
	settled = 100 * time.Millisecond
)

// pool is the UDP sockets of one server.
type pool struct {
	addr  *net.UDPAddr
	sent  chan struct{} // one for each query in the window
	life  time.Duration // of a socket
	slots [poolSlots]slot

	mu   sync.Mutex
	open map[*socket]struct{}
}

type slot struct {
	mu     sync.Mutex
	socket *socket
}

// exchange sends w's query and waits for the message that answers it until the time
// has come or ctx is done.
func (p *pool) exchange(ctx context.Context, w *wait, until time.Time) error {
	if err := w.queue(ctx, p.sent, until); err != nil {
		return err
	}
	s, err := p.take(w)
	if err != nil {
		<-p.sent
		return err
	}
	return s.send(ctx, w, until, p.sent)
}

// take finds a socket for w, at random: one more thing that a forger has to guess.
func (p *pool) take(w *wait) (*socket, error) {
	slot := &p.slots[rand.IntN(poolSlots)]
	slot.mu.Lock()
	defer slot.mu.Unlock()
	if slot.socket != nil && slot.socket.take(w) {
		return slot.socket, nil
	}
	p.makeRoom()
	s, err := openSocket(p.addr, p.life, p.forget)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.open[s] = struct{}{}
	p.mu.Unlock()
	s.take(w)
	slot.socket = s
	go s.read()
	return s, nil
}

// makeRoom closes the oldest of the sockets that are used up, if there are too
// many. Those who wait there have waited longest and for nothing.
func (p *pool) makeRoom() {
	p.mu.Lock()
	var oldest *socket
	if len(p.open) >= maxSockets-poolSlots {
		for s := range p.open {
			if (oldest == nil || s.born.Before(oldest.born)) && s.usedUp() {
				oldest = s
			}
		}
	}
	p.mu.Unlock()
	if oldest != nil {
		oldest.close(errCut)
	}
}

func (p *pool) forget(s *socket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, s)
}

// cut ends all queries under way, and all sockets.
func (p *pool) cut(err error) {
	p.mu.Lock()
	var all []*socket
	for s := range p.open {
		all = append(all, s)
	}
	p.mu.Unlock()
	for _, s := range all {
		s.close(err)
	}
}

// sockets counts those that are open.
func (p *pool) sockets() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open)
}
