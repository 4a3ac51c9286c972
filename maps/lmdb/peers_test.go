//go:build integration

package lmdb

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gatepost/internal/servers"
)

// Needs mdb_dump and mdb_copy of lmdb-utils, and in GATEPOST_POSTMAP a postmap with lmdb
// tables; integration/peers.sh brings them.

const peerEntries = 300_000

func run(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v", name, args, err)
	}
	return out
}

// runPostmap makes a table of entries beside the text that it writes.
func runPostmap(t *testing.T, table string, entries []record) {
	t.Helper()
	var text bytes.Buffer
	for _, e := range entries {
		fmt.Fprintf(&text, "%s %s\n", e.key, e.value)
	}
	if err := os.WriteFile(table, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, servers.Postmap(t), "lmdb:"+table)
}

// dump is what mdb_dump reads of a file: lines with a blank and hexadecimal digits, of keys and values in turn.
func dump(t *testing.T, file string) []record {
	t.Helper()
	_, lines, found := strings.Cut(string(run(t, "mdb_dump", "-n", file)), "HEADER=END\n")
	lines, ended := strings.CutSuffix(lines, "DATA=END\n")
	if !found || !ended {
		t.Fatalf("%s: dump not understood", file)
	}
	var parts []string
	for line := range strings.Lines(lines) {
		part, err := hex.DecodeString(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, string(part))
	}
	var out []record
	for pair := range slices.Chunk(parts, 2) {
		out = append(out, record{pair[0], pair[1]})
	}
	return out
}

func walkFile(t *testing.T, file string) []record {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got, err := walk(data)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return got
}

// stored is what postmap stores: with a NUL at the end, in the order of keys.
func stored(entries []record) []record {
	var out []record
	for _, e := range entries {
		out = append(out, record{e.key + "\x00", e.value + "\x00"})
	}
	slices.SortFunc(out, func(a, b record) int { return cmp.Compare(a.key, b.key) })
	return out
}

func peerTable(n, step int) []record {
	var out []record
	for i := range n {
		value := strings.Repeat("REJECT ", i%9) + "x"
		if i%1000 == 999 {
			value = strings.Repeat("long", i%5000)
		}
		out = append(out, record{fmt.Sprintf("connect:host%06d.example.com", i*step%n), value})
	}
	return out
}

// TestPeersWrite reads what postmap writes, also over a file that is there, and copies
// of it with and without the pages that are not in use.
func TestPeersWrite(t *testing.T) {
	table := filepath.Join(t.TempDir(), "access")
	file := table + ".lmdb"
	for i, n := range []int{peerEntries, 1000, 0, 1, 100_000} {
		entries := peerTable(n, 7919)
		runPostmap(t, table, entries)
		got := walkFile(t, file)
		if !slices.Equal(got, stored(entries)) {
			t.Errorf("run %d: %d of %d entries were read, or they differ", i, len(got), n)
		}
		if !slices.Equal(got, dump(t, file)) {
			t.Errorf("run %d: mdb_dump reads something else", i)
		}
		for _, flags := range [][]string{{"-n"}, {"-n", "-c"}} {
			copied := fmt.Sprintf("%s.%d%d", table, i, len(flags))
			out := run(t, "mdb_copy", append(flags, file)...)
			if err := os.WriteFile(copied, out, 0o600); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(walkFile(t, copied), got) {
				t.Errorf("run %d: the copy of mdb_copy %s differs", i, flags)
			}
		}
	}
}

// TestPeersReadBuilt has LMDB read the files that the tests of other page sizes are made of.
func TestPeersReadBuilt(t *testing.T) {
	for pageSize := minPageSize; pageSize <= maxPageSize; pageSize *= 2 {
		for _, n := range []int{0, 1, 100, 2000} {
			want := sample(n, pageSize)
			file := filepath.Join(t.TempDir(), "built")
			if err := os.WriteFile(file, build(pageSize, want), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := dump(t, file); !slices.Equal(got, want) {
				t.Errorf("%d records on pages of %d bytes: mdb_dump reads %d, or others", n, pageSize, len(got))
			}
		}
	}
}
