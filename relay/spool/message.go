package spool

import (
	"errors"
	"fmt"
	"time"
)

// ErrRemoved is the error of what is asked of a message that is no longer there.
var ErrRemoved = errors.New("the message was removed from the spool")

// ErrDamaged is the error of reading a message whose bytes on the disk are not those
// that were written.
var ErrDamaged = errors.New("the message is damaged on the disk")

// Message is one in the queue. Its methods are safe for concurrent use. It is small:
// envelope and data stay on the disk.
type Message struct {
	s       *Spool
	id      uint64
	arrived int64 // Unix nanoseconds
	size    int64
	bodyCRC uint32

	// The rest is under Spool.mu.
	version, attempts uint32
	nextTry           int64
	head              uint32 // length of the record's head
	at                place  // of the record
	latest            place  // of the newest state, if latestSize is not 0
	latestSize        uint32 // of that record
	held, gone        bool
	queued            bool // in Spool.states
	copied            bool // there may be a file of its own, though at is in a segment
	pend              *pending
	next, prev        *Message // in a list

	spoilt bool // the keeper's: a write to the message's own file has failed
}

// place is where a record begins; without a segment it is in the message's own file.
type place struct {
	segment *segment
	off     int64
}

// pending is a state that is not yet written.
type pending struct {
	version uint32
	head    []byte
}

// list of messages.
type list struct {
	first *Message
	n     int
	bytes int64 // of their records, about
}

func (l *list) push(m *Message) {
	m.next, m.prev = l.first, nil
	if l.first != nil {
		l.first.prev = m
	}
	l.first = m
	l.n++
	l.bytes += m.recordSize()
}

func (l *list) remove(m *Message) {
	if m.prev != nil {
		m.prev.next = m.next
	} else {
		l.first = m.next
	}
	if m.next != nil {
		m.next.prev = m.prev
	}
	m.next, m.prev = nil, nil
	l.n--
	l.bytes -= m.recordSize()
}

func (m *Message) recordSize() int64 { return headerSize + int64(m.head) + m.size }

// home is the list that the message is in.
func (m *Message) home() *list {
	if m.at.segment != nil {
		return &m.at.segment.live
	}
	return &m.s.own
}

// setLatest says where the newest state is; size 0: in the message's own record.
func (m *Message) setLatest(p place, size uint32) {
	if m.latestSize > 0 && m.latest.segment != nil {
		m.latest.segment.states--
	}
	m.latest, m.latestSize = p, size
	if size > 0 && p.segment != nil {
		p.segment.states++
	}
}

// count adds n messages like m to the totals.
func (s *Spool) count(m *Message, n int) {
	s.total.Messages += n
	s.total.Bytes += int64(n) * m.size
	if m.held {
		s.total.Held += n
	}
}

// ID is the queue id.
func (m *Message) ID() string { return idText(m.id) }

// Size is the number of bytes of the message.
func (m *Message) Size() int64 { return m.size }

// Arrived is when it came.
func (m *Message) Arrived() time.Time { return fromNanos(m.arrived) }

// Held reports whether there is a reason not to deliver it: Envelope.Hold, or an envelope
// that was found to be damaged.
func (m *Message) Held() bool {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	return m.held
}

// Attempts is how often it was tried.
func (m *Message) Attempts() int {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	return int(m.attempts)
}

// NextTry is when it is due; the zero time: at once.
func (m *Message) NextTry() time.Time {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	return fromNanos(m.nextTry)
}

// Envelope is a copy, with the recipients' states as of now. It is read from the disk;
// the error is ErrRemoved, ErrDamaged or the disk's. It is no reason to think that the
// message has no recipients.
func (m *Message) Envelope() (Envelope, error) {
	e, st, err := m.read()
	if err != nil {
		return Envelope{}, fmt.Errorf("spool: %s: %w", m.ID(), err)
	}
	e.ID = m.ID()
	return e.with(&st)
}

// Update writes down what has become of the message. It is on the disk some 100 ms
// later, or with the next commit, or when Sync has returned; lost in a crash before, a
// delivery may be repeated.
func (m *Message) Update(u Update) error {
	lock := &m.s.updating[m.id%uint64(len(m.s.updating))]
	lock.Lock()
	defer lock.Unlock()
	_, st, err := m.read()
	if err == nil {
		err = st.add(u)
	}
	if err != nil {
		return fmt.Errorf("spool: %s: %w", m.ID(), err)
	}
	p := &pending{version: st.version, head: appendState(nil, &st)}
	s := m.s
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case m.gone:
		return ErrRemoved
	case s.closed:
		return ErrClosed
	}
	s.count(m, -1)
	m.version, m.attempts, m.nextTry, m.held, m.pend = st.version, st.attempts, st.nextTry, st.hold != "", p
	s.count(m, 1)
	if !m.queued {
		m.queued = true
		s.states = append(s.states, m)
	}
	if len(s.states)+len(s.done) == 1 {
		signal(s.wake)
	}
	return nil
}

// Remove takes the message out of the queue: it has been dealt with. It is on the disk
// when an Update would be; lost in a crash before, the message is there again.
func (m *Message) Remove() error {
	s := m.s
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case m.gone:
		return nil
	case s.closed:
		return ErrClosed
	}
	s.remove(m)
	return nil
}

// drop removes what nobody knows of.
func (s *Spool) drop(m *Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !m.gone {
		s.remove(m)
	}
}

func (s *Spool) remove(m *Message) {
	m.gone, m.pend = true, nil
	s.count(m, -1)
	m.home().remove(m)
	m.setLatest(place{}, 0)
	if g := m.at.segment; g == nil || m.copied {
		s.unlinks = append(s.unlinks, m.id)
		s.wakeKeeper()
	} else if g.live.n == 0 && g != s.current {
		s.wakeKeeper()
	}
	s.done = append(s.done, m.id)
	if len(s.states)+len(s.done) == 1 {
		signal(s.wake)
	}
}
