package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

var errShort = errors.New("envelope is cut off")

// decoder reads what the functions above wrote. After an error everything is zero.
type decoder struct {
	p    []byte
	skim bool // texts and recipients are passed over, but for their numbers
	err  error

	addressed, judged int // recipients that there are, and that there are states of
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

func (d *decoder) text() string { return d.shortText(maxHead) }

// shortText is a text of at most so many bytes.
func (d *decoder) shortText(most uint64) string {
	p := d.bytes(most)
	if d.skim {
		return ""
	}
	return string(p)
}

func (d *decoder) bytes(most uint64) []byte {
	n := d.uvarint(most)
	if n > uint64(len(d.p)) {
		d.fail(errShort)
		return nil
	}
	p := d.p[:n]
	d.p = d.p[n:]
	return p
}

func (d *decoder) envelope() Envelope {
	e := Envelope{Arrived: fromNanos(d.varint())}
	flags := d.byte()
	if flags&^flagsKnown != 0 {
		d.fail(fmt.Errorf("flags %#x", flags))
	}
	e.EightBit, e.UTF8 = flags&flagEightBit != 0, flags&flagUTF8 != 0
	e.Sender = d.text()
	if addr := d.bytes(maxHead); len(addr) > 0 {
		if err := e.Client.Addr.UnmarshalBinary(addr); err != nil {
			d.fail(err)
		}
	}
	e.Client.Name, e.Client.Helo, e.Client.Auth = d.text(), d.text(), d.text()
	d.addressed = int(d.uvarint(min(maxRecipients, uint64(len(d.p)))))
	if !d.skim {
		e.Recipients = make([]Recipient, d.addressed)
	}
	for i := range d.addressed {
		r := Recipient{Address: d.text()}
		if flags&flagNotify != 0 {
			d.notify(&r)
		}
		if !d.skim {
			e.Recipients[i] = r
		}
	}
	if flags&flagReports != 0 {
		ret := d.byte()
		if int(ret) >= len(rets) {
			d.fail(fmt.Errorf("RET %d", ret))
			return e
		}
		e.Ret, e.EnvID = rets[ret], d.shortText(maxEnvID)
	}
	return e
}

func (d *decoder) notify(r *Recipient) {
	b := d.byte()
	r.Notify = Notify(b &^ hasORcpt)
	if r.Notify&^allNotify != 0 {
		d.fail(fmt.Errorf("NOTIFY %#x", b))
	}
	if b&hasORcpt != 0 {
		r.ORcpt = d.shortText(maxORcpt)
	}
}

func (d *decoder) state() state {
	s := state{version: uint32(d.uvarint(math.MaxUint32)), attempts: uint32(d.uvarint(math.MaxUint32)), nextTry: d.varint(), hold: string(d.bytes(maxHold))}
	d.judged = int(d.uvarint(min(maxRecipients, uint64(len(d.p)))))
	if !d.skim {
		s.recipients = make([]outcome, d.judged)
	}
	for i := range d.judged {
		o := d.outcome()
		if !d.skim {
			s.recipients[i] = o
		}
	}
	if len(d.p) > 0 {
		flags := d.byte()
		s.warned = flags&flagWarned != 0
		if flags&flagSince != 0 {
			s.since = d.varint()
		}
		if flags&^(flagWarned|flagSince) != 0 {
			d.fail(fmt.Errorf("flags %#x behind the state", flags))
		}
	}
	if d.err == nil && len(d.p) > 0 {
		d.fail(fmt.Errorf("%d bytes behind the envelope", len(d.p)))
	}
	return s
}

func (d *decoder) outcome() outcome {
	b := d.byte()
	o := outcome{state: State(b &^ hasStatus), reply: d.shortText(maxReply)}
	if o.state > Reported {
		d.fail(fmt.Errorf("state %d of a recipient", o.state))
	}
	if b&hasStatus != 0 {
		o.status = d.shortText(maxStatus)
	}
	return o
}

// decodeMessage reads the head of a message record.
func decodeMessage(head []byte) (Envelope, state, error) {
	d := decoder{p: head}
	e, s := d.message()
	return e, s, d.err
}

func (d *decoder) message() (Envelope, state) {
	e := d.envelope()
	s := d.state()
	if d.err == nil && d.judged != d.addressed {
		d.fail(fmt.Errorf("%d recipients, but states of %d", d.addressed, d.judged))
	}
	return e, s
}

// skimMessage reads of the head of a message record what is kept in memory.
func skimMessage(head []byte) (arrived int64, b brief, err error) {
	d := decoder{p: head, skim: true}
	e, s := d.message()
	return nanos(e.Arrived), s.brief(), d.err
}

// skimState is likewise for that of a state record.
func skimState(head []byte) (brief, error) {
	d := decoder{p: head, skim: true}
	s := d.state()
	return s.brief(), d.err
}

// decodeState reads the head of a state record.
func decodeState(head []byte) (state, error) {
	d := decoder{p: head}
	s := d.state()
	return s, d.err
}
