package maps

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"gatepost/maps/redis"
)

// redisFirst bounds the wait for the server when a table is opened.
const redisFirst = 10 * time.Second

// redisPace is how a redis map paces itself; tests make it faster.
type redisPace struct {
	poll   time.Duration // between two questions whether the hash has changed
	gather time.Duration // for so long notifications are gathered before the hash is read
	// How long an edit may stay unseen at a server that does not notify: one that changed
	// no number of entries where there is no version, and one that left out the version.
	reread, forgotten time.Duration
}

func (s *Spec) redisPace() redisPace {
	p := redisPace{poll: time.Second, gather: 50 * time.Millisecond, reread: 30 * time.Second, forgotten: 5 * time.Minute}
	if !s.KeepLast {
		p.poll = min(p.poll, s.MaxStale/4) // several words from the server before the last one is too old
	}
	p.poll = max(p.poll, 100*time.Millisecond)
	return p
}

// Redis is a table that is kept as a hash on a Redis server, for a fleet: the hash
// is read whole and followed, and lookups are answered from that copy. For MaxStale
// after the last word from the server the copy stands for the hash; after that the
// table cannot be asked, unless KeepLast is set. It is safe for concurrent use.
type Redis struct {
	spec   Spec
	where  string // the address without password
	log    *slog.Logger
	client *redis.Client
	wake   chan struct{} // the server told of a change
	pace   redisPace

	copy    atomic.Pointer[Text] // nil before the first reading
	opened  time.Time
	contact atomic.Int64 // when the server last answered, in nanoseconds after opened

	reading sync.Mutex // one reading at a time
	stamp   redis.Stamp
	read    time.Time // when the hash was last read; zero: it must be read

	mu      sync.Mutex
	status  Status
	refused error // why the hash as it is at the server is not in force
}

// openRedis reads the table for the first time. A server that is down is no error.
func openRedis(spec Spec, log *slog.Logger) (*Redis, error) {
	cfg, err := redis.ParseURL(spec.Path)
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", spec.Name, err)
	}
	client, err := redis.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("table %s: %s: %w", spec.Name, cfg, err)
	}
	r := &Redis{spec: spec, where: cfg.String(), client: client, wake: make(chan struct{}, 1), pace: spec.redisPace(), opened: time.Now()}
	r.log = log.With("table", spec.Name, "path", r.where)
	r.status = Status{Name: spec.Name, Kind: spec.Kind, Path: r.where}
	if _, err := r.Reload(); err != nil {
		client.Close()
		return nil, err
	}
	return r, nil
}

// Map is the copy as it stands.
func (r *Redis) Map() Map {
	if text := r.copy.Load(); text != nil {
		return &redisCopy{text, r}
	}
	return unread{r}
}

// Status is the table's state.
func (r *Redis) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

// Is implements Store.
func (r *Redis) Is(spec Spec) bool { return r.spec.sameServer(spec) }

// Reload reads the hash now. A server that cannot be reached is no error, as it is
// none when the table is opened.
func (r *Redis) Reload() (changed bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), redisFirst)
	defer cancel()
	changed, err = r.fetch(ctx)
	var content *contentError
	if err != nil && errors.As(err, &content) {
		return false, fmt.Errorf("table %s: %w", r.spec.Name, err)
	}
	return changed, nil
}

// follow keeps the copy up to date until ctx is done.
func (r *Redis) follow(ctx context.Context, changed func()) {
	var listening sync.WaitGroup
	listening.Go(func() { r.listen(ctx) })
	defer listening.Wait()
	tick := time.NewTicker(r.pace.poll)
	defer tick.Stop()
	for {
		told := false
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-r.wake:
			told = true
			sleep(ctx, max(r.pace.gather, r.rest()))
		}
		if r.poll(ctx, told) {
			changed()
		}
	}
}

// rest keeps a hash that takes long to read from being read all the time.
func (r *Redis) rest() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return min(time.Duration(r.status.Entries)*2*time.Microsecond, 5*time.Second)
}

// listen hears the server's notifications; without them, polling does.
func (r *Redis) listen(ctx context.Context) {
	for ctx.Err() == nil {
		_ = r.client.Follow(ctx, func() { // the poll tells what is wrong with the server
			select {
			case r.wake <- struct{}{}:
			default:
			}
		})
		sleep(ctx, 2*time.Second)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// poll reads the hash if it may have changed.
func (r *Redis) poll(ctx context.Context, told bool) (changed bool) {
	if !told {
		stamp, err := r.client.Stamp(ctx)
		if err != nil {
			r.failed(ctx, err)
			return false
		}
		r.heard()
		if r.hasRead(stamp) {
			r.answered()
			return false
		}
	}
	changed, _ = r.fetch(ctx) // it has been logged
	return changed
}

// heard notes a word from the server.
func (r *Redis) heard() { r.contact.Store(int64(time.Since(r.opened))) }

// hasRead tells whether the hash with this stamp is the one that was read last.
func (r *Redis) hasRead(stamp redis.Stamp) bool {
	r.reading.Lock()
	defer r.reading.Unlock()
	again := r.pace.reread
	if stamp.Version != "" {
		again = r.pace.forgotten
	}
	return stamp == r.stamp && time.Since(r.read) < again
}

// fetch reads the hash and puts it into force.
func (r *Redis) fetch(ctx context.Context) (changed bool, err error) {
	r.reading.Lock()
	defer r.reading.Unlock()
	start := time.Now()
	var stamp redis.Stamp
	var gone error
	text, err := makePairs(r.where, func(yield func(key, value []byte) error) error {
		stamp, gone = r.client.Fetch(ctx, func(key, value []byte) error {
			r.heard() // a long table may take longer than MaxStale
			return yield(key, value)
		})
		return gone
	}, making{check: r.spec.Check})
	if gone != nil {
		r.read = time.Time{} // what was to be seen may be there no less
		r.failed(ctx, gone)
		return false, gone
	}
	r.heard()
	r.stamp, r.read = stamp, start
	if err != nil {
		err = &contentError{err}
		r.refuse(ctx, err)
		return false, err
	}
	old := r.copy.Load()
	if old != nil && old.data == text.data {
		r.refuse(ctx, nil)
		r.answered()
		return false, nil
	}
	r.copy.Store(text)
	r.took(old, text, start)
	return true, nil
}

// refuse notes why the hash that was read is not put into force; nil if it is.
func (r *Redis) refuse(ctx context.Context, why error) {
	r.mu.Lock()
	r.refused = why
	r.mu.Unlock()
	if why != nil {
		r.failed(ctx, why)
	}
}

// took brings the status up to date, and logs. old is nil at first.
func (r *Redis) took(old, text *Text, start time.Time) {
	r.mu.Lock()
	recovered := r.status.LastError != nil
	r.refused = nil
	r.status = Status{
		Name: r.spec.Name, Kind: r.spec.Kind, Path: r.where,
		Entries: text.Len(), Bytes: text.Size(), Problems: text.skipped, LoadedAt: start,
	}
	r.mu.Unlock()
	if recovered {
		r.log.Info("table can be read again")
	}
	if old != nil {
		warnEmpty(r.log, old, text)
	}
	logRead(r.log, text, start)
}

// answered notes that the server answers and that its last word has been taken in. A
// copy whose successor was refused stays doubtful.
func (r *Redis) answered() {
	r.mu.Lock()
	recovered := r.status.LastError != nil && r.status.LastError != r.refused
	if recovered {
		r.status.LastError, r.status.LastErrorAt = nil, time.Time{}
	}
	if recovered && r.refused != nil {
		r.status.LastError, r.status.LastErrorAt = r.refused, time.Now()
	}
	r.mu.Unlock()
	if recovered {
		r.log.Info("table's server answers again")
	}
}

// failed notes a fault, and logs it unless it is the one logged last. One that only
// says that we are about to stop is none.
func (r *Redis) failed(ctx context.Context, err error) {
	if errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	r.mu.Lock()
	last := r.status.LastError
	if last == nil {
		r.status.LastErrorAt = time.Now()
	}
	r.status.LastError = err
	r.mu.Unlock()
	if last != nil && last.Error() == err.Error() {
		return
	}
	then := r.spec.whenGone()
	var content *contentError
	if errors.As(err, &content) {
		then = "its last good content stays in force"
	}
	r.log.Error("table not read from its server", "error", err, "then", then)
}

// redisCopy is one state of the table; it answers while the server can vouch for it.
type redisCopy struct {
	*Text
	table *Redis
}

// Lookup implements Map.
func (c *redisCopy) Lookup(ctx context.Context, key string) (Entry, bool, error) {
	r := c.table
	if !r.spec.KeepLast {
		if age := time.Since(r.opened) - time.Duration(r.contact.Load()); age > r.spec.MaxStale {
			return Entry{}, false, fmt.Errorf("no word from the server for %v: %w", age.Truncate(time.Second), r.fault())
		}
	}
	return c.Text.Lookup(ctx, key)
}

// unread is the table before it could be read.
type unread struct{ table *Redis }

// Lookup implements Map.
func (u unread) Lookup(ctx context.Context, key string) (Entry, bool, error) {
	if u.table.copy.Load() != nil {
		return u.table.Map().Lookup(ctx, key)
	}
	return Entry{}, false, fmt.Errorf("not read yet: %w", u.table.fault())
}

// fault is what is wrong with the server, with its address in front.
func (r *Redis) fault() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status.LastError != nil {
		return r.status.LastError
	}
	return fmt.Errorf("%s: no answer", r.where)
}
