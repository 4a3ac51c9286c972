package cdb

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzWalk reads any bytes.
func FuzzWalk(f *testing.F) {
	for _, g := range golden {
		f.Add(mustRead(f, g.file))
	}
	f.Fuzz(checkWalk)
}

// FuzzDamage reads a good file with some 16-bit numbers overwritten: patches has, for
// each, its offset and the number.
func FuzzDamage(f *testing.F) {
	for i := range golden {
		f.Add(uint8(i), []byte{0, 8, 1, 0, 4, 8, 255, 255})
	}
	f.Fuzz(func(t *testing.T, file uint8, patches []byte) {
		data := mustRead(t, golden[int(file)%len(golden)].file)
		for ; len(patches) >= 4; patches = patches[4:] {
			at := int(binary.LittleEndian.Uint16(patches)) % (len(data) - 1)
			copy(data[at:], patches[2:4])
		}
		checkWalk(t, data)
	})
}

// checkWalk has what is read at all be the same records again when it is written anew,
// and a lookup find each key.
func checkWalk(t *testing.T, data []byte) {
	var records []Record
	size := 0
	err := Walk(data, func(key, value []byte) error {
		records = append(records, Record{key, value})
		size += len(key) + len(value)
		return nil
	})
	if size > len(data) {
		t.Fatalf("%d bytes of records out of a file of %d", size, len(data))
	}
	if err != nil {
		return
	}
	for _, r := range records[:min(len(records), 100)] {
		if _, found := lookup(data, string(r.Key)); !found {
			t.Errorf("a lookup does not find %q", r.Key)
		}
	}
	again, err := walk(write(t, records))
	if want := texts(records); err != nil || !slices.Equal(want, again) {
		t.Fatalf("written anew: %v (-want +got):\n%s", err, cmp.Diff(want, again))
	}
}

// FuzzWrite writes the parts of a text as keys and values, and reads them.
func FuzzWrite(f *testing.F) {
	f.Add([]byte("a OK\nb REJECT\nb OK\n"))
	f.Add([]byte("\n\n  \nconnect:192.0.2 RELAY"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var records []Record
		for line := range bytes.SplitSeq(text, []byte("\n")) {
			key, value, _ := bytes.Cut(line, []byte(" "))
			records = append(records, Record{key, value})
		}
		got, err := walk(write(t, records))
		if err != nil || len(got) != len(records) {
			t.Fatalf("%d records of %d, %v", len(got), len(records), err)
		}
		for i, want := range texts(records) {
			if got[i] != want {
				t.Errorf("record %d: %s became %s", i, want, got[i])
			}
		}
	})
}
