// Package deliver hands messages on: to another mail server by SMTP (RFC 5321), to a
// local delivery agent by LMTP (RFC 2033), or into a maildir. It keeps no queue and
// tries nothing twice; what is to become of a message is told to the caller for each
// recipient apart.
package deliver

import (
	"context"
	"io"

	"gatepost/internal/smtp"
	"gatepost/relay/spool"
)

// Message is what a transport needs of a message in the spool. Its bytes are
// canonical: every line ends in CRLF, and there is no other CR or LF.
type Message interface {
	Envelope() spool.Envelope
	Size() int64
	Open() (io.ReadSeekCloser, error)
}

// Transport is a way out. Its methods are safe for concurrent use.
type Transport interface {
	// Deliver tries once to hand m to those of its recipients whose indexes are given,
	// and returns the result for each, in their order. The destination is the next hop, in
	// the transport's own form; "" for one that has only one. It returns soon after ctx is
	// done; what was under way then is deferred. With a ctx of Hurry it does not wait for long. A Message that is a Recorder is told of
	// what has been settled on the way.
	Deliver(ctx context.Context, destination string, m Message, recipients []int) []Result

	// String is where it goes to, for the log.
	String() string
}

// Recorder is a Message whose bearer writes down what has become of recipients before
// Deliver returns. When a delivery takes more than one transaction, Settled is called after
// each but the last, with indexes as Deliver was given them, and the results that Deliver
// will return for them: so a crash can only lose the word of the transaction under way. The
// slices are the callee's to keep.
type Recorder interface {
	Settled(recipients []int, results []Result)
}

// NoRoute is the error of a lookup that has an answer of its own to give: that a domain
// takes no mail (Failed; RFC 7505), or that it is not known who does (Deferred).
type NoRoute struct {
	Outcome Outcome
	Status  smtp.EnhancedCode
	Text    string
}

func (e NoRoute) Error() string { return e.Text }

// Outcome is what has become of a recipient in one attempt.
type Outcome uint8

const (
	Deferred  Outcome = iota // worth another attempt
	Delivered                // the other side has taken the responsibility for it
	Failed                   // another attempt would end the same way
)

func (o Outcome) String() string {
	switch o {
	case Delivered:
		return "Sent"
	case Failed:
		return "Failed"
	}
	return "Deferred"
}

// Result is what one attempt has come to for one recipient.
type Result struct {
	Outcome Outcome
	Status  smtp.EnhancedCode // of the peer, or ours; zero when the peer gave none
	Code    int               // the peer's reply code; 0 when Reply is our own words
	Reply   string            // the peer's reply, or what went wrong: printable ASCII, at most MaxReply bytes
	Relay   string            // the peer: "host[192.0.2.1]:25"; "" when none could be asked
	Secured string            // how the connection was secured: "TLSv1.3, verified"; "" when it was not

	// Notifies says that the peer offers DSN, and was told what the sender wants to be
	// told of (RFC 3461): reports about this recipient are its business now.
	Notifies bool

	// Final says that the recipient's mailbox has it, as far as can be known: there is no
	// next hop that may yet find that it cannot be delivered.
	Final bool

	// Down says that nothing could be handed to this destination, whatever the message:
	// no connection, or no greeting. Others for it need not be tried just now.
	Down bool

	// Silent says that the peer was connected and did not answer in time.
	Silent bool
}

// MaxReply is how many bytes of a peer's reply are kept.
const MaxReply = 512

// Enhanced status codes that are ours (RFC 3463, section 3).
var (
	statusOK         = smtp.EnhancedCode{Class: 2}
	statusMailbox    = smtp.EnhancedCode{Class: 4, Subject: 2}
	statusLocal      = smtp.EnhancedCode{Class: 4, Subject: 3}
	statusNoAnswer   = smtp.EnhancedCode{Class: 4, Subject: 4, Detail: 1}
	statusConnection = smtp.EnhancedCode{Class: 4, Subject: 4, Detail: 2}
	statusNoLookup   = smtp.EnhancedCode{Class: 4, Subject: 4, Detail: 3}
	statusSequence   = smtp.EnhancedCode{Class: 4, Subject: 5, Detail: 1}
	statusProtocol   = smtp.EnhancedCode{Class: 4, Subject: 5}
	statusPolicy     = smtp.EnhancedCode{Class: 4, Subject: 7}
	statusNoSecurity = smtp.EnhancedCode{Class: 4, Subject: 7, Detail: 4}
	statusTLS        = smtp.EnhancedCode{Class: 4, Subject: 7, Detail: 5}
	statusLogin      = smtp.EnhancedCode{Class: 4, Subject: 7, Detail: 8}
	statusBadMailbox = smtp.EnhancedCode{Class: 5, Subject: 1, Detail: 3}
	statusBadSender  = smtp.EnhancedCode{Class: 5, Subject: 1, Detail: 7}
	statusTooBig     = smtp.EnhancedCode{Class: 5, Subject: 3, Detail: 4}
	statusBadContent = smtp.EnhancedCode{Class: 5, Subject: 6}
	statusConversion = smtp.EnhancedCode{Class: 5, Subject: 6, Detail: 3}
	statusNonASCII   = smtp.EnhancedCode{Class: 5, Subject: 6, Detail: 7}
)

// problem is what has gone wrong with an attempt, for all recipients that it is about.
type problem struct {
	outcome Outcome
	status  smtp.EnhancedCode
	code    int // of the reply that says so
	text    string
	down    bool // the destination, not the message
	silent  bool // there was no answer in time
	ours    bool // no other server would help
	dead    bool // the connection was closed
	stale   bool // and was a kept one that had closed before the transaction: a fresh one may be tried
	deaf    bool // the server could not be reached, or did not greet us
	noTLS   bool // it went wrong because of TLS: without it there may be no problem
}

func (p *problem) result(v via) Result {
	return Result{Outcome: p.outcome, Status: p.status, Code: p.code, Reply: p.text, Relay: v.relay, Secured: v.secured, Down: p.down, Silent: p.silent}
}

// fill makes the problem that of all who have no result yet.
func (p *problem) fill(results []Result, of []int, v via) {
	for _, i := range of {
		if results[i].Reply == "" {
			results[i] = p.result(v)
		}
	}
}

// via is the server that a result comes from.
type via struct {
	relay   string // "" when there is none
	secured string
}
