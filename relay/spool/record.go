package spool

import (
	"encoding/binary"
	"hash/crc32"
)

// A record is a header, a head (envelope or state), and a body (the message). All
// numbers are little-endian.
//
//	 0  mark of this spool: 8 random bytes, so that no message can hold a record
//	 8  kind, flags, 2 bytes of 0
//	12  length of the head
//	16  length of the body
//	24  number of the segment, 0 in a file of a message's own: a segment that is
//	    used again holds records of the earlier ones behind its end
//	32  number of the record in its segment
//	36  offset at which the batch begins that it was written with
//	40  CRC32C of the head
//	44  CRC32C of the body
//	48  queue id
//	56  offset of the record
//	60  CRC32C of bytes 0 to 59
const headerSize = 64

type kind uint8

const (
	kindMessage kind = 1 + iota // head: envelope and state
	kindState                   // head: state
	kindDone                    // head: queue ids, 8 bytes each
	kindEnd                     // no head; id: number of a segment, bodyAt: where it ends
)

// Flags of a kindEnd.
const (
	flagRecovered = 1 << iota // the end was found at a start, not remembered
	flagFailed                // a write or sync behind it failed
)

const (
	maxHead = 16 << 20 // an envelope, and a state with the longest answers (see Options)
	maxBody = 1 << 40
	page    = 4096
)

type mark [8]byte

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }

// header is a record's, and where it stands.
type header struct {
	kind             kind
	flags            uint8
	head             uint32
	body             int64 // of a kindEnd: the offset at which that segment ends
	segment          uint64
	seq, batch       uint32
	headCRC, bodyCRC uint32
	id               uint64
	at               uint32
	off              int64 // where it was found; at is its low half
}

// size of the whole record.
func (h *header) size() int64 {
	if h.kind == kindEnd {
		return headerSize
	}
	return headerSize + int64(h.head) + h.body
}

func (h *header) put(p []byte, m mark) {
	copy(p, m[:])
	p[8], p[9], p[10], p[11] = byte(h.kind), h.flags, 0, 0
	le := binary.LittleEndian
	le.PutUint32(p[12:], h.head)
	le.PutUint64(p[16:], uint64(h.body))
	le.PutUint64(p[24:], h.segment)
	le.PutUint32(p[32:], h.seq)
	le.PutUint32(p[36:], h.batch)
	le.PutUint32(p[40:], h.headCRC)
	le.PutUint32(p[44:], h.bodyCRC)
	le.PutUint64(p[48:], h.id)
	le.PutUint32(p[56:], h.at)
	le.PutUint32(p[60:], checksum(p[:60]))
}

// parseHeader reports whether p begins with a header of this spool, this segment and
// this offset.
func parseHeader(p []byte, m mark, segment uint64, at int64) (header, bool) {
	if len(p) < headerSize || mark(p[:8]) != m {
		return header{}, false
	}
	le := binary.LittleEndian
	h := header{
		kind: kind(p[8]), flags: p[9],
		head: le.Uint32(p[12:]), body: int64(le.Uint64(p[16:])), segment: le.Uint64(p[24:]),
		seq: le.Uint32(p[32:]), batch: le.Uint32(p[36:]),
		headCRC: le.Uint32(p[40:]), bodyCRC: le.Uint32(p[44:]),
		id: le.Uint64(p[48:]), at: le.Uint32(p[56:]),
	}
	ok := h.segment == segment && h.at == uint32(at) &&
		h.kind >= kindMessage && h.kind <= kindEnd &&
		h.head <= maxHead && h.body >= 0 && h.body <= maxBody &&
		le.Uint32(p[60:]) == checksum(p[:60])
	return h, ok
}

func roundUp(n int64) int64 { return (n + page - 1) &^ (page - 1) }
