package dns

import (
	"cmp"
	"io"
	"runtime"

	"golang.org/x/net/ipv4"
)

const sendBatch = 32 // queries that one system call may send

// outbox gathers the queries of those who ask at the same time: most of what a
// datagram costs is the system call and the waking of its receiver. Whoever brings
// the first query lets all go on who are about to bring one, and sends them together.
type outbox struct {
	gathered queries // guarded by the socket's mu
	sending  bool    // likewise: somebody is about to send what is gathered

	leaving queries // of the one who sends
	batch   []ipv4.Message
}

// queries are copies, as those who ask may leave at any time.
type queries struct {
	bytes []byte
	ends  []int
}

func (q *queries) add(query []byte) {
	q.bytes = append(q.bytes, query...)
	q.ends = append(q.ends, len(q.bytes))
}

func (q *queries) clear() { q.bytes, q.ends = q.bytes[:0], q.ends[:0] }

// post takes a copy of the query, and tells whether the caller has to call flush.
// The caller holds s.mu.
func (s *socket) post(query []byte) (first bool) {
	s.gathered.add(query)
	first = !s.sending
	s.sending = true
	return first
}

// flush sends what is gathered, and what is brought meanwhile: the queries of a
// socket are limited.
func (s *socket) flush() {
	runtime.Gosched()
	for s.collect() {
		if err := s.sendAll(); err != nil {
			s.close(err) // it may be about a query before these
		}
		s.leaving.clear()
	}
}

// collect makes what is gathered what is to be sent; false if there is nothing.
func (s *socket) collect() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gathered, s.leaving = s.leaving, s.gathered
	s.sending = len(s.leaving.ends) > 0 && !s.over
	return s.sending
}

func (s *socket) sendAll() error {
	begin := 0
	for left := s.leaving.ends; len(left) > 0; {
		n := min(len(left), sendBatch)
		for len(s.batch) < n {
			s.batch = append(s.batch, ipv4.Message{Buffers: make([][]byte, 1)})
		}
		at := begin
		for i, end := range left[:n] {
			s.batch[i].Buffers[0] = s.leaving.bytes[at:end]
			at = end
		}
		n, err := s.packets.WriteBatch(s.batch[:n], 0)
		if err != nil || n == 0 {
			return cmp.Or(err, io.ErrShortWrite)
		}
		begin, left = left[n-1], left[n:]
	}
	return nil
}
