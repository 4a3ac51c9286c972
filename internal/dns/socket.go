package dns

import (
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"time"

	mdns "github.com/miekg/dns"
	"golang.org/x/net/ipv4"
)

const (
	kernelRoom = 1 << 20          // for replies that wait to be read: a whole window's, with what else comes
	readSize   = 4096             // room for servers that send more than was asked for
	readBatch  = 16               // replies that one system call may bring
	socketUses = 256              // queries that a socket sends, and so the use of a port that was found out
	socketLife = 10 * time.Second // it sends none when it is older
)

var errCut = errors.New("the socket was needed elsewhere")

// socket is a UDP socket connected to one server: the kernel picks its port at
// random, and passes on only what comes from the server's address and port. Many
// queries are under way on it, told apart by ids that cannot be guessed and by
// their questions. It serves socketUses queries or socketLife, and is closed when
// the last of them has ended.
type socket struct {
	conn    *net.UDPConn
	packets *ipv4.PacketConn // the same, for several at once; serves IPv6 as well: it is about the calls only
	born    time.Time
	closed  func(*socket) // told once

	mu      sync.Mutex
	ids     *rand.ChaCha8
	waiting [socketUses]*wait // by the id's low bits
	waits   int               // of these there are
	sent    int
	retired bool // takes no more queries
	over    bool // closed
	outbox
}

// wait is one query under way, and the room for it and its reply.
type wait struct {
	query []byte // in out
	reply []byte // in kept, if it is short
	id    uint16
	first bool       // of those that are sent together
	done  chan error // of one: the reply is there, or will not come
	timer *time.Timer
	msg   mdns.Msg // the reply as the codec reads it
	out   [maxQuery]byte
	kept  [udpSize]byte
}

var waits = sync.Pool{New: func() any {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &wait{done: make(chan error, 1), timer: t}
}}

// newWait makes a query ready. After its end, when nobody looks at the reply any
// more, it goes back to waits.
func newWait(fqdn string, t Type, edns bool) (w *wait, err error) {
	w = waits.Get().(*wait)
	w.reply = nil
	w.query, err = packQuery(&w.out, fqdn, t, edns)
	return w, err
}

func openSocket(server *net.UDPAddr, life time.Duration, closed func(*socket)) (*socket, error) {
	conn, err := net.DialUDP("udp", nil, server)
	if err != nil {
		return nil, err
	}
	s := &socket{conn: conn, packets: ipv4.NewPacketConn(conn), born: time.Now(), closed: closed}
	var seed [32]byte
	if _, err = crand.Read(seed[:]); err == nil {
		s.ids = rand.NewChaCha8(seed)
		err = errors.Join(conn.SetReadBuffer(kernelRoom), conn.SetReadDeadline(s.born.Add(life)), conn.SetWriteDeadline(s.born.Add(2*life)))
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

// take makes w one of those who wait, under a fresh id; false if the socket is used
// up. There is room: no more wait than queries have been taken. With w.first the
// caller has to send what is posted.
func (s *socket) take(w *wait) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retired {
		return false
	}
	for {
		w.id = uint16(s.ids.Uint64())
		if s.waiting[w.id%socketUses] == nil {
			break
		}
	}
	setID(w.query, w.id)
	s.waiting[w.id%socketUses] = w
	s.waits++
	s.sent++
	s.retired = s.sent >= socketUses
	w.first = s.post(w.query)
	return true
}

// drop takes w out of those who wait, and tells whether the socket has no use any
// more. The caller holds s.mu.
func (s *socket) drop(w *wait) (last bool) {
	s.waiting[w.id%socketUses] = nil
	s.waits--
	return s.retired && s.waits == 0
}

// queue waits for a place in the window until the time has come.
func (w *wait) queue(ctx context.Context, window chan struct{}, until time.Time) error {
	select {
	case window <- struct{}{}:
		return nil
	default:
	}
	w.timer.Reset(time.Until(until))
	defer w.timer.Stop()
	select {
	case window <- struct{}{}:
		return nil
	case <-w.timer.C:
		return os.ErrDeadlineExceeded
	case <-ctx.Done():
		return ctx.Err()
	}
}

// send puts w's query on the wire and waits for the reply until the time has come.
// It gives back w's place in the window.
func (s *socket) send(ctx context.Context, w *wait, until time.Time, window chan struct{}) error {
	if w.first {
		s.flush()
	}
	left := time.Until(until)
	err, ended := w.wait(ctx, min(left, settled))
	<-window
	if !ended && left > settled {
		err, ended = w.wait(ctx, left-settled)
	}
	if ended {
		return err
	}
	return s.abandon(w, err)
}

// wait waits for the outcome, but no longer than d. If it has not ended, the error
// is the reason not to wait any more.
func (w *wait) wait(ctx context.Context, d time.Duration) (err error, ended bool) {
	if ctx.Err() != nil {
		return ctx.Err(), false
	}
	w.timer.Reset(max(0, d))
	defer w.timer.Stop()
	select {
	case err := <-w.done:
		return err, true
	case <-w.timer.C:
		return os.ErrDeadlineExceeded, false
	case <-ctx.Done():
		return ctx.Err(), false
	}
}

// abandon ends the wait with err, or with the outcome that has come meanwhile.
func (s *socket) abandon(w *wait, err error) error {
	s.mu.Lock()
	if s.waiting[w.id%socketUses] != w {
		s.mu.Unlock()
		return <-w.done
	}
	last := s.drop(w)
	s.mu.Unlock()
	if last {
		s.close(nil)
	}
	return err
}

// read hands out replies until the socket is closed.
func (s *socket) read() {
	batch := make([]ipv4.Message, readBatch)
	for i := range batch {
		batch[i].Buffers = [][]byte{make([]byte, readSize)}
	}
	for {
		runtime.Gosched() // the more others do first, the more replies come at once
		n, err := s.packets.ReadBatch(batch, 0)
		switch {
		case err == nil:
			for i := range batch[:n] {
				s.deliver(batch[i].Buffers[0][:batch[i].N])
			}
		case errors.Is(err, os.ErrDeadlineExceeded):
			if !s.retire() {
				return
			}
		default:
			s.close(err)
			return
		}
	}
}

// deliver finds the one who waits for the message. What nobody waits for is late,
// junk or a forgery: the true answer may still come.
func (s *socket) deliver(message []byte) {
	if len(message) < headerLen {
		return
	}
	s.mu.Lock()
	w := s.waiting[binary.BigEndian.Uint16(message)%socketUses]
	if w == nil || !answers(w.query, message) {
		s.mu.Unlock()
		return
	}
	last := s.drop(w)
	s.mu.Unlock()
	w.reply = append(w.kept[:0], message...)
	w.done <- nil
	if last {
		s.close(nil)
	}
}

// retire is for a socket that is old; false if it could be closed at once.
func (s *socket) retire() bool {
	s.mu.Lock()
	s.retired = true
	last := s.waits == 0
	s.mu.Unlock()
	if last || s.conn.SetReadDeadline(time.Time{}) != nil {
		s.close(errCut)
		return false
	}
	return true
}

// usedUp tells whether the socket takes no more queries.
func (s *socket) usedUp() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retired
}

// close ends all that wait with err.
func (s *socket) close(err error) {
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		return
	}
	s.over, s.retired = true, true
	orphans := s.waiting
	s.waiting, s.waits = [socketUses]*wait{}, 0
	s.mu.Unlock()
	s.conn.Close()
	for _, w := range orphans {
		if w != nil {
			w.done <- err
		}
	}
	s.closed(s)
}
