package maps

import (
	"encoding/binary"
	"math/bits"
)

const (
	// groupSlots is how many slots share a cache line of 64 bytes with their tags.
	groupSlots = 12
	// groupFill is how many of them are taken on average. Fuller, and more searches
	// have to go on to the next group.
	groupFill = 9
)

// A group is some slots of a hash table, taken from the first on. A tag is some
// more bits of the key's hash, or 0 for a free slot. Tags spare most looks at the
// keys, each of which costs a wait for memory when the table is large.
type group struct {
	tags    [16]uint8 // one for each slot; the rest are 0
	offsets [groupSlots]uint32
}

// slots is an open-addressed hash table of offsets. It takes no more than it was
// made for.
type slots []group

func newSlots(n int) slots {
	if n == 0 {
		return nil
	}
	return make(slots, n/groupFill+1)
}

// home is the group where a hash is looked for first, and its tag.
func (s slots) home(hash uint64) (g int, tag uint8) {
	hi, _ := bits.Mul64(hash, uint64(len(s)))
	return int(hi), max(uint8(hash), 1)
}

// next is the group where a search goes on after a full one.
func (s slots) next(g int) int {
	if g++; g < len(s) {
		return g
	}
	return 0
}

// put takes a free slot for a hash that is not there yet.
func (s slots) put(hash uint64, offset uint32) {
	g, tag := s.home(hash)
	for s[g].full() {
		g = s.next(g)
	}
	for i, used := range s[g].tags {
		if used == 0 {
			s[g].tags[i], s[g].offsets[i] = tag, offset
			return
		}
	}
}

func (g *group) full() bool { return g.tags[groupSlots-1] != 0 }

// tagged says which slots have a tag, for popSlot. It may name one too many, so
// keys must be compared anyway.
func (g *group) tagged(tag uint8) uint64 {
	const ones = 0x0101010101010101
	low := binary.LittleEndian.Uint64(g.tags[:8]) ^ ones*uint64(tag)
	high := binary.LittleEndian.Uint64(g.tags[8:]) ^ ones*uint64(tag)
	low = (low - ones) & ^low & (0x80 * ones)
	high = (high - ones) & ^high & 0x80808080 // there are four
	return low>>7 | high>>6
}

// popSlot takes one slot out of what tagged returned, which must not be 0.
func popSlot(set *uint64) int {
	bit := bits.TrailingZeros64(*set)
	*set &= *set - 1
	return bit/8 + bit%8*8
}
