package bdb

import "math/bits"

// Types of items on hash pages, their first byte.
const (
	hashInline    = 1
	hashDuplicate = 2 // several values: length, value, length; ...
	hashOverflow  = 3 // three bytes unused, the first page, the length
	hashOffDup    = 4 // three bytes unused, the root of a tree of values

	hashOverflowSize = 12
	hashOffDupSize   = 8
)

func (w *walker) hash() error {
	for bucket := uint32(0); bucket <= w.maxBucket; bucket++ {
		from, no := uint32(0), bucketPage(bucket, &w.spares)
		for {
			p, err := w.visit(from, no)
			if err != nil {
				return err
			}
			switch {
			case p.typ == pageHash || p.typ == pageHashUnsorted:
			case p.typ == pageInvalid && w.u32(p.data[offNumber:]) == 0: // an empty bucket
			default:
				return pageErrorf(p.no, "is of type %d, expected a page of hash bucket %d", p.typ, bucket)
			}
			if err := w.hashPage(p); err != nil {
				return err
			}
			if p.next == 0 {
				break
			}
			from, no = p.no, p.next
		}
	}
	return nil
}

// bucketPage is the first page of a bucket. The buckets of each doubling of the table
// stand side by side.
func bucketPage(bucket uint32, spares *[32]uint32) uint32 {
	return bucket + spares[bits.Len32(bucket)]
}

// hashPage yields the pairs of a page. Items lie from the end of the page downwards,
// without gaps: an item ends where the one before it begins.
func (w *walker) hashPage(p page) error {
	if p.entries%2 != 0 {
		return pageErrorf(p.no, "has a key without a value")
	}
	lowest, end := w.header+2*p.entries, w.pageSize
	for i := 0; i < p.entries; i += 2 {
		k, v := w.offset(p, i), w.offset(p, i+1)
		if k >= end || v >= k || v < lowest {
			return pageErrorf(p.no, "item offsets %d, %d are not between %d and %d", k, v, lowest, end)
		}
		key, err := w.hashItem(p, p.data[k:end:end])
		if err != nil {
			return err
		}
		if err := w.hashValues(p, key, p.data[v:k:k]); err != nil {
			return err
		}
		end = v
	}
	return nil
}

// hashItem is the content of a key, or of a value that stands alone.
func (w *walker) hashItem(p page, item []byte) ([]byte, error) {
	switch {
	case item[0] == hashInline:
		return item[1:], nil
	case item[0] == hashOverflow && len(item) == hashOverflowSize:
		return w.overflow(p.no, w.u32(item[4:]), w.u32(item[8:]))
	}
	return nil, pageErrorf(p.no, "an item of type %d with %d bytes cannot be read", item[0], len(item))
}

func (w *walker) hashValues(p page, key, item []byte) error {
	switch {
	case item[0] == hashDuplicate:
		return w.hashDuplicates(p, key, item[1:])
	case item[0] == hashOffDup && len(item) == hashOffDupSize:
		return w.duplicates(p.no, w.u32(item[4:]), key)
	}
	value, err := w.hashItem(p, item)
	if err != nil {
		return err
	}
	return w.yield(key, value)
}

// hashDuplicates yields the values of a key that has several.
func (w *walker) hashDuplicates(p page, key, set []byte) error {
	for len(set) > 0 {
		if len(set) < 4 {
			return pageErrorf(p.no, "a set of duplicates is cut short")
		}
		n := w.u16(set)
		if len(set) < n+4 || w.u16(set[2+n:]) != n {
			return pageErrorf(p.no, "a duplicate of %d bytes is cut short", n)
		}
		if err := w.yield(key, set[2:2+n:2+n]); err != nil {
			return err
		}
		set = set[n+4:]
	}
	return nil
}
