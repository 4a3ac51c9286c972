package cdb

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
)

// Walk gives all records of a database to yield, in the order in which they were
// written, keys and values as they are stored: with the NUL at the end if the
// writer put one there. data is the whole file. Key and value are parts of data and
// must not be changed.
//
// A file that is damaged is refused: the error says what is wrong and at which byte.
// That may come to light after the last record, so what yield was given counts only
// when Walk has returned nil. An error of yield ends the walk and is returned as it is.
func Walk(data []byte, yield func(key, value []byte) error) error {
	l, err := readLayout(data)
	if err != nil {
		return err
	}
	seen := newCensus()
	if err := walkRecords(data[:l.recordsEnd], seen, yield); err != nil {
		return err
	}
	return checkTables(data, l, seen)
}

// layout says where the parts of a file are.
type layout struct {
	recordsEnd int
	tables     [tables]hashTable
}

type hashTable struct {
	at    int // offset of its first slot
	slots uint32
}

// readLayout reads the header. The hash tables must follow the records, and each
// other, in the order of their numbers, up to the end of the file.
func readLayout(data []byte) (*layout, error) {
	if len(data) < headerSize {
		return nil, damage(len(data), "the file ends within the header, which has %d bytes", headerSize)
	}
	if int64(len(data)) > maxSize {
		return nil, fmt.Errorf("the file has %d bytes, a constant database at most 4 GiB - 1", len(data))
	}
	l := &layout{recordsEnd: -1}
	next := uint64(0)
	for i := range l.tables {
		at, slots := number(data, 8*i), number(data, 8*i+4)
		l.tables[i] = hashTable{int(at), slots}
		if slots == 0 {
			continue
		}
		switch {
		case l.recordsEnd >= 0 && uint64(at) != next:
			return nil, damage(8*i, "hash table %d begins at byte %d, where %d was expected", i, at, next)
		case at < headerSize:
			return nil, damage(8*i, "hash table %d begins at byte %d, within the header", i, at)
		case l.recordsEnd < 0:
			l.recordsEnd = int(at)
		}
		next = uint64(at) + slotSize*uint64(slots)
		if next > uint64(len(data)) {
			return nil, damage(8*i, "hash table %d ends at byte %d, but the file has only %d bytes", i, next, len(data))
		}
	}
	if l.recordsEnd < 0 {
		return emptyLayout(data, l)
	}
	if next != uint64(len(data)) {
		return nil, damage(int(next), "%d bytes follow the last hash table", uint64(len(data))-next)
	}
	return l, nil
}

// emptyLayout is that of a file without records. Its tables have positions all the
// same, which sets it apart from a file of zeros.
func emptyLayout(data []byte, l *layout) (*layout, error) {
	for i, t := range l.tables {
		if t.at != headerSize {
			return nil, damage(8*i, "the empty hash table %d is at byte %d, in a database without records %d was expected", i, t.at, headerSize)
		}
	}
	if len(data) > headerSize {
		return nil, damage(headerSize, "%d bytes follow the header, but there is no hash table", len(data)-headerSize)
	}
	l.recordsEnd = headerSize
	return l, nil
}

// walkRecords walks over the records, which end where data ends.
func walkRecords(data []byte, seen *census, yield func(key, value []byte) error) error {
	for at := headerSize; at < len(data); {
		if len(data)-at < recordHead {
			return damage(at, "%d bytes between the last record and the hash tables", len(data)-at)
		}
		keyLen, valueLen := number(data, at), number(data, at+4)
		start := at + recordHead
		if uint64(keyLen)+uint64(valueLen) > uint64(len(data)-start) {
			return damage(at, "a key of %d and a value of %d bytes, but only %d are left for records", keyLen, valueLen, len(data)-start)
		}
		middle := start + int(keyLen)
		end := middle + int(valueLen)
		key := data[start:middle:middle]
		seen.add(hashKey(key), uint32(at))
		if err := yield(key, data[middle:end:end]); err != nil {
			return err
		}
		at = end
	}
	return nil
}

// checkTables checks that each record is in the hash table where a lookup seeks it,
// and nothing else is there.
func checkTables(data []byte, l *layout, seen *census) error {
	for i, t := range l.tables {
		var found tally
		if t.slots > 0 { // else its position means nothing
			var err error
			if found, err = checkTable(data, i, t, seen); err != nil {
				return err
			}
		}
		if want := seen.tables[i]; found != want {
			return damage(8*i, "hash table %d has %d entries, which are not the %d records that belong there", i, found.records, want.records)
		}
	}
	return nil
}

// checkTable counts the entries of a table. A lookup seeks an entry from its home
// slot on, up to the first free slot, and from the last slot goes on to the first:
// so all slots between an entry and its home must be taken.
func checkTable(data []byte, number int, t hashTable, seen *census) (tally, error) {
	var found tally
	slots := data[t.at : t.at+slotSize*int(t.slots)]
	run := takenAtEnd(slots) // how many slots before this one are taken
	for i := uint32(0); i < t.slots; i++ {
		hash, pos := slot(slots, i)
		if pos == 0 {
			run = 0
			continue
		}
		away := i - homeOf(hash, t.slots)
		if int32(away) < 0 {
			away += t.slots
		}
		if tableOf(hash) != number || away > run {
			return found, damage(t.at+slotSize*int(i), "an entry of hash table %d stands where no lookup finds it", number)
		}
		found.add(seen, hash, pos)
		run++
	}
	return found, nil
}

// takenAtEnd is how many slots at the end of a table are taken.
func takenAtEnd(slots []byte) uint32 {
	n := uint32(len(slots) / slotSize)
	for i := n; i > 0; i-- {
		if _, pos := slot(slots, i-1); pos == 0 {
			return n - i
		}
	}
	return n
}

func slot(slots []byte, i uint32) (hash, pos uint32) {
	at := slotSize * int(i)
	return number(slots, at), number(slots, at+4)
}

// A census counts, for each hash table, the records that belong there, and adds up a
// number made of each one's hash and position. The same sum over the entries of the
// table then tells that they are the same records, whatever their order, without a
// look at each. The numbers depend on a random seed, so that nobody can make a file whose
// sums agree by design.
type census struct {
	seed   [2]uint64
	tables [tables]tally
}

type tally struct {
	records uint32
	sum     uint64
}

func newCensus() *census {
	return &census{seed: [2]uint64{rand.Uint64(), rand.Uint64() | 1}}
}

func (c *census) add(hash, pos uint32) { c.tables[tableOf(hash)].add(c, hash, pos) }

func (t *tally) add(c *census, hash, pos uint32) {
	high, low := bits.Mul64((uint64(pos)<<32|uint64(hash))^c.seed[0], c.seed[1])
	high, low = bits.Mul64(high^low^c.seed[0], c.seed[1])
	t.records++
	t.sum += high ^ low
}
