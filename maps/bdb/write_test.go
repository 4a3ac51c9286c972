package bdb

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// read is a file's records, each key and value as one string, in the order of the walk.
func read(t interface{ Fatal(...any) }, data []byte) []Record {
	d, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	var records []Record
	if err := d.Walk(func(key, value []byte) error {
		records = append(records, Record{key, value})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return records
}

// byKey sorts by key and leaves the values of a key in their order.
func byKey(records []Record) []Record {
	records = slices.Clone(records)
	slices.SortStableFunc(records, func(a, b Record) int { return bytes.Compare(a.Key, b.Key) })
	return records
}

func sameRecords(a, b []Record) error {
	for i := range min(len(a), len(b)) {
		if !bytes.Equal(a[i].Key, b[i].Key) || !bytes.Equal(a[i].Value, b[i].Value) {
			return fmt.Errorf("record %d: %.40q %.40q and %.40q %.40q", i, a[i].Key, a[i].Value, b[i].Key, b[i].Value)
		}
	}
	if len(a) != len(b) {
		return fmt.Errorf("%d and %d records", len(a), len(b))
	}
	return nil
}

// TestWriteRead: what is written is what is read, whatever it is.
func TestWriteRead(t *testing.T) {
	item := rapid.Custom(func(t *rapid.T) []byte {
		n := rapid.OneOf(rapid.IntRange(0, 12), rapid.IntRange(0, 200), rapid.IntRange(0, 3000)).Draw(t, "length")
		fill := rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "bytes")
		if n > len(fill) { // a common beginning, so that long keys differ late
			return append(bytes.Repeat([]byte{'a'}, n-len(fill)), fill...)
		}
		return fill[:n]
	})
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]Kind{Hash, Btree}).Draw(t, "kind")
		opt := Options{
			PageSize:   rapid.SampledFrom([]int{0, 512, 1024, 65536}).Draw(t, "page size"),
			Duplicates: rapid.Bool().Draw(t, "duplicates"),
		}
		keys := rapid.SliceOfNDistinct(item, 0, 60, func(b []byte) string { return string(b) }).Draw(t, "keys")
		var records []Record
		for _, k := range keys {
			n := 1
			if opt.Duplicates {
				n = rapid.IntRange(1, 40).Draw(t, "values")
			}
			for range n {
				records = append(records, Record{k, item.Draw(t, "value")})
			}
		}
		records = rapid.Permutation(records).Draw(t, "order")
		var file bytes.Buffer
		if err := Write(&file, kind, records, opt); err != nil {
			t.Fatal(err)
		}
		got := read(t, file.Bytes())
		if kind == Btree && !slices.IsSortedFunc(got, func(a, b Record) int { return bytes.Compare(a.Key, b.Key) }) {
			t.Fatal("a btree out of order")
		}
		if err := sameRecords(byKey(records), byKey(got)); err != nil {
			t.Fatal(err)
		}
	})
}

// TestWriteDeep writes trees of several levels: of keys that share long beginnings (keys
// on inner pages are on overflow pages, too), and of the values of one key.
func TestWriteDeep(t *testing.T) {
	for _, kind := range []Kind{Hash, Btree} {
		var long, values []Record
		for i := range 3000 {
			key := append(bytes.Repeat([]byte{'k'}, 300), fmt.Sprintf("%07d", i*7919%100000)...)
			long = append(long, Record{key, bytes.Repeat([]byte{'v'}, i)})
			values = append(values, Record{[]byte("one"), fmt.Appendf(nil, "value %d", i*7919%100000)})
		}
		for name, c := range map[string]struct {
			records []Record
			opt     Options
		}{
			"keys":   {long, Options{PageSize: 512}},
			"values": {values, Options{PageSize: 512, Duplicates: true}},
		} {
			var file bytes.Buffer
			if err := Write(&file, kind, c.records, c.opt); err != nil {
				t.Fatal(err)
			}
			if err := sameRecords(byKey(c.records), byKey(read(t, file.Bytes()))); err != nil {
				t.Errorf("%v, %s: %v", kind, name, err)
			}
		}
	}
}

func TestWriteHuge(t *testing.T) {
	records := []Record{
		{bytes.Repeat([]byte("key "), 500_000), []byte("a long key")},
		{[]byte("a long value"), bytes.Repeat([]byte("value "), 1_000_000)},
	}
	for _, kind := range []Kind{Hash, Btree} {
		var file bytes.Buffer
		if err := Write(&file, kind, records, Options{}); err != nil {
			t.Fatal(err)
		}
		if err := sameRecords(byKey(records), byKey(read(t, file.Bytes()))); err != nil {
			t.Errorf("%v: %v", kind, err)
		}
	}
}

func TestWriteErrors(t *testing.T) {
	twice := []Record{{[]byte("a"), nil}, {[]byte("b"), nil}, {[]byte("a"), nil}}
	for name, c := range map[string]struct {
		kind    Kind
		records []Record
		opt     Options
		want    string
	}{
		"hash, twice":     {Hash, twice, Options{}, `key "a" comes twice: records 0 and 2`},
		"btree, twice":    {Btree, twice, Options{}, `key "a" comes twice: records 0 and 2`},
		"kind":            {0, nil, Options{}, "kind Kind(0) cannot be written"},
		"page size":       {Hash, nil, Options{PageSize: 1000}, "page size 1000: expected a power of two from 512 to 65536"},
		"small page size": {Hash, nil, Options{PageSize: 256}, "page size 256: expected a power of two"},
	} {
		if err := Write(io.Discard, c.kind, c.records, c.opt); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, c.want)
		}
	}
	full := errors.New("no space left on device")
	if err := Write(failing{full}, Hash, nil, Options{}); !errors.Is(err, full) {
		t.Errorf("error %v, want the writer's", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// TestIdentifiers: libdb takes files with the same identifier for the same file.
func TestIdentifiers(t *testing.T) {
	var a, b bytes.Buffer
	if err := cmp.Or(Write(&a, Hash, nil, Options{}), Write(&b, Hash, nil, Options{})); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(a.Bytes()[metaUID:][:20], b.Bytes()[metaUID:][:20]) {
		t.Error("two files have the same identifier")
	}
}

// TestWalkAllocates: nothing is allocated for a record.
func TestWalkAllocates(t *testing.T) {
	for _, kind := range []Kind{Hash, Btree} {
		var file bytes.Buffer
		if err := Write(&file, kind, accessRecords(20_000), Options{}); err != nil {
			t.Fatal(err)
		}
		allocations := testing.AllocsPerRun(5, func() {
			d, err := Parse(file.Bytes())
			if err == nil {
				err = d.Walk(func(_, _ []byte) error { return nil })
			}
			if err != nil {
				t.Fatal(err)
			}
		})
		if allocations > 10 {
			t.Errorf("%v: %.0f allocations for 20000 records", kind, allocations)
		}
	}
}

// accessRecords is n lines of an access table, 37 bytes on average.
func accessRecords(n int) []Record {
	records := make([]Record, 0, n)
	for i := range n {
		h := uint32(i) * 2654435761
		key := fmt.Sprintf("Connect:%d.%d.%d.%d", h>>24, h>>16&255, h>>8&255, h&255)
		value := "RELAY"
		switch i % 4 {
		case 1:
			key, value = fmt.Sprintf("From:user%d@example%d.com", h>>8, h&255), "REJECT"
		case 2:
			key, value = fmt.Sprintf("host%d.example%d.net", h>>8, h&255), "ERROR:5.7.1:550 no mail"
		}
		records = append(records, Record{[]byte(key), []byte(value)})
	}
	return records
}

func BenchmarkWrite(b *testing.B) {
	records := accessRecords(1_000_000)
	for _, kind := range []Kind{Hash, Btree} {
		b.Run(kind.String(), func(b *testing.B) {
			for b.Loop() {
				if err := Write(io.Discard, kind, records, Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkWalk(b *testing.B) {
	records := accessRecords(1_000_000)
	for _, kind := range []Kind{Hash, Btree} {
		var file bytes.Buffer
		if err := Write(&file, kind, records, Options{}); err != nil {
			b.Fatal(err)
		}
		b.Run(kind.String(), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(file.Len()))
			for b.Loop() {
				d, err := Parse(file.Bytes())
				if err != nil {
					b.Fatal(err)
				}
				if err := d.Walk(func(_, _ []byte) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
