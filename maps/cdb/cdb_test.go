package cdb

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// walk is what Walk gives, as "key=value".
func walk(data []byte) ([]string, error) {
	var out []string
	err := Walk(data, func(key, value []byte) error {
		out = append(out, fmt.Sprintf("%q=%q", key, value))
		return nil
	})
	return out, err
}

func texts(records []Record) []string {
	var out []string
	for _, r := range records {
		out = append(out, fmt.Sprintf("%q=%q", r.Key, r.Value))
	}
	return out
}

func write(t testing.TB, records []Record) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, records); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func mustRead(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func record(key, value string) Record { return Record{[]byte(key), []byte(value)} }

// golden are the files of testdata, and what the programs that made them were given.
// tinycdb.cdb is of "cdb -c", the others of Postfix's "postmap cdb:".
var golden = []struct {
	file    string
	records []Record
}{
	{"tinycdb.cdb", []Record{
		record("one", "Hello"), record("two", "abc"), record("", ""), record("one", "again"), record("nul\x00", "v\x00"),
		record("connect:192.0.2", "ERROR:\"550 5.7.1 no\""), record("empty", ""), record("long", strings.Repeat("x", 300)),
	}},
	{"postmap.cdb", []Record{record("a", "OK"), record("b", "REJECT"), record("connect:192.0.2.1", "RELAY")}},
	{"empty.cdb", nil},
}

func TestGolden(t *testing.T) {
	for _, g := range golden {
		data := mustRead(t, g.file)
		got, err := walk(data)
		if err != nil {
			t.Errorf("%s: %v", g.file, err)
		}
		if d := cmp.Diff(texts(g.records), got); d != "" {
			t.Errorf("%s (-want +got):\n%s", g.file, d)
		}
		if ours := write(t, g.records); !bytes.Equal(ours, data) {
			t.Errorf("Write made %d bytes that differ from the %d of %s", len(ours), len(data), g.file)
		}
	}
}

// lookup finds the first record of a key as cdb.txt tells readers to do.
func lookup(data []byte, key string) (string, bool) {
	hash := hashKey([]byte(key))
	at, slots := number(data, 8*int(hash&255)), number(data, 8*int(hash&255)+4)
	for i := uint32(0); i < slots; i++ {
		s := int(at) + 8*int((hash>>8+i)%slots)
		pos := int(number(data, s+4))
		if pos == 0 {
			return "", false
		}
		k, v := int(number(data, pos)), int(number(data, pos+4))
		if number(data, s) == hash && string(data[pos+8:pos+8+k]) == key {
			return string(data[pos+8+k : pos+8+k+v]), true
		}
	}
	return "", false
}

func randomRecords(r *rand.Rand, n int) []Record {
	records := make([]Record, n)
	for i := range records {
		key := make([]byte, r.IntN(12))
		for j := range key {
			key[j] = byte(r.IntN(4)) // few letters: many keys stand there twice
		}
		records[i] = Record{key, bytes.Repeat([]byte{byte(i)}, r.IntN(40))}
	}
	return records
}

func TestWriteWalkLookup(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := 0; n < 300; n += 1 + n/10 {
		records := randomRecords(r, n)
		data := write(t, records)
		got, err := walk(data)
		if err != nil {
			t.Fatalf("%d records: %v", n, err)
		}
		if d := cmp.Diff(texts(records), got); d != "" {
			t.Fatalf("%d records (-want +got):\n%s", n, d)
		}
		first := map[string]string{}
		for _, rec := range records {
			if _, seen := first[string(rec.Key)]; !seen {
				first[string(rec.Key)] = string(rec.Value)
			}
		}
		for key, want := range first {
			if value, found := lookup(data, key); value != want || !found {
				t.Fatalf("%d records: %q is %q, %v, want %q", n, key, value, found, want)
			}
		}
	}
}

// TestTruncated cuts files at each length, and adds to them.
func TestTruncated(t *testing.T) {
	for _, g := range golden {
		data := mustRead(t, g.file)
		for n := range len(data) {
			if _, err := walk(data[:n]); err == nil || !strings.Contains(err.Error(), "at byte ") {
				t.Fatalf("%s cut after %d of %d bytes: %v", g.file, n, len(data), err)
			}
		}
		for _, n := range []int{1, 7, 8, 16, 2048} {
			if _, err := walk(append(data[:len(data):len(data)], make([]byte, n)...)); err == nil {
				t.Errorf("%s with %d zeros more was read", g.file, n)
			}
		}
	}
}

// TestZeroed fills a part of a file with zeros, as after a crash. Only within a value
// may it go unnoticed.
func TestZeroed(t *testing.T) {
	for _, g := range golden {
		whole := mustRead(t, g.file)
		for start := range whole {
			for _, n := range []int{8, 64, 512, len(whole)} {
				data := bytes.Clone(whole)
				clear(data[start:min(start+n, len(data))])
				got, err := walk(data)
				if err == nil && !onlyValuesDiffer(g.records, got) {
					t.Fatalf("%s with %d zeros from byte %d was read as %q", g.file, n, start, got)
				}
			}
		}
	}
}

// TestBitFlips turns each bit of each file. What is read all the same must have all
// keys: only a value, the hash part of a free slot or the place of an empty table may have
// changed.
func TestBitFlips(t *testing.T) {
	for _, g := range golden {
		data := mustRead(t, g.file)
		for bit := range 8 * len(data) {
			data[bit/8] ^= 1 << (bit % 8)
			got, err := walk(data)
			if err == nil && !onlyValuesDiffer(g.records, got) {
				t.Fatalf("%s with bit %d of byte %d turned was read as %q", g.file, bit%8, bit/8, got)
			}
			data[bit/8] ^= 1 << (bit % 8)
		}
	}
}

// onlyValuesDiffer tells whether got has the keys of want, in the same order.
func onlyValuesDiffer(want []Record, got []string) bool {
	if len(got) != len(want) {
		return false
	}
	for i, r := range want {
		if !strings.HasPrefix(got[i], fmt.Sprintf("%q=", r.Key)) {
			return false
		}
	}
	return true
}

func TestDamage(t *testing.T) {
	set := func(at int, bytes ...byte) func([]byte) []byte {
		return func(data []byte) []byte {
			copy(data[at:], bytes)
			return data
		}
	}
	// The headers of the hash tables that "two" and "one" are in.
	const two, one = 8 * 41, 8 * 129
	cases := []struct {
		name   string
		change func([]byte) []byte
		want   string
	}{
		{"empty", func([]byte) []byte { return nil }, "the file ends within the header, which has 2048 bytes, at byte 0"},
		{"zeros", func([]byte) []byte { return make([]byte, 2048) },
			"the empty hash table 0 is at byte 0, in a database without records 2048 was expected, at byte 0"},
		{"text", func([]byte) []byte { return bytes.Repeat([]byte("spam.example REJECT\n"), 200) },
			"hash table 0 ends at byte 14917343715, but the file has only 4000 bytes, at byte 0"},
		{"table in the header", set(two, 0xff, 0x07), "hash table 41 begins at byte 2047, within the header, at byte 328"},
		{"table too long", set(one+4, 3), "hash table 129 ends at byte 2118, but the file has only 2110 bytes, at byte 1032"},
		{"tables apart", set(one, 0x2f), "hash table 129 begins at byte 2095, where 2094 was expected, at byte 1032"},
		{"no tables", func(data []byte) []byte {
			for i := range 256 {
				set(8*i, 0, 8, 0, 0, 0, 0, 0, 0)(data)
			}
			return data
		}, "62 bytes follow the header, but there is no hash table, at byte 2048"},
		{"more bytes", func(data []byte) []byte { return append(data, 1) }, "1 bytes follow the last hash table, at byte 2110"},
		{"key too long", set(2048, 30), "a key of 30 and a value of 5 bytes, but only 22 are left for records, at byte 2048"},
		{"lengths that overflow", set(2048, 0xff, 0xff, 0xff, 0xff, 9),
			"a key of 4294967295 and a value of 9 bytes, but only 22 are left for records, at byte 2048"},
		{"half a record", set(2052, 12), "7 bytes between the last record and the hash tables, at byte 2071"},
		{"a key changed", set(2056, 'O'), "hash table 129 has 1 entries, which are not the 0 records that belong there, at byte 1032"},
		{"entry moved", func(data []byte) []byte {
			copy(data[2094:], append(bytes.Clone(data[2102:2110]), data[2094:2102]...))
			return data
		}, "an entry of hash table 129 stands where no lookup finds it, at byte 2094"},
		{"entry of another record", set(2082, 0, 8), "hash table 41 has 1 entries, which are not the 1 records that belong there, at byte 328"},
		{"entry removed", set(2082, 0, 0), "hash table 41 has 0 entries, which are not the 1 records that belong there, at byte 328"},
	}
	for _, c := range cases {
		data := c.change(write(t, []Record{record("one", "Hello"), record("two", "abc")}))
		if _, err := walk(data); err == nil || err.Error() != c.want {
			t.Errorf("%s: got error %v, want %s", c.name, err, c.want)
		}
	}
}

// TestFullTable reads a table without a free slot, which another writer may make.
func TestFullTable(t *testing.T) {
	records := []Record{record("a", "1"), record("a", "2"), record("a", "3")}
	data := write(t, records)
	p, err := newPlan(records)
	if err != nil {
		t.Fatal(err)
	}
	slots := make([]entry, 3)
	fill(slots, p.entries)
	data = data[:p.recordsEnd]
	for _, s := range slots {
		data = appendPair(data, s.hash, s.pos)
	}
	table := tableOf(hashKey([]byte("a")))
	for i := range tables {
		at, n := p.recordsEnd, uint32(0)
		if i == table {
			n = 3
		} else if i > table {
			at += 24
		}
		copy(data[8*i:], appendPair(nil, at, n))
	}
	got, err := walk(data)
	if d := cmp.Diff(texts(records), got); d != "" || err != nil {
		t.Errorf("err %v (-want +got):\n%s", err, d)
	}
}

func TestYieldErrorEndsWalk(t *testing.T) {
	stop := errors.New("stop")
	calls := 0
	err := Walk(mustRead(t, "postmap.cdb"), func(_, _ []byte) error { calls++; return stop })
	if err != stop || calls != 1 {
		t.Errorf("Walk() = %v after %d calls", err, calls)
	}
}

func TestTooLarge(t *testing.T) {
	value := make([]byte, 64<<20)
	records := make([]Record, 64)
	for i := range records {
		records[i] = Record{[]byte{byte(i)}, value}
	}
	var written bytes.Buffer
	want := "the records make a file of 4294970944 bytes, a constant database has at most 4 GiB - 1"
	if err := Write(&written, records); err == nil || err.Error() != want || written.Len() > 0 {
		t.Errorf("Write() = %v with %d bytes written, want %s", err, written.Len(), want)
	}
	if err := Write(io.Discard, records[1:]); err != nil {
		t.Errorf("Write() of a little less = %v", err)
	}
}

// failing takes n bytes and fails then.
type failing struct{ n int }

var errFull = errors.New("disk full")

func (f *failing) Write(p []byte) (int, error) {
	if len(p) > f.n {
		return f.n, errFull
	}
	f.n -= len(p)
	return len(p), nil
}

func TestWriteErrors(t *testing.T) {
	records := randomRecords(rand.New(rand.NewPCG(3, 4)), 20000)
	size := len(write(t, records))
	for n := 0; n < size; n += size / 50 {
		if err := Write(&failing{n}, records); !errors.Is(err, errFull) {
			t.Errorf("Write() to a disk with room for %d of %d bytes = %v", n, size, err)
		}
	}
}

// TestOneHashForAll reads a file made to be slow: all keys have the same hash, so
// that a search in the hash table passes over all of them.
func TestOneHashForAll(t *testing.T) {
	const n = 300_000
	records := make([]Record, n)
	for i := range records {
		records[i] = record("a", "")
	}
	p, err := newPlan(records)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	slots := make([]entry, 2*n)
	home := homeOf(p.entries[0].hash, 2*n)
	for i, e := range p.entries {
		slots[(int(home)+i)%(2*n)] = e
	}
	if err := writeHeader(&b, p); err != nil {
		t.Fatal(err)
	}
	data := append(b.Bytes(), bytes.Repeat(append(appendPair(nil, 1, 0), 'a'), n)...)
	for _, s := range slots {
		data = appendPair(data, s.hash, s.pos)
	}
	start := time.Now()
	read := 0
	if err := Walk(data, func(_, _ []byte) error { read++; return nil }); err != nil || read != n {
		t.Errorf("%d records, %v", read, err)
	}
	if d := time.Since(start); d > 20*time.Second { // a search for each record takes minutes
		t.Errorf("it took %v", d)
	}
}
