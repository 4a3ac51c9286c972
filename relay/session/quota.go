package session

import (
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	quotaWindow  = time.Hour
	quotaClients = 10_000 // remembered; the one that sent least recently is forgotten
)

// Quota is how many messages each client may send in an hour that begins with its
// first. With IPv6 a /64 is one client. It is safe for concurrent use, also by
// several listeners.
type Quota struct {
	most int

	mu   sync.Mutex
	used *simplelru.LRU[netip.Addr, *quotaUse]
}

type quotaUse struct {
	since time.Time
	n     int
}

// NewQuota returns a quota of so many messages an hour, at least one.
func NewQuota(perHour int) *Quota {
	used, err := simplelru.NewLRU[netip.Addr, *quotaUse](quotaClients, nil)
	if err != nil { // only for a size that is not positive
		panic(err)
	}
	return &Quota{most: max(perHour, 1), used: used}
}

// take counts a message; false if it is one too many.
func (q *Quota) take(client netip.Addr, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	client = seatOf(client)
	u, known := q.used.Get(client)
	if !known {
		u = &quotaUse{since: now}
		q.used.Add(client, u)
	}
	if now.Sub(u.since) >= quotaWindow {
		*u = quotaUse{since: now}
	}
	if u.n >= q.most {
		return false
	}
	u.n++
	return true
}

// giveBack takes a message out of the count that has not come about.
func (q *Quota) giveBack(client netip.Addr) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if u, known := q.used.Peek(seatOf(client)); known && u.n > 0 {
		u.n--
	}
}
