package maps

import (
	"bytes"
	"errors"
	"fmt"
	"unsafe"

	"gatepost/maps/bdb"
	"gatepost/maps/cdb"
	"gatepost/maps/lmdb"
)

// maxGrowth bounds the entries of a file by its size: in one that is damaged, or
// made to do harm, millions of entries may share one long key.
const maxGrowth = 4

var errTooMuch = errors.New("its entries have many times the size of the file")

// parseDatabase makes a snapshot of a database file of any kind. The NUL byte that
// makemap -N and postmap end keys and values with is not part of them. A key with
// upper case is left out with a problem: sendmail and Postfix look keys up in lower
// case, so that they never find it.
func parseDatabase(kind Kind, file, data string, how making) (*Text, error) {
	upper := fault{kind: upperCase}
	left := maxGrowth*len(data) + 1<<20
	walk := func(yield func(key, value []byte) error) error {
		err := walkDatabase(kind, asBytes(data), func(key, value []byte) error {
			key, hasNUL := bytes.CutSuffix(key, []byte{0})
			if hasNUL {
				value = bytes.TrimSuffix(value, []byte{0})
			}
			if left -= len(key) + len(value); left < 0 {
				return errTooMuch
			}
			if !hasUpper(asString(key)) {
				return yield(key, value)
			}
			if upper.n++; upper.n == 1 {
				upper.word = string(key)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		return nil
	}
	how.size = int64(len(data))
	t, err := makePairs(file, walk, how)
	if err != nil {
		return nil, err
	}
	if upper.n > 0 {
		t.addProblem(upper)
	}
	return t, nil
}

func walkDatabase(kind Kind, data []byte, yield func(key, value []byte) error) error {
	switch kind {
	case KindCDB:
		return cdb.Walk(data, yield)
	case KindLMDB:
		return lmdb.Walk(data, yield)
	}
	db, err := bdb.Parse(data)
	if err != nil {
		return err
	}
	return db.Walk(yield)
}

// asString is a key as a string for as long as it is not changed.
func asString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// asBytes spares the copy of a file that may have a hundred megabytes; the bytes
// are only read.
func asBytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
