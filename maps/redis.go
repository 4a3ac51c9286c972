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

const (
	// redisPoll is the pause between two questions whether the hash has changed.
	redisPoll = time.Second
	// redisReread is how long an edit may stay unseen that neither changed the version
	// nor the number of entries, at a server that does not notify.
	redisReread = 30 * time.Second
	// redisGather is for how long notifications are gathered before the hash is read.
	redisGather = 50 * time.Millisecond
	// redisFirst bounds the wait for the server when a table is opened.
	redisFirst = 10 * time.Second
)

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

	copy    atomic.Pointer[Text] // nil before the first reading
	opened  time.Time
	contact atomic.Int64 // when the server last answered, in nanoseconds after opened

	reading sync.Mutex // one reading at a time
	stamp   redis.Stamp
	read    time.Time // when the hash was last read

	mu     sync.Mutex
	status Status
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
	r := &Redis{spec: spec, where: cfg.String(), client: client, wake: make(chan struct{}, 1), opened: time.Now()}
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
	tick := time.NewTicker(redisPoll)
	defer tick.Stop()
	for {
		told := false
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-r.wake:
			told = true
			sleep(ctx, max(redisGather, r.rest()))
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
		sleep(ctx, 2*redisPoll)
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
		r.contact.Store(int64(time.Since(r.opened)))
		r.reading.Lock()
		same := stamp == r.stamp && (stamp.Version != "" || time.Since(r.read) < redisReread)
		r.reading.Unlock()
		if same {
			r.answered()
			return false
		}
	}
	changed, _ = r.fetch(ctx) // it has been logged
	return changed
}

// fetch reads the hash and puts it into force.
func (r *Redis) fetch(ctx context.Context) (changed bool, err error) {
	r.reading.Lock()
	defer r.reading.Unlock()
	start := time.Now()
	var stamp redis.Stamp
	var gone error
	text, err := makePairs(r.where, func(yield func(key, value []byte) error) error {
		stamp, gone = r.client.Fetch(ctx, yield)
		return gone
	}, making{check: r.spec.Check})
	if gone != nil {
		r.failed(ctx, gone)
		return false, gone
	}
	r.contact.Store(int64(time.Since(r.opened)))
	r.stamp, r.read = stamp, start
	if err != nil {
		err = &contentError{err}
		r.failed(ctx, err)
		return false, err
	}
	old := r.copy.Load()
	if old != nil && old.data == text.data {
		r.answered()
		return false, nil
	}
	r.copy.Store(text)
	r.took(text, start)
	return true, nil
}

// took brings the status up to date, and logs.
func (r *Redis) took(text *Text, start time.Time) {
	r.mu.Lock()
	recovered := r.status.LastError != nil
	r.status = Status{
		Name: r.spec.Name, Kind: r.spec.Kind, Path: r.where,
		Entries: text.Len(), Bytes: text.Size(), Problems: text.skipped, LoadedAt: start,
	}
	r.mu.Unlock()
	if recovered {
		r.log.Info("table can be read again")
	}
	logRead(r.log, text, start)
}

// answered notes that the server answers and the copy is what it has. A copy whose
// successor was refused stays doubtful.
func (r *Redis) answered() {
	r.mu.Lock()
	var content *contentError
	recovered := r.status.LastError != nil && !errors.As(r.status.LastError, &content)
	if recovered {
		r.status.LastError, r.status.LastErrorAt = nil, time.Time{}
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
	known := r.status.LastError != nil && r.status.LastError.Error() == err.Error()
	if !known {
		if r.status.LastError == nil {
			r.status.LastErrorAt = time.Now()
		}
		r.status.LastError = err
	}
	r.mu.Unlock()
	if !known {
		r.log.Error("table not read from its server", "error", err, "then", r.spec.whenGone())
	}
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
			return Entry{}, false, fmt.Errorf("%s: no word from the server for %v: %w", r.where, age.Truncate(time.Second), r.fault())
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
	return Entry{}, false, fmt.Errorf("%s: not read yet: %w", u.table.where, u.table.fault())
}

// fault is what is wrong with the server.
func (r *Redis) fault() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status.LastError != nil {
		return r.status.LastError
	}
	return errNoAnswer
}

var errNoAnswer = errors.New("no answer")
