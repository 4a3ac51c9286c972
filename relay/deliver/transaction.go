package deliver

import (
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"time"

	"gatepost/relay/spool"
)

// transaction is one message on its way to some recipients, all of one MAIL command.
type transaction struct {
	message Message
	env     *spool.Envelope
	to      []int    // indexes of recipients in env
	results []Result // one for each of to
	told    []bool   // which of them a Recorder has; nil: none

	of       []int    // those of to, and of results, that this transaction is about
	refused  *problem // the reply to MAIL
	accepted []int    // of those in of
	answered []int    // of those in of, who have a reply of their own
	heard    bool     // the server has answered
	full     bool     // recipients were left for another transaction (RFC 5321, 4.5.3.1.10)
	chunked  bool     // the message goes by BDAT
	sending  bool     // the server has begun to take the message
}

// begin makes it a transaction that is about some recipients, and that has not begun.
func (t *transaction) begin(of []int) {
	t.of, t.refused, t.accepted, t.answered = of, nil, t.accepted[:0], t.answered[:0]
	t.heard, t.full, t.chunked, t.sending = false, false, false, false
}

// answer is a result for one recipient alone.
func (t *transaction) answer(i int, r Result) {
	t.results[i] = r
	t.answered = append(t.answered, i)
}

// ended makes a problem the result of all who have no reply of their own.
func (t *transaction) ended(p *problem, v via) {
	for _, i := range t.of {
		if !slices.Contains(t.answered, i) {
			t.results[i] = p.result(v)
		}
	}
}

// putOff are those whom the server did not take, before it had the message, and whom
// another server may. Those for whom it merely had no room beside others, who have the
// message now, get no result: they may have it from this server at once.
func (t *transaction) putOff(p *problem) (rest []int) {
	if p != nil && p.ours {
		return nil
	}
	roomLater := t.full && len(t.accepted) > 0 && t.results[t.accepted[0]].Outcome == Delivered
	for _, i := range t.of {
		r := &t.results[i]
		switch {
		case r.Outcome != Deferred, t.sending && slices.Contains(t.accepted, i):
		case roomLater && r.Code == 452:
			*r = Result{}
		default:
			rest = append(rest, i)
		}
	}
	return rest
}

// untried are those of todo who have no result.
func (t *transaction) untried(todo []int) []int {
	return slices.DeleteFunc(todo, func(i int) bool { return t.results[i].Reply != "" })
}

// settle tells a Recorder what is settled for good and what it has not been told yet.
func (t *transaction) settle() {
	recorder, ok := t.message.(Recorder)
	if !ok {
		return
	}
	if t.told == nil {
		t.told = make([]bool, len(t.results))
	}
	var who []int
	var what []Result
	for i, r := range t.results {
		if r.Reply != "" && r.Outcome != Deferred && !t.told[i] {
			t.told[i] = true
			who, what = append(who, t.to[i]), append(what, r)
		}
	}
	if len(who) > 0 {
		recorder.Settled(who, what)
	}
}

// run makes the transaction. It gives every recipient of it a result, unless it returns a
// problem, which is then that of all who have none of their own. A server that takes
// fewer at once has the first of them only.
func (c *conn) run(ctx context.Context, t *transaction, lmtp bool) *problem {
	defer c.guard(ctx)()
	body, err := t.message.Open()
	if err != nil {
		return spoolProblem(err)
	}
	defer body.Close()
	if c.can.maxRcpt > 0 {
		t.of = t.of[:min(len(t.of), c.can.maxRcpt)]
	}
	b := bufferPool.Get().(*buffers)
	defer bufferPool.Put(b)
	if p := c.fits(t, body, b); p != nil {
		return p
	}
	t.chunked = !lmtp && c.can.chunking && c.can.pipelining && t.message.Size() > chunk
	d := data{from: body, buffers: b, stuffer: stuffer{plain: t.chunked}}
	// The beginning is read first: what cannot be read need not be announced.
	if err := d.next(); err != nil {
		return spoolProblem(err)
	}
	reused := c.uses > 0
	c.uses++
	c.limit = time.Now().Add(c.timeouts.Transaction)
	if p := c.envelope(t); p != nil {
		p.stale = reused && !t.heard && p.dead
		return p
	}
	if len(t.accepted) == 0 {
		return t.refused
	}
	t.sending = true
	if p := c.send(&d); p != nil {
		return p
	}
	return c.fates(t, lmtp)
}

// fits says what the server lacks for the message. Body is left at its beginning.
func (c *conn) fits(t *transaction, body io.ReadSeeker, b *buffers) *problem {
	if size := t.message.Size(); c.can.maxSize > 0 && size > c.can.maxSize {
		return &problem{outcome: Failed, status: statusTooBig, text: "the message of " + strconv.FormatInt(size, 10) + " bytes exceeds the " + strconv.FormatInt(c.can.maxSize, 10) + " that the next hop takes"}
	}
	lacksEightBit, lacksUTF8 := c.lacks(t)
	if !lacksEightBit && !lacksUTF8 {
		return nil
	}
	needsEightBit, needsUTF8, err := t.needs(body, b)
	if err == nil {
		_, err = body.Seek(0, io.SeekStart)
	}
	switch {
	case err != nil:
		return spoolProblem(err)
	case lacksUTF8 && needsUTF8:
		return &problem{outcome: Failed, status: statusNonASCII, text: "the next hop does not offer SMTPUTF8, which this message needs"}
	case lacksEightBit && needsEightBit:
		return &problem{outcome: Failed, status: statusConversion, text: "the next hop does not offer 8BITMIME, which this message needs"}
	}
	return nil
}

func spoolProblem(err error) *problem {
	switch {
	case errors.Is(err, errLoneCRLF):
		return &problem{outcome: Failed, status: statusBadContent, text: err.Error(), ours: true}
	case errors.Is(err, spool.ErrDamaged):
		return &problem{outcome: Failed, status: statusBadContent, text: spool.ErrDamaged.Error(), ours: true}
	}
	return &problem{status: statusLocal, text: "cannot read the message: " + cause(err), ours: true}
}

// The commands of a transaction, in their order. RCPT is as many as there are recipients,
// and DATA comes after them.
const (
	stepReset = iota
	stepMail
	stepRcpt
)

func (t *transaction) stepData() int { return stepRcpt + len(t.of) }

// lastStep is the last one before the message: there is no DATA before BDAT.
func (t *transaction) lastStep() int {
	if t.chunked {
		return t.stepData() - 1
	}
	return t.stepData()
}

// envelope sends RSET where it is due, MAIL, each RCPT and DATA, with one write when the
// server lets us (RFC 2920). It returns nil when the server waits for the message, or when
// there is nobody to send it to.
func (c *conn) envelope(t *transaction) *problem {
	first := stepMail
	if c.dirty {
		first = stepReset
	}
	c.dirty = true // until the message has been taken
	if !c.can.pipelining {
		return c.stepwise(t, first)
	}
	for k := first; k <= t.lastStep(); k++ {
		c.command(t, k)
	}
	if p := c.flush(c.stage(t, first)); p != nil {
		return p
	}
	for k := first; k <= t.lastStep(); k++ {
		if p := c.answer(t, k); p != nil {
			return p
		}
	}
	return nil
}

// stepwise waits for each reply before the next command.
func (c *conn) stepwise(t *transaction, first int) *problem {
	for k := first; k <= t.lastStep(); k++ {
		if t.refused != nil || k == t.stepData() && len(t.accepted) == 0 {
			return nil
		}
		c.command(t, k)
		if p := c.flush(c.stage(t, k)); p != nil {
			return p
		}
		if p := c.answer(t, k); p != nil {
			return p
		}
	}
	return nil
}

// command adds the command of step k to what will be written.
func (c *conn) command(t *transaction, k int) {
	switch k {
	case stepReset:
		c.out = append(c.out, "RSET"...)
	case stepMail:
		c.out = append(append(append(c.out, "MAIL FROM:<"...), t.env.Sender...), '>')
		if c.can.size {
			c.out = strconv.AppendInt(append(c.out, " SIZE="...), t.message.Size(), 10)
		}
		if t.env.EightBit && c.can.eightBit {
			c.out = append(c.out, " BODY=8BITMIME"...)
		}
		if t.env.UTF8 && c.can.utf8 {
			c.out = append(c.out, " SMTPUTF8"...)
		}
		c.mailDSN(t.env)
	case t.stepData():
		c.out = append(c.out, "DATA"...)
	default:
		c.out = append(append(append(c.out, "RCPT TO:<"...), t.address(k-stepRcpt)...), '>')
		c.rcptDSN(t.recipient(k - stepRcpt))
	}
	c.out = append(c.out, '\r', '\n')
}

// recipient is the i-th one of the transaction.
func (t *transaction) recipient(i int) *spool.Recipient { return &t.env.Recipients[t.to[t.of[i]]] }

func (t *transaction) address(i int) string { return t.recipient(i).Address }

func (c *conn) stage(t *transaction, k int) stage {
	switch k {
	case stepReset:
		return stage{"the reply to RSET", c.timeouts.Mail}
	case stepMail:
		return stage{"the reply to MAIL", c.timeouts.Mail}
	case t.stepData():
		return stage{"the reply to DATA", c.timeouts.Data}
	}
	return stage{"the reply to RCPT", c.timeouts.Rcpt}
}

// answer reads the reply to the command of step k.
func (c *conn) answer(t *transaction, k int) *problem {
	if p := c.hear(c.stage(t, k)); p != nil {
		return p
	}
	t.heard = true
	if c.reply.code/100 == 3 && k != t.stepData() {
		c.broken = true // somebody is confused
		return c.reply.problem()
	}
	switch r := &c.reply; k {
	case stepReset:
		if !r.ok() {
			c.broken = true
			return &problem{status: statusProtocol, text: cut("RSET is refused: " + r.String())}
		}
	case stepMail:
		if !r.ok() {
			t.refused = r.problem()
		}
	case t.stepData():
		return c.dataAnswer(t)
	default:
		switch i := t.of[k-stepRcpt]; {
		case t.refused != nil: // the server counts it as out of sequence
		case r.ok():
			t.accepted = append(t.accepted, i)
		default:
			t.answer(i, r.problem().result(c.via))
			t.full = t.full || r.code == 452
		}
	}
	return nil
}

// dataAnswer looks at the reply to DATA. When nobody is left to have the message, a server
// that wants it nevertheless gets a closed connection: whatever was sent then would be a
// message.
func (c *conn) dataAnswer(t *transaction) *problem {
	nobody := len(t.accepted) == 0
	switch {
	case c.reply.code == 354 && (nobody || c.in.Buffered() > 0):
		c.broken = true
		if !nobody {
			return &problem{status: statusProtocol, text: "a reply to nothing after the one to DATA"}
		}
	case c.reply.code != 354 && !nobody:
		if c.reply.code/100 < 4 || c.reply.code == 503 { // it has lost count
			c.broken = true
		}
		return c.reply.problem()
	}
	return nil
}

// fates reads what has become of the message: one reply for all, or in LMTP one for each
// recipient that was accepted (RFC 2033, 4.2). Without one the message may have been taken
// all the same; but not to send it again could lose it.
func (c *conn) fates(t *transaction, lmtp bool) *problem {
	taken := true
	for n, i := range t.accepted {
		if n == 0 || lmtp {
			if p := c.hear(stage{"the reply to the end of the message, which may have been taken", c.timeouts.End}); p != nil {
				return p
			}
		}
		if c.reply.ok() {
			t.answer(i, Result{Outcome: Delivered, Status: c.reply.enhanced, Code: c.reply.code, Reply: c.reply.String(),
				Relay: c.via.relay, Secured: c.via.secured, Notifies: c.can.dsn, Final: lmtp})
		} else {
			t.answer(i, c.reply.problem().result(c.via))
			taken = false
		}
		c.broken = c.broken || c.reply.code/100 == 3
	}
	c.dirty = !taken
	if c.in.Buffered() > 0 {
		c.broken = true // replies to nothing
	}
	return nil
}
