package cdb

import (
	"fmt"
	"io"
	"testing"
)

// million has as many access entries, of 37 bytes on average.
func million() []Record {
	records := make([]Record, 1_000_000)
	for i := range records {
		records[i] = record(fmt.Sprintf("connect:host%07d.example.com", i), "REJECT")
	}
	return records
}

func BenchmarkWrite(b *testing.B) {
	records := million()
	for b.Loop() {
		if err := Write(io.Discard, records); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWalk(b *testing.B) {
	data := write(b, million())
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		n := 0
		if err := Walk(data, func(_, _ []byte) error { n++; return nil }); err != nil || n != 1_000_000 {
			b.Fatal(n, err)
		}
	}
}
