// Package control is how an administrator looks at the queue of a running relay and
// commands it: what can be asked, how messages are chosen, and a server and a client that
// speak HTTP and JSON over a UNIX socket. Of the queue itself it knows only an interface, so
// that the same questions can be put to the spool of a relay that does not run.
package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
)

// ErrGone is the error of what is asked of a message that is not in the queue.
var ErrGone = errors.New("no such message in the queue")

// State says where in the queue a message is.
type State string

// The states of a message.
const (
	Active   State = "active"   // it is being delivered
	Ready    State = "ready"    // it waits for a free place, or for its destination
	Deferred State = "deferred" // it waits for its next attempt
	Held     State = "held"     // it is not delivered until somebody releases it
)

// States are all of them.
func States() []State { return []State{Active, Ready, Deferred, Held} }

// Op is what is wanted.
type Op string

// List and Why answer with an Item for each message, Why with the way out of each
// recipient too. The others answer with a Result for each.
const (
	List    Op = "list"
	Why     Op = "why"
	Flush   Op = "flush"   // an attempt now, whatever the schedule says, and whether or not the destination is down
	Hold    Op = "hold"    // no further attempts
	Release Op = "release" // what was held is delivered
	Delete  Op = "delete"  // the message is gone, and nobody is told
	Requeue Op = "requeue" // as if it had come just now: attempts, lifetime and next hop are begun anew
)

func (o Op) known() bool {
	switch o {
	case List, Why, Flush, Hold, Release, Delete, Requeue:
		return true
	}
	return false
}

// reads tells that nothing is changed.
func (o Op) reads() bool { return o == List || o == Why }

// Request is a question or a command.
type Request struct {
	Op     Op     `json:"op"`
	Filter Filter `json:"filter"`
	Reason string `json:"reason,omitempty"` // of Hold
}

// Check says what is wrong with a request.
func (r *Request) Check() error {
	switch {
	case !r.Op.known():
		return fmt.Errorf("unknown operation %q", r.Op)
	case !r.Op.reads() && !r.Filter.All && r.Filter.empty():
		return errors.New("it is not said which messages are meant, expected ids, a filter, or all")
	case len(r.Reason) > maxReason:
		return fmt.Errorf("the reason has %d bytes, at most %d are possible", len(r.Reason), maxReason)
	}
	return r.Filter.check()
}

const maxReason = 500

// Item is a message in the queue.
type Item struct {
	ID         string      `json:"id"`
	State      State       `json:"state"`
	Arrived    time.Time   `json:"arrived"`
	Size       int64       `json:"size"`
	Sender     string      `json:"sender"` // without <>
	Client     string      `json:"client,omitempty"`
	Auth       string      `json:"auth,omitempty"` // who had logged in
	Hold       string      `json:"hold,omitempty"` // why it is held
	Attempts   int         `json:"attempts"`
	NextTry    time.Time   `json:"next_try,omitzero"`
	Reason     string      `json:"reason,omitempty"` // why it waits, if its destination is left alone
	Fault      string      `json:"fault,omitempty"`  // why the envelope cannot be read; then Sender and what follows is missing
	Recipients []Recipient `json:"recipients"`
}

// Recipient is one of a message's, and what has become of it.
type Recipient struct {
	Address string `json:"address"` // without <>
	State   string `json:"state"`   // pending, delivered, failed, reported
	Reply   string `json:"reply,omitempty"`
	Status  string `json:"status,omitempty"` // the enhanced status code of Reply

	// The way out as it is now, for a pending recipient, where it was asked for.
	NextHop string `json:"next_hop,omitempty"`
	Route   string `json:"route,omitempty"` // what has decided that: "/etc/mail/mailertable:3"
	Fault   string `json:"fault,omitempty"` // why there is none
	Down    *Down  `json:"down,omitempty"`  // the next hop is left alone
}

// Down says since when a next hop could not be reached.
type Down struct {
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"` // then it is tried again
	Reason string    `json:"reason"`
}

// Result is what has become of a command for one message.
type Result struct {
	ID    string `json:"id"`
	Error string `json:"error,omitempty"` // "": it is done
}

// Line is one line of an answer.
type Line struct {
	Item   *Item   `json:"item,omitempty"`
	Result *Result `json:"result,omitempty"`
	End    *End    `json:"end,omitempty"` // of the answer; without it the answer is not whole
}

// End is the last line of an answer.
type End struct {
	Count int    `json:"count"` // of the lines before it
	Error string `json:"error,omitempty"`
}

// Message is one in the queue. Its first methods must be cheap: they are asked of all.
type Message interface {
	ID() string
	Arrived() time.Time
	Size() int64
	State() State

	// Read reads the envelope; routes says that the ways out are wanted. The error is
	// ErrGone when the message has left the queue meanwhile.
	Read(ctx context.Context, routes bool) (Item, error)

	// Open opens the message's bytes.
	Open() (io.ReadSeekCloser, error)
}

// Queue is where messages wait. Its methods are safe for concurrent use.
type Queue interface {
	// Messages are all, oldest first.
	Messages() iter.Seq[Message]

	// Find finds one.
	Find(id string) (Message, bool)

	// Do does one of the operations that change something for one message. The error is
	// ErrGone when it is not there.
	Do(ctx context.Context, op Op, id, reason string) error

	// FlushAll is Flush for all that are not held.
	FlushAll() error
}

// Run answers a request: each gets one line after the other, but no End. What each
// returns as an error ends it.
func Run(ctx context.Context, q Queue, r *Request, each func(*Line) error) error {
	if err := r.Check(); err != nil {
		return err
	}
	do := q.Do
	if r.Op == Flush && r.Filter.empty() { // all at once is cheaper than one by one
		err := q.FlushAll()
		do = func(context.Context, Op, string, string) error { return err }
	}
	return r.Filter.choose(ctx, q, r.Op, func(m Message, item *Item) error {
		if r.Op.reads() {
			return each(&Line{Item: item})
		}
		return each(&Line{Result: result(m.ID(), do(ctx, r.Op, m.ID(), r.Reason))})
	}, func(id string, err error) error { return each(&Line{Result: result(id, err)}) })
}

func result(id string, err error) *Result {
	if err != nil {
		return &Result{ID: id, Error: err.Error()}
	}
	return &Result{ID: id}
}
