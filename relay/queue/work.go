package queue

import (
	"errors"
	"io"
	"runtime/debug"

	"gatepost/relay/deliver"
	"gatepost/relay/spool"
)

// work is a message as a transport sees it.
type work struct {
	*spool.Message
	env *spool.Envelope
	q   *Queue
	j   *job
}

// Envelope is the message's, with the recipients' states as of the beginning of the
// attempt.
func (w *work) Envelope() spool.Envelope { return *w.env }

// Settled writes down at once what one of several transactions has come to, so that a
// crash in the next one does not repeat it. recipients are indexes in the envelope.
func (w *work) Settled(recipients []int, results []deliver.Result) {
	if len(recipients) >= len(w.j.to) {
		return // that is all, and written down in a moment
	}
	var u spool.Update
	for i, to := range recipients {
		if results[i].Outcome != deliver.Deferred {
			u.Recipients = append(u.Recipients, changeOf(&results[i], &w.env.Recipients[to], to))
		}
	}
	if len(u.Recipients) == 0 {
		return
	}
	if err := w.Update(u); err != nil && !errors.Is(err, spool.ErrRemoved) {
		w.q.config.Log.Error("cannot write down a delivery", "queue", w.ID(), "error", err)
	}
	w.q.sync(w.Message)
}

// Open gives the message's bytes, and has the round know when they are damaged.
func (w *work) Open() (io.ReadSeekCloser, error) {
	body, err := w.Message.Open()
	if err != nil {
		return nil, err
	}
	return &watched{body, w.j.round}, nil
}

type watched struct {
	io.ReadSeekCloser
	round *round
}

func (b *watched) Read(p []byte) (int, error) {
	n, err := b.ReadSeekCloser.Read(p)
	if err != nil && errors.Is(err, spool.ErrDamaged) {
		b.round.mu.Lock()
		b.round.damaged = true
		b.round.mu.Unlock()
	}
	return n, err
}

// deliverTo is the transport's Deliver, whose panic costs one attempt.
func (q *Queue) deliverTo(t *turn, w *work, to []int) (results []deliver.Result) {
	defer func() {
		if p := recover(); p != nil {
			q.config.Log.Error("panic while delivering", "queue", w.ID(), "panic", p, "stack", string(debug.Stack()))
			results = make([]deliver.Result, len(to))
			for i := range results {
				results[i] = deliver.Result{Status: statusInternal, Reply: "internal error"}
			}
		}
	}()
	r, ctx := &t.lane.route, q.deliver
	if t.hurry {
		ctx = q.hurried
	}
	return r.Transport.Deliver(ctx, r.Destination, w, to)
}
