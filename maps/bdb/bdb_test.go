package bdb

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// pairs is all that a walk yields, each pair as db_dump prints it.
func pairs(data []byte) ([]string, error) {
	d, err := Parse(data)
	if err != nil {
		return nil, err
	}
	var got []string
	err = d.Walk(func(key, value []byte) error {
		got = append(got, " "+hex.EncodeToString(key)+"\n "+hex.EncodeToString(value))
		return nil
	})
	return got, err
}

// databases are the files of testdata, made by several releases of Berkeley DB.
func databases(t testing.TB) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("testdata/*.db")
	if err != nil {
		t.Fatal(err)
	}
	if len(names) < 28 {
		t.Fatalf("testdata has only %d databases", len(names))
	}
	files := map[string][]byte{}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimSuffix(name, ".db")] = data
	}
	return files
}

// TestFiles reads what Berkeley DB 4.0, 4.2, 5.3 and 18.1 wrote, in both byte orders,
// and compares with what their db_dump says.
func TestFiles(t *testing.T) {
	for name, data := range databases(t) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			dump, err := os.ReadFile(name + ".dump")
			if err != nil {
				t.Fatal(err)
			}
			got, err := pairs(data)
			if err != nil {
				t.Fatal(err)
			}
			text := strings.Join(got, "\n")
			if len(got) > 0 {
				text += "\n"
			}
			if diff := cmp.Diff(string(dump), text); diff != "" {
				t.Errorf("not as db_dump has it (-want +got):\n%s", diff)
			}
			d, err := Parse(data)
			if err != nil {
				t.Fatal(err)
			}
			if want, _, _ := strings.Cut(filepath.Base(name), "-"); d.Kind().String() != want {
				t.Errorf("kind %v, want %s", d.Kind(), want)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	files := databases(t)
	hash, btree, sums := files["testdata/hash"], files["testdata/btree"], files["testdata/hash-checksum"]
	dup := files["testdata/btree-dup"]
	old := make([]byte, 512)
	copy(old, "\x00\x05\x31\x62\x00\x00\x00\x03")
	cases := map[string]struct {
		data []byte
		want string
	}{
		"empty":         {nil, "not a Berkeley DB file: it is empty"},
		"short":         {hash[:511], "truncated at page 0"},
		"text":          {bytes.Repeat([]byte("access\tRELAY\n"), 50), "not a Berkeley DB file (magic 0x"},
		"1.85":          {old, "a file of Berkeley DB 1.85"},
		"cut":           {hash[:12*512], "truncated at page 12"},
		"cut in a page": {hash[:12*512+100], "truncated at page 12"},
		"subdatabases":  {readFile(t, "testdata/refused/subdatabases.db"), "several databases (subdatabases)"},
		"encrypted":     {readFile(t, "testdata/refused/encrypted.db"), "an encrypted Berkeley DB file"},
		"recno":         {readFile(t, "testdata/refused/recno.db"), "a Berkeley DB recno database"},
		"queue":         {readFile(t, "testdata/refused/queue.db"), "a Berkeley DB queue"},
		"heap":          {put32(hash, metaMagic, magicHeap), "a Berkeley DB heap"},
		"version 6":     {put32(hash, metaVersion, 6), "hash version 6 of Berkeley DB cannot be read, only 7 to 10"},
		"version 7":     {put32(btree, metaVersion, 7), "btree version 7 of Berkeley DB cannot be read, only 8 to 10"},
		"page size":     {put32(hash, metaPageSize, 513), "page 0: 513 is no page size"},
		"page size 0":   {put32(hash, metaPageSize, 0), "page 0: 0 is no page size"},
		"partitions":    {put32(hash, metaParts, 2), "a partitioned Berkeley DB database"},
		"sliced":        {put(hash, metaMetaFlags, 8), "a partitioned or sliced Berkeley DB database"},
		"compressed":    {put32(btree, metaFlags, btreeFlagCompress), "a compressed Berkeley DB btree"},
		"flags":         {put32(hash, metaFlags, 0x40), "flags 0x40"},
		"meta type":     {put(hash, offType, pageBtreeMeta), "page 0: is of type 9, expected 8"},
		"max bucket":    {put32(hash, metaMaxBucket, math.MaxUint32), "page 0: there cannot be a bucket 4294967295"},
		"spares":        {put32(hash, metaSpares, 400), "page 0: refers to page 400"},
		"meta checksum": {put(sums, metaKeys, 99), "page 0: its checksum is wrong"},
		"checksum":      {put(sums, 512+400, 'x'), "page 1: its checksum is wrong"},
		"no root":       {put32(btree, metaRoot, 0), "page 0: has a tree without a root"},
		"root":          {put32(btree, metaRoot, 1<<20), "page 0: refers to page 1048576"},
		"cycle":         {put32(btree, leafOf(t, btree)*512+offNext, uint32(leafOf(t, btree))), "which is in use already"},
		"leaves lost":   {put32(btree, leafOf(t, btree)*512+offNext, 0), "has records, but no page refers to it"},
		"page number":   {put32(hash, 512+offNumber, 3), "page 1: says that it is page 3"},
		"page type":     {put(hash, 512+offType, pageOverflow), "page 1: is of type 7, expected a page of hash bucket 0"},
		"leaf type":     {put(btree, leafOf(t, btree)*512+offType, pageDupLeaf), "is of type 12, which does not belong here"},
		"entries":       {put16(hash, 512+offEntries, 2000), "page 1: 2000 items do not fit"},
		"odd entries":   {put16(hash, 512+offEntries, 1), "page 1: has a key without a value"},
		"hash offset":   {put16(hash, 512+headerSize, 5000), "page 1: item offsets 5000,"},
		"btree offset":  {put16(btree, leafOf(t, btree)*512+headerSize+2, 5000), "item offset 5000 is outside of the page"},
		"child":         {put16(btree, 512+headerSize, 511), "page 1: item offset 511 is outside of the page"},
		"dup overlap":   {overlapping(t, dup), "its items overlap"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := pairs(c.data)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q in it", err, c.want)
			}
		})
	}
}

// leafOf is the first leaf of a btree file with pages of 512 bytes and one inner page.
func leafOf(t *testing.T, data []byte) int {
	t.Helper()
	root := data[512:1024]
	if root[offType] != pageBtreeInner {
		t.Fatalf("the root is of type %d", root[offType])
	}
	return int(le.Uint32(root[int(le.Uint16(root[headerSize:]))+4:]))
}

// overlapping makes all values of the first leaf with values of a tree the same, the longest.
func overlapping(t *testing.T, data []byte) []byte {
	t.Helper()
	for no := 1; no < len(data)/512; no++ {
		page := data[no*512:][:512]
		if page[offType] != pageRecnoLeaf || le.Uint16(page[offEntries:]) < 20 {
			continue
		}
		data = put16(data, no*512+500, 8)
		data[no*512+502] = btreeInline
		for i := range int(le.Uint16(page[offEntries:])) {
			le.PutUint16(data[no*512+headerSize+2*i:], 200)
		}
		le.PutUint16(data[no*512+200:], 290)
		data[no*512+202] = btreeInline
		return data
	}
	t.Fatal("no tree of values")
	return nil
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func put(data []byte, at int, c byte) []byte {
	data = bytes.Clone(data)
	data[at] = c
	return data
}

func put16(data []byte, at int, v uint16) []byte {
	data = bytes.Clone(data)
	le.PutUint16(data[at:], v)
	return data
}

func put32(data []byte, at int, v uint32) []byte {
	data = bytes.Clone(data)
	le.PutUint32(data[at:], v)
	return data
}

// walkBounded reads a file that may be damaged and returns how often the walk failed to
// keep within the bounds of the file: pairs and their values have to be in it.
func walkBounded(data []byte) error {
	d, err := Parse(data)
	if err != nil {
		return nil
	}
	records, size := 0, 0
	stop := errors.New("stop")
	err = d.Walk(func(_, value []byte) error {
		records++
		if size += len(value); size > len(data) || records > len(data) {
			return stop
		}
		return nil
	})
	if errors.Is(err, stop) {
		return fmt.Errorf("%d records with %d bytes in a file of %d", records, size, len(data))
	}
	return nil
}

// TestDamage changes each byte of each file, and cuts each file at each length: a walk
// ends, with or without an error.
func TestDamage(t *testing.T) {
	for name, data := range databases(t) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			damaged := bytes.Clone(data)
			for i := range data {
				for _, bit := range []byte{1 << (i % 8), 0xff} {
					damaged[i] ^= bit
					if err := walkBounded(damaged); err != nil {
						t.Fatalf("byte %d changed by %#x: %v", i, bit, err)
					}
					damaged[i] = data[i]
				}
				if _, err := pairs(data[:i]); err == nil {
					t.Fatalf("cut at %d: no error", i)
				}
			}
		})
	}
}

func TestYieldEndsWalk(t *testing.T) {
	stop := errors.New("enough")
	for name, data := range databases(t) {
		d, err := Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		err = d.Walk(func(_, _ []byte) error {
			n++
			if n == 30 {
				return stop
			}
			return nil
		})
		if strings.HasSuffix(name, "-empty") {
			if err != nil || n != 0 {
				t.Errorf("%s: %d pairs, error %v", name, n, err)
			}
		} else if err != stop || n != 30 {
			t.Errorf("%s: error %v after %d pairs, want the error of the function after 30", name, err, n)
		}
	}
}

// FuzzWalk walks over any bytes; the first are small databases.
func FuzzWalk(f *testing.F) {
	for _, kind := range []Kind{Hash, Btree} {
		for _, records := range [][]Record{
			nil,
			{{[]byte("a"), []byte("1")}, {[]byte("b"), bytes.Repeat([]byte("2"), 600)}},
			{{[]byte("a"), []byte("1")}, {[]byte("a"), []byte("2")}},
			{{[]byte("a"), []byte("1")}, {[]byte("a"), bytes.Repeat([]byte("2"), 200)}},
		} {
			var file bytes.Buffer
			if err := Write(&file, kind, records, Options{PageSize: 512, Duplicates: true}); err != nil {
				f.Fatal(err)
			}
			f.Add(file.Bytes())
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := walkBounded(data); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzEdits walks over the files of testdata with some bytes changed. Each four bytes of
// edits are a place and what to put there.
func FuzzEdits(f *testing.F) {
	files := databases(f)
	names := slices.Sorted(maps.Keys(files))
	for i := range names {
		f.Add(uint8(i), []byte{0x10, 0x02, 1, 0})                      // the next page of page 1
		f.Add(uint8(i), []byte{0x14, 0x02, 0xff, 0, 0x1a, 0x02, 1, 2}) // its entries, the first offset
	}
	f.Fuzz(func(t *testing.T, file uint8, edits []byte) {
		data := bytes.Clone(files[names[int(file)%len(names)]])
		for ; len(edits) >= 4; edits = edits[4:] {
			at := int(le.Uint16(edits)) % (len(data) - 1)
			copy(data[at:], edits[2:4])
		}
		if err := walkBounded(data); err != nil {
			t.Fatal(err)
		}
	})
}
