package spool

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"
)

// state is what changes while a message is in the queue. Of two, that of the higher
// version counts, wherever it was found.
type state struct {
	version    uint32
	attempts   uint32
	nextTry    int64 // Unix nanoseconds; 0: none
	hold       string
	recipients []outcome
	warned     bool
	since      int64 // Unix nanoseconds; 0: the arrival
}

type outcome struct {
	state  State
	reply  string
	status string
}

// With a state that has an answer for each recipient (see Options) an envelope must not be
// longer than maxHead.
const (
	maxEnvelope   = 15 << 19
	maxReply      = 512
	maxStatus     = 16
	maxHold       = 512
	maxRecipients = 100_000
	maxEnvID      = 512 // a hundred characters, each of them escaped, and more
	maxORcpt      = 512 // RFC 3461: 500
)

// Flags of an envelope. What was not given takes no room.
const (
	flagEightBit = 1 << iota
	flagUTF8
	flagReports // RET and ENVID follow the recipients
	flagNotify  // each recipient is followed by its NOTIFY, and ORCPT
	flagsKnown  = 1<<iota - 1
)

// hasORcpt is set in the byte of a NOTIFY that an ORCPT follows, and hasStatus in that of
// a State that a status code follows.
const (
	hasORcpt  = 0x80
	hasStatus = 0x80
	allNotify = NotifySuccess | NotifyFailure | NotifyDelay | NotifyNever
)

// Flags of what follows a state; without any of it nothing does.
const (
	flagWarned = 1 << iota
	flagSince
)

// rets are what RET can be, by the byte that stands for it.
var rets = [...]string{"", "FULL", "HDRS"}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromNanos(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}

func appendText(p []byte, s string) []byte {
	return append(binary.AppendUvarint(p, uint64(len(s))), s...)
}

func cut(s string, n int) string { return s[:min(len(s), n)] }

// fault is what cannot be written of an envelope.
func (e *Envelope) fault() error {
	if !slices.Contains(rets[:], e.Ret) {
		return fmt.Errorf("RET %q; expected FULL or HDRS", cut(e.Ret, 80))
	}
	if len(e.EnvID) > maxEnvID {
		return fmt.Errorf("ENVID of %d bytes; at most %d are taken", len(e.EnvID), maxEnvID)
	}
	for i := range e.Recipients {
		r := &e.Recipients[i]
		if len(r.ORcpt) > maxORcpt {
			return fmt.Errorf("ORCPT of %d bytes; at most %d are taken", len(r.ORcpt), maxORcpt)
		}
		if r.Notify&^allNotify != 0 || r.State > Reported {
			return fmt.Errorf("recipient %d: notify %d, state %d", i, r.Notify, r.State)
		}
	}
	return nil
}

func (e *Envelope) flags() byte {
	var flags byte
	if e.EightBit {
		flags |= flagEightBit
	}
	if e.UTF8 {
		flags |= flagUTF8
	}
	if e.Ret != "" || e.EnvID != "" {
		flags |= flagReports
	}
	for i := range e.Recipients {
		if e.Recipients[i].Notify != 0 || e.Recipients[i].ORcpt != "" {
			return flags | flagNotify
		}
	}
	return flags
}

// appendEnvelope writes what of an envelope never changes.
func appendEnvelope(p []byte, e *Envelope) []byte {
	p = binary.AppendVarint(p, nanos(e.Arrived))
	flags := e.flags()
	p = append(p, flags)
	addr, _ := e.Client.Addr.MarshalBinary() // has no error to give
	for _, s := range []string{e.Sender, string(addr), e.Client.Name, e.Client.Helo, e.Client.Auth} {
		p = appendText(p, s)
	}
	p = binary.AppendUvarint(p, uint64(len(e.Recipients)))
	for i := range e.Recipients {
		p = appendText(p, e.Recipients[i].Address)
		if flags&flagNotify != 0 {
			p = appendNotify(p, &e.Recipients[i])
		}
	}
	if flags&flagReports != 0 {
		p = append(p, byte(max(0, slices.Index(rets[:], e.Ret))))
		p = appendText(p, e.EnvID)
	}
	return p
}

func appendNotify(p []byte, r *Recipient) []byte {
	if r.ORcpt == "" {
		return append(p, byte(r.Notify))
	}
	return appendText(append(p, byte(r.Notify)|hasORcpt), r.ORcpt)
}

func appendState(p []byte, s *state) []byte {
	p = binary.AppendUvarint(p, uint64(s.version))
	p = binary.AppendUvarint(p, uint64(s.attempts))
	p = binary.AppendVarint(p, s.nextTry)
	p = appendText(p, cut(s.hold, maxHold))
	p = binary.AppendUvarint(p, uint64(len(s.recipients)))
	for i := range s.recipients {
		p = appendOutcome(p, &s.recipients[i])
	}
	var flags byte
	if s.warned {
		flags |= flagWarned
	}
	if s.since != 0 {
		flags |= flagSince
	}
	if flags != 0 {
		p = append(p, flags)
	}
	if s.since != 0 {
		p = binary.AppendVarint(p, s.since)
	}
	return p
}

func appendOutcome(p []byte, o *outcome) []byte {
	if o.status == "" {
		return appendText(append(p, byte(o.state)), cut(o.reply, maxReply))
	}
	p = appendText(append(p, byte(o.state)|hasStatus), cut(o.reply, maxReply))
	return appendText(p, cut(o.status, maxStatus))
}

// stateOf is a new message's.
func stateOf(e *Envelope) state {
	s := state{hold: e.Hold, warned: e.Warned, recipients: make([]outcome, len(e.Recipients))}
	if !e.Since.Equal(e.Arrived) {
		s.since = nanos(e.Since)
	}
	for i := range e.Recipients {
		r := &e.Recipients[i]
		s.recipients[i] = outcome{r.State, r.Reply, r.Status}
	}
	return s
}

// with is the envelope as the state says.
func (e Envelope) with(s *state) (Envelope, error) {
	if len(s.recipients) != len(e.Recipients) {
		return Envelope{}, fmt.Errorf("%d recipients, but states of %d", len(e.Recipients), len(s.recipients))
	}
	e.Hold, e.Warned, e.Since = s.hold, s.warned, e.Arrived
	if s.since != 0 {
		e.Since = fromNanos(s.since)
	}
	for i := range s.recipients {
		o, r := &s.recipients[i], &e.Recipients[i]
		r.State, r.Reply, r.Status = o.state, o.reply, o.status
	}
	return e, nil
}

// add applies an update; the caller's state is changed.
func (s *state) add(u Update) error {
	for _, c := range u.Recipients {
		if c.Index < 0 || c.Index >= len(s.recipients) {
			return fmt.Errorf("no recipient %d of %d", c.Index, len(s.recipients))
		}
		if c.State > Reported {
			return fmt.Errorf("no state %d", c.State)
		}
		s.recipients[c.Index] = outcome{c.State, cut(c.Reply, maxReply), cut(c.Status, maxStatus)}
	}
	if u.Attempts != nil {
		s.attempts = uint32(max(0, min(int64(*u.Attempts), math.MaxUint32)))
	}
	if u.NextTry != nil {
		s.nextTry = nanos(*u.NextTry)
	}
	if u.Hold != nil {
		s.hold = cut(*u.Hold, maxHold)
	}
	if u.Warned != nil {
		s.warned = *u.Warned
	}
	if u.Since != nil {
		s.since = nanos(*u.Since)
	}
	s.version++
	return nil
}
