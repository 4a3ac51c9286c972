package spool

import (
	"sync"
	"sync/atomic"
)

const (
	smallChunk = 8 << 10
	bigChunk   = 64 << 10
)

// chunks are pieces of memory for messages that are not yet written.
type chunks struct {
	small, big sync.Pool
	used, most atomic.Int64
}

// take gives a chunk of smallChunk or bigChunk bytes, empty; nil beyond the limit.
// Each message's first one is given in any case: the number of sessions bounds those.
func (c *chunks) take(size int, first bool) []byte {
	if c.used.Add(int64(size)) > c.most.Load() && !first {
		c.used.Add(-int64(size))
		return nil
	}
	if size == smallChunk {
		if p, _ := c.small.Get().(*[smallChunk]byte); p != nil {
			return p[:0]
		}
		return new([smallChunk]byte)[:0]
	}
	if p, _ := c.big.Get().(*[bigChunk]byte); p != nil {
		return p[:0]
	}
	return new([bigChunk]byte)[:0]
}

func (c *chunks) give(all [][]byte) {
	for _, p := range all {
		c.used.Add(-int64(cap(p)))
		switch cap(p) {
		case smallChunk:
			c.small.Put((*[smallChunk]byte)(p[:smallChunk]))
		case bigChunk:
			c.big.Put((*[bigChunk]byte)(p[:bigChunk]))
		}
	}
}
