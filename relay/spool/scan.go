package spool

import "bytes"

// gap is a part of a segment in which there is no whole record, though there should be.
type gap struct {
	from, to int64
	id       uint64 // of the message, if the header is whole; 0: unknown
	known    bool   // the header is whole
	last     bool   // nothing whole comes behind
	batch    int64  // where the batch begins of what comes behind
}

// scan calls each with every whole record in data, which is a segment from byte base
// on. It returns the offset behind the last one. After a bad record it looks for the
// next whole one: mark, segment, offset, rising number and checksums leave no doubt.
func scan(data []byte, base int64, m mark, segment uint64, each func(h *header, head, body []byte)) (end int64, gaps []gap) {
	at, next := 0, uint32(0)
	for at+headerSize <= len(data) {
		h, size := whole(data, base, at, m, segment, next)
		if size > 0 {
			each(&h, data[at+headerSize:at+headerSize+int(h.head)], data[at+headerSize+int(h.head):at+size])
			at += size
			next = h.seq + 1
			end = base + int64(at)
			continue
		}
		if rest := int(roundUp(base+int64(at))-base) - at; rest > 0 && at+rest <= len(data) && zero(data[at:at+rest]) {
			at += rest // what a batch was filled up with
			continue
		}
		g := gap{from: base + int64(at)}
		size = len(data) - at
		if h, known := parseHeader(data[at:], m, segment, g.from); known {
			g.id, g.known = h.id, true
			size = int(min(int64(size), h.size()))
		}
		found := find(data, base, at+1, m, segment, next)
		if g.last = found < 0; g.last {
			if g.known {
				g.to = g.from + int64(size)
				gaps = append(gaps, g)
			}
			return end, gaps
		}
		h, _ = parseHeader(data[found:], m, segment, base+int64(found))
		g.to, g.batch = base+int64(found), int64(h.batch)
		gaps = append(gaps, g)
		at = found
	}
	return end, gaps
}

// whole parses the record at data[at:]; size is 0 unless all of it is there and good.
func whole(data []byte, base int64, at int, m mark, segment uint64, next uint32) (h header, size int) {
	h, ok := parseHeader(data[at:], m, segment, base+int64(at))
	h.off = base + int64(at)
	if !ok || h.seq < next || h.size() > int64(len(data)-at) {
		return h, 0
	}
	if h.kind == kindEnd {
		if h.head != 0 {
			return h, 0
		}
		return h, headerSize
	}
	if h.kind != kindMessage && h.body != 0 || h.kind == kindDone && h.head%8 != 0 {
		return h, 0
	}
	head := data[at+headerSize:][:h.head]
	body := data[at+headerSize+int(h.head):][:h.body]
	if checksum(head) != h.headCRC || checksum(body) != h.bodyCRC {
		return h, 0
	}
	return h, int(h.size())
}

// find gives the index of the first whole record at or behind from; -1 if there is none.
func find(data []byte, base int64, from int, m mark, segment uint64, next uint32) int {
	for from < len(data) {
		i := bytes.Index(data[from:], m[:])
		if i < 0 {
			return -1
		}
		if _, size := whole(data, base, from+i, m, segment, next); size > 0 {
			return from + i
		}
		from += i + 1
	}
	return -1
}

func zero(p []byte) bool {
	for _, c := range p {
		if c != 0 {
			return false
		}
	}
	return true
}
