// Package clients counts the connections of each client: how many are open, and
// how many began within the last minute, for FEATURE(conncontrol) and
// FEATURE(ratecontrol). A front tells it of each connection.
//
// Source: sendmail's ratectrl.c, with the default ConnectionRateWindowSize.
package clients

import (
	"net/netip"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	// Window is the time over which connections are counted.
	Window = time.Minute
	// slices is into how many parts the window is cut: it moves by one of them.
	slices = 10
	// remembered bounds the clients whose rate is known; the one that was seen
	// least recently is forgotten.
	remembered = 100_000
)

// Counts is safe for concurrent use.
type Counts struct {
	now func() time.Time

	mu    sync.Mutex
	open  map[netip.Addr]int
	rates *lru.Cache[netip.Addr, *rate]
}

// rate is the connections of a client by slice of time.
type rate struct {
	slice [slices]int64 // which slice of time, counted from the epoch
	count [slices]int
}

// New returns counts of nothing.
func New() (*Counts, error) {
	rates, err := lru.New[netip.Addr, *rate](remembered)
	if err != nil {
		return nil, err
	}
	return &Counts{now: time.Now, open: map[netip.Addr]int{}, rates: rates}, nil
}

// Begin notes a connection. recent is how many of this client began within the
// window, open how many it has at once, this one included in both. End must be
// called for it.
func (c *Counts) Begin(client netip.Addr) (recent, open int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[client]++
	r, known := c.rates.Get(client)
	if !known {
		r = &rate{}
		c.rates.Add(client, r)
	}
	return r.add(c.now().UnixNano() / int64(Window/slices)), c.open[client]
}

// End notes the end of a connection that Begin was told of.
func (c *Counts) End(client netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[client]--; c.open[client] <= 0 {
		delete(c.open, client)
	}
}

// add counts one connection in the slice of time and sums up the window.
func (r *rate) add(now int64) (sum int) {
	at := now % slices
	if r.slice[at] != now {
		r.slice[at], r.count[at] = now, 0
	}
	r.count[at]++
	for i, slice := range r.slice {
		if slice <= now && slice > now-slices {
			sum += r.count[i]
		}
	}
	return sum
}
