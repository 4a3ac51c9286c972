package spool

import (
	"errors"
	"fmt"
	"math"
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

	// The rest is under Spool.mu.
	nextTry                  int64
	atSegment, latestSegment *segment
	next, prev               *Message // in a list
	atOffset, latestOffset   uint32   // see at and latest
	head                     uint32   // length of the record's head
	version                  uint32
	since                    uint32 // in sinceUnits after arrived
	attempts                 uint16
	traits                   traits

	spoilt bool // the keeper's: a write to the message's own file has failed
}

// traits of a message.
type traits uint8

const (
	held traits = 1 << iota
	gone
	copied // there may be a file of its own, though at is in a segment
)

func (m *Message) is(t traits) bool { return m.traits&t != 0 }

func (m *Message) set(t traits, on bool) {
	m.traits &^= t
	if on {
		m.traits |= t
	}
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
	queued  bool // the message is in Spool.states
}

// brief is what of a state is kept in memory.
type brief struct {
	version  uint32
	attempts uint32
	nextTry  int64
	since    int64
	held     bool
}

func (s *state) brief() brief {
	return brief{s.version, s.attempts, s.nextTry, s.since, s.hold != ""}
}

// sinceUnit is how exact Message.Since is: so it takes little room, and goes on for 13 years.
const sinceUnit = 100 * time.Millisecond

func (m *Message) setState(b brief) {
	m.version, m.nextTry = b.version, b.nextTry
	m.attempts = uint16(min(b.attempts, math.MaxUint16))
	m.since = 0
	if b.since > m.arrived {
		units := (uint64(b.since-m.arrived) + uint64(sinceUnit) - 1) / uint64(sinceUnit)
		m.since = uint32(min(units, math.MaxUint32))
	}
	m.set(held, b.held)
}

// list of messages.
type list struct {
	first       *Message
	n           int
	bytes       int64  // of their records, about
	least, most uint64 // no id that was ever in it is outside
}

func (l *list) push(m *Message) {
	m.next, m.prev = l.first, nil
	if l.first != nil {
		l.first.prev = m
	}
	l.first = m
	if l.most == 0 || m.id < l.least {
		l.least = m.id
	}
	l.most = max(l.most, m.id)
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

// find gives the message of that id; nil if there is none.
func (l *list) find(id uint64) *Message {
	if id < l.least || id > l.most {
		return nil
	}
	m := l.first
	for m != nil && m.id != id {
		m = m.next
	}
	return m
}

func (m *Message) recordSize() int64 { return headerSize + int64(m.head) + m.size }

// ownList is that of the messages in files of their own, one for each folder.
func (s *Spool) ownList(id uint64) *list { return &s.own[folderOf(id)] }

// home is the list that the message is in.
func (m *Message) home() *list {
	if m.atSegment != nil {
		return &m.atSegment.live
	}
	return m.s.ownList(m.id)
}

// at is the place of the record.
func (m *Message) at() place { return place{m.atSegment, int64(m.atOffset)} }

// setAt says where the record is: in a segment, or at the beginning of the message's own
// file, which is the zero place.
func (m *Message) setAt(p place) { m.atSegment, m.atOffset = p.segment, uint32(p.off) }

// latest is the place of the newest state; the zero one: in the message's own record. In
// its own file a state begins with a page.
func (m *Message) latest() place {
	if m.latestSegment == nil {
		return place{nil, int64(m.latestOffset) * page}
	}
	return place{m.latestSegment, int64(m.latestOffset)}
}

func (m *Message) setLatest(p place) {
	if m.latestSegment != nil {
		m.latestSegment.states--
	}
	if p.segment == nil {
		p.off /= page
	} else {
		p.segment.states++
	}
	m.latestSegment, m.latestOffset = p.segment, uint32(p.off)
}

// count adds n messages like m to the totals.
func (s *Spool) count(m *Message, n int) {
	s.total.Messages += n
	s.total.Bytes += int64(n) * m.size
	if m.is(held) {
		s.total.Held += n
	}
}

// ID is the queue id.
func (m *Message) ID() string { return idText(m.id) }

// Size is the number of bytes of the message.
func (m *Message) Size() int64 { return m.size }

// Arrived is when it came.
func (m *Message) Arrived() time.Time { return fromNanos(m.arrived) }

// Since is when its lifetime begins: see Envelope.Since, but only to a tenth of a second,
// rounded up.
func (m *Message) Since() time.Time {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	return fromNanos(m.arrived).Add(time.Duration(m.since) * sinceUnit)
}

// Held reports whether there is a reason not to deliver it: Envelope.Hold, or an envelope
// that was found to be damaged.
func (m *Message) Held() bool {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	return m.is(held)
}

// Attempts is how often it was tried, 65,535 at most.
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
	case m.is(gone):
		return ErrRemoved
	case s.closed:
		return ErrClosed
	}
	s.count(m, -1)
	m.setState(st.brief())
	s.count(m, 1)
	if old := s.pending[m]; old == nil || !old.queued {
		s.states = append(s.states, m)
	}
	p.queued = true
	s.pending[m] = p
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
	case m.is(gone):
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
	if !m.is(gone) {
		s.remove(m)
	}
}

func (s *Spool) remove(m *Message) {
	s.takeOut(m)
	if g := m.atSegment; g == nil || m.is(copied) {
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

// takeOut takes a message out of the queue.
func (s *Spool) takeOut(m *Message) {
	m.set(gone, true)
	delete(s.pending, m)
	s.count(m, -1)
	m.home().remove(m)
	s.index.remove(m)
	m.setLatest(place{})
}
