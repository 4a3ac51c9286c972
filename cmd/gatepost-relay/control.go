package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"time"

	"gatepost/internal/control"
	"gatepost/relay/queue"
	"gatepost/relay/spool"
)

// explainWait bounds the lookups for the way out of one recipient.
const explainWait = 10 * time.Second

// operator lets an administrator at the queue.
type operator struct {
	spool   *spool.Spool
	queue   commands
	stats   func() queue.Stats
	explain func(ctx context.Context, sender, recipient string) (wayOut, error)
	server  *control.Server
}

// commands are what the queue does at an administrator's word.
type commands interface {
	Flush(ids ...string) int
	FlushDestination(name string) int
	Hold(id, reason string) error
	Release(id string) error
	Delete(id string) error
	Requeue(id string) error
	Where(id string) (place, bool)
}

// wayOut is where a recipient's mail goes now.
type wayOut struct {
	nextHop string // as the queue names the destination
	source  string // what has decided that
}

func newOperator(s *spool.Spool, q *queue.Queue, r *routes, log *slog.Logger) *operator {
	o := &operator{spool: s, queue: newCommands(s, q), stats: q.Stats, explain: r.explain}
	o.server = control.NewServer(o, log)
	return o
}

func (o *operator) serve(ln net.Listener) error {
	if err := o.server.Serve(ln); err != nil {
		return fmt.Errorf("relay.control: %w", err)
	}
	return nil
}

func (o *operator) shutdown(ctx context.Context) error { return o.server.Shutdown(ctx) }

// Messages are all, oldest first.
func (o *operator) Messages() iter.Seq[control.Message] {
	return func(yield func(control.Message) bool) {
		for _, m := range o.spool.Messages() {
			if !yield(&queued{m, o}) {
				return
			}
		}
	}
}

// Find finds one.
func (o *operator) Find(id string) (control.Message, bool) {
	m, ok := find(o.spool, id)
	if !ok {
		return nil, false
	}
	return &queued{m, o}, true
}

// Do does what the administrator wants with one message.
func (o *operator) Do(_ context.Context, op control.Op, id, reason string) (err error) {
	if _, ok := o.Find(id); !ok {
		return control.ErrGone
	}
	switch op {
	case control.Flush:
		if o.queue.Flush(id) == 0 {
			err = errNotFlushed
		}
	case control.Hold:
		err = o.queue.Hold(id, reason)
	case control.Release:
		err = o.queue.Release(id)
	case control.Delete:
		err = o.queue.Delete(id)
	case control.Requeue:
		err = o.queue.Requeue(id)
	default:
		err = fmt.Errorf("unknown command %q", op)
	}
	if errors.Is(err, spool.ErrRemoved) {
		return control.ErrGone
	}
	return err
}

var errNotFlushed = errors.New("it is held, or being delivered just now")

// Recover has destinations tried again at once that are down.
func (o *operator) Recover(match func(nextHop string) bool) {
	for _, d := range o.stats().Down {
		if match(d.Destination) {
			o.queue.FlushDestination(d.Destination)
		}
	}
}

// queued is a message in the queue of the running relay.
type queued struct {
	m *spool.Message
	o *operator
}

func (q *queued) ID() string                       { return q.m.ID() }
func (q *queued) Arrived() time.Time               { return q.m.Arrived() }
func (q *queued) Size() int64                      { return q.m.Size() }
func (q *queued) Open() (io.ReadSeekCloser, error) { return q.m.Open() }

// State is the queue's word, and where it has none the spool's.
func (q *queued) State() control.State {
	at, _ := q.o.queue.Where(q.m.ID())
	return at.state
}

// Read reads the envelope, and for routes has the routes looked up as for an attempt.
func (q *queued) Read(ctx context.Context, routes bool) (control.Item, error) {
	item, err := control.Describe(q.m)
	if err != nil {
		return item, err
	}
	if at, ok := q.o.queue.Where(item.ID); ok && item.Fault == "" {
		item.State = at.state
		if !at.next.IsZero() {
			item.NextTry = at.next
		}
	}
	if !routes {
		return item, nil
	}
	down := q.o.stats().Down
	for i := range item.Recipients {
		if r := &item.Recipients[i]; r.State == spool.Pending.String() {
			q.o.route(ctx, item.Sender, r, down)
		}
	}
	return item, nil
}

// route adds to a recipient how its mail would go.
func (o *operator) route(ctx context.Context, sender string, r *control.Recipient, down []queue.Down) {
	ctx, cancel := context.WithTimeout(ctx, explainWait)
	defer cancel()
	way, err := o.explain(ctx, sender, r.Address)
	if err != nil {
		r.Fault = err.Error()
		return
	}
	r.NextHop, r.Route = way.nextHop, way.source
	for _, d := range down {
		if d.Destination == way.nextHop {
			r.Down = &control.Down{Since: d.Since, Until: d.Until, Reason: d.Reason}
		}
	}
}
