// Package cdb reads and writes constant databases, the .cdb files of tinycdb, of
// Postfix's postmap and of sendmail's makemap. The format is D. J. Bernstein's
// (https://cr.yp.to/cdb/cdb.txt): a header of 256 pairs of numbers that say where
// the hash tables are, the records, and the hash tables. All numbers are unsigned,
// of 32 bits, and little-endian.
//
// A constant database has no checksum, but each of its records is in a hash table,
// so that a file that was cut, filled with zeros or mixed from two is noticed.
package cdb

import (
	"encoding/binary"
	"fmt"
	"math"
)

const (
	tables     = 256
	headerSize = 8 * tables
	recordHead = 8 // the lengths of key and value
	slotSize   = 8 // hash of the key, position of the record
	maxSize    = math.MaxUint32
)

// A Record is an entry of the database. A key may have several; a lookup finds the first.
type Record struct{ Key, Value []byte }

// hashStart and the step of hashKey are the hash function of cdb.txt.
const hashStart = 5381

func hashKey(key []byte) uint32 {
	h := uint32(hashStart)
	for _, c := range key {
		h = (h<<5 + h) ^ uint32(c)
	}
	return h
}

// tableOf is the number of the hash table that has keys of a hash.
func tableOf(hash uint32) int { return int(hash % tables) }

// homeOf is the slot that a search for a hash begins with. There must be slots.
func homeOf(hash, slots uint32) uint32 { return hash / tables % slots }

func number(data []byte, at int) uint32 { return binary.LittleEndian.Uint32(data[at:]) }

// damage is an error of the file's content.
func damage(at int, format string, args ...any) error {
	return fmt.Errorf(format+", at byte %d", append(args, at)...)
}
