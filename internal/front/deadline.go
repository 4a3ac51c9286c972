package front

import (
	"context"
	"sync"
	"time"
)

// deadline is a context that ends at a time. Unlike context.WithDeadline it sets
// up a timer only for those who wait: most decisions look into tables in memory,
// and the timer would cost more than they do.
type deadline struct {
	parent context.Context
	at     time.Time

	mu     sync.Mutex
	real   context.Context // once somebody waits
	cancel context.CancelFunc
}

func newDeadline(parent context.Context, at time.Time) *deadline {
	return &deadline{parent: parent, at: at}
}

// end releases the timer, if there is one, and ends all that hangs on it.
func (d *deadline) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cancel != nil {
		d.cancel()
	}
}

// waiting returns the real context, made at need.
func (d *deadline) waiting() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.real == nil {
		d.real, d.cancel = context.WithDeadline(d.parent, d.at)
	}
	return d.real
}

func (d *deadline) Deadline() (time.Time, bool) { return d.at, true }
func (d *deadline) Done() <-chan struct{}       { return d.waiting().Done() }

func (d *deadline) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.real != nil:
		return d.real.Err()
	case d.parent.Err() != nil:
		return d.parent.Err()
	case !time.Now().Before(d.at):
		return context.DeadlineExceeded
	}
	return nil
}

// Value lets package context find the real context, so that contexts made of
// this one need no goroutine.
func (d *deadline) Value(key any) any {
	d.mu.Lock()
	real := d.real
	d.mu.Unlock()
	if real != nil {
		return real.Value(key)
	}
	return d.parent.Value(key)
}
