package front

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const acceptPauses = time.Second // longest pause after a failed Accept

// ErrClosed is returned by Serve after Shutdown.
var ErrClosed = errors.New("server closed")

// Doors are a server's listeners and its open connections, of type C. Make one
// with NewDoors. It is safe for concurrent use.
type Doors[C comparable] struct {
	name string
	max  int
	said *Complaints

	draining atomic.Bool
	mu       sync.Mutex
	lns      map[net.Listener]struct{}
	open     map[C]struct{}
	empty    chan struct{} // closed when draining and no connection is left

	accepted, refused atomic.Uint64
}

// NewDoors returns doors for at most max connections at once. name is the
// server's, for errors and warnings.
func NewDoors[C comparable](name string, max int, said *Complaints) *Doors[C] {
	return &Doors[C]{
		name: name, max: max, said: said,
		lns: map[net.Listener]struct{}{}, open: map[C]struct{}{}, empty: make(chan struct{}),
	}
}

// Accepted counts the connections taken from listeners.
func (d *Doors[C]) Accepted() uint64 { return d.accepted.Load() }

// Refused counts those for which there was no room.
func (d *Doors[C]) Refused() uint64 { return d.refused.Load() }

// Open is how many connections there are now.
func (d *Doors[C]) Open() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.open)
}

// Draining tells whether Shutdown has begun.
func (d *Doors[C]) Draining() bool { return d.draining.Load() }

// Serve takes connections from ln until ctx ends or Shutdown, and closes ln. It
// returns nil when ctx ended, ErrClosed after Shutdown, else what was wrong with
// ln. take must not block.
func (d *Doors[C]) Serve(ctx context.Context, ln net.Listener, take func(net.Conn)) error {
	if !d.addListener(ln) {
		_ = ln.Close()
		return ErrClosed
	}
	defer d.closeListener(ln)
	stop := context.AfterFunc(ctx, func() { d.closeListener(ln) })
	defer stop()
	var pause time.Duration
	for {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			pause = 0
			d.accepted.Add(1)
			take(nc)
		case d.draining.Load():
			return ErrClosed
		case ctx.Err() != nil:
			return nil
		case !passing(err):
			return fmt.Errorf("%s: accept on %s: %w", d.name, ln.Addr(), err)
		default:
			pause = min(max(2*pause, 5*time.Millisecond), acceptPauses)
			d.said.Complain(d.name+": cannot accept a connection", "error", err.Error(), "retry", pause)
			sleep(ctx, pause)
		}
	}
}

// passing tells whether Accept may succeed later.
func passing(err error) bool {
	for _, e := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EPROTO, syscall.EINTR, syscall.EAGAIN, syscall.EPERM,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func (d *Doors[C]) addListener(ln net.Listener) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.draining.Load() {
		return false
	}
	d.lns[ln] = struct{}{}
	return true
}

func (d *Doors[C]) closeListener(ln net.Listener) {
	d.mu.Lock()
	_, open := d.lns[ln]
	delete(d.lns, ln)
	d.mu.Unlock()
	if open {
		_ = ln.Close()
	}
}

// Enter lets a connection in; Leave must be called for it. It returns false when
// there is no room for it, or none any more.
func (d *Doors[C]) Enter(c C) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.draining.Load() {
		return false
	}
	if len(d.open) >= d.max {
		d.refused.Add(1)
		return false
	}
	d.open[c] = struct{}{}
	return true
}

// Leave forgets a connection that is closed.
func (d *Doors[C]) Leave(c C) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.open, c)
	if len(d.open) == 0 && d.draining.Load() {
		d.closeEmpty()
	}
}

func (d *Doors[C]) closeEmpty() {
	select {
	case <-d.empty:
	default:
		close(d.empty)
	}
}

// Shutdown closes the listeners, tells each connection to end when it can, and
// waits for all of them. When ctx ends first it has those that are left
// abandoned, and returns ctx's error.
func (d *Doors[C]) Shutdown(ctx context.Context, end, abandon func(C)) error {
	d.mu.Lock()
	d.draining.Store(true)
	lns, conns := d.lns, make([]C, 0, len(d.open))
	d.lns = map[net.Listener]struct{}{}
	for c := range d.open {
		conns = append(conns, c)
	}
	if len(conns) == 0 {
		d.closeEmpty()
	}
	d.mu.Unlock()
	var errs []error
	for ln := range lns {
		errs = append(errs, ln.Close())
	}
	for _, c := range conns {
		end(c)
	}
	select {
	case <-d.empty:
		return errors.Join(errs...)
	case <-ctx.Done():
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.said.Log.Warn(d.name+": connections broken at shutdown", "open", len(d.open))
	for c := range d.open {
		abandon(c)
	}
	return ctx.Err()
}
