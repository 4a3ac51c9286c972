// Package bdb reads and writes Berkeley DB files, hash and btree, without libdb: the
// databases that makemap(8), postmap(1) and saslpasswd2(8) make.
//
// A file is read whole into memory by the caller, who holds the lock that its writer
// takes (makemap and postmap rewrite a file in place under flock(2)), and is walked
// once. Nothing in it is trusted: a walk visits no page twice and ends with an error
// where the file contradicts itself.
//
// The layout is that of Berkeley DB's dbinc/db_page.h: hash versions 7 to 10 and btree
// versions 8 to 10, which is what releases 3.1 to 18.1 write.
package bdb

import (
	"errors"
	"fmt"
	"math/bits"
)

// Kind is an access method of Berkeley DB.
type Kind uint8

const (
	// Hash is an extended linear hash, as makemap's and postmap's type "hash".
	Hash Kind = iota + 1
	// Btree is a sorted, balanced tree, as makemap's and postmap's type "btree".
	Btree
)

// String is the name that makemap and postmap know the kind by.
func (k Kind) String() string {
	switch k {
	case Hash:
		return "hash"
	case Btree:
		return "btree"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// Magic numbers, at offset 12 of the first page; Berkeley DB 1.85 had them at 0.
const (
	magicHash  = 0x061561
	magicBtree = 0x053162
	magicQueue = 0x042253
	magicHeap  = 0x074582
)

// Types of pages, at offset 25 of each.
const (
	pageInvalid      = 0
	pageHashUnsorted = 2 // hash pages of releases before 4.6
	pageBtreeInner   = 3
	pageRecnoInner   = 4
	pageBtreeLeaf    = 5
	pageRecnoLeaf    = 6
	pageOverflow     = 7
	pageHashMeta     = 8
	pageBtreeMeta    = 9
	pageDupLeaf      = 12
	pageHash         = 13
)

// Offsets in the first page. Up to headerSize, all pages begin alike; see page.go.
const (
	metaMagic     = 12
	metaVersion   = 16
	metaPageSize  = 20
	metaEncrypted = 24
	metaMetaFlags = 26
	metaLastPage  = 32
	metaParts     = 36
	metaFlags     = 48
	metaUID       = 52 // 20 bytes

	metaMaxBucket = 72
	metaHighMask  = 76
	metaLowMask   = 80
	metaKeys      = 88
	metaCharKey   = 92
	metaSpares    = 96 // 32 numbers of four bytes

	metaMinKey = 76
	metaPad    = 84
	metaRoot   = 88

	metaChecksum = 492
	metaSize     = 512
)

// Flags of the first page.
const (
	metaFlagChecksum = 0x01

	hashFlagDup     = 0x01
	hashFlagSubdb   = 0x02
	hashFlagDupSort = 0x04

	btreeFlagDup      = 0x01
	btreeFlagRecno    = 0x02
	btreeFlagRecNum   = 0x04
	btreeFlagSubdb    = 0x20
	btreeFlagDupSort  = 0x40
	btreeFlagCompress = 0x80
)

const (
	minPageSize = 512
	maxPageSize = 64 << 10
	maxPages    = 1 << 31
)

// DB is a database file whose first page has been understood. It is safe for
// concurrent use as long as the bytes it was made from stay as they are.
type DB struct {
	data      []byte
	kind      Kind
	bigEndian bool
	pageSize  int
	header    int    // bytes of a page before its index
	checksums bool   // each page has a checksum
	pages     uint32 // pages that other pages may refer to

	maxBucket uint32     // hash
	spares    [32]uint32 // hash
	root      uint32     // btree
}

// Parse reads the first page of data, which is a whole database file. The DB and what
// Walk hands out refer to data, which must not change afterwards.
//
// It refuses what is no plain hash or btree file of one database: subdatabases,
// partitions, encryption, compression, the other access methods. Its errors, and
// Walk's, do not name the file.
func Parse(data []byte) (*DB, error) {
	if len(data) == 0 {
		return nil, errors.New("not a Berkeley DB file: it is empty")
	}
	if len(data) < metaSize {
		return nil, errors.New("truncated at page 0")
	}
	d := &DB{data: data}
	if err := d.magic(); err != nil {
		return nil, err
	}
	version := d.u32(data[metaVersion:])
	if err := d.geometry(version); err != nil {
		return nil, err
	}
	if err := d.features(); err != nil {
		return nil, err
	}
	d.header = headerSize
	if d.checksums {
		d.header = headerSizeChecksum
		if err := d.verify(0, data[:metaSize], metaChecksum); err != nil {
			return nil, err
		}
	}
	if d.kind == Btree {
		d.root = d.u32(data[metaRoot:])
		return d, nil
	}
	d.maxBucket = d.u32(data[metaMaxBucket:])
	if d.maxBucket >= d.pages {
		return nil, pageErrorf(0, "there cannot be a bucket %d in %d pages", d.maxBucket, d.pages)
	}
	for i := range d.spares {
		d.spares[i] = d.u32(data[metaSpares+4*i:])
	}
	return d, nil
}

// Kind is the access method of the file.
func (d *DB) Kind() Kind { return d.kind }

// magic finds out the access method and the byte order.
func (d *DB) magic() error {
	little := le.Uint32(d.data[metaMagic:])
	for _, big := range []bool{false, true} {
		d.bigEndian = big
		switch d.u32(d.data[metaMagic:]) {
		case magicHash:
			d.kind = Hash
			return nil
		case magicBtree:
			d.kind = Btree
			return nil
		case magicQueue:
			return errors.New("a Berkeley DB queue; only hash and btree can be read")
		case magicHeap:
			return errors.New("a Berkeley DB heap; only hash and btree can be read")
		}
		if m := d.u32(d.data); m == magicHash || m == magicBtree {
			return errors.New("a file of Berkeley DB 1.85, which cannot be read; make it anew with Berkeley DB 3.1 or later")
		}
	}
	return fmt.Errorf("not a Berkeley DB file (magic 0x%06x)", little)
}

// geometry reads the version, the page size and the number of pages.
func (d *DB) geometry(version uint32) error {
	oldest, newest := uint32(7), uint32(10)
	if d.kind == Btree {
		oldest = 8
	}
	if version < oldest || version > newest {
		return fmt.Errorf("%v version %d of Berkeley DB cannot be read, only %d to %d", d.kind, version, oldest, newest)
	}
	size := d.u32(d.data[metaPageSize:])
	if size < minPageSize || size > maxPageSize || bits.OnesCount32(size) != 1 {
		return pageErrorf(0, "%d is no page size", size)
	}
	d.pageSize = int(size)
	pages := len(d.data) / d.pageSize
	if pages > maxPages {
		return fmt.Errorf("the file has more than %d pages", maxPages)
	}
	d.pages = uint32(pages)
	if version > oldest { // before, the place of the last page's number had another use
		last := d.u32(d.data[metaLastPage:])
		if last >= d.pages {
			return fmt.Errorf("truncated at page %d", pages)
		}
		d.pages = last + 1
		if d.u32(d.data[metaParts:]) != 0 {
			return errors.New("a partitioned Berkeley DB database, which cannot be read")
		}
	}
	if len(d.data)%d.pageSize != 0 {
		return fmt.Errorf("truncated at page %d", pages)
	}
	return nil
}

// features refuses what a walk would misread.
func (d *DB) features() error {
	wantType, known, subdb := byte(pageHashMeta), uint32(hashFlagDup|hashFlagDupSort), uint32(hashFlagSubdb)
	if d.kind == Btree {
		wantType, known, subdb = pageBtreeMeta, btreeFlagDup|btreeFlagDupSort|btreeFlagRecNum, btreeFlagSubdb
	}
	if got := d.data[offType]; got != wantType {
		return pageErrorf(0, "is of type %d, expected %d", got, wantType)
	}
	if d.data[metaEncrypted] != 0 {
		return errors.New("an encrypted Berkeley DB file, which cannot be read")
	}
	metaFlags := d.data[metaMetaFlags]
	d.checksums = metaFlags&metaFlagChecksum != 0
	if metaFlags&^metaFlagChecksum != 0 {
		return errors.New("a partitioned or sliced Berkeley DB database, which cannot be read")
	}
	return d.flags(known, subdb)
}

func (d *DB) flags(known, subdb uint32) error {
	flags := d.u32(d.data[metaFlags:])
	switch {
	case flags&subdb != 0:
		return errors.New("a Berkeley DB file of several databases (subdatabases), which cannot be read")
	case d.kind == Btree && flags&btreeFlagRecno != 0:
		return errors.New("a Berkeley DB recno database; only hash and btree can be read")
	case d.kind == Btree && flags&btreeFlagCompress != 0:
		return errors.New("a compressed Berkeley DB btree, which cannot be read")
	case flags&^known != 0:
		return fmt.Errorf("a Berkeley DB %v file with flags 0x%x, which cannot be read", d.kind, flags)
	}
	return nil
}
