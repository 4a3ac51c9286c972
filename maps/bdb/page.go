package bdb

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

var le = binary.LittleEndian

// Offsets in a page. The index, numbers of two bytes that say where each item begins,
// follows the header.
const (
	offNumber  = 8
	offPrev    = 12
	offNext    = 16
	offEntries = 20 // items on the page
	offFree    = 22 // where the lowest item begins; on an overflow page, its length
	offLevel   = 24
	offType    = 25

	headerSize         = 26
	offPageChecksum    = 28
	headerSizeChecksum = 32
)

func pageErrorf(page uint32, format string, args ...any) error {
	return fmt.Errorf("page %d: %s", page, fmt.Sprintf(format, args...))
}

func (d *DB) u16(b []byte) int {
	v := le.Uint16(b)
	if d.bigEndian {
		v = bits.ReverseBytes16(v)
	}
	return int(v)
}

func (d *DB) u32(b []byte) uint32 {
	v := le.Uint32(b)
	if d.bigEndian {
		v = bits.ReverseBytes32(v)
	}
	return v
}

// verify checks the checksum at offset at of a page: Berkeley DB's hash of the page
// with the checksum taken as zero.
func (d *DB) verify(no uint32, page []byte, at int) error {
	var h uint32
	for i, c := range page {
		if i >= at && i < at+4 {
			c = 0
		}
		h = h*33 + uint32(c)
	}
	if h != d.u32(page[at:]) {
		return pageErrorf(no, "its checksum is wrong")
	}
	return nil
}

// A page is a page that a walk has come to.
type page struct {
	no      uint32
	data    []byte
	typ     byte
	next    uint32
	entries int
}

// A walker goes over the pages of a file once.
type walker struct {
	*DB
	seen  []uint64 // a bit for each page
	yield func(key, value []byte) error
}

// Walk calls yield for each pair of the file: a hash bucket by bucket, a btree in its
// order; the values of a key in their order, each with the same key. Keys and values
// are as stored, with the NUL that makemap ends them with, if any. The slices refer to
// the file's bytes or, where an item is spread over pages, to memory of their own; they
// stay valid.
//
// What was yielded is the whole content only if Walk returns nil. An error of yield
// ends the walk and is returned as it is.
func (d *DB) Walk(yield func(key, value []byte) error) error {
	w := &walker{DB: d, seen: make([]uint64, len(d.data)/d.pageSize/64+1), yield: yield}
	var err error
	if d.kind == Hash {
		err = w.hash()
	} else {
		err = w.leaves(0, d.root, w.btreeLeaf, pageBtreeInner, pageBtreeLeaf)
	}
	if err != nil {
		return err
	}
	return w.unseen()
}

// visit goes to page no, to which page from refers.
func (w *walker) visit(from, no uint32) (page, error) {
	if no == 0 || no >= w.pages {
		return page{}, pageErrorf(from, "refers to page %d, and there are 1 to %d", no, w.pages-1)
	}
	if w.seen[no/64]&(1<<(no%64)) != 0 {
		return page{}, pageErrorf(from, "refers to page %d, which is in use already", no)
	}
	w.seen[no/64] |= 1 << (no % 64)
	start := int(no) * w.pageSize
	data := w.data[start : start+w.pageSize : start+w.pageSize]
	p := page{no: no, data: data, typ: data[offType], next: w.u32(data[offNext:]), entries: w.u16(data[offEntries:])}
	number := w.u32(data[offNumber:])
	if number == 0 && p.typ == pageInvalid && p.entries == 0 && p.next == 0 {
		return p, nil // never written
	}
	if number != no {
		return page{}, pageErrorf(no, "says that it is page %d", number)
	}
	if w.checksums {
		if err := w.verify(no, data, offPageChecksum); err != nil {
			return page{}, err
		}
	}
	if p.typ != pageOverflow && w.header+2*p.entries > w.pageSize {
		return page{}, pageErrorf(no, "%d items do not fit", p.entries)
	}
	return p, nil
}

// offset is where item i of a page begins.
func (w *walker) offset(p page, i int) int { return w.u16(p.data[w.header+2*i:]) }

// unseen looks for pages with records that the walk did not come to.
func (w *walker) unseen() error {
	for no := 1; no < len(w.data)/w.pageSize; no++ {
		if w.seen[no/64]&(1<<(no%64)) != 0 {
			continue
		}
		head := w.data[no*w.pageSize:][:headerSize]
		switch head[offType] {
		case pageHash, pageHashUnsorted, pageBtreeLeaf, pageDupLeaf, pageRecnoLeaf:
			if w.u16(head[offEntries:]) != 0 {
				return pageErrorf(uint32(no), "has records, but no page refers to it")
			}
		}
	}
	return nil
}

// overflow reads an item of the given length that begins at page first and that page
// from refers to.
func (w *walker) overflow(from, first, length uint32) ([]byte, error) {
	room := uint32(w.pageSize - w.header)
	if uint64(length) > uint64(room)*uint64(w.pages) {
		return nil, pageErrorf(from, "an item of %d bytes is longer than the file", length)
	}
	var item []byte
	for no := first; ; {
		p, err := w.visit(from, no)
		if err != nil {
			return nil, err
		}
		n := uint32(w.u16(p.data[offFree:]))
		if p.typ != pageOverflow || n > room {
			return nil, pageErrorf(p.no, "is no overflow page, as page %d has it", from)
		}
		part := p.data[w.header:][:n:n]
		if p.no == first && p.next == 0 {
			item = part
		} else {
			if item == nil {
				item = make([]byte, 0, length)
			}
			if len(item)+len(part) > int(length) {
				return nil, pageErrorf(p.no, "the item of %d bytes goes on beyond its end", length)
			}
			item = append(item, part...)
		}
		if p.next == 0 {
			break
		}
		from, no = p.no, p.next
	}
	if len(item) != int(length) {
		return nil, pageErrorf(first, "an item has %d bytes, not %d", len(item), length)
	}
	return item, nil
}
