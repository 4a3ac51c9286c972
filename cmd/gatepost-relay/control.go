package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"sync"
	"time"

	"gatepost/internal/control"
	"gatepost/relay/queue"
	"gatepost/relay/spool"
)

const (
	explainWait = 10 * time.Second // for the lookups for the way out of one recipient
	answerEnd   = 2 * time.Second  // for answers under way when the relay is stopped
)

// operator lets an administrator at the queue.
type operator struct {
	spool   *spool.Spool
	queue   *queue.Queue
	explain explainer
	server  *control.Server
}

// explainer says which way a recipient's mail goes now, and what has decided that.
type explainer func(ctx context.Context, sender, recipient string) (wayOut, error)

// wayOut is where a recipient's mail goes now.
type wayOut struct {
	nextHop string // as the queue names the destination
	source  string // what has decided that
}

func newOperator(s *spool.Spool, q *queue.Queue, explain explainer, log *slog.Logger) *operator {
	o := &operator{spool: s, queue: q, explain: explain}
	o.server = control.NewServer(o, log)
	return o
}

func (o *operator) serve(ln net.Listener) error {
	if err := o.server.Serve(ln); err != nil {
		return fmt.Errorf("relay.control: %w", err)
	}
	return nil
}

// shutdown ends answers that are under way soon: mail must not wait for somebody who reads
// a list slowly.
func (o *operator) shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerEnd)
	defer cancel()
	return o.server.Shutdown(ctx)
}

// Messages are all, oldest first, each with its place as of now.
func (o *operator) Messages() iter.Seq[control.Message] {
	return func(yield func(control.Message) bool) {
		all, places, down := o.spool.Messages(), o.queue.Places(), sync.OnceValue(o.down)
		for _, m := range all {
			if at, there := places[m]; there && !yield(&queued{m, o, at, down}) {
				return
			}
		}
	}
}

// Find finds one.
func (o *operator) Find(id string) (control.Message, bool) {
	m, found := o.spool.Find(id)
	at, there := o.queue.Where(id)
	return &queued{m, o, at, o.down}, found && there
}

// down are the destinations that are down, by name.
func (o *operator) down() map[string]queue.Down {
	all := map[string]queue.Down{}
	for _, d := range o.queue.Stats().Down {
		all[d.Destination] = d
	}
	return all
}

// FlushAll has all messages tried now.
func (o *operator) FlushAll() error {
	o.queue.Flush()
	return nil
}

// Do does what the administrator wants with one message.
func (o *operator) Do(_ context.Context, op control.Op, id, reason string) (err error) {
	switch op {
	case control.Flush:
		err = o.flush(id)
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
	if errors.Is(err, queue.ErrUnknown) {
		return control.ErrGone
	}
	return err
}

var errHeld = errors.New("the message is on hold, expected release")

// flush has a message tried now. One that is on its way already is.
func (o *operator) flush(id string) error {
	if o.queue.Flush(id) > 0 {
		return nil
	}
	switch at, there := o.queue.Where(id); {
	case !there:
		return queue.ErrUnknown
	case at.State == queue.Held:
		return errHeld
	}
	return nil
}

// queued is a message in the queue of the running relay.
type queued struct {
	m    *spool.Message
	o    *operator
	at   queue.Place
	down func() map[string]queue.Down // destinations; asked for routes only
}

func (q *queued) ID() string                       { return q.m.ID() }
func (q *queued) Arrived() time.Time               { return q.m.Arrived() }
func (q *queued) Size() int64                      { return q.m.Size() }
func (q *queued) Open() (io.ReadSeekCloser, error) { return q.m.Open() }

// State is the queue's word.
func (q *queued) State() control.State {
	switch q.at.State {
	case queue.Active:
		return control.Active
	case queue.Deferred:
		return control.Deferred
	case queue.Held:
		return control.Held
	}
	return control.Ready
}

// Read reads the envelope, and for routes has the routes looked up as for an attempt.
func (q *queued) Read(ctx context.Context, routes bool) (control.Item, error) {
	item, err := control.Describe(q.m)
	if err != nil || item.Fault != "" {
		return item, err
	}
	item.State, item.Reason, item.NextTry = q.State(), q.at.Reason, q.at.Next
	if !routes {
		return item, nil
	}
	down := q.down()
	for i := range item.Recipients {
		if r := &item.Recipients[i]; r.State == spool.Pending.String() {
			q.o.route(ctx, item.Sender, r, down)
		}
	}
	return item, nil
}

// route adds to a recipient how its mail would go.
func (o *operator) route(ctx context.Context, sender string, r *control.Recipient, down map[string]queue.Down) {
	ctx, cancel := context.WithTimeout(ctx, explainWait)
	defer cancel()
	way, err := o.explain(ctx, sender, r.Address)
	if err != nil {
		r.Fault = err.Error()
		return
	}
	r.NextHop, r.Route = way.nextHop, way.source
	if d, is := down[way.nextHop]; is {
		r.Down = &control.Down{Since: d.Since, Until: d.Until, Reason: d.Reason}
	}
}
