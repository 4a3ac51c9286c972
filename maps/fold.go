package maps

import (
	"math/bits"
	"strings"
)

// Odd constants with well mixed bits, as wyhash has them.
const (
	mixA = 0xa0761d6478bd642f
	mixB = 0xe7037ed1a0b428db
)

// foldHash hashes s without regard to ASCII case, eight bytes at a time: a
// table of a million lines is hashed at every load, and a key at every question.
// It takes some signs for one another too, as fold8 would not.
func foldHash(seed uint64, s string) uint64 {
	const small = 0x2020202020202020
	h := mix(seed^uint64(len(s)), mixB)
	if len(s) < 8 {
		return mix(h^(load7(s)|small), mixB)
	}
	last := load8(s[len(s)-8:]) | small
	for ; len(s) > 8; s = s[8:] {
		h = mix(h^(load8(s)|small), mixA)
	}
	return mix(h^last, mixB)
}

// foldEqual compares without regard to ASCII case. (strings.EqualFold folds
// Unicode too, which makemap does not.)
func foldEqual(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	if len(a) < 8 {
		return foldSame(load7(a), load7(b))
	}
	if !foldSame(load8(a[len(a)-8:]), load8(b[len(b)-8:])) {
		return false
	}
	for ; len(a) > 8; a, b = a[8:], b[8:] {
		if !foldSame(load8(a), load8(b)) {
			return false
		}
	}
	return true
}

// foldSame is foldEqual for eight bytes, which are usually the same as they are.
func foldSame(a, b uint64) bool { return a == b || fold8(a) == fold8(b) }

// foldLower writes the ASCII letters of s small. It allocates only when there is
// something to change.
func foldLower(s string) string {
	if !hasUpper(s) {
		return s
	}
	b := []byte(s)
	for i, c := range b {
		b[i] = foldByte(c)
	}
	return string(b)
}

// A lowerer is foldLower for many strings, with an allocation for some hundred of them.
type lowerer struct{ b strings.Builder }

func (l *lowerer) lower(s string) string {
	if !hasUpper(s) {
		return s
	}
	if l.b.Cap()-l.b.Len() < len(s) {
		l.b = strings.Builder{}
		l.b.Grow(max(1<<13, len(s)))
	}
	from := l.b.Len()
	for i := range len(s) {
		l.b.WriteByte(foldByte(s[i]))
	}
	return l.b.String()[from:]
}

func hasUpper(s string) bool {
	for ; len(s) >= 8; s = s[8:] {
		if w := load8(s); w != fold8(w) {
			return true
		}
	}
	w := load7(s)
	return w != fold8(w)
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

// load7 reads up to seven bytes.
func load7(s string) (w uint64) {
	for i := range len(s) {
		w |= uint64(s[i]) << (8 * i)
	}
	return w
}

// below8 has the top bit of each byte of w that is less than bound, at most 0x80.
func below8(w uint64, bound byte) uint64 {
	const ones = 0x0101010101010101
	// With its top bit set no byte borrows from the next one.
	return ^(w | 0x80*ones - uint64(bound)*ones) & ^w & (0x80 * ones)
}

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
