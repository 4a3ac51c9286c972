package milter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// Deadlines of a connection.
const (
	negotiateWait = 10 * time.Second // for the first frame, whole
	frameWait     = 10 * time.Second // for the rest of a frame that has begun
	idleWait      = 7210 * time.Second
	writeWait     = 10 * time.Second
)

// smallBuffer holds the frames of most packets. Buffers beyond it are given back
// as soon as they are empty, so that idle connections cost little.
const (
	smallBuffer = 512
	smallAnswer = 16
)

// State of a connection, as Shutdown sees it.
const (
	connBusy  int32 = iota // in a message, or at work
	connIdle               // waiting for a frame, outside of a message
	connEnded              // told to end
)

// What a connection waits for.
type waiting uint8

const (
	waitNothing waiting = iota
	waitNegotiation
	waitFrame // the rest of it
	waitIdle
)

// conn is the guard: the net.Conn that the library reads from and writes to.
// It belongs to one goroutine; only end and abandon are for others.
type conn struct {
	net.Conn
	server *Server
	macros *macros // nil before the negotiation
	state  atomic.Int32

	first [headSize + negotiateFrame]byte
	small []byte // nil before the negotiation
	buf   []byte
	r, w  int    // buf[r:w] has been read from the peer and not yet handed on
	pass  int    // of it, bytes of a checked frame
	frame []byte // the checked frame that was handed on last, valid until the next Read
	fault error  // why no more is read

	head     [smallAnswer]byte
	out      []byte // what waits for the end of an answer
	outFrame int    // start of the unfinished frame in out
	reply    []byte // sent instead of the library's next temporary failure

	closed     bool
	negotiated bool
	inMessage  bool // between a MAIL that was let pass and its end; set by the session
	phase      waiting
	readBy     time.Time
	writeBy    time.Time
}

func newConn(nc net.Conn, s *Server) *conn {
	c := &conn{Conn: nc, server: s}
	c.buf, c.out = c.first[:], c.head[:0]
	return c
}

// SetReadDeadline does nothing: the guard has its own deadlines.
func (c *conn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing, likewise.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// Close ends the connection. It has no error: there is nobody to act on it.
func (c *conn) Close() error {
	if !c.closed {
		c.closed = true
		_ = c.Conn.Close()
		c.shrink()
		c.server.doors.Leave(c)
	}
	return nil
}

// abandon breaks the connection under its owner, who then closes it.
func (c *conn) abandon() { _ = c.Conn.Close() }

// greet waits for the first frame and tells whether it is an MTA's.
func (c *conn) greet() bool {
	c.advance()
	return c.fault == nil
}

// Read hands on bytes of checked frames only. Whatever is wrong is logged here,
// and is io.EOF to the library, which takes that in silence.
func (c *conn) Read(p []byte) (int, error) {
	if c.pass == 0 {
		if c.fault == nil {
			c.advance()
		}
		if c.fault != nil {
			return 0, io.EOF
		}
	}
	n := copy(p, c.buf[c.r:c.r+c.pass])
	c.r += n
	c.pass -= n
	return n, nil
}

// advance waits for the next frame; fault says that there is none.
func (c *conn) advance() {
	c.fault = io.EOF // what a panic leaves behind
	defer func() {
		if v := recover(); v != nil {
			c.server.panicked("reading a frame", v)
		}
	}()
	c.fault = c.next()
}

// next waits for a frame that is the library's to see. Macro frames are kept
// here.
func (c *conn) next() error {
	for {
		size, err := c.whole()
		if err != nil {
			return c.refuse(err)
		}
		if size == 0 {
			if err := c.fill(); err != nil {
				return err
			}
			continue
		}
		frame := c.buf[c.r+headSize : c.r+size]
		if err := c.check(frame); err != nil {
			return c.refuse(err)
		}
		if frame[0] == cmdMacro {
			c.macros.set(frame[1:])
			c.r += size
			continue
		}
		c.phase = min(c.phase, waitNegotiation)
		c.macros.ended(frame[0])
		c.frame, c.pass = frame, size
		return nil
	}
}

// whole returns the size, with its head, of a frame that is all here, else 0.
func (c *conn) whole() (int, error) {
	if c.w-c.r < headSize {
		return 0, nil
	}
	n := binary.BigEndian.Uint32(c.buf[c.r:])
	if err := checkLength(n); err != nil {
		return 0, err
	}
	if !c.negotiated && n != negotiateFrame {
		return 0, fmt.Errorf("first frame of %d bytes, expected an option negotiation", n)
	}
	size := headSize + int(n)
	if c.w-c.r < size {
		return 0, c.grow(size)
	}
	return size, nil
}

func (c *conn) check(frame []byte) error {
	if c.negotiated == (frame[0] == cmdNegotiate) {
		return fmt.Errorf("unexpected command %q", frame[0])
	}
	if !c.negotiated {
		c.negotiated = true
		c.macros, c.small = &macros{}, make([]byte, smallBuffer)
	}
	return checkFrame(frame)
}

// grow makes room for a frame of this size, by doubling: memory is taken as
// bytes arrive, not as they are announced.
func (c *conn) grow(size int) error {
	if c.r > 0 {
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
	}
	if c.w < len(c.buf) || c.w >= size {
		return nil
	}
	larger := min(2*len(c.buf), headSize+maxFrame)
	if !c.server.lend(larger - len(c.buf)) {
		return errors.New("too much memory in unfinished frames")
	}
	buf := make([]byte, larger)
	copy(buf, c.buf[:c.w])
	c.buf = buf
	return nil
}

// shrink goes back to the small buffer; nothing may be in the large one.
func (c *conn) shrink() {
	c.r, c.w, c.frame = 0, 0, nil
	if len(c.buf) > smallBuffer {
		c.server.lend(smallBuffer - len(c.buf))
	}
	if c.small != nil {
		c.buf = c.small
	}
}

// fill reads once. Between frames it waits long and may be told to end; within
// one it does not.
func (c *conn) fill() error {
	between := c.r == c.w
	if between {
		c.shrink()
	}
	c.setReadDeadline(between)
	if between && !c.rest() {
		return io.EOF
	}
	if c.r > 0 && c.w == len(c.buf) {
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
	}
	n, err := c.Conn.Read(c.buf[c.w:])
	c.w += n
	if between && !c.wake() {
		return io.EOF
	}
	if n > 0 || err == nil {
		return nil
	}
	return c.ended(err)
}

// setReadDeadline sets one deadline for the whole negotiation, one for what is
// left of a frame that has begun, and a distant one otherwise. It moves the
// distant one rarely: each move costs a timer operation.
func (c *conn) setReadDeadline(between bool) {
	phase, wait := waitIdle, idleWait
	switch {
	case !c.negotiated:
		phase, wait = waitNegotiation, negotiateWait
	case !between:
		phase, wait = waitFrame, frameWait
	}
	if c.phase == phase && phase != waitIdle {
		return // it stands, however slowly the rest comes
	}
	by := time.Now().Add(wait)
	if c.phase == phase && by.Sub(c.readBy) < idleWait/8 {
		return
	}
	_ = c.Conn.SetReadDeadline(by)
	c.phase, c.readBy = phase, by
}

// ended says what the end of input means.
func (c *conn) ended(err error) error {
	timeout := errors.Is(err, os.ErrDeadlineExceeded)
	switch {
	case c.w > c.r && timeout:
		return c.refuse(fmt.Errorf("a frame is not complete after %v", frameWait))
	case c.w > c.r:
		return c.refuse(errors.New("a frame is cut short"))
	case timeout && !c.negotiated:
		return c.refuse(fmt.Errorf("nothing was sent for %v", negotiateWait))
	case timeout:
		c.server.log.Info("milter connection closed", "reason", "idle", "peer", c.peer())
	}
	return io.EOF
}

// refuse logs what was wrong with the input.
func (c *conn) refuse(err error) error {
	c.server.badFrames.Add(1)
	c.server.said.Complain("milter connection closed: not what an MTA sends", "reason", err.Error(), "peer", c.peer())
	return err
}

func (c *conn) peer() string {
	if a := c.RemoteAddr(); a != nil && a.String() != "" && a.String() != "@" {
		return a.String()
	}
	return c.LocalAddr().String()
}

// rest says that the connection may be ended now; false if it must be.
func (c *conn) rest() bool {
	if c.inMessage {
		return true
	}
	c.state.Store(connIdle)
	return !c.server.doors.Draining()
}

// wake says that it may no longer be ended; false if it was.
func (c *conn) wake() bool {
	return c.inMessage || c.state.CompareAndSwap(connIdle, connBusy)
}

// end closes the connection if it rests.
func (c *conn) end() {
	if c.state.CompareAndSwap(connIdle, connEnded) {
		_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// Write collects the pieces in which the library writes an answer, and sends
// them with one system call. A quarantine waits for the answer that follows.
func (c *conn) Write(p []byte) (int, error) {
	c.out = append(c.out, p...)
	pending := c.out[c.outFrame:]
	if len(pending) <= headSize || len(pending) < headSize+int(binary.BigEndian.Uint32(pending)) {
		return len(p), nil
	}
	answer := c.out
	switch {
	case pending[headSize] == 'q':
		c.outFrame = len(c.out)
		return len(p), nil
	case pending[headSize] == 't' && c.reply != nil && c.outFrame == 0:
		answer = c.reply
	}
	c.reply = nil
	err := c.send(answer)
	c.out, c.outFrame = c.head[:0], 0
	if err != nil {
		return 0, net.ErrClosed
	}
	return len(p), nil
}

func (c *conn) send(b []byte) error {
	now := time.Now()
	if c.writeBy.Sub(now) < writeWait/2 {
		c.writeBy = now.Add(writeWait)
		_ = c.Conn.SetWriteDeadline(c.writeBy)
	}
	_, err := c.Conn.Write(b)
	return err
}

// text is the first string of the frame handed on last: an address as the client
// wrote it, of which the library takes away the angle brackets.
func (c *conn) text() string {
	if len(c.frame) == 0 {
		return ""
	}
	for i, b := range c.frame[1:] {
		if b == 0 {
			return string(c.frame[1 : 1+i])
		}
	}
	return ""
}

// offered returns the action bits of the negotiation frame, which is the current one.
func (c *conn) offered() uint32 {
	if len(c.frame) < negotiateFrame {
		return 0
	}
	return binary.BigEndian.Uint32(c.frame[5:])
}
