package maps

import "math/bits"

// Odd constants with well mixed bits, as wyhash has them.
const (
	mixA = 0xa0761d6478bd642f
	mixB = 0xe7037ed1a0b428db
)

// foldHash hashes s without regard to ASCII case, eight bytes at a time: a
// table of a million lines is hashed at every load, and a key at every question.
func foldHash(seed uint64, s string) uint64 {
	h := mix(seed^uint64(len(s)), mixB)
	for len(s) >= 8 {
		h = mix(h^fold8(load8(s)), mixA)
		s = s[8:]
	}
	var w uint64
	for i := range len(s) {
		w |= uint64(s[i]) << (8 * i)
	}
	return mix(h^fold8(w), mixB)
}

// foldEqual compares without regard to ASCII case. (strings.EqualFold folds
// Unicode too, which makemap does not.)
func foldEqual(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for len(a) >= 8 {
		if fold8(load8(a)) != fold8(load8(b)) {
			return false
		}
		a, b = a[8:], b[8:]
	}
	for i := range len(a) {
		if foldByte(a[i]) != foldByte(b[i]) {
			return false
		}
	}
	return true
}

// foldLower writes the ASCII letters of s small. It allocates only when there is
// something to change.
func foldLower(s string) string {
	for i := range len(s) {
		if s[i] != foldByte(s[i]) {
			b := []byte(s)
			for j := i; j < len(b); j++ {
				b[j] = foldByte(b[j])
			}
			return string(b)
		}
	}
	return s
}

func foldByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

// fold8 is foldByte for eight bytes in one word. Adding to the low seven bits
// carries into the top bit of exactly the bytes at or above a bound.
func fold8(w uint64) uint64 {
	const ones = 0x0101010101010101
	low := w & (0x7f * ones)
	fromA := low + (0x80-'A')*ones
	aboveZ := low + (0x7f-'Z')*ones
	ascii := ^w & (0x80 * ones)
	return w | (fromA^aboveZ)&ascii>>2
}

// load8 reads eight bytes; the compiler makes one load of it.
func load8(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
