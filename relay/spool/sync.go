package spool

import "time"

// company is how long a Sync waits for messages to share a sync with.
const company = time.Millisecond

// Sync returns when all that Update and Remove were told before it is on the disk. It
// waits for up to a millisecond for a commit that takes it along. An error means that it
// may not be there: it is written as soon as that can be done.
func (s *Spool) Sync() error {
	result := make(chan error, 1)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.syncers = append(s.syncers, result)
	s.mu.Unlock()
	signal(s.wake)
	return <-result
}

// takeSyncers are those who wait in Sync; s.mu is held.
func (s *Spool) takeSyncers() []chan error {
	all := s.syncers
	s.syncers = nil
	return all
}

func tell(syncers []chan error, err error) {
	for _, c := range syncers {
		c <- err
	}
}
