package bdb

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/bits"
	"slices"
)

// Record is one pair to write. Key and value are stored as they are: the NUL that
// sendmail's makemap ends both with is the caller's to add.
type Record struct{ Key, Value []byte }

// Options say how a file is written. The zero value is what makemap does.
type Options struct {
	// PageSize is the size of a page in bytes, a power of two from 512 to 65536; 0 is 4096.
	PageSize int
	// Duplicates makes a file in which a key may have several values (makemap -d).
	// They keep the order they have in the records.
	Duplicates bool
}

// Write makes a database of records, which may be in any order, and writes it to w: hash
// version 9 or btree version 9 in little-endian byte order, as Berkeley DB 4.6 to 5.3
// write and all later ones read. Records are not changed.
//
// A key that comes twice is an error unless opt.Duplicates is set.
func Write(w io.Writer, kind Kind, records []Record, opt Options) error {
	size := opt.PageSize
	if size == 0 {
		size = 4096
	}
	if size < minPageSize || size > maxPageSize || bits.OnesCount(uint(size)) != 1 {
		return fmt.Errorf("page size %d: expected a power of two from %d to %d", size, minPageSize, maxPageSize)
	}
	if uint64(len(records)) > math.MaxInt32 {
		return fmt.Errorf("%d records are too many", len(records))
	}
	b := builder{records: records, duplicates: opt.Duplicates, image: image{pageSize: size}}
	var err error
	switch kind {
	case Hash:
		err = b.hash()
	case Btree:
		err = b.btree()
	default:
		return fmt.Errorf("a file of kind %v cannot be written", kind)
	}
	if err != nil {
		return err
	}
	if pages := len(b.image.data) / size; pages > maxPages {
		return fmt.Errorf("the file would have more than %d pages", maxPages)
	}
	_, err = w.Write(b.image.data)
	return err
}

// A builder makes the image of a file.
type builder struct {
	image
	records    []Record
	duplicates bool
}

// An entry stands for a record while records are sorted.
type entry struct {
	group  uint32 // hash: twice the bucket, plus one if the key is on overflow pages
	record uint32
	prefix uint64 // the first bytes of the key
}

func (b *builder) entry(i int, group uint32) entry {
	var first [8]byte
	copy(first[:], b.records[i].Key)
	return entry{group: group, record: uint32(i), prefix: binary.BigEndian.Uint64(first[:])}
}

// sort sorts by group, then key, then order of the records.
func (b *builder) sort(entries []entry) {
	slices.SortFunc(entries, func(x, y entry) int {
		if x.group != y.group {
			return cmp.Compare(x.group, y.group)
		}
		if x.prefix != y.prefix {
			return cmp.Compare(x.prefix, y.prefix)
		}
		if c := bytes.Compare(b.records[x.record].Key, b.records[y.record].Key); c != 0 {
			return c
		}
		return cmp.Compare(x.record, y.record)
	})
}

// run is how many of the sorted entries have the key of the first.
func (b *builder) run(entries []entry) (int, error) {
	key := b.key(entries[0])
	n := 1
	for n < len(entries) && entries[n].prefix == entries[0].prefix && bytes.Equal(b.key(entries[n]), key) {
		n++
	}
	if n > 1 && !b.duplicates {
		return 0, fmt.Errorf("key %q comes twice: records %d and %d", key, entries[0].record, entries[1].record)
	}
	return n, nil
}

func (b *builder) key(e entry) []byte   { return b.records[e.record].Key }
func (b *builder) value(e entry) []byte { return b.records[e.record].Value }

// meta fills in what the first pages of both kinds have in common.
func (b *builder) meta(magic, flags uint32, typ byte) []byte {
	p := b.data[:b.pageSize]
	le.PutUint32(p[4:], 1) // the log sequence number of what is not logged
	le.PutUint32(p[metaMagic:], magic)
	le.PutUint32(p[metaVersion:], 9)
	le.PutUint32(p[metaPageSize:], uint32(b.pageSize))
	p[offType] = typ
	le.PutUint32(p[metaLastPage:], uint32(len(b.data)/b.pageSize-1))
	le.PutUint32(p[metaFlags:], flags)
	// libdb takes files with the same identifier for the same file.
	_, _ = rand.Read(p[metaUID:][:20]) // never fails
	return p
}

// An image is the pages of a file so far.
type image struct {
	pageSize int
	data     []byte
}

// add appends a page with an empty header.
func (m *image) add(typ, level byte) uint32 {
	var blank [maxPageSize]byte
	no := uint32(len(m.data) / m.pageSize)
	m.data = append(m.data, blank[:m.pageSize]...)
	p := m.page(no)
	le.PutUint32(p[4:], 1)
	le.PutUint32(p[offNumber:], no)
	le.PutUint16(p[offFree:], uint16(m.pageSize)) // 64 KiB are written as 0
	p[offLevel], p[offType] = level, typ
	return no
}

// page is valid until the next add.
func (m *image) page(no uint32) []byte { return m.data[int(no)*m.pageSize:][:m.pageSize] }

// link makes page next follow page no.
func (m *image) link(no, next uint32) {
	le.PutUint32(m.page(no)[offNext:], next)
	le.PutUint32(m.page(next)[offPrev:], no)
}

// overflow stores an item on pages of its own and returns the first.
func (m *image) overflow(item []byte) uint32 {
	var first, last uint32
	for len(item) > 0 {
		no := m.add(pageOverflow, 0)
		p := m.page(no)
		n := copy(p[headerSize:], item)
		le.PutUint16(p[offEntries:], 1) // references
		le.PutUint16(p[offFree:], uint16(n))
		if first == 0 {
			first = no
		} else {
			m.link(last, no)
		}
		item, last = item[n:], no
	}
	return first
}

// A filler puts items on a page.
type filler struct {
	*image
	no      uint32
	entries int
	free    int // where the lowest item begins
}

func newFiller(m *image, no uint32) filler { return filler{image: m, no: no, free: m.pageSize} }

// room is the space left for items and their places in the index, two bytes each.
func (f *filler) room() int { return f.free - headerSize - 2*f.entries }

// put makes an item of size bytes, zeros for the caller to fill in until the next add.
func (f *filler) put(size int) []byte {
	f.free -= size
	f.index(f.free)
	p := f.page(f.no)
	le.PutUint16(p[offFree:], uint16(f.free))
	return p[f.free:][:size]
}

// index appends to the index an item that begins at offset.
func (f *filler) index(offset int) {
	p := f.page(f.no)
	le.PutUint16(p[headerSize+2*f.entries:], uint16(offset))
	f.entries++
	le.PutUint16(p[offEntries:], uint16(f.entries))
}
