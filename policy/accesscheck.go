package policy

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
)

// AccessCheck is CheckAccess for the many entries of a table, whose values are
// mostly the same few: it remembers some that it found good. It may be called from
// several goroutines at once.
func AccessCheck() func(key, val string) error {
	var good [256]atomic.Pointer[string]
	seed := maphash.MakeSeed()
	return func(key, val string) error {
		slot := &good[maphash.String(seed, val)%uint64(len(good))]
		if known := slot.Load(); known != nil && *known == val {
			return nil
		}
		if err := CheckAccess(key, val); err != nil {
			return err
		}
		// A tag of other uses is good with any value, and says nothing of this one.
		if slot.Load() == nil && checked(key) {
			own := strings.Clone(val) // not to keep the table's whole text
			slot.CompareAndSwap(nil, &own)
		}
		return nil
	}
}
