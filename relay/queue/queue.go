// Package queue decides when a message is delivered: at once, and then again as long as
// it is worth another attempt. What is in the queue is in the spool; here is only what is
// due when. Nothing is lost with it. docs/delivery.md says how it goes about it.
package queue

import (
	"container/heap"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"gatepost/relay/bounce"
	"gatepost/relay/deliver"
	"gatepost/relay/spool"
)

// Defaults of a Queue.
const (
	DefaultMaxDeliveries  = 200
	DefaultPerDestination = 20
	DefaultLifetime       = 5 * 24 * time.Hour // sendmail's Timeout.queuereturn
	DefaultWarn           = 4 * time.Hour      // sendmail's Timeout.queuewarn
	DefaultDrain          = 30 * time.Second
	DefaultSlow           = 10 * time.Second

	batch      = 1000        // messages that are looked at before the time is
	loaded     = 2000        // messages that wait for a free place with what is known of them in memory
	laneIdle   = time.Minute // after it a destination is forgotten
	downIdle   = time.Hour   // and one that is down
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

	// Route says where mail from a sender to an address goes. It is asked for every
	// attempt, by one goroutine for all, and by FlushDestination; ctx ends after RouteWait, or
	// after half of it. An error defers the recipient.
	Route func(ctx context.Context, sender, recipient string) (Route, error)

	// Report tells the sender what became of his message: it puts a report into the spool
	// and returns the messages that this has come to, to be delivered like others; none when
	// nobody is to be told. nil: nobody ever is.
	Report func(context.Context, *bounce.Report) ([]*spool.Message, error)

	Log *slog.Logger // nil: slog.Default()

	// Observe, if set, is told of each attempt for each recipient, after it has been
	// written down. It is called from many goroutines and must not wait.
	Observe func(Attempt)

	// MaxDeliveries is how many deliveries are under way at once to destinations that are
	// known to answer; default 200. Besides them half as many attempts may find out
	// whether new destinations answer, and half as many whether those do again that were
	// down: one attempt for each destination. Each of the three is doubled by attempts that
	// are slow.
	MaxDeliveries int

	// PerDestination is how many deliveries go to one destination at once, at most; default
	// 20. How many do within that follows its answers.
	PerDestination int

	// Schedule is how long to wait after the attempt of this number, from 1, has left
	// something undelivered. Default: DefaultSchedule.
	Schedule func(attempt int) time.Duration

	// Pause is how long a destination is left alone that could not be reached so many times
	// in a row. Default: DefaultPause.
	Pause func(failures int) time.Duration

	// RouteWait bounds the wait for Route; default 2 s.
	RouteWait time.Duration

	// Lifetime is how long a message is tried, counted from its arrival, or from when it was
	// queued anew; default five days. Warn is after how much of it the sender is told that
	// it is late, once; 0: never.
	Lifetime, Warn time.Duration

	// Slow is after how long an attempt leaves its place to others, as long as there are no
	// more such attempts than places; default 10 s.
	Slow time.Duration

	// Drain is how long Run waits at its end for deliveries under way; default 30 s.
	Drain time.Duration
}

func (c *Config) fill() {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Schedule == nil {
		c.Schedule = DefaultSchedule
	}
	if c.Pause == nil {
		c.Pause = DefaultPause
	}
	orElse(&c.MaxDeliveries, DefaultMaxDeliveries)
	orElse(&c.PerDestination, DefaultPerDestination)
	orElse(&c.Lifetime, DefaultLifetime)
	orElse(&c.Drain, DefaultDrain)
	orElse(&c.Slow, DefaultSlow)
	orElse(&c.RouteWait, 2*time.Second)
}

func orElse[T int | time.Duration](at *T, otherwise T) {
	if *at <= 0 {
		*at = otherwise
	}
}

// Queue delivers what is in a spool. Make one with New.
type Queue struct {
	config Config
	wake   chan struct{} // holds at most one
	lanes  lanes
	slow   slowRoutes

	patience patience   // Run's
	ops      sync.Mutex // of the operator: one command at a time; before mu

	mu      sync.Mutex // never taken with lanes.mu held
	entries map[*spool.Message]*entry
	fresh   []*entry
	later   schedule
	owed    map[*entry]*note // what could not be written down
	clock   clock

	deliver context.Context // of all deliveries
	hurried context.Context // of those that must not wait for long
	giveUp  context.CancelFunc

	waiting                     atomic.Int64 // messages in lanes with what is known of them in memory
	delivered, failed, deferred atomic.Uint64
	reports                     [bounce.Kinds]atomic.Uint64
}

// Stats are counts of a Queue.
type Stats struct {
	Ready        int // messages that wait for a free place, or for their destination
	Active       int // attempts under way
	Deferred     int // messages that wait for their next attempt
	Held         int // messages on hold, for whatever reason
	Destinations int // that something is or was lately delivered to

	// Recipients since the start, by what attempts for them came to.
	Delivered, Failed, Retried uint64

	// Reports that were written since the start, by bounce.Kind.
	Reports [bounce.Kinds]uint64

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
	config.fill()
	q := &Queue{config: config, wake: make(chan struct{}, 1), owed: map[*entry]*note{}}
	q.lanes.init(q)
	q.deliver, q.giveUp = context.WithCancel(context.Background())
	q.hurried = deliver.Hurry(q.deliver)
	now := time.Now()
	all := config.Spool.Messages()
	q.entries = make(map[*spool.Message]*entry, len(all))
	q.later = make(schedule, 0, len(all))
	for _, m := range all {
		if m.Held() {
			continue
		}
		// No later than if it had been tried just now: the clock may have been put back.
		var wait time.Duration
		if next := m.NextTry(); !next.IsZero() {
			wait = min(next.Sub(now), config.Schedule(max(1, m.Attempts())))
		}
		e := &entry{m: m, next: now.Add(wait).UnixNano(), at: int32(len(q.later))}
		q.entries[m], q.later = e, append(q.later, e)
	}
	heap.Init(&q.later)
	return q
}

// Add has a message delivered that has just been committed. It does not wait.
func (q *Queue) Add(m *spool.Message) {
	if m.Held() {
		return
	}
	q.mu.Lock()
	q.add(m)
	q.mu.Unlock()
	q.rouse()
}

// add is Add with q.mu held.
func (q *Queue) add(m *spool.Message) {
	if q.entries[m] == nil {
		e := &entry{m: m, at: isFresh}
		q.entries[m], q.fresh = e, append(q.fresh, e)
	}
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
	defer q.patience.end()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		now := time.Now()
		due, wait := q.due(now)
		for _, e := range due {
			if ctx.Err() != nil {
				break
			}
			q.dispatch(ctx, e)
		}
		q.lanes.forget(now)
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
	timer := time.AfterFunc(q.config.Drain, q.giveUp)
	defer timer.Stop()
	q.lanes.close()
}

// due takes what is to be tried now. If that is nothing, wait says how long to wait.
func (q *Queue) due(now time.Time) (due []*entry, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.later.shift(q.clock.putBack(now))
	n := min(len(q.fresh), batch)
	due = q.fresh[:n:n]
	if q.fresh = q.fresh[n:]; len(q.fresh) == 0 {
		q.fresh = nil
	}
	for len(due) < n+batch && len(q.later) > 0 && q.later[0].next <= now.UnixNano() {
		due = append(due, heap.Pop(&q.later).(*entry))
	}
	for _, e := range due {
		e.at, e.next = inRound, nowhere
	}
	wait = longestNap
	if len(q.later) > 0 {
		wait = min(wait, time.Duration(q.later[0].next-now.UnixNano()))
	}
	return due, wait
}

// defers puts a message by until its time has come, unless the operator has had another
// word about it meanwhile.
func (q *Queue) defers(e *entry, until time.Time) {
	q.mu.Lock()
	first := q.back(e, until)
	q.mu.Unlock()
	if first {
		q.rouse()
	}
}

// back is defers with q.mu held; it tells whether Run must look at it.
func (q *Queue) back(e *entry, until time.Time) bool {
	e.take(urgent)
	switch {
	case e.has(gone) || e.m.Held() && !e.has(owing):
		q.forget(e)
		return false
	case e.take(again):
		e.at = isFresh
		q.fresh = append(q.fresh, e)
		return true
	}
	e.next = until.UnixNano()
	heap.Push(&q.later, e)
	return q.later[0] == e
}

// drop is the end of an entry: its message is gone, or on hold.
func (q *Queue) drop(e *entry) {
	q.mu.Lock()
	// Released just now, it is not over.
	if released := !e.has(gone) && q.released(e); !released {
		q.forget(e)
	}
	q.mu.Unlock()
	q.rouse()
}

// released has an entry tried again that was to be dropped because its message was on
// hold, and is not any more.
func (q *Queue) released(e *entry) bool {
	if !e.take(again) {
		return false
	}
	e.at = isFresh
	q.fresh = append(q.fresh, e)
	return true
}

func (q *Queue) forget(e *entry) {
	if q.entries[e.m] == e {
		delete(q.entries, e.m)
	}
	delete(q.owed, e)
	e.set(gone)
}

// Stats counts. It may be called at any time.
func (q *Queue) Stats() Stats {
	s := Stats{
		Held:      q.config.Spool.Stats().Held,
		Delivered: q.delivered.Load(), Failed: q.failed.Load(), Retried: q.deferred.Load(),
	}
	for k := range q.reports {
		s.Reports[k] = q.reports[k].Load()
	}
	q.mu.Lock()
	s.Ready, s.Deferred = len(q.fresh), len(q.later)
	q.mu.Unlock()
	q.lanes.stats(&s)
	return s
}
