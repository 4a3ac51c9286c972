package lmdb

import (
	"bytes"
	"cmp"
	"slices"
	"testing"
)

// FuzzWalk reads any bytes.
func FuzzWalk(f *testing.F) {
	for _, v := range victims(f) {
		f.Add(v.data)
	}
	f.Fuzz(checkWalk)
}

// FuzzDamage reads a good file with some 16-bit numbers overwritten: patches has, for
// each, its offset and the number.
func FuzzDamage(f *testing.F) {
	files := victims(f)
	for i := range files {
		f.Add(uint8(i), []byte{144, 2, 2, 0, 128, 2, 3, 0})
	}
	f.Fuzz(func(t *testing.T, file uint8, patches []byte) {
		data := bytes.Clone(files[int(file)%len(files)].data)
		for ; len(patches) >= 4; patches = patches[4:] {
			at := int(little.Uint16(patches)) % (len(data) - 1)
			copy(data[at:], patches[2:4])
		}
		checkWalk(t, data)
	})
}

// checkWalk has what is read be no more than the file has, in order, and if it is read
// to the end the same again when it is written anew.
func checkWalk(t *testing.T, data []byte) {
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
}
