package dns

import (
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

const (
	readSize   = 4096             // room for servers that send more than was asked for
	socketUses = 128              // queries that a socket sends, and so the use of a port that was found out
	socketLife = 10 * time.Second // it sends none when it is older
)

var errCut = errors.New("the socket was needed elsewhere")

// socket is a UDP socket connected to one server: the kernel picks its port at
// random, and passes on only what comes from the server's address and port. Many
// queries are under way on it, told apart by ids that cannot be guessed and by
// their questions. It serves socketUses queries or socketLife, and is closed when
// the last of them has ended.
type socket struct {
	conn   *net.UDPConn
	born   time.Time
	closed func(*socket) // told once

	mu      sync.Mutex
	ids     *rand.ChaCha8
	waiting map[uint16]*wait // nil once closed
	sent    int
	retired bool // takes no more queries
}

// wait is one query under way. It is used again for others.
type wait struct {
	query []byte
	reply []byte
	id    uint16
	done  chan error // of one: the reply is there, or will not come
	timer *time.Timer
}

var waits = sync.Pool{New: func() any {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &wait{done: make(chan error, 1), timer: t}
}}

func openSocket(server *net.UDPAddr, life time.Duration, closed func(*socket)) (*socket, error) {
	conn, err := net.DialUDP("udp", nil, server)
	if err != nil {
		return nil, err
	}
	s := &socket{conn: conn, born: time.Now(), closed: closed, waiting: map[uint16]*wait{}}
	var seed [32]byte
	if _, err = crand.Read(seed[:]); err == nil {
		s.ids = rand.NewChaCha8(seed)
		err = errors.Join(conn.SetReadDeadline(s.born.Add(life)), conn.SetWriteDeadline(s.born.Add(2*life)))
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

// take makes w one of those who wait, under a fresh id; false if the socket is used up.
func (s *socket) take(w *wait) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retired {
		return false
	}
	for {
		w.id = uint16(s.ids.Uint64())
		if s.waiting[w.id] == nil {
			break
		}
	}
	setID(w.query, w.id)
	s.waiting[w.id] = w
	s.sent++
	s.retired = s.sent >= socketUses
	return true
}

// queue waits for a place in the window until the time has come.
func (w *wait) queue(window chan struct{}, until time.Time) error {
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
	}
}

// send puts w's query on the wire and waits for the reply until the time has come.
// It gives back w's place in the window.
func (s *socket) send(w *wait, until time.Time, window chan struct{}) error {
	if _, err := s.conn.Write(w.query); err != nil {
		<-window
		s.close(err) // it may be about a query before this one
		return <-w.done
	}
	left := time.Until(until)
	if err, ended := w.wait(min(left, settled)); ended {
		<-window
		return err
	}
	<-window
	if err, ended := w.wait(left - settled); ended {
		return err
	}
	return s.abandon(w, os.ErrDeadlineExceeded)
}

// wait waits for the outcome, but no longer than d.
func (w *wait) wait(d time.Duration) (err error, ended bool) {
	w.timer.Reset(max(0, d))
	defer w.timer.Stop()
	select {
	case err := <-w.done:
		return err, true
	case <-w.timer.C:
		return nil, false
	}
}

// abandon ends the wait with err, or with the outcome that has come meanwhile.
func (s *socket) abandon(w *wait, err error) error {
	s.mu.Lock()
	if s.waiting[w.id] != w {
		s.mu.Unlock()
		return <-w.done
	}
	delete(s.waiting, w.id)
	last := s.retired && len(s.waiting) == 0
	s.mu.Unlock()
	if last {
		s.close(nil)
	}
	return err
}

// read hands out replies until the socket is closed.
func (s *socket) read() {
	buf := make([]byte, readSize)
	for {
		n, err := s.conn.Read(buf)
		switch {
		case err == nil:
			s.deliver(buf[:n])
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
	id := binary.BigEndian.Uint16(message)
	w := s.waiting[id]
	if w == nil || !answers(w.query, message) {
		s.mu.Unlock()
		return
	}
	delete(s.waiting, id)
	last := s.retired && len(s.waiting) == 0
	s.mu.Unlock()
	w.reply = slices.Clone(message)
	w.done <- nil
	if last {
		s.close(nil)
	}
}

// retire is for a socket that is old; false if it could be closed at once.
func (s *socket) retire() bool {
	s.mu.Lock()
	s.retired = true
	last := len(s.waiting) == 0
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
	orphans := s.waiting
	over := orphans == nil
	s.waiting, s.retired = nil, true
	s.mu.Unlock()
	if over {
		return
	}
	s.conn.Close()
	for _, w := range orphans {
		w.done <- err
	}
	s.closed(s)
}
