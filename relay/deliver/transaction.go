package deliver

import (
	"context"
	"errors"
	"io"
	"strconv"
	"sync"
	"time"

	"gatepost/relay/spool"
)

// chunk is how much of a message is in memory: what is shorter goes out with one write.
const chunk = 32 << 10

// buffers are for the wire form of a chunk, its end included.
type buffers struct {
	src  [chunk]byte
	wire []byte
}

var bufferPool = sync.Pool{New: func() any { return &buffers{wire: make([]byte, 0, chunk+chunk/8)} }}

// transaction is one message on its way to some recipients, all of one MAIL command.
type transaction struct {
	message Message
	env     *spool.Envelope
	to      []int    // indexes of recipients in env
	of      []int    // those of to, and of results, that this transaction is about
	results []Result // one for each of to

	refused  *problem // the reply to MAIL
	accepted []int    // of those in of
	heard    bool     // the server has answered
	full     bool     // recipients were left for another transaction (RFC 5321, 4.5.3.1.10)
}

// run makes the transaction. It gives every recipient of it a result, unless it returns a
// problem, which is then that of all who have none.
func (c *conn) run(ctx context.Context, t *transaction, lmtp bool) *problem {
	defer c.guard(ctx)()
	body, err := t.message.Open()
	if err != nil {
		return spoolProblem(err)
	}
	defer body.Close()
	b := bufferPool.Get().(*buffers)
	defer bufferPool.Put(b)
	if p := c.fits(t, body, b); p != nil {
		return p
	}
	d := data{from: body, buffers: b}
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
		return &problem{outcome: Failed, status: statusBadContent, text: err.Error()}
	case errors.Is(err, spool.ErrDamaged):
		return &problem{outcome: Failed, status: statusBadContent, text: spool.ErrDamaged.Error()}
	}
	return &problem{status: statusLocal, text: "cannot read the message: " + cause(err)}
}

// The commands of a transaction, in their order. RCPT is as many as there are recipients,
// and DATA comes after them.
const (
	stepReset = iota
	stepMail
	stepRcpt
)

func (t *transaction) stepData() int { return stepRcpt + len(t.of) }

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
	for k := first; k <= t.stepData(); k++ {
		c.command(t, k)
	}
	if p := c.flush(c.stage(t, first)); p != nil {
		return p
	}
	for k := first; k <= t.stepData(); k++ {
		if p := c.answer(t, k); p != nil {
			return p
		}
	}
	return nil
}

// stepwise waits for each reply before the next command.
func (c *conn) stepwise(t *transaction, first int) *problem {
	for k := first; k <= t.stepData(); k++ {
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
	case t.stepData():
		c.out = append(c.out, "DATA"...)
	default:
		c.out = append(append(append(c.out, "RCPT TO:<"...), t.address(k-stepRcpt)...), '>')
	}
	c.out = append(c.out, '\r', '\n')
}

// address is that of the i-th recipient of the transaction.
func (t *transaction) address(i int) string { return t.env.Recipients[t.to[t.of[i]]].Address }

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
			t.results[i] = r.problem().result(c.relay)
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
		if c.reply.code/100 < 4 {
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
			t.results[i] = Result{Outcome: Delivered, Status: c.reply.enhanced, Reply: c.reply.String(), Relay: c.relay, Final: lmtp}
		} else {
			t.results[i] = c.reply.problem().result(c.relay)
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

// data is a message on its way from the spool to the wire, a chunk at a time.
type data struct {
	*buffers
	from    io.Reader
	stuffer stuffer
	done    bool // the end is in wire
}

// next makes the wire form of the next chunk.
func (d *data) next() error {
	n, err := io.ReadFull(d.from, d.src[:])
	d.done = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	if err != nil && !d.done {
		return err
	}
	d.wire, err = d.stuffer.append(d.wire[:0], d.src[:n])
	if err == nil && d.done {
		d.wire, err = d.stuffer.end(d.wire)
	}
	return err
}

// send writes the message and its end. A message that cannot be sent to its end gets
// none: the server drops what it has when the connection closes.
func (c *conn) send(d *data) *problem {
	at := stage{"the server to take more of the message", c.timeouts.Block}
	for {
		c.arm(at.wait)
		if _, err := c.Write(d.wire); err != nil {
			return c.lastWords(c.lost(at, err))
		}
		if d.done {
			return nil
		}
		if err := d.next(); err != nil {
			c.broken = true
			return spoolProblem(err)
		}
	}
}

// lastWords adds to a problem what the server may have said before it closed in the middle
// of the message. Whatever that is, it is no reply to the message.
func (c *conn) lastWords(p *problem) *problem {
	if !p.dead {
		return p
	}
	c.arm(time.Second)
	if c.reply.read(c.in, nil) == nil {
		p.text = cut(p.text + "; the last it said is " + c.reply.String())
	}
	return p
}
