package lmdb

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// walk is what Walk gives.
func walk(data []byte) ([]record, error) {
	var out []record
	err := Walk(data, func(key, value []byte) error {
		out = append(out, record{string(key), string(value)})
		return nil
	})
	return out, err
}

func mustRead(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

var records = cmp.AllowUnexported(record{})

// tree is what postmap was given for tree.lmdb: two levels and overflow pages.
func tree() []record {
	var out []record
	for i := range 60 {
		out = append(out, record{fmt.Sprintf("key%03d@example.com\x00", i), fmt.Sprintf("550 5.7.1 refused for reason %03d %s\x00", i, strings.Repeat("y", 60))})
	}
	return append(out, record{"long\x00", strings.Repeat("z", 5000) + "\x00"}, record{"longest\x00", strings.Repeat("w", 9000) + "\x00"})
}

// again is what postmap was given when it wrote again.lmdb over one like tree.lmdb.
func again() []record {
	var out []record
	for i := range 40 {
		out = append(out, record{fmt.Sprintf("again%02d@example.com\x00", i), "OK\x00"})
	}
	return out
}

// golden are the files in testdata that Postfix's "postmap lmdb:" made.
var golden = []struct {
	file string
	want []record
}{
	{"empty.lmdb", nil},
	{"small.lmdb", []record{{"a\x00", "OK\x00"}, {"b\x00", "REJECT\x00"}, {"connect:192.0.2.1\x00", "RELAY\x00"}}},
	{"tree.lmdb", tree()},
	{"again.lmdb", again()},
}

func TestGolden(t *testing.T) {
	for _, g := range golden {
		got, err := walk(mustRead(t, g.file))
		if d := cmp.Diff(g.want, got, records); d != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", g.file, err, d)
		}
	}
}

// TestRefused reads what mdb_load made: a database with several values of a key, and one in another.
func TestRefused(t *testing.T) {
	for file, want := range map[string]string{
		"several.lmdb": "the main database has flags 0x4: keys in another order or with several values, which no postmap writes, at page 1",
		"named.lmdb":   `"sub" is a named database, which no postmap writes, at page 2`,
	} {
		if _, err := walk(mustRead(t, file)); err == nil || err.Error() != want {
			t.Errorf("%s: got error %v, want %s", file, err, want)
		}
	}
}

// sample has n records in the order of their keys, some of them with values that need
// overflow pages at a page size.
func sample(n, pageSize int) []record {
	var out []record
	for i := range n {
		value := strings.Repeat("v", i%40)
		if i%29 == 28 {
			value = strings.Repeat("long", i%7*pageSize/8)
		}
		out = append(out, record{fmt.Sprintf("key%06d", i) + strings.Repeat("k", i%50), value})
	}
	return out
}

func TestPageSizes(t *testing.T) {
	for pageSize := minPageSize; pageSize <= maxPageSize; pageSize *= 2 {
		for _, n := range []int{0, 1, 2, 100, 2000} {
			want := sample(n, pageSize)
			got, err := walk(build(pageSize, want))
			if err != nil || !slices.Equal(want, got) {
				t.Errorf("%d records on pages of %d bytes: %v (-want +got):\n%.2000s", n, pageSize, err, cmp.Diff(want, got, records))
			}
		}
	}
}

// smallRecords make a file of one leaf, largeRecords on pages of 512 bytes one with a
// branch, two leaves and a value on three overflow pages.
func smallRecords() []record { return []record{{"a", "1"}, {"b", "2"}, {"c", "3"}} }

func largeRecords() []record {
	var out []record
	for i := range 12 {
		out = append(out, record{fmt.Sprintf("k%02d", i), strings.Repeat("v", 60)})
	}
	return append(out, record{"long", strings.Repeat("z", 1200)})
}

// victims are files to be damaged, small enough to try each way to do it.
func victims(t testing.TB) []victim {
	return []victim{
		{"small.lmdb", mustRead(t, "small.lmdb")},
		{"small on 512 bytes", build(512, smallRecords())},
		{"large on 512 bytes", build(512, largeRecords())},
		{"nothing on 512 bytes", build(512, nil)},
	}
}

type victim struct {
	name string
	data []byte
}

// TestTruncated cuts files at each length.
func TestTruncated(t *testing.T) {
	for _, v := range victims(t) {
		name, data := v.name, v.data
		for n := range len(data) {
			if _, err := walk(data[:n]); err == nil || !strings.Contains(err.Error(), "at page ") {
				t.Fatalf("%s cut after %d of %d bytes: %v", name, n, len(data), err)
			}
		}
	}
}

// TestZeroed fills a part of a file with zeros, as after a crash. Only within keys and
// values may it go unnoticed.
func TestZeroed(t *testing.T) {
	for _, v := range victims(t) {
		name, whole := v.name, v.data
		want, err := walk(whole)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for start := 0; start < len(whole); start += 4 {
			for _, n := range []int{4, 8, 64, 512, 4096, len(whole)} {
				data := bytes.Clone(whole)
				clear(data[start:min(start+n, len(data))])
				got, err := walk(data)
				if err == nil && !sameLengths(want, got) {
					t.Fatalf("%s with %d zeros from byte %d was read as %q", name, n, start, got)
				}
			}
		}
	}
}

// TestBitFlips turns each bit of each file. What is read all the same may differ
// within keys, as long as their order stays, and in values.
func TestBitFlips(t *testing.T) {
	for _, v := range victims(t) {
		name, data := v.name, v.data
		want, err := walk(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for bit := range 8 * len(data) {
			data[bit/8] ^= 1 << (bit % 8)
			got, err := walk(data)
			if err == nil && len(got) != len(want) {
				t.Fatalf("%s with bit %d of byte %d turned was read as %q", name, bit%8, bit/8, got)
			}
			data[bit/8] ^= 1 << (bit % 8)
		}
	}
}

func sameLengths(want, got []record) bool {
	if len(want) != len(got) {
		return false
	}
	for i := range want {
		if len(want[i].key) != len(got[i].key) {
			return false
		}
	}
	return true
}

func TestDamage(t *testing.T) {
	// small has one leaf, page 2, with nodes at its bytes 502, 492 and 482. large has a
	// value on pages 2 to 4, the leaves 5 and 6, and the branch 7 with a second node at 492.
	small, large := smallRecords(), largeRecords()
	const page, leaf = 512, 2 * 512
	put16 := func(at int, v uint16) func([]byte) { return func(d []byte) { little.PutUint16(d[at:], v) } }
	put32 := func(at int, v uint32) func([]byte) { return func(d []byte) { little.PutUint32(d[at:], v) } }
	put64 := func(at int, v uint64) func([]byte) { return func(d []byte) { little.PutUint64(d[at:], v) } }
	cases := []struct {
		name    string
		records []record
		change  func([]byte)
		want    string
	}{
		{"zeros", small, func(d []byte) { clear(d) }, "no meta page of LMDB (64-bit, little-endian), at page 0"},
		{"no magic number", small, put32(page+16, 0xdec0efbe), "no meta page of LMDB (64-bit, little-endian), at page 1"},
		{"data version", small, put32(20, 999), "data version 999 of LMDB, 1 was expected, at page 0"},
		{"page size", small, put32(40, 4097), "a page size of 4097 bytes, a power of 2 from 512 to 32768 was expected, at page 0"},
		{"another page size", small, put32(page+40, 1024), "a page size of 1024 bytes, but page 0 has 512, at page 1"},
		{"page size beyond the file", small, put32(40, 4096), "the file ends within a page of 4096 bytes, at page 0"},
		{"transactions apart", small, put64(page+144, 3), "transactions 0 and 3, which do not follow each other, at page 1"},
		{"transaction on the other page", small, put64(144, 1), "transactions 1 and 1, which do not follow each other, at page 0"},
		{"pages fewer than before", small, put64(144, 2), "2 pages in use after 3, they never become fewer, at page 0"},
		{"transaction lost", small, put64(page+144, 0), "a database before its first transaction that is not empty, at page 1"},
		{"no root", small, put64(page+128, noPage), "a tree of 3 entries and 1 levels has no root, at page 1"},
		{"too deep", small, put16(page+94, 33), "the tree has 33 levels, 1 to 32 were expected, at page 1"},
		{"root is a leaf", small, put16(page+94, 2), "number 2 and kind 0x2 of a page, 2 and 0x1 (branch) were expected, at page 2"},
		{"root beyond the end", small, put64(page+128, 3), "a page is missing, only 3 are in use, at page 3"},
		{"root far beyond the end", small, put64(page+128, 1<<60), "a page is missing, only 3 are in use, at page 1152921504606846976"},
		{"page not in use", small, put64(page+136, 1), "a page is missing, only 2 are in use, at page 2"},
		{"number of entries", small, put64(page+120, 4),
			"the tree has 3 entries on 1 leaf, 0 branch and 0 overflow pages, but 4 on 1, 0 and 0 were expected, at page 1"},
		{"number of a page", small, put64(leaf, 7), "number 7 and kind 0x2 of a page, 2 and 0x2 (leaf) were expected, at page 2"},
		{"no nodes", small, put16(leaf+12, 16), "free room from byte 16 to 482 of the page cannot be, at page 2"},
		{"free room backwards", small, put16(leaf+14, 8), "free room from byte 22 to 8 of the page cannot be, at page 2"},
		{"node in the free room", small, put16(leaf+16, 30), "node 0 at byte 30 of the page cannot be, at page 2"},
		{"node at the end", small, put16(leaf+16, 510), "node 0 at byte 510 of the page cannot be, at page 2"},
		{"a node twice", small, put16(leaf+18, 502), `key "a" is not after "a", at page 2`},
		{"no key", small, put16(leaf+502+6, 0), `key "" is not after "", at page 2`},
		{"keys out of order", small, func(d []byte) { d[leaf+502+8] = 'z' }, `key "b" is not after "z", at page 2`},
		{"key too long", small, put16(leaf+502+6, 50), "node 0 ends beyond the page, at page 2"},
		{"value too long", small, put32(leaf+502, 4), "node 0 ends beyond the page, at page 2"},
		{"value far too long", small, put16(leaf+502+2, 1<<15), "a value of 2147483649 bytes ends beyond the page, at page 2"},
		{"nodes within each other", small, put32(leaf+482, 20), "the nodes lie within each other, at page 2"},
		{"flags", small, put16(leaf+502+4, 8), `key "a" has flags 0x8: several values, or damaged, at page 2`},
		{"no room for a page number", small, put16(leaf+502+4, 1), "node 0 ends beyond the page, at page 2"},
		{"a leaf twice", large, put16(7*page+492, 5), "a page has two places in the tree, at page 5"},
		{"a branch under itself", large, put16(7*page+492, 7), "a page has two places in the tree, at page 7"},
		{"overflow pages too few", large, put32(2*page+12, 2), "2 overflow pages for a value of 1200 bytes, which needs 3, at page 2"},
		{"overflow pages too many", large, put32(2*page+12, 1<<31), "2147483648 overflow pages, but only 6 are in use from there on, at page 2"},
		{"overflow pages in use", large, put32(2*page+12, 4), "a page has two places in the tree, at page 5"},
	}
	for _, c := range cases {
		data := build(page, c.records)
		c.change(data)
		if _, err := walk(data); err == nil || err.Error() != c.want {
			t.Errorf("%s: got error %v, want %s", c.name, err, c.want)
		}
	}
}

func TestYieldErrorEndsWalk(t *testing.T) {
	stop := errors.New("stop")
	calls := 0
	err := Walk(mustRead(t, "small.lmdb"), func(_, _ []byte) error { calls++; return stop })
	if err != stop || calls != 1 {
		t.Errorf("Walk() = %v after %d calls", err, calls)
	}
}
