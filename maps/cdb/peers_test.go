//go:build integration

package cdb

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gatepost/internal/servers"
)

// Needs the command cdb of tinycdb, and in GATEPOST_POSTMAP a postmap with cdb tables;
// integration/peers.sh brings both.

const peerEntries = 300_000

// run runs a command and gives its output.
func run(t *testing.T, input string, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin, cmd.Stderr = strings.NewReader(input), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v", name, args, err)
	}
	return out
}

// accessTable is a table of many entries, as text for postmap.
func accessTable() (text string, records []Record) {
	var b strings.Builder
	for i := range peerEntries {
		key, value := fmt.Sprintf("connect:host%06d.example.com", i*7919%peerEntries), strings.Repeat("REJECT ", i%9)+"x"
		fmt.Fprintf(&b, "%s %s\n", key, value)
		records = append(records, record(key, value))
	}
	return b.String(), records
}

// parseDump reads what "cdb -d" writes: +KEYLENGTH,VALUELENGTH:KEY->VALUE, and an empty line.
func parseDump(t *testing.T, dump []byte) []Record {
	t.Helper()
	var records []Record
	r := bufio.NewReader(bytes.NewReader(dump))
	for {
		var k, v int
		if _, err := fmt.Fscanf(r, "+%d,%d:", &k, &v); err != nil {
			if rest, _ := io.ReadAll(r); string(rest) != "\n" {
				t.Fatalf("dump not understood after %d records: %v, %q", len(records), err, rest)
			}
			return records
		}
		entry := make([]byte, k+2+v+1)
		if _, err := io.ReadFull(r, entry); err != nil {
			t.Fatal(err)
		}
		records = append(records, Record{entry[:k], entry[k+2 : k+2+v]})
	}
}

func equal(a, b []Record) bool {
	return slices.EqualFunc(a, b, func(a, b Record) bool {
		return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value)
	})
}

func walkFile(t *testing.T, path string) []Record {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var records []Record
	if err := Walk(data, func(key, value []byte) error {
		records = append(records, Record{key, value})
		return nil
	}); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return records
}

// TestPeersWrite has Postfix and tinycdb write files, and reads them.
func TestPeersWrite(t *testing.T) {
	table := filepath.Join(t.TempDir(), "access")
	text, want := accessTable()
	if err := os.WriteFile(table, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "", servers.Postmap(t), "cdb:"+table)
	got := walkFile(t, table+".cdb")
	if len(got) != peerEntries || !equal(got, want) {
		t.Errorf("of postmap's file %d records were read, of %d, or they differ", len(got), peerEntries)
	}
	dump := run(t, "", "cdb", "-d", table+".cdb")
	if !equal(got, parseDump(t, dump)) {
		t.Error("postmap's file was read differently by tinycdb")
	}
	run(t, string(dump), "cdb", "-c", table+".tinycdb")
	if !equal(got, walkFile(t, table+".tinycdb")) {
		t.Error("tinycdb's file was read differently")
	}
}

// TestPeersRead has Postfix and tinycdb read a file of ours.
func TestPeersRead(t *testing.T) {
	text, records := accessTable()
	file := filepath.Join(t.TempDir(), "access.cdb")
	data := write(t, records)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	dump := run(t, "", "cdb", "-d", file)
	if !equal(parseDump(t, dump), records) {
		t.Error("tinycdb reads other records")
	}
	run(t, string(dump), "cdb", "-c", file+".theirs")
	if theirs, err := os.ReadFile(file + ".theirs"); err != nil || !bytes.Equal(data, theirs) {
		t.Errorf("tinycdb makes another file of the same records (%v)", err)
	}
	for i := 0; i < peerEntries; i += peerEntries / 20 {
		if got := run(t, "", "cdb", "-q", file, string(records[i].Key)); !bytes.Equal(got, records[i].Value) {
			t.Errorf("cdb -q %q: %q, want %q", records[i].Key, got, records[i].Value)
		}
	}
	var keys strings.Builder
	for _, r := range records {
		fmt.Fprintf(&keys, "%s\n", r.Key)
	}
	got := run(t, keys.String(), servers.Postmap(t), "-q", "-", "cdb:"+strings.TrimSuffix(file, ".cdb"))
	if !sameAnswers(string(got), text) {
		t.Error("postmap -q answers differently")
	}
}

// sameAnswers compares what postmap -q - writes, "KEY<tab>VALUE", with "KEY VALUE".
func sameAnswers(got, want string) bool {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	return slices.EqualFunc(g, w, func(g, w string) bool { return strings.Replace(g, "\t", " ", 1) == w })
}
