package deliver

import (
	"math/rand/v2"
	"net/netip"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// pauses remembers for how long something is not to be tried. It is bounded: the least
// recently used is forgotten first, which costs no more than a try.
type pauses[K comparable] struct {
	cache *lru.Cache[K, pause]
}

type pause struct {
	until time.Time
	count int // how often it was begun
	text  string
}

// find is the pause that is under way.
func (p *pauses[K]) find(k K) (pause, bool) {
	if p.cache.Len() == 0 {
		return pause{}, false
	}
	found, ok := p.cache.Get(k)
	return found, ok && time.Now().Before(found.until)
}

// begin begins a pause, longer by a random tenth at most, so that what failed together
// is not tried together. The text is for those who must wait.
func (p *pauses[K]) begin(k K, length func(count int) time.Duration, text string) {
	before, _ := p.cache.Peek(k)
	count := before.count
	if !time.Now().Before(before.until) { // else it is one of those that failed together
		count++
	}
	wait := length(count)
	wait += rand.N(wait/10 + 1)
	p.cache.Add(k, pause{until: time.Now().Add(wait), count: count, text: text})
}

func (p *pauses[K]) end(k K) {
	if p.cache.Len() > 0 {
		p.cache.Remove(k)
	}
}

// deadKey is an address that did not answer.
type deadKey = netip.AddrPort

func (s *SMTP) believedDead(addr netip.Addr, port uint16) bool {
	_, is := s.dead.find(netip.AddrPortFrom(addr, port))
	return is
}

func (s *SMTP) markDead(addr netip.Addr, port uint16) {
	if s.config.DeadTime > 0 {
		s.dead.begin(netip.AddrPortFrom(addr, port), func(int) time.Duration { return s.config.DeadTime }, "")
	}
}

// loginKey is a login at a host. Other credentials are another login: who corrects a
// password need not wait.
type loginKey struct {
	host string
	port uint16
	id   identity
}

// loginPause is how long a refused login is not tried: providers lock accounts out that
// are tried too often.
func loginPause(count int) time.Duration {
	return min(time.Minute<<min(count-1, 10), time.Hour)
}
