// Package queue decides when a message is delivered: at once, and then again as long as
// it is worth another attempt. What is in the queue is in the spool; here is only what is
// due when. Nothing is lost with it.
package queue

import (
	"container/heap"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"gatepost/relay/deliver"
	"gatepost/relay/spool"
)

// Defaults of a Queue.
const (
	DefaultConcurrency = 20
	DefaultLifetime    = 5 * 24 * time.Hour // sendmail's Timeout.queuereturn
	DefaultDrain       = 30 * time.Second

	batch      = 1000        // messages that are looked at before the time is
	laneIdle   = time.Minute // after it a destination is forgotten
	longestNap = time.Hour
)

// Route is the way out for a recipient. Recipients with the same Route go together, and
// share a limit of deliveries at once and the pauses when the destination is down. The
// Transport must be comparable.
type Route struct {
	Transport   deliver.Transport
	Destination string // the next hop, where the Transport has several
}

// Config is what a Queue is told.
type Config struct {
	Spool *spool.Spool

	// Route says where mail for an address goes. It is asked for every attempt, by one
	// goroutine for all, and so must not wait. An error defers the recipient.
	Route func(recipient string) (Route, error)

	Log *slog.Logger // nil: slog.Default()

	// Observe, if set, is told of each attempt for each recipient, after it has been
	// written down. It is called from many goroutines and must not wait.
	Observe func(Attempt)

	// Concurrency is how many deliveries go to one destination at once; default 20.
	Concurrency int

	// Schedule is how long to wait after the attempt of this number, from 1, has left
	// something undelivered. Default: DefaultSchedule.
	Schedule func(attempt int) time.Duration

	// Pause is how long a destination is left alone that could not be reached so many times
	// in a row. Default: DefaultPause.
	Pause func(failures int) time.Duration

	// Lifetime is how long after its arrival a message is tried; default five days.
	Lifetime time.Duration

	// Drain is how long Run waits at its end for deliveries under way; default 30 s.
	Drain time.Duration
}

// Queue delivers what is in a spool. Make one with New.
type Queue struct {
	config Config
	wake   chan struct{} // holds at most one

	mu    sync.Mutex
	fresh []*entry
	later schedule

	lanesMu sync.Mutex // the map; only Run changes it
	lanes   map[Route]*lane
	workers sync.WaitGroup
	deliver context.Context // of all deliveries
	giveUp  context.CancelFunc

	active, held                atomic.Int64
	delivered, failed, deferred atomic.Uint64
}

// Stats are counts of a Queue.
type Stats struct {
	Ready    int // messages that wait for a free place, or for their destination
	Active   int // deliveries under way
	Deferred int // messages that wait for their next attempt
	Held     int // messages on hold, for whatever reason

	// Recipients since the start, by what attempts for them came to.
	Delivered, Failed, Retried uint64

	Down []Down
}

// Down is a destination that could not be reached.
type Down struct {
	Destination string
	Since       time.Time
	Until       time.Time // then one message is tried
	Reason      string
	Waiting     int // messages, besides those that have an attempt of their own behind them
}

// New returns the queue of what is in the spool. It must be made before anything is given
// to Add.
func New(config Config) *Queue {
	if config.Log == nil {
		config.Log = slog.Default()
	}
	if config.Concurrency <= 0 {
		config.Concurrency = DefaultConcurrency
	}
	if config.Schedule == nil {
		config.Schedule = DefaultSchedule
	}
	if config.Pause == nil {
		config.Pause = DefaultPause
	}
	if config.Lifetime <= 0 {
		config.Lifetime = DefaultLifetime
	}
	if config.Drain <= 0 {
		config.Drain = DefaultDrain
	}
	q := &Queue{config: config, wake: make(chan struct{}, 1), lanes: map[Route]*lane{}}
	q.deliver, q.giveUp = context.WithCancel(context.Background())
	now := time.Now()
	for _, m := range config.Spool.Messages() {
		if m.Held() {
			q.held.Add(1)
			continue
		}
		// No later than if it had been tried just now: the clock may have been put back.
		var wait time.Duration
		if next := m.NextTry(); !next.IsZero() {
			wait = min(next.Sub(now), config.Schedule(max(1, m.Attempts())))
		}
		q.later = append(q.later, &entry{m: m, next: now.Add(wait)})
	}
	heap.Init(&q.later)
	return q
}

// Add has a message delivered that has just been committed, or released. It does not wait.
func (q *Queue) Add(m *spool.Message) {
	q.mu.Lock()
	q.fresh = append(q.fresh, &entry{m: m})
	q.mu.Unlock()
	q.rouse()
}

func (q *Queue) rouse() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Run delivers until ctx is done. Then nothing more is begun; it returns when what is
// under way has ended, or has been given up after Config.Drain. It must be called once.
func (q *Queue) Run(ctx context.Context) {
	defer q.giveUp()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		due, wait := q.due(time.Now())
		for _, e := range due {
			if ctx.Err() != nil {
				break
			}
			q.dispatch(e)
		}
		q.forgetLanes()
		if len(due) > 0 {
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-q.wake:
		case <-timer.C:
		}
	}
	q.stop()
}

// Abandon gives up what is under way: the end of Run need not be waited for. What was
// given up is tried again at the next start.
func (q *Queue) Abandon() { q.giveUp() }

// stop waits for the workers.
func (q *Queue) stop() {
	q.lanesMu.Lock()
	for _, l := range q.lanes {
		l.close()
	}
	q.lanesMu.Unlock()
	timer := time.AfterFunc(q.config.Drain, q.giveUp)
	defer timer.Stop()
	q.workers.Wait()
}

// due takes what is to be tried now. If that is nothing, wait says how long to wait.
func (q *Queue) due(now time.Time) (due []*entry, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	due, q.fresh = q.fresh, nil
	for len(due) < batch && len(q.later) > 0 && !q.later[0].next.After(now) {
		due = append(due, heap.Pop(&q.later).(*entry))
	}
	wait = longestNap
	if len(q.later) > 0 {
		wait = min(wait, q.later[0].next.Sub(now))
	}
	return due, wait
}

// defers puts a message by until its time has come.
func (q *Queue) defers(e *entry, until time.Time) {
	e.next = until
	q.mu.Lock()
	heap.Push(&q.later, e)
	first := q.later[0] == e
	q.mu.Unlock()
	if first {
		q.rouse()
	}
}

// Stats counts. It may be called at any time.
func (q *Queue) Stats() Stats {
	s := Stats{
		Active: int(q.active.Load()), Held: int(q.held.Load()),
		Delivered: q.delivered.Load(), Failed: q.failed.Load(), Retried: q.deferred.Load(),
	}
	q.mu.Lock()
	s.Ready, s.Deferred = len(q.fresh), len(q.later)
	q.mu.Unlock()
	q.lanesMu.Lock()
	defer q.lanesMu.Unlock()
	for _, l := range q.lanes {
		waiting, down := l.stats()
		s.Ready += waiting
		if down != nil {
			s.Down = append(s.Down, *down)
		}
	}
	return s
}
