package main

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"gatepost/maps"
)

// reloads is how many edits are read under load.
const reloads = 10

// measureReload looks keys up from two goroutines without a pause, at first alone
// and then while edits of the whole table are read, and prints the 99th percentile
// of both. Each key must be found each time.
func measureReload(f files, seconds float64) error {
	live := filepath.Join(filepath.Dir(f.text), "access.live")
	if err := replaceFile(f.text, live); err != nil {
		return err
	}
	defer os.Remove(live)
	table, err := openAccess(live)
	if err != nil {
		return err
	}
	keys, err := readKeys(f.present)
	if err != nil {
		return err
	}
	l := load{table: table, keys: keys}
	l.start(2)
	time.Sleep(time.Second / 2)
	l.phase.Store(before)
	time.Sleep(time.Duration(seconds * float64(time.Second)))
	l.phase.Store(between)
	took, err := l.reload(f, live)
	l.stop()
	if err != nil {
		return err
	}
	calm, busy := &l.times[before], &l.times[during]
	fmt.Printf("before_p50_ns=%d before_p99_ns=%d during_p50_ns=%d during_p99_ns=%d during_lookups=%d failed=%d seconds=%.3f\n",
		calm.percentile(.5), calm.percentile(.99), busy.percentile(.5), busy.percentile(.99), busy.count(),
		l.failed.Load(), took.Seconds()/reloads)
	return nil
}

// What happens while lookups are made.
const (
	between int32 = iota
	before
	during
	phases
)

// load is goroutines that look up keys in a table, and how long it took them.
type load struct {
	table  *maps.Table
	keys   []string
	phase  atomic.Int32
	failed atomic.Int64
	ended  atomic.Bool
	crew   sync.WaitGroup

	mu    sync.Mutex
	times [phases]histogram
}

func (l *load) start(n int) {
	for i := range n {
		l.crew.Go(func() { l.run(i * len(l.keys) / n) })
	}
}

func (l *load) stop() {
	l.ended.Store(true)
	l.crew.Wait()
}

func (l *load) run(at int) {
	var times [phases]histogram
	for last := time.Now(); !l.ended.Load(); {
		phase := l.phase.Load()
		if _, found, err := l.table.Snapshot().Lookup(context.Background(), l.keys[at]); !found || err != nil {
			l.failed.Add(1)
		}
		if at++; at == len(l.keys) {
			at = 0
		}
		end := time.Now()
		times[phase].add(end.Sub(last))
		last = end
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range times {
		l.times[p].merge(&times[p])
	}
}

// reload has the table read one edit after the other.
func (l *load) reload(f files, live string) (took time.Duration, err error) {
	for i := range reloads {
		from := f.edited
		if i%2 == 1 {
			from = f.text
		}
		if err := replaceFile(from, live); err != nil {
			return 0, err
		}
		l.phase.Store(during)
		start := time.Now()
		changed, err := l.table.Reload()
		took += time.Since(start)
		l.phase.Store(between)
		if err != nil {
			return 0, err
		}
		if !changed {
			return 0, errors.New("an edit was not seen")
		}
	}
	return took, nil
}

// histogram counts times in steps of a 32nd.
type histogram [64 * steps]int64

const steps = 32

func (h *histogram) add(d time.Duration) {
	n := uint64(max(d, steps))
	exp := bits.Len64(n) - bits.Len(steps)
	h[exp*steps+int(n>>exp)-steps]++
}

func (h *histogram) merge(other *histogram) {
	for i, n := range other {
		h[i] += n
	}
}

func (h *histogram) count() (all int64) {
	for _, n := range h {
		all += n
	}
	return all
}

// percentile is the upper bound in ns of the step that a share of all is within.
func (h *histogram) percentile(share float64) int64 {
	all, sum := h.count(), int64(0)
	for i, n := range h {
		if sum += n; n > 0 && float64(sum) >= share*float64(all) {
			return int64(i%steps+steps+1) << (i / steps)
		}
	}
	return 0
}
