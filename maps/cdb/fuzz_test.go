package cdb

import (
	"bytes"
	"testing"
)

// FuzzWalk reads any bytes. What is read at all must be the same records again when
// it is written anew, and a lookup must find each key.
func FuzzWalk(f *testing.F) {
	for _, g := range golden {
		f.Add(mustRead(f, g.file))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
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
		if err != nil || len(again) != len(records) {
			t.Fatalf("written anew: %d records of %d, %v", len(again), len(records), err)
		}
		for i, text := range texts(records) {
			if again[i] != text {
				t.Errorf("record %d: %s became %s", i, text, again[i])
			}
		}
	})
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
