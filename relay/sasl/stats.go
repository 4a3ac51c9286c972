package sasl

import (
	"errors"
	"sync/atomic"
)

// Counts are those of a mechanism since the start.
type Counts struct {
	Successes uint64
	Failures  uint64 // wrong passwords, names that nobody has, and responses that are malformed
	Throttled uint64 // refused without a check
	Temporary uint64 // could not be checked
	Checks    uint64 // looks at a password, or at a proof that the client knows it
}

type counts struct {
	successes, failures, throttled, temporary, checks atomic.Uint64
}

func (n *counts) end(err error) {
	switch {
	case err == nil:
		n.successes.Add(1)
	case errors.Is(err, ErrThrottled):
		n.throttled.Add(1)
	case errors.Is(err, ErrFailed), errors.Is(err, ErrMalformed):
		n.failures.Add(1)
	default:
		n.temporary.Add(1)
	}
}

// Stats are the counts of each mechanism that is configured, by its name.
func (s *Server) Stats() map[string]Counts {
	stats := make(map[string]Counts, len(s.counts))
	for name, n := range s.counts {
		stats[name] = Counts{n.successes.Load(), n.failures.Load(), n.throttled.Load(), n.temporary.Load(), n.checks.Load()}
	}
	return stats
}
