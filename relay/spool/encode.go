package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
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
}

type outcome struct {
	state State
	reply string
}

const (
	maxEnvelope   = 4 << 20
	maxReply      = 512
	maxHold       = 512
	maxRecipients = 100_000
)

var errShort = errors.New("envelope is cut off")

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

// appendEnvelope writes what of an envelope never changes.
func appendEnvelope(p []byte, e *Envelope) []byte {
	p = binary.AppendVarint(p, nanos(e.Arrived))
	var flags byte
	if e.EightBit {
		flags |= 1
	}
	if e.UTF8 {
		flags |= 2
	}
	p = append(p, flags)
	addr, _ := e.Client.Addr.MarshalBinary() // has no error to give
	for _, s := range []string{e.Sender, string(addr), e.Client.Name, e.Client.Helo, e.Client.Auth} {
		p = appendText(p, s)
	}
	p = binary.AppendUvarint(p, uint64(len(e.Recipients)))
	for _, r := range e.Recipients {
		p = appendText(p, r.Address)
	}
	return p
}

func appendState(p []byte, s *state) []byte {
	p = binary.AppendUvarint(p, uint64(s.version))
	p = binary.AppendUvarint(p, uint64(s.attempts))
	p = binary.AppendVarint(p, s.nextTry)
	p = appendText(p, cut(s.hold, maxHold))
	p = binary.AppendUvarint(p, uint64(len(s.recipients)))
	for _, r := range s.recipients {
		p = append(p, byte(r.state))
		p = appendText(p, cut(r.reply, maxReply))
	}
	return p
}

// stateOf is a new message's.
func stateOf(e *Envelope) state {
	s := state{hold: e.Hold, recipients: make([]outcome, len(e.Recipients))}
	for i, r := range e.Recipients {
		s.recipients[i] = outcome{r.State, r.Reply}
	}
	return s
}

// decoder reads what the functions above wrote. After an error everything is zero.
type decoder struct {
	p   []byte
	err error
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.p = nil
}

func (d *decoder) uvarint(most uint64) uint64 {
	v, n := binary.Uvarint(d.p)
	if n <= 0 || v > most {
		d.fail(errShort)
		return 0
	}
	d.p = d.p[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.p)
	if n <= 0 {
		d.fail(errShort)
		return 0
	}
	d.p = d.p[n:]
	return v
}

func (d *decoder) byte() byte {
	if len(d.p) == 0 {
		d.fail(errShort)
		return 0
	}
	b := d.p[0]
	d.p = d.p[1:]
	return b
}

func (d *decoder) text() string {
	n := d.uvarint(maxHead)
	if n > uint64(len(d.p)) {
		d.fail(errShort)
		return ""
	}
	s := string(d.p[:n])
	d.p = d.p[n:]
	return s
}

func (d *decoder) envelope() Envelope {
	e := Envelope{Arrived: fromNanos(d.varint())}
	flags := d.byte()
	e.EightBit, e.UTF8 = flags&1 != 0, flags&2 != 0
	e.Sender = d.text()
	if addr := d.text(); addr != "" {
		if err := e.Client.Addr.UnmarshalBinary([]byte(addr)); err != nil {
			d.fail(err)
		}
	}
	e.Client.Name, e.Client.Helo, e.Client.Auth = d.text(), d.text(), d.text()
	n := d.uvarint(min(maxRecipients, uint64(len(d.p))))
	e.Recipients = make([]Recipient, n)
	for i := range e.Recipients {
		e.Recipients[i].Address = d.text()
	}
	return e
}

func (d *decoder) state() state {
	s := state{version: uint32(d.uvarint(math.MaxUint32)), attempts: uint32(d.uvarint(math.MaxUint32)), nextTry: d.varint(), hold: d.text()}
	n := d.uvarint(min(maxRecipients, uint64(len(d.p))))
	s.recipients = make([]outcome, n)
	for i := range s.recipients {
		s.recipients[i] = outcome{State(d.byte()), d.text()}
	}
	if d.err == nil && len(d.p) > 0 {
		d.fail(fmt.Errorf("%d bytes behind the envelope", len(d.p)))
	}
	return s
}

// decodeMessage reads the head of a message record.
func decodeMessage(head []byte) (Envelope, state, error) {
	d := decoder{p: head}
	e := d.envelope()
	s := d.state()
	if d.err == nil && len(s.recipients) != len(e.Recipients) {
		d.fail(fmt.Errorf("%d recipients, but states of %d", len(e.Recipients), len(s.recipients)))
	}
	return e, s, d.err
}

// decodeState reads the head of a state record.
func decodeState(head []byte) (state, error) {
	d := decoder{p: head}
	s := d.state()
	return s, d.err
}

// with is the envelope as the state says.
func (e Envelope) with(s *state) (Envelope, error) {
	if len(s.recipients) != len(e.Recipients) {
		return Envelope{}, fmt.Errorf("%d recipients, but states of %d", len(e.Recipients), len(s.recipients))
	}
	e.Hold = s.hold
	for i, r := range s.recipients {
		e.Recipients[i].State, e.Recipients[i].Reply = r.state, r.reply
	}
	return e, nil
}

// add applies an update; the caller's state is changed.
func (s *state) add(u Update) error {
	for _, c := range u.Recipients {
		if c.Index < 0 || c.Index >= len(s.recipients) {
			return fmt.Errorf("no recipient %d of %d", c.Index, len(s.recipients))
		}
		s.recipients[c.Index] = outcome{c.State, cut(c.Reply, maxReply)}
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
	s.version++
	return nil
}
