package session

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"gatepost/internal/clients"
	"gatepost/internal/front"
	"gatepost/internal/smtp"
	"gatepost/policy"
	"gatepost/relay/spool"
)

// Policy is what a session asks. Facts belong to the session: they must not be
// kept after the return.
type Policy interface {
	front.Decider
	// GreetPause is for how long the greeting is to be held back.
	GreetPause(ctx context.Context, f *policy.Facts) time.Duration
}

// Spool takes messages. Keep makes one of a *spool.Spool.
type Spool interface {
	// Create begins a message; spool.ErrFull says that there is no room.
	Create(e spool.Envelope) (Writer, error)
}

// Writer takes one message; see spool.Writer.
type Writer interface {
	ID() string
	Write(p []byte) (int, error)
	Commit(ctx context.Context) (*spool.Message, error)
	Abort()
}

// Keep returns s as a session wants it.
func Keep(s *spool.Spool) Spool { return kept{s} }

type kept struct{ spool *spool.Spool }

func (k kept) Create(e spool.Envelope) (Writer, error) { return k.spool.Create(e) }

// Mode says what is done with a bare CR or LF.
type Mode uint8

// The modes. NUL is refused in both.
const (
	Reject    Mode = iota // the command or the message is refused
	Normalize             // each becomes CRLF; what ends a message is CRLF.CRLF all the same
)

// Config is what a Server is told. Policy, Spool and HostName must be set.
type Config struct {
	HostName string // this host's full name: in the greeting, in replies, in Received

	// Policy returns the policy in force. It is asked at each connection and the
	// session keeps the answer to its end.
	Policy func() Policy

	// Observe, if set, is told each decision as it is answered, and how long it
	// took. It must not keep its arguments.
	Observe func(*policy.Facts, *policy.Decision, time.Duration)

	// Clients, if set, counts each client's connections, for ratecontrol and
	// conncontrol. Counting, if set, tells whether the policy in force looks at the
	// counts; they are not kept while it does not.
	Clients  *clients.Counts
	Counting func() bool

	// ResolveClient, if set, finds out the name of a client: how it came out, the
	// verified name, and the reverse name. It must return soon after ctx is done.
	// Without it no client has a name.
	ResolveClient func(ctx context.Context, addr netip.Addr) (r policy.Resolve, name, ptr string)

	Spool Spool

	// Room, if set, tells whether a message of so many bytes can be stored; a client
	// that announces one that cannot is refused at MAIL. It must not block.
	Room func(size int64) bool

	// Queued, if set, is told each message that has been taken. It must not block.
	Queued func(*spool.Message)

	// LocalRecipient, if set, is asked about each recipient that the policy has let
	// pass, by the address that it understood (policy.Decision); a reply that is not zero
	// refuses it. It must return soon after ctx is done.
	LocalRecipient func(ctx context.Context, to smtp.Mailbox) smtp.Reply

	// BareNewline, if set, says what is done with the bare CR and LF of a client.
	// Without it they are refused.
	BareNewline func(client netip.Addr) Mode

	// Proxies, if set, tells whether a peer is a proxy: its connections must begin
	// with a PROXY header, version 1 or 2, which says who the client is.
	Proxies func(peer netip.Addr) bool

	// Xclient, if set, tells whether a peer may say by XCLIENT who the client is. It
	// is asked about the peer itself. A proxy's clients may not, whatever it says.
	Xclient func(peer netip.Addr) bool

	Log *slog.Logger // nil: nothing is logged

	Limits Limits
}

// Limits bound what a client can make us spend. A zero field has its default.
type Limits struct {
	Conns          int // connections open at once
	ConnsPerClient int // of them, from one address or IPv6 /64; proxies and XCLIENT peers have no such limit

	CommandLine  int   // bytes in a command line, with CRLF
	TextLine     int   // bytes in a line of a message, with CRLF
	Header       int64 // bytes in the header of a message
	MessageSize  int64 // bytes in a message
	Hops         int   // Received fields in a message
	Recipients   int   // in one message
	RcptMemory   int64 // bytes of recipients of all sessions; beyond it a message has room for 100
	Transactions int   // MAIL commands of a session that were let pass
	Commands     int   // of a session
	Errors       int   // commands that are wrong, until a message has been taken
	Refusals     int   // senders and recipients refused for good, until a message has been taken

	Decision time.Duration // for one decision of the policy; then 451
	Session  time.Duration // for a session
	Command  time.Duration // for a command line to come
	Text     time.Duration // for the next piece of a message to come
	Message  time.Duration // for a whole message
	Rate     int64         // bytes per second that a message must come with at least, after its first minute
}

// Defaults of Limits.
const (
	DefaultConns          = 4000
	DefaultConnsPerClient = 50
	DefaultCommandLine    = 2048
	DefaultTextLine       = 64 << 10
	DefaultHeader         = 1 << 20
	DefaultMessageSize    = 50 << 20
	DefaultHops           = 25 // sendmail's MaxHopCount
	DefaultRecipients     = 1000
	DefaultRcptMemory     = 16 << 20
	DefaultTransactions   = 1000
	DefaultCommands       = 100_000
	DefaultErrors         = 20
	DefaultRefusals       = 100
	DefaultDecision       = 20 * time.Second
	DefaultSession        = 4 * time.Hour
	DefaultCommand        = 5 * time.Minute // RFC 5321, 4.5.3.2.7
	DefaultText           = 3 * time.Minute // RFC 5321, 4.5.3.2.5
	DefaultMessage        = time.Hour
	DefaultRate           = 256
)

// Waits that nobody needs to change.
const (
	writeWait  = time.Minute
	proxyWait  = 10 * time.Second
	commitWait = 5 * time.Minute // clients wait ten (RFC 5321, 4.5.3.2.6)
	lingerWait = time.Second     // for a client to take our last reply
)

func orElse[T int | int64 | time.Duration](p *T, def T) {
	if *p <= 0 {
		*p = def
	}
}

func (l *Limits) setDefaults() {
	orElse(&l.Conns, DefaultConns)
	orElse(&l.ConnsPerClient, DefaultConnsPerClient)
	orElse(&l.CommandLine, DefaultCommandLine)
	orElse(&l.TextLine, DefaultTextLine)
	orElse(&l.Header, DefaultHeader)
	orElse(&l.MessageSize, DefaultMessageSize)
	orElse(&l.Hops, DefaultHops)
	orElse(&l.Recipients, DefaultRecipients)
	orElse(&l.RcptMemory, DefaultRcptMemory)
	orElse(&l.Transactions, DefaultTransactions)
	orElse(&l.Commands, DefaultCommands)
	orElse(&l.Errors, DefaultErrors)
	orElse(&l.Refusals, DefaultRefusals)
	orElse(&l.Decision, DefaultDecision)
	orElse(&l.Session, DefaultSession)
	orElse(&l.Command, DefaultCommand)
	orElse(&l.Text, DefaultText)
	orElse(&l.Message, DefaultMessage)
	orElse(&l.Rate, DefaultRate)
}
