package socketmap

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// errStale marks the failure of a kept connection that the server has closed before it
// answered: the question may be asked again.
var errStale = errors.New("the server has closed the connection")

// conn is a connection to a server.
type conn struct {
	net.Conn
	reader *bufio.Reader
	used   time.Time // when it was last of use
	reused bool      // it has had an answer before
}

func newConn(c net.Conn) *conn { return &conn{Conn: c, reader: bufio.NewReader(c)} }

// roundTrip sends a request and reads the reply, until ctx ends, which must have a
// deadline. After an error the connection must be closed.
func (c *conn) roundTrip(ctx context.Context, request []byte) (string, error) {
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) }) // ends what waits
	reply, err := c.exchange(request)
	if !stop() && err == nil { // the deadline is or will be past: of no further use
		err = ctx.Err()
	}
	if err != nil && ctx.Err() != nil {
		return "", fmt.Errorf("no answer: %w", ctx.Err())
	}
	return reply, err
}

func (c *conn) exchange(request []byte) (string, error) {
	if _, err := c.Write(request); err != nil {
		return "", c.stale(err)
	}
	if _, err := c.reader.Peek(1); err != nil {
		return "", c.stale(err)
	}
	reply, err := readNetstring(c.reader)
	if err != nil {
		return "", err
	}
	// What follows a reply would be taken for the next one.
	if n := c.reader.Buffered(); n > 0 {
		return "", fmt.Errorf("%d bytes follow the reply", n)
	}
	return reply, nil
}

// stale marks an error before the first byte of the reply, if the connection was kept.
func (c *conn) stale(err error) error {
	if c.reused {
		return fmt.Errorf("%w: %w", errStale, err)
	}
	return fmt.Errorf("no reply: %w", err)
}

// quiet tells whether a kept connection is open and has nothing to read. A server that
// has sent something unasked is not to be trusted with the next question: its words would be
// taken for the answer.
func (c *conn) quiet() bool {
	sc, ok := c.Conn.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	var peekErr error
	err = raw.Control(func(fd uintptr) {
		var one [1]byte
		_, _, peekErr = syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	})
	return err == nil && errors.Is(peekErr, syscall.EAGAIN)
}
