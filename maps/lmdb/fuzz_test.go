package lmdb

import (
	"cmp"
	"slices"
	"testing"
)

// FuzzWalk reads any bytes. What is read at all is no more than the file has, in order, and
// stays the same when it is written anew.
func FuzzWalk(f *testing.F) {
	for _, data := range victims(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := walk(data)
		size := 0
		for _, r := range got {
			size += len(r.key) + len(r.value)
		}
		if size > len(data) {
			t.Fatalf("%d bytes of entries out of a file of %d", size, len(data))
		}
		if !slices.IsSortedFunc(got, func(a, b record) int { return cmp.Compare(a.key, b.key) }) {
			t.Fatalf("not in order: %q", got)
		}
		if err != nil || slices.ContainsFunc(got, func(r record) bool { return len(r.key) > 500 }) {
			return
		}
		again, err := walk(build(4096, got))
		if err != nil || !slices.Equal(got, again) {
			t.Fatalf("written anew: %v, %q instead of %q", err, again, got)
		}
	})
}
