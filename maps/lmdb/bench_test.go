package lmdb

import (
	"fmt"
	"testing"
)

// BenchmarkWalk reads a million access entries.
func BenchmarkWalk(b *testing.B) {
	var in []record
	for i := range 1_000_000 {
		in = append(in, record{fmt.Sprintf("connect:host%07d.example.com\x00", i), "REJECT\x00"})
	}
	data := build(4096, in)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		n := 0
		if err := Walk(data, func(_, _ []byte) error { n++; return nil }); err != nil || n != len(in) {
			b.Fatal(n, err)
		}
	}
}
