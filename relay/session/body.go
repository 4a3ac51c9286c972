package session

import (
	"errors"
	"strconv"
	"time"

	"gatepost/internal/smtp"
	"gatepost/relay/spool"
)

// body is a message that is coming in.
type body struct {
	scanner
	header header
	limits *Limits

	began time.Time
	out   Writer
	err   error // of out
	size  int64 // bytes of the message
	taken int64 // bytes that have come for it
	drop  bool  // it is taken and dropped
}

// newBody begins a message that ends with a dot, or (BDAT) without.
func newBody(out Writer, l *Limits, dots, normalize, drop bool) *body {
	b := &body{began: time.Now(), out: out, limits: l, drop: drop}
	b.header.write = b.store
	b.scanner = scanner{dots: dots, normalize: normalize, maxLine: l.TextLine, write: b.add}
	return b
}

// begin writes the field that is put in front.
func (b *body) begin(field string) { b.store([]byte(field)) }

// add takes text from the scanner.
func (b *body) add(p []byte) {
	if b.size += int64(len(p)); b.size > b.limits.MessageSize {
		b.found(faultSize)
	}
	if b.fault != faultNone {
		return
	}
	b.header.put(p)
	switch {
	case b.header.size > b.limits.Header:
		b.found(faultHeader)
	case b.header.received > b.limits.Hops:
		b.found(faultHops)
	}
}

// store writes text to the spool. After a fault or an error there is no use in it.
func (b *body) store(p []byte) {
	if b.drop || b.err != nil || b.fault != faultNone {
		return
	}
	_, b.err = b.out.Write(p)
}

// take feeds a piece of text.
func (b *body) take(p []byte) (n int, ended bool) {
	n, ended = b.feed(p)
	b.taken += int64(n)
	return n, ended
}

// endless tells whether so much has come that the end is not waited for any more.
func (b *body) endless() bool { return b.taken > 2*b.limits.MessageSize }

// refusal is the reply to a message that is not taken; zero if it can be.
func (b *body) refusal() smtp.Reply {
	switch b.fault {
	case faultNUL:
		return smtp.MustReply(554, "5.6.0", "NUL character not allowed")
	case faultBareCR:
		return smtp.MustReply(554, "5.6.0", "Bare <CR> not allowed")
	case faultBareLF:
		return smtp.MustReply(554, "5.6.0", "Bare <LF> not allowed")
	case faultLongLine:
		return smtp.MustReply(554, "5.6.0", "Line too long ("+strconv.Itoa(b.limits.TextLine)+" bytes max)")
	case faultSize:
		return tooLarge(b.limits.MessageSize)
	case faultHeader:
		return smtp.MustReply(552, "5.3.4", "Headers too large ("+strconv.FormatInt(b.limits.Header, 10)+" bytes max)")
	case faultHops:
		return smtp.MustReply(554, "5.4.6", "Too many hops ("+strconv.Itoa(b.limits.Hops)+" max)")
	}
	return spoolFault(b.err)
}

func tooLarge(limit int64) smtp.Reply {
	return smtp.MustReply(552, "5.3.4", "Message size exceeds maximum value ("+strconv.FormatInt(limit, 10)+")")
}

// spoolFault is what the client learns of an error of the spool.
func spoolFault(err error) smtp.Reply {
	switch {
	case err == nil:
		return smtp.Reply{}
	case errors.Is(err, spool.ErrFull):
		return smtp.MustReply(452, "4.3.1", "Insufficient disk space; try again later")
	}
	return smtp.MustReply(451, "4.3.0", "Temporary failure, please try again later")
}
