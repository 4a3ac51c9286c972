package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"gatepost/relay/spool"
)

// Spooled is a message in a spool, of a relay that runs or not.
type Spooled interface {
	ID() string
	Arrived() time.Time
	Size() int64
	Attempts() int
	NextTry() time.Time
	Held() bool
	Envelope() (spool.Envelope, error)
	Open() (io.ReadSeekCloser, error)
}

// Describe reads a message's envelope and returns all that the spool knows of it. A
// message whose envelope is damaged is described too, as far as that goes.
func Describe(m Spooled) (Item, error) {
	item := Item{
		ID: m.ID(), State: stateOf(m, time.Now()), Arrived: m.Arrived(), Size: m.Size(), Attempts: m.Attempts(), NextTry: m.NextTry(),
		Recipients: []Recipient{},
	}
	env, err := m.Envelope()
	switch {
	case errors.Is(err, spool.ErrRemoved):
		return Item{}, ErrGone
	case errors.Is(err, spool.ErrDamaged):
		item.State, item.Hold, item.Fault = Held, spool.ErrDamaged.Error(), err.Error()
		return item, nil
	case err != nil:
		return Item{}, err
	}
	item.Sender, item.Hold, item.Auth = env.Sender, env.Hold, env.Client.Auth
	item.Client = env.Client.Name
	if a := env.Client.Addr; a.IsValid() {
		item.Client = a.String()
	}
	for _, r := range env.Recipients {
		item.Recipients = append(item.Recipients, Recipient{Address: r.Address, State: r.State.String(), Reply: r.Reply, Status: r.Status})
	}
	return item, nil
}

// stateOf is what the spool knows of the state.
func stateOf(m Spooled, now time.Time) State {
	switch {
	case m.Held():
		return Held
	case m.NextTry().After(now):
		return Deferred
	}
	return Ready
}

// ErrNotRunning is the error of a command for a queue whose relay does not run.
var ErrNotRunning = errors.New("the relay does not run")

// Offline is the queue of a relay that does not run: it can be looked at. Nobody knows
// the ways out.
func Offline[M Spooled](all []M) Queue {
	q := &offline{byID: make(map[string]Message, len(all))}
	for _, m := range all {
		one := offlineMessage{m}
		q.all = append(q.all, one)
		q.byID[m.ID()] = one
	}
	return q
}

type offline struct {
	all  []Message
	byID map[string]Message
}

func (q *offline) Messages() iter.Seq[Message] {
	return func(yield func(Message) bool) {
		for _, m := range q.all {
			if !yield(m) {
				return
			}
		}
	}
}

func (q *offline) Find(id string) (Message, bool) {
	m, ok := q.byID[id]
	return m, ok
}

func (q *offline) Do(context.Context, Op, string, string) error { return ErrNotRunning }

func (q *offline) FlushAll() error { return ErrNotRunning }

type offlineMessage struct{ Spooled }

func (m offlineMessage) State() State { return stateOf(m, time.Now()) }

func (m offlineMessage) Read(_ context.Context, _ bool) (Item, error) {
	item, err := Describe(m)
	if err != nil {
		return Item{}, fmt.Errorf("read the envelope: %w", err)
	}
	return item, nil
}
