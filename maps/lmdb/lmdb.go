// Package lmdb reads LMDB databases, the .lmdb files that Postfix's postmap writes:
// one file, with all entries in its unnamed main database. It reads the format of LMDB
// 0.9 (data version 1) as a 64-bit little-endian machine writes it, with any page size.
//
// The format is described by the comments of LMDB's mdb.c. A file is a sequence of
// pages. Pages 0 and 1 are meta pages, each of which describes a state of the database;
// the one with the higher transaction number counts. It says where the root of a B+tree
// is, whose leaf pages have the entries, in the order of their keys; a value that is too
// long for a leaf is on overflow pages of its own.
//
// LMDB has no checksums. The meta page says how many entries and pages of each kind
// there are, though, each page its number, and keys are in order, so that a file that was
// cut, filled with zeros or mixed from two states is noticed.
package lmdb

import (
	"encoding/binary"
	"fmt"
)

// On disk the parts of a page are where C has them on a 64-bit machine.
const (
	pageHead    = 16 // page number (8 bytes), unused (2), kind (2), where free room begins (2) and ends (2)
	nodeHead    = 8  // length of the value, or page number of a branch (6 bytes), flags of a leaf (2), length of the key (2)
	pointerSize = 2  // offset of a node; these follow the head of a page
	minPageSize = 512
	maxPageSize = 1 << 15
	maxDepth    = 32
)

// The kinds of pages.
const (
	kindBranch   = 0x01
	kindLeaf     = 0x02
	kindOverflow = 0x04
	kindMeta     = 0x08
)

// The flags of an entry on a leaf.
const (
	nodeOverflow = 0x01 // the value is the number of its first overflow page
	nodeDatabase = 0x02 // the value describes another database
	nodeSeveral  = 0x04 // the value is a set of values
)

var little = binary.LittleEndian

// damage is an error of the file's content.
func damage(page uint64, format string, args ...any) error {
	return fmt.Errorf(format+", at page %d", append(args, page)...)
}

func kindName(kind uint16) string {
	switch kind {
	case kindBranch:
		return "branch"
	case kindLeaf:
		return "leaf"
	case kindOverflow:
		return "overflow"
	}
	return "meta"
}
