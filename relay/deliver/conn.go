package deliver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// extensions are what a server has said it can (RFC 5321, 4.1.1.1).
type extensions struct {
	pipelining bool  // RFC 2920
	eightBit   bool  // RFC 6152
	utf8       bool  // RFC 6531
	size       bool  // RFC 1870
	maxSize    int64 // 0: not told
	dsn        bool  // RFC 3461
	chunking   bool  // RFC 3030
	startTLS   bool  // RFC 3207
	auth       bool  // RFC 4954
	mechanisms []string
	maxRcpt    int // LIMITS RCPTMAX (RFC 9422); 0: not told
	maxMail    int // LIMITS MAILMAX; 0: not told
}

// maxMechanisms bounds those that a server may offer.
const maxMechanisms = 50

// conn is a connection to a server, of use to one goroutine at a time.
type conn struct {
	net.Conn          // with TLS, if there is any
	raw      net.Conn // without
	tls      *tlsState
	in       *bufio.Reader
	out      []byte  // commands, to be written at once
	told     secrets // of the login under way
	reply    reply
	via      via
	place    place
	demand   demand // that it was made for
	timeouts *Timeouts
	can      extensions

	ctx   context.Context // of the delivery under way
	limit time.Time       // when the transaction under way, or what comes before the first, must have ended

	uses   int       // transactions it had
	used   time.Time // when the last one ended
	dirty  bool      // RSET is due
	broken bool      // nothing more can be said on it
}

// stage is what a conn waits for, and how the operator is told that it waited in vain.
type stage struct {
	name string
	wait time.Duration
}

func newConn(c net.Conn, relay string, timeouts *Timeouts) *conn {
	return &conn{Conn: c, raw: c, in: bufio.NewReaderSize(c, 2*maxReplyLine), via: via{relay: relay}, timeouts: timeouts}
}

// guard has the end of ctx end whatever waits, until release is called.
func (c *conn) guard(ctx context.Context) (release func()) {
	c.ctx = ctx
	stop := context.AfterFunc(ctx, func() { c.raw.SetDeadline(time.Unix(1, 0)) })
	return func() {
		if !stop() {
			c.broken = true // its deadline is past, or soon will be
		}
	}
}

// arm sets the deadline of what comes next. One set by guard stays.
func (c *conn) arm(wait time.Duration) {
	until := time.Now().Add(wait)
	if !c.limit.IsZero() && c.limit.Before(until) {
		until = c.limit
	}
	c.raw.SetDeadline(until)
	if c.ctx.Err() != nil {
		c.raw.SetDeadline(time.Unix(1, 0))
	}
}

// flush writes the commands that have been put together. What has come in before they
// are sent is no answer to them.
func (c *conn) flush(at stage) *problem {
	if c.in.Buffered() > 0 {
		return c.lost(at, fmt.Errorf("%w: a reply to nothing", errProtocol))
	}
	c.arm(at.wait)
	_, err := c.Write(c.out)
	c.out = c.out[:0]
	if err != nil {
		return c.lost(at, err)
	}
	return nil
}

// hear reads the next reply into c.reply. After 421 the server closes.
func (c *conn) hear(at stage) *problem {
	return c.hearLines(at, nil)
}

func (c *conn) hearLines(at stage, each func(line []byte)) *problem {
	c.arm(at.wait)
	if err := c.reply.read(c.in, each); err != nil {
		return c.lost(at, err)
	}
	if c.reply.code == 421 {
		c.broken = true
		p := c.reply.problem()
		p.dead = true
		return p
	}
	return nil
}

// lost gives the connection up.
func (c *conn) lost(at stage, err error) *problem {
	c.broken = true
	p := &problem{status: statusConnection, dead: true}
	switch {
	case c.ctx.Err() != nil:
		p.dead = false
		p.text = "given up while waiting for " + at.name
	case errors.Is(err, errProtocol):
		p.status, p.text = statusProtocol, cut("instead of "+at.name+": "+err.Error())
	case errors.Is(err, os.ErrDeadlineExceeded):
		p.dead, p.silent = false, true
		p.text = "timeout while waiting for " + at.name
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		p.text = "connection closed while waiting for " + at.name
	default:
		p.text = "connection lost while waiting for " + at.name + ": " + cause(err)
	}
	return p
}

// cause is an error without the addresses and paths that Go has in front.
func cause(err error) string {
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	}
	return Sanitise([]byte(err.Error()))
}

func (c *conn) greeting() *problem {
	if p := c.hear(stage{"the greeting", c.timeouts.Greeting}); p != nil || c.reply.code == 220 {
		return p
	}
	return c.reply.problem()
}

// hello introduces us. A server that knows no EHLO is told HELO (RFC 5321, 3.2); there is
// nothing of the kind in LMTP.
func (c *conn) hello(name string, lmtp bool) *problem {
	verb := "EHLO "
	if lmtp {
		verb = "LHLO "
	}
	at := stage{"the reply to " + verb[:4], c.timeouts.Hello}
	c.out = append(append(append(c.out, verb...), name...), '\r', '\n')
	if p := c.flush(at); p != nil {
		return p
	}
	first := true
	p := c.hearLines(at, func(line []byte) {
		if !first {
			c.can.learn(string(line))
		}
		first = false
	})
	if p != nil || c.reply.ok() {
		return p
	}
	c.can = extensions{}
	if lmtp || c.reply.code/100 != 5 {
		return c.reply.problem()
	}
	at = stage{"the reply to HELO", c.timeouts.Hello}
	c.out = append(append(append(c.out, "HELO "...), name...), '\r', '\n')
	if p := c.flush(at); p != nil {
		return p
	}
	if p := c.hear(at); p != nil || c.reply.ok() {
		return p
	}
	return c.reply.problem()
}

// learn reads a line of the reply to EHLO.
func (e *extensions) learn(line string) {
	words := strings.Fields(line)
	if len(words) == 0 {
		return
	}
	if name, first, old := strings.Cut(words[0], "="); old && strings.EqualFold(name, "AUTH") {
		words = append([]string{name, first}, words[1:]...) // as servers said before RFC 2554
	}
	switch strings.ToUpper(words[0]) {
	case "DSN":
		e.dsn = true
	case "CHUNKING":
		e.chunking = true
	case "STARTTLS":
		e.startTLS = true
	case "AUTH":
		e.auth = true
		e.mechanisms = append(e.mechanisms, words[1:min(len(words), 1+maxMechanisms-len(e.mechanisms))]...)
	case "LIMITS":
		e.limit(words[1:])
	case "PIPELINING":
		e.pipelining = true
	case "8BITMIME":
		e.eightBit = true
	case "SMTPUTF8":
		e.utf8 = true
	case "SIZE":
		e.size = true
		if len(words) > 1 {
			if n, err := strconv.ParseInt(words[1], 10, 64); err == nil && n > 0 {
				e.maxSize = n
			}
		}
	}
}

// limit reads the limits of RFC 9422.
func (e *extensions) limit(words []string) {
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		n, err := strconv.ParseUint(value, 10, 31)
		if err != nil || n == 0 {
			continue
		}
		switch strings.ToUpper(name) {
		case "RCPTMAX":
			e.maxRcpt = int(n)
		case "MAILMAX":
			e.maxMail = int(n)
		}
	}
}

// maxUses is how many transactions it takes.
func (c *conn) maxUses(otherwise int) int {
	if c.can.maxMail > 0 {
		return min(otherwise, c.can.maxMail)
	}
	return otherwise
}

// quit takes leave without waiting for the answer.
func (c *conn) quit() {
	c.raw.SetDeadline(time.Now().Add(time.Second))
	c.Write([]byte("QUIT\r\n"))
	c.Close()
}

// quiet tells whether a kept connection is open and has nothing to read. A server that
// has sent something unasked is about to close it, or its words would be taken for the
// answer to ours.
func (c *conn) quiet() bool {
	sc, ok := c.raw.(syscall.Conn)
	if !ok || c.in.Buffered() > 0 {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	var one [1]byte
	var peekErr error
	err = raw.Control(func(fd uintptr) {
		_, _, peekErr = syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	})
	if err != nil || !errors.Is(peekErr, syscall.EAGAIN) || c.tls == nil {
		return err == nil && errors.Is(peekErr, syscall.EAGAIN)
	}
	// What TLS has read ahead comes even when the time is over.
	c.raw.SetDeadline(time.Unix(1, 0))
	n, err := c.Read(one[:])
	return n == 0 && errors.Is(err, os.ErrDeadlineExceeded)
}
