package maps

import (
	"math/bits"
	"unsafe"
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
	tags    [2]uint64 // eight in the first word, four in the low half of the second
	offsets [groupSlots]uint32
}

// slots is an open-addressed hash table of offsets. It takes no more of them than
// it was made for.
type slots []group

func newSlots(n int) slots {
	if n == 0 {
		return nil
	}
	s := make(slots, n/groupFill+1)
	inLargePages(unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), len(s)*int(unsafe.Sizeof(s[0]))))
	return s
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

// taken is how many slots of the group are taken.
func (g *group) taken() int {
	return (bits.Len64(g.tags[0])+7)/8 + (bits.Len64(g.tags[1])+7)/8
}

func (g *group) full() bool { return g.tags[1] >= 1<<24 }

// put takes a slot for a key that is not there yet.
func (s slots) put(hash uint64, offset uint32) {
	i, tag := s.home(hash)
	for s[i].full() {
		i = s.next(i)
	}
	g := &s[i]
	slot := g.taken()
	g.tags[slot/8] |= uint64(tag) << (slot % 8 * 8)
	g.offsets[slot] = offset
}

// A slotSet is some slots of a group: bit 8n is slot n, and bit 8n+1 slot 8+n.
type slotSet uint64

// tagged is the slots that have a tag. It may have some others, so keys must be
// compared anyway.
func (g *group) tagged(tag uint8) slotSet {
	const ones = 0x0101010101010101
	low := g.tags[0] ^ ones*uint64(tag)
	high := g.tags[1] ^ ones*uint64(tag)
	low = (low - ones) & ^low & (0x80 * ones)
	high = (high - ones) & ^high & 0x80808080
	return slotSet(low>>7 | high>>6)
}

// first is the number of a slot in a set that is not empty.
func (s slotSet) first() int {
	bit := bits.TrailingZeros64(uint64(s))
	return bit/8 + bit%8*8
}

// rest is the set without first.
func (s slotSet) rest() slotSet { return s & (s - 1) }
