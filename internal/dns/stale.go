package dns

import (
	"context"
	"time"
)

const (
	staleWait = 1800 * time.Millisecond // for a fresh answer before an old one stands in (RFC 8767, 5)
	staleTTL  = 30 * time.Second        // of an answer that stands in (RFC 8767, 4)
)

type staleKey struct{}

// AllowStale marks lookups in which an answer past its end is better than none
// (RFC 8767): those of lists that allow. Where the Client was given a time for
// which it may, it then takes the records it last had when the servers give no
// answer, or none soon. An absence never stands in: that would make "could not
// ask" into "is not there".
func AllowStale(ctx context.Context) context.Context {
	return context.WithValue(ctx, staleKey{}, true)
}

// standIn finds the last answer with records, if it may be used and is not too old.
func (c *Client) standIn(ctx context.Context, k key, now time.Time) *entry {
	if c.cache.staleFor == 0 || ctx.Value(staleKey{}) == nil {
		return nil
	}
	return c.cache.lastGood(k, now)
}

// lookupStale asks as Lookup does, but for staleWait at most, and then takes the
// old answer. failed tells
// that a failure is remembered.
func (c *Client) lookupStale(ctx context.Context, name string, k key, failed bool, old *entry) (Answer, error) {
	if !failed {
		short, cancel := context.WithTimeout(ctx, staleWait)
		defer cancel()
		if ans, err := c.ask(short, name, k); err == nil {
			return ans, nil
		}
	}
	c.stale.Add(1)
	return old.answer(name, staleTTL, "stale "+old.server.cached), nil
}
