package spool

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"
)

// Who has the last word on a commit.
const (
	waiting int32 = iota
	abandoned
	answered
)

var errCommitted = errors.New("spool: the message was committed or given up already")

// Writer takes one message. It is for one goroutine.
type Writer struct {
	s      *Spool
	m      *Message
	head   header
	parts  [][]byte // the record: the first one begins with room for the header
	pooled [][]byte // of them what comes from s.chunks
	sum    uint32   // CRC32C of the body so far
	large  *largeFile
	err    error // of a Write, or why nothing more can be done
	claim  atomic.Int32
	result chan error
}

// Create begins a message with envelope e, whose ID it gives (see Writer.ID); a zero
// Arrived becomes now. The error is ErrFull when the disk has no room (452 4.3.1).
// The Writer must be ended with Commit or Abort.
func (s *Spool) Create(e Envelope) (*Writer, error) {
	if n := len(e.Recipients); n == 0 || n > s.o.mostRecipients() {
		return nil, fmt.Errorf("spool: a message to %d recipients; 1 to %d are taken", n, s.o.mostRecipients())
	}
	if err := e.fault(); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	now := time.Now()
	if e.Arrived.IsZero() {
		e.Arrived = now
	}
	if err := s.room(now); err != nil {
		return nil, err
	}
	id, err := s.newID()
	if err != nil {
		return nil, err
	}
	w := &Writer{s: s, m: &Message{s: s, id: id, arrived: nanos(e.Arrived)}}
	chunk := s.chunks.take(smallChunk, true)
	w.pooled = append(make([][]byte, 0, 2), chunk)
	st := stateOf(&e)
	w.m.setState(st.brief())
	record := appendState(appendEnvelope(chunk[:headerSize], &e), &st)
	w.parts = append(make([][]byte, 0, 2), record)
	head := record[headerSize:]
	w.head = header{kind: kindMessage, id: id, head: uint32(len(head)), headCRC: checksum(head)}
	if int64(len(head)) > s.o.mostHead() {
		w.Abort()
		return nil, fmt.Errorf("spool: an envelope of %d bytes; at most %d are taken", len(head), s.o.mostHead())
	}
	return w, nil
}

// ID is the queue id of the message.
func (w *Writer) ID() string { return w.m.ID() }

// Write adds to the message: canonical CRLF, header first. The error is ErrFull when
// the disk has no room.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if w.head.body+int64(len(p)) > maxBody {
		w.err = fmt.Errorf("spool: a message of more than %d bytes", int64(maxBody))
		return 0, w.err
	}
	if w.large == nil && !w.buffer(p) {
		w.err = w.makeLarge()
	}
	if w.large != nil && w.err == nil {
		w.err = w.large.write(p)
	}
	if w.err != nil {
		return 0, w.err
	}
	w.sum = update(w.sum, p)
	w.head.body += int64(len(p))
	return len(p), nil
}

// buffer keeps p in memory if that is still allowed; otherwise it keeps nothing of it.
func (w *Writer) buffer(p []byte) bool {
	if w.head.size()+int64(len(p)) > w.s.o.inline {
		return false
	}
	last := &w.parts[len(w.parts)-1]
	n := min(len(p), cap(*last)-len(*last))
	var more [][]byte
	for rest := p[n:]; len(rest) > 0; {
		chunk := w.s.chunks.take(bigChunk, false)
		if chunk == nil {
			w.s.chunks.give(more)
			return false
		}
		k := min(len(rest), cap(chunk))
		more = append(more, append(chunk, rest[:k]...))
		rest = rest[k:]
	}
	*last = append(*last, p[:n]...)
	w.parts = append(w.parts, more...)
	w.pooled = append(w.pooled, more...)
	return true
}

// Commit returns nil only when message and envelope are durable; the Writer is used
// up in any case. Concurrent ones share a sync. The error is ErrFull when the disk has
// no room (452 4.3.1), that of ctx if it ended first, and any other is the disk's
// (451 4.3.0); then the message is not in the queue, and will not be after a restart,
// unless the disk cannot even be told so, or crashes before it is: within some 100 ms when
// ctx has ended or the name of a large message could not be synced.
func (w *Writer) Commit(ctx context.Context) (*Message, error) {
	if w.err != nil {
		err := w.err
		w.Abort()
		return nil, err
	}
	if w.large == nil && w.head.size() > w.s.o.inline {
		if err := w.makeLarge(); err != nil {
			w.Abort()
			return nil, err
		}
	}
	w.err = errCommitted
	w.head.bodyCRC = w.sum
	w.m.size, w.m.head = w.head.body, w.head.head
	w.result = w.s.resultChan()
	var err error
	if w.large != nil {
		err = w.commitLarge()
	} else {
		err = w.s.enqueue(&w.s.waiting, w, w.s.wake)
	}
	if err != nil {
		return nil, err
	}
	select {
	case err = <-w.result:
	case <-ctx.Done():
		if w.claim.CompareAndSwap(waiting, abandoned) {
			return nil, ctx.Err()
		}
		err = <-w.result
	}
	w.s.results.Put(w.result)
	if err != nil {
		return nil, err
	}
	return w.m, nil
}

// resultChan gives a channel for one answer.
func (s *Spool) resultChan() chan error {
	if c, _ := s.results.Get().(chan error); c != nil {
		return c
	}
	return make(chan error, 1)
}

// enqueue has a commit done by the goroutine behind wake.
func (s *Spool) enqueue(queue *[]*Writer, w *Writer, wake chan struct{}) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		s.answer([]*Writer{w}, ErrClosed)
		w.discard()
		return ErrClosed
	}
	*queue = append(*queue, w)
	s.mu.Unlock()
	signal(wake)
	return nil
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Abort gives the message up. After Commit it does nothing.
func (w *Writer) Abort() {
	if errors.Is(w.err, errCommitted) {
		return
	}
	w.err = errCommitted
	w.discard()
}

// discard gives back what a message has taken that is not committed.
func (w *Writer) discard() {
	w.s.chunks.give(w.pooled)
	w.pooled, w.parts = nil, nil
	if w.large != nil {
		w.large.discard()
	}
}

// newID counts on from where no earlier run can have been.
func (s *Spool) newID() (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return 0, ErrClosed
	case s.lastID+1 >= s.idLimit && !s.moreIDs():
		return 0, fmt.Errorf("spool: %w", ErrFull)
	}
	s.lastID++
	return s.lastID, nil
}

// moreIDs begins with the number of a segment that this run has made: no earlier run had
// it, and no later one will.
func (s *Spool) moreIDs() bool {
	g := s.current
	if g == nil {
		g = s.next
	}
	if g == nil || g.number < s.idLimit>>32 {
		return false
	}
	s.lastID, s.idLimit = g.number<<32, (g.number+1)<<32
	return true
}

func idText(id uint64) string { return strconv.FormatUint(id, 32) }

func parseID(s string) (uint64, bool) {
	id, err := strconv.ParseUint(s, 32, 64)
	return id, err == nil && s == idText(id)
}
