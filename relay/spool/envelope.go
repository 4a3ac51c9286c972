package spool

import (
	"net/netip"
	"time"
)

// Envelope is what goes with a message (RFC 5321, 2.3.1), and what has become of it.
type Envelope struct {
	ID         string      // queue id, given by Create; letters and digits, unique in this spool for ever
	Arrived    time.Time   // when it came; Create sets it if it is zero
	Sender     string      // reverse-path without <>; "" is the null one
	EightBit   bool        // BODY=8BITMIME was declared (RFC 6152)
	UTF8       bool        // SMTPUTF8 was asked for (RFC 6531)
	Recipients []Recipient // in the order of RCPT, at least one
	Client     Client      // who brought it, for those who look at the queue
	Hold       string      // reason why it is not delivered (quarantine); "": it is delivered

	// What the sender wants to be told of, and how (RFC 3461).
	Ret   string // RET: "FULL", "HDRS", or "" when it was not given
	EnvID string // ENVID, xtext as it was given; "" without

	Warned bool      // the sender has been told that it is late
	Since  time.Time // its lifetime counts from then: Arrived, unless it was queued anew
}

// Client is who brought a message.
type Client struct {
	Addr netip.Addr // zero: not over the network
	Name string     // the name of the address, "" if it has none
	Helo string     // argument of HELO or EHLO
	Auth string     // AUTH identity, "" without
}

// Recipient is one forward-path and what has become of it.
type Recipient struct {
	Address string // without <>, quotes kept
	State   State
	Reply   string // the last answer of a next hop: "host: 450 4.2.0 ..."; "" if none was had
	Status  string // the enhanced status code that goes with Reply: "4.2.0"; "" if there is none

	Notify Notify // what reports are wanted
	ORcpt  string // ORCPT, "type;xtext" as it was given; "" without
}

// Notify is what a sender wants to be told of a recipient, NOTIFY of RFC 3461. It is a set;
// the empty one means that nothing was asked for: failures are told, and delays.
type Notify uint8

const (
	NotifySuccess Notify = 1 << iota
	NotifyFailure
	NotifyDelay
	NotifyNever // alone
)

// And is what is wanted of a recipient who stands for two: all that is asked of either.
func (n Notify) And(other Notify) Notify {
	const standard = NotifyFailure | NotifyDelay
	switch {
	case n == other, other == NotifyNever:
		return n
	case n == NotifyNever:
		return other
	case n == 0:
		n = standard
	case other == 0:
		other = standard
	}
	return n | other
}

// State says what has become of a recipient.
type State uint8

const (
	Pending   State = iota // to be delivered
	Delivered              // a next hop has taken it
	Failed                 // for good
	Reported               // for good, and the sender has been told, or must not be
)

// String is the state in one word.
func (s State) String() string {
	switch s {
	case Pending:
		return "pending"
	case Delivered:
		return "delivered"
	case Failed:
		return "failed"
	case Reported:
		return "reported"
	}
	return "unknown"
}

// Update is a change to what is known of a message. What is nil stays as it is.
type Update struct {
	Recipients []Change
	Attempts   *int       // how often it was tried
	NextTry    *time.Time // when it is due; the zero time: at once
	Hold       *string    // "" releases it
	Warned     *bool      // see Envelope
	Since      *time.Time // see Envelope; the zero time: Arrived
}

// Change is a recipient's new state.
type Change struct {
	Index  int // in Envelope.Recipients
	State  State
	Reply  string // the next hop's answer, at most 512 bytes of it are kept
	Status string // the enhanced status code that goes with it, at most 16 bytes
}
