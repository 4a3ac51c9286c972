package maps

import "math/bits"

const (
	// groupSlots is how many slots are searched at once.
	groupSlots = 16
	// groupFill is how many of them are taken on average. Fuller, and more searches
	// have to go on to the next group.
	groupFill = 13
)

// slots is an open-addressed hash table of offsets, in groups whose slots are
// taken from the first on. It takes no more offsets than it was made for.
//
// A slot's tag is some more bits of the key's hash, or 0 when it is free. Tags
// spare most looks at the keys, each of which costs a wait for memory when the
// table is large. They lie apart from the offsets, to stay in the cache.
type slots struct {
	tags    [][2]uint64 // of each group, eight in a word
	offsets [][groupSlots]uint32
}

func newSlots(n int) slots {
	if n == 0 {
		return slots{}
	}
	groups := n/groupFill + 1
	return slots{tags: make([][2]uint64, groups), offsets: make([][groupSlots]uint32, groups)}
}

// home is the group where a hash is looked for first, and its tag.
func (s *slots) home(hash uint64) (group int, tag uint8) {
	hi, _ := bits.Mul64(hash, uint64(len(s.tags)))
	return int(hi), max(uint8(hash), 1)
}

// next is the group where a search goes on after a full one.
func (s *slots) next(group int) int {
	if group++; group < len(s.tags) {
		return group
	}
	return 0
}

func (s *slots) full(group int) bool { return s.tags[group][1]>>56 != 0 }

// put takes the first free slot of a group that is not full.
func (s *slots) put(group int, tag uint8, offset uint32) {
	i := bits.Len64(s.tags[group][0]) + 7
	if i /= 8; i == 8 {
		i += (bits.Len64(s.tags[group][1]) + 7) / 8
	}
	s.tags[group][i/8] |= uint64(tag) << (i % 8 * 8)
	s.offsets[group][i] = offset
}

// A slotSet is some slots of a group: bit 8n is slot n, and bit 8n+1 slot 8+n.
type slotSet uint64

// tagged is the slots that have a tag. It may have some others behind the first of
// them, so keys must be compared anyway.
func (s *slots) tagged(group int, tag uint8) slotSet {
	const ones = 0x0101010101010101
	low := s.tags[group][0] ^ ones*uint64(tag)
	high := s.tags[group][1] ^ ones*uint64(tag)
	low = (low - ones) & ^low & (0x80 * ones)
	high = (high - ones) & ^high & (0x80 * ones)
	return slotSet(low>>7 | high>>6)
}

// first is the number of a slot in a set that is not empty.
func (s slotSet) first() int {
	bit := bits.TrailingZeros64(uint64(s))
	return bit/8 + bit%8*8
}

// rest is the set without first.
func (s slotSet) rest() slotSet { return s & (s - 1) }
