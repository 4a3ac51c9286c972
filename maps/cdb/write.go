package cdb

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// Write writes a database with these records, in their order, which lookups of keys
// that stand there twice depend on. The bytes are those that tinycdb writes. Nothing is
// written if the database would exceed 4 GiB - 1, the most that the format can have.
// w should be a new file that takes the old one's place when Write has returned nil.
func Write(w io.Writer, records []Record) error {
	p, err := newPlan(records)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(w, 1<<16)
	if err := writeHeader(buffered, p); err != nil {
		return err
	}
	if err := writeRecords(buffered, records); err != nil {
		return err
	}
	if err := writeTables(buffered, p); err != nil {
		return err
	}
	return buffered.Flush()
}

// plan says what will stand where.
type plan struct {
	entries    []entry // in the order of tables, within a table in that of the records
	counts     [tables]uint32
	recordsEnd uint32
}

// entry is what a hash table knows of a record.
type entry struct{ hash, pos uint32 }

func newPlan(records []Record) (*plan, error) {
	end := uint64(headerSize)
	for _, r := range records {
		end += recordHead + uint64(len(r.Key)) + uint64(len(r.Value))
	}
	// A table has two slots for each record: searches are short, and end at a free one.
	if size := end + 2*slotSize*uint64(len(records)); size > maxSize {
		return nil, fmt.Errorf("the records make a file of %d bytes, a constant database has at most 4 GiB - 1", size)
	}
	p := &plan{entries: make([]entry, len(records)), recordsEnd: uint32(end)}
	hashes := make([]uint32, len(records))
	for i, r := range records {
		hashes[i] = hashKey(r.Key)
		p.counts[tableOf(hashes[i])]++
	}
	var next [tables]uint32
	for i := 1; i < tables; i++ {
		next[i] = next[i-1] + p.counts[i-1]
	}
	pos := uint32(headerSize)
	for i, r := range records {
		table := tableOf(hashes[i])
		p.entries[next[table]] = entry{hashes[i], pos}
		next[table]++
		pos += recordHead + uint32(len(r.Key)) + uint32(len(r.Value))
	}
	return p, nil
}

func writeHeader(w io.Writer, p *plan) error {
	header := make([]byte, 0, headerSize)
	at := p.recordsEnd
	for _, n := range p.counts {
		header = appendPair(header, at, 2*n)
		at += 2 * slotSize * n
	}
	_, err := w.Write(header)
	return err
}

func writeRecords(w *bufio.Writer, records []Record) error {
	for _, r := range records {
		head := appendPair(w.AvailableBuffer(), uint32(len(r.Key)), uint32(len(r.Value)))
		for _, part := range [...][]byte{head, r.Key, r.Value} {
			if _, err := w.Write(part); err != nil {
				return err
			}
		}
	}
	return nil
}

func writeTables(w *bufio.Writer, p *plan) error {
	rest := p.entries
	var slots []entry
	for _, n := range p.counts {
		if need := 2 * int(n); cap(slots) < need {
			slots = make([]entry, need)
		} else {
			slots = slots[:need]
			clear(slots)
		}
		fill(slots, rest[:n])
		rest = rest[n:]
		for _, s := range slots {
			if _, err := w.Write(appendPair(w.AvailableBuffer(), s.hash, s.pos)); err != nil {
				return err
			}
		}
	}
	return nil
}

// fill puts entries into the slots of a hash table, each into the first free one from
// its home on.
func fill(slots, entries []entry) {
	for _, e := range entries {
		i := homeOf(e.hash, uint32(len(slots)))
		for slots[i].pos != 0 {
			if i++; i == uint32(len(slots)) {
				i = 0
			}
		}
		slots[i] = e
	}
}

func appendPair(b []byte, x, y uint32) []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(b, x), y)
}
