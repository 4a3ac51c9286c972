package deliver

import (
	"errors"
	"io"
	"strconv"
	"sync"
	"time"
)

// chunk is how much of a message is in memory: what is shorter goes out with one write.
const chunk = 32 << 10

// maxChunks is how many chunks may be under way without a reply, so that the way there and
// back is not waited for after each; a server that wants none of it says so in time.
const maxChunks = 32

// headRoom is for what goes before a chunk.
const headRoom = len("BDAT 99999 LAST\r\n")

// buffers are for the wire form of a chunk, what goes around it included.
type buffers struct {
	src  [chunk]byte
	wire []byte
}

var bufferPool = sync.Pool{New: func() any { return &buffers{wire: make([]byte, 0, chunk+chunk/8)} }}

// data is a message on its way from the spool to the wire, a chunk at a time: as DATA has
// it, or as BDAT (RFC 3030) when the stuffer is plain.
type data struct {
	*buffers
	from    io.Reader
	stuffer stuffer
	out     []byte // what goes out next
	done    bool   // the end is in it
}

// next makes the wire form of the next chunk.
func (d *data) next() error {
	n, err := io.ReadFull(d.from, d.src[:])
	d.done = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	if err != nil && !d.done {
		return err
	}
	d.wire, err = d.stuffer.append(d.wire[:headRoom], d.src[:n])
	if err == nil && d.done {
		d.wire, err = d.stuffer.end(d.wire)
	}
	d.out = d.wire[headRoom:]
	if d.stuffer.plain {
		d.announce()
	}
	return err
}

// announce puts the BDAT command in front of a chunk.
func (d *data) announce() {
	var room [headRoom]byte
	head := strconv.AppendInt(append(room[:0], "BDAT "...), int64(len(d.out)), 10)
	if d.done {
		head = append(head, " LAST"...)
	}
	head = append(head, '\r', '\n')
	at := headRoom - len(head)
	copy(d.wire[at:], head)
	d.out = d.wire[at:]
}

// send writes the message and its end. A message that cannot be sent to its end gets
// none: the server drops what it has when the connection closes.
func (c *conn) send(d *data) *problem {
	at := stage{"the server to take more of the message", c.timeouts.Block}
	pending := 0 // replies to chunks; that to the last one is the reply to the message
	for {
		c.arm(at.wait)
		if _, err := c.Write(d.out); err != nil {
			return c.lastWords(c.lost(at, err), pending+1)
		}
		if d.stuffer.plain && !d.done {
			pending++
		}
		for pending == maxChunks || d.done && pending > 0 {
			pending--
			if p := c.chunkReply(); p != nil {
				return c.skip(p, pending, d.done)
			}
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

func (c *conn) chunkReply() *problem {
	if p := c.hear(stage{"the reply to BDAT", c.timeouts.Block}); p != nil || c.reply.ok() {
		return p
	}
	c.broken = c.broken || c.reply.code/100 == 3
	return c.reply.problem()
}

// skip reads the replies to what was sent after a chunk that was refused (RFC 3030,
// section 2 has them refused too), so that the connection is of further use.
func (c *conn) skip(p *problem, pending int, last bool) *problem {
	if last {
		pending++
	}
	for range pending {
		if c.broken {
			break
		}
		if c.hear(stage{"the reply to BDAT", c.timeouts.Block}) == nil && c.reply.ok() {
			c.broken = true // what the server has is anybody's guess
		}
	}
	return p
}

// lastWords adds to a problem what the server may have said before it closed in the middle
// of the message: the first of its replies that refuses something. None is a reply to the
// message.
func (c *conn) lastWords(p *problem, replies int) *problem {
	if !p.dead {
		return p
	}
	c.arm(time.Second)
	for range replies {
		if c.reply.read(c.in, nil) != nil {
			break
		}
		if !c.reply.ok() {
			p.text = cut(p.text + "; the last it said is " + c.reply.String())
			break
		}
	}
	return p
}
