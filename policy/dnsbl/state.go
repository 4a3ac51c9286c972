package dnsbl

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gatepost/internal/dns"
)

// State is what is known of a zone while the program runs: whether it can be
// believed, and counts. It is safe for concurrent use; the methods that sessions
// call may be called on nil, which knows nothing.
type State struct {
	wake   chan<- struct{} // somebody looks after the zone's health at once
	parked atomic.Pointer[ParkedError]
	counts counts

	mu     sync.Mutex
	window window
	health health
	fails  int  // lookups without an answer in a row
	urgent bool // the next probe is due at once
}

// ParkedError is why a list is not asked for the time being.
type ParkedError struct {
	Reason string
	Since  time.Time
}

func (e *ParkedError) Error() string { return "parked: " + e.Reason }

// Parked is why the list is not to be asked; nil when it is.
func (s *State) Parked() *ParkedError {
	if s == nil {
		return nil
	}
	return s.parked.Load()
}

// manyFails is after how many lookups in a row without an answer the zone is probed.
const manyFails = 5

// Asked counts a lookup that a session made. err is as from the resolver, or an
// *AnswerError. An error of ours, that nobody waited any longer, counts as well.
func (s *State) Asked(a *dns.Answer, took time.Duration, err error) {
	if s == nil {
		return
	}
	s.counts.lookups.Add(1)
	s.counts.observe(took)
	if strings.HasPrefix(a.Server, "cache of ") {
		s.counts.cached.Add(1)
	}
	if err != nil {
		s.counts.errors.Add(1)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.fails = 0
		return
	}
	if s.fails++; s.fails == manyFails {
		s.urge()
	}
}

// Said counts what the list said of somebody: who is the address or domain. A list
// that says "listed" of nearly everybody is parked.
func (s *State) Said(who string, listed bool) {
	if s == nil {
		return
	}
	if listed {
		s.counts.hits.Add(1)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.window.add(who, listed) {
		s.urge()
	}
}

// urge has the zone's health looked after at once. The caller holds s.mu.
func (s *State) urge() {
	s.urgent = true
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// counts are of the lookups that sessions made.
type counts struct {
	lookups, hits, errors, cached atomic.Uint64
	nanoseconds                   atomic.Uint64
	buckets                       [len(bounds) + 1]atomic.Uint64
}

// bounds are the upper bounds of the latency's buckets: from an answer out of
// memory to one that was waited for in vain.
var bounds = [...]time.Duration{
	10 * time.Microsecond, 100 * time.Microsecond, time.Millisecond, 10 * time.Millisecond,
	30 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond, time.Second, 3 * time.Second, 10 * time.Second,
}

func (c *counts) observe(took time.Duration) {
	c.nanoseconds.Add(uint64(max(took, 0)))
	i := 0
	for i < len(bounds) && took > bounds[i] {
		i++
	}
	c.buckets[i].Add(1)
}

// Counts are of a zone since the program has known it.
type Counts struct {
	Queries uint64        // lookups that sessions made
	Hits    uint64        // of these, listed
	Errors  uint64        // of these, without an answer or with one that is an error
	Cached  uint64        // of these, answered out of the resolver's cache
	Took    time.Duration // all of them together
	Buckets map[float64]uint64
}

func (c *counts) read() Counts {
	out := Counts{
		Queries: c.lookups.Load(), Hits: c.hits.Load(), Errors: c.errors.Load(), Cached: c.cached.Load(),
		Took: time.Duration(c.nanoseconds.Load()), Buckets: make(map[float64]uint64, len(bounds)),
	}
	sum := uint64(0)
	for i, bound := range bounds {
		sum += c.buckets[i].Load()
		out.Buckets[bound.Seconds()] = sum
	}
	return out
}
