package session

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	smallBuffer = 4 << 10
	largeBuffer = 64 << 10
	largeAtOnce = 1024    // large buffers in use, all sessions together
	outputAtAll = 4 << 10 // replies kept back before they are sent
	longestLine = 1 << 20 // of a command line that is too long, read and dropped at most
)

var (
	errLongLine = errors.New("command line too long")
	errBareLF   = errors.New("bare LF in a command")
	errForeign  = errors.New("another protocol")
	errEndless  = errors.New("a command line without end")
	errEnded    = errors.New("ended by shutdown")
)

// lender has the large buffers, which sessions borrow while a message flows fast.
type lender struct {
	pool sync.Pool
	lent atomic.Int64
}

func (l *lender) borrow() []byte {
	if l.lent.Add(1) > largeAtOnce {
		l.lent.Add(-1)
		return nil
	}
	if b, ok := l.pool.Get().(*[largeBuffer]byte); ok {
		return b[:]
	}
	return make([]byte, largeBuffer)
}

func (l *lender) giveBack(b []byte) {
	l.lent.Add(-1)
	l.pool.Put((*[largeBuffer]byte)(b))
}

// past is a deadline for what must not wait.
var past = time.Unix(1, 0)

// State of a session, as Shutdown sees it.
const (
	wireBusy  int32 = iota // in a transaction, or at work
	wireIdle               // waiting for a command, outside of a transaction
	wireEnded              // told to end
)

// wire is the client's connection: lines and text in, replies out. It belongs to
// one goroutine; only end and abandon are for others.
type wire struct {
	raw    net.Conn // the connection itself
	conn   net.Conn // what is read and written: raw, or TLS upon it
	lender *lender
	until  time.Time // of the session: no wait is longer
	state  atomic.Int32

	small []byte
	buf   []byte // small, or a borrowed one
	large bool   // it is
	r, w  int    // buf[r:w] has been read and not yet used
	last  int    // bytes that the last read brought

	out []byte // replies that wait
	bad error  // of a write: nothing more is written
}

// newWire returns the wire of a connection on which lines have up to longest bytes.
func newWire(conn net.Conn, l *lender, longest int) *wire {
	w := &wire{raw: conn, conn: conn, lender: l, small: make([]byte, max(smallBuffer, longest))}
	w.buf = w.small
	return w
}

// end closes the connection if it waits for the first command of a transaction.
func (w *wire) end() {
	if w.state.CompareAndSwap(wireIdle, wireEnded) {
		_ = w.raw.SetReadDeadline(past)
	}
}

// abandon breaks the connection under its owner.
func (w *wire) abandon() { _ = w.raw.Close() }

// buffered are the bytes that have been read and not yet used.
func (w *wire) buffered() []byte { return w.buf[w.r:w.w] }

// used takes away n bytes of them.
func (w *wire) used(n int) { w.r += n }

// shrink gives a borrowed buffer back if what is in it has room in the small one,
// and more.
func (w *wire) shrink() {
	if w.large && w.w-w.r < len(w.small) {
		large := w.buf
		w.w = copy(w.small, large[w.r:w.w])
		w.r, w.buf, w.large = 0, w.small, false
		w.lender.giveBack(large)
	}
}

// grow borrows a buffer for a line that is longer than the small one; false if
// there is none.
func (w *wire) grow() bool {
	if w.large {
		return false
	}
	b := w.lender.borrow()
	if b == nil {
		return false
	}
	w.w = copy(b, w.buffered())
	w.r, w.buf, w.large = 0, b, true
	return true
}

// wait sets for how long the next read waits: no longer than the session may last.
func (w *wire) wait(by time.Time) {
	if !w.until.IsZero() && w.until.Before(by) {
		by = w.until
	}
	_ = w.conn.SetReadDeadline(by)
	if w.secured() { // which may answer what it reads
		_ = w.conn.SetWriteDeadline(by.Add(writeWait))
	}
}

// read reads once. There is always room: a reader of lines takes them away before.
func (w *wire) read() error {
	if w.r > 0 {
		w.w = copy(w.buf, w.buf[w.r:w.w])
		w.r = 0
	}
	n, err := w.conn.Read(w.buf[w.w:])
	w.w += n
	w.last = n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// fill sends what waits and reads part of a command, until a time at the latest.
func (w *wire) fill(by time.Time) error {
	if err := w.flush(); err != nil {
		return err
	}
	w.shrink()
	w.wait(by)
	return w.read()
}

// rest is fill for a client that may be told to end, which is errEnded.
func (w *wire) rest(by time.Time, draining func() bool) error {
	if err := w.flush(); err != nil {
		return err
	}
	w.shrink()
	w.wait(by) // before the state: end sets another one after it
	w.state.Store(wireIdle)
	if draining() {
		return errEnded
	}
	err := w.read()
	if !w.state.CompareAndSwap(wireIdle, wireBusy) {
		return errEnded
	}
	return err
}

// text returns bytes of a message, at least one; what is used of them is to be
// told to used. It borrows a large buffer when the small one comes full, and
// gives it back when little comes.
func (w *wire) text(by time.Time) ([]byte, error) {
	if w.r < w.w {
		return w.buffered(), nil
	}
	if err := w.flush(); err != nil {
		return nil, err
	}
	w.r, w.w = 0, 0
	switch {
	case w.large && w.last < len(w.small):
		w.shrink()
	case !w.large && w.last == len(w.small):
		if b := w.lender.borrow(); b != nil {
			w.buf, w.large = b, true
		}
	}
	w.wait(by)
	if err := w.read(); err != nil {
		return nil, err
	}
	return w.buffered(), nil
}

// line returns the next command line without its CRLF; it is good until the next
// read. more reads, and may end the wait. With anyLF a line ends at a LF alone
// too; otherwise that is errBareLF. After errLongLine the line is gone and the
// next one can be read.
func (w *wire) line(longest int, anyLF bool, more func() error) ([]byte, error) {
	seen := 0
	for {
		p := w.buffered()
		if at := bytes.IndexByte(p[seen:], '\n'); at >= 0 {
			end := seen + at
			w.r += end + 1
			switch {
			case end > 0 && p[end-1] == '\r':
				end--
			case !anyLF:
				return nil, errBareLF
			}
			if end+2 > longest {
				return nil, errLongLine
			}
			return p[:end], nil
		}
		if seen = len(p); seen >= longest || seen == len(w.buf) && !w.grow() {
			return nil, w.skipLine(anyLF, more)
		}
		if err := more(); err != nil {
			return nil, err
		}
	}
}

// skipLine drops a line that is too long.
func (w *wire) skipLine(anyLF bool, more func() error) error {
	before := byte(0)
	for dropped := 0; dropped < longestLine; {
		p := w.buffered()
		at := bytes.IndexByte(p, '\n')
		if at > 0 {
			before = p[at-1]
		}
		switch {
		case at >= 0 && before != '\r' && !anyLF:
			return errBareLF
		case at >= 0:
			w.used(at + 1)
			return errLongLine
		case len(p) > 0:
			before = p[len(p)-1]
		}
		dropped += len(p)
		w.used(len(p))
		if err := more(); err != nil {
			return err
		}
	}
	return errEndless
}

// write puts a reply behind those that wait.
func (w *wire) write(p []byte) {
	if w.out = append(w.out, p...); len(w.out) >= outputAtAll {
		_ = w.flush()
	}
}

// flush sends what waits.
func (w *wire) flush() error {
	if w.bad != nil || len(w.out) == 0 {
		return w.bad
	}
	_ = w.conn.SetWriteDeadline(time.Now().Add(writeWait))
	_, w.bad = w.conn.Write(w.out)
	if w.out = w.out[:0]; cap(w.out) > outputAtAll {
		w.out = nil
	}
	return w.bad
}

// close ends the connection. With linger it waits a moment for the client to take
// the last reply, which what it has sent meanwhile would destroy otherwise.
func (w *wire) close(linger bool) {
	defer func() {
		_ = w.conn.Close()
		w.r, w.w = 0, 0
		w.shrink()
	}()
	if w.flush() != nil || !linger {
		return
	}
	if w.secured() {
		w.closeTLS()
	}
	if c, ok := w.raw.(interface{ CloseWrite() error }); !ok || c.CloseWrite() != nil {
		return
	}
	_ = w.raw.SetReadDeadline(time.Now().Add(lingerWait))
	for range 64 {
		if _, err := w.raw.Read(w.small); err != nil {
			return
		}
	}
}

func timedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
