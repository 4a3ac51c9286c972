package front

import (
	"log/slog"
	"sync/atomic"
	"time"
)

const complainEvery = time.Second

// Complaints are warnings that peers can provoke: one a second is logged, with
// the number of those left out.
type Complaints struct {
	Log *slog.Logger

	at     atomic.Int64 // unix nanoseconds before which they are only counted
	unsaid atomic.Uint64
}

// Complain logs a warning, or counts it.
func (c *Complaints) Complain(msg string, args ...any) {
	now := time.Now().UnixNano()
	at := c.at.Load()
	if now < at || !c.at.CompareAndSwap(at, now+int64(complainEvery)) {
		c.unsaid.Add(1)
		return
	}
	if n := c.unsaid.Swap(0); n > 0 {
		args = append(args, "unsaid", n)
	}
	c.Log.Warn(msg, args...)
}
