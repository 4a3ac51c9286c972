package setup

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"gatepost/policy"
)

// metrics are the numbers that decisions move. Adding to one takes no lock.
type metrics struct {
	// The counters by label. The map is replaced when a new one appears, never changed.
	decisions atomic.Pointer[map[decisionKey]*atomic.Uint64]
	adding    sync.Mutex
	latency   [policy.StageRcpt + 1]histogram
}

type decisionKey struct {
	stage  policy.Stage
	action policy.Action
	rule   string
}

func newMetrics() *metrics {
	m := &metrics{}
	m.decisions.Store(&map[decisionKey]*atomic.Uint64{})
	return m
}

// count adds one decision. Rules are a closed set, so the labels are bounded.
func (m *metrics) count(d *policy.Decision, took time.Duration) {
	key := decisionKey{d.Stage, d.Verdict.Action, d.By().Rule}
	n, ok := (*m.decisions.Load())[key]
	if !ok {
		n = m.add(key)
	}
	n.Add(1)
	m.latency[d.Stage].observe(took)
}

func (m *metrics) add(key decisionKey) *atomic.Uint64 {
	m.adding.Lock()
	defer m.adding.Unlock()
	old := *m.decisions.Load()
	if n, ok := old[key]; ok {
		return n
	}
	known := maps.Clone(old)
	known[key] = new(atomic.Uint64)
	m.decisions.Store(&known)
	return known[key]
}

// latencyBounds are the upper bounds of the histogram's buckets: from a decision
// out of memory to one that waited for DNS.
var latencyBounds = [...]time.Duration{
	10 * time.Microsecond, 30 * time.Microsecond, 100 * time.Microsecond, 300 * time.Microsecond,
	time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond,
	time.Second, 3 * time.Second, 10 * time.Second,
}

type histogram struct {
	buckets [len(latencyBounds) + 1]atomic.Uint64 // each without those below; the last is beyond all bounds
	sum     atomic.Int64                          // nanoseconds
}

func (h *histogram) observe(d time.Duration) {
	i := 0
	for i < len(latencyBounds) && d > latencyBounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.sum.Add(int64(d))
}
