//go:build integration

package bdb

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// peers is the directory that integration/peers.sh has filled.
func peers(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("GATEPOST_PEERS")
	if dir == "" {
		t.Fatal("GATEPOST_PEERS is not set: see integration/peers.sh")
	}
	return dir
}

// run runs a program and returns its standard output.
func run(t *testing.T, input []byte, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdin = bytes.NewReader(input)
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Join(peers(t), "usr/lib/postfix"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%.2000s", name, strings.Join(args, " "), err, stderr.Bytes())
	}
	return out
}

func makemap(t *testing.T, input []byte, args ...string) []byte {
	t.Helper()
	cf := write(t, "empty.cf", nil)
	return run(t, input, filepath.Join(peers(t), "usr/libexec/sendmail/makemap"), append([]string{"-C", cf}, args...)...)
}

func postmap(t *testing.T, input []byte, args ...string) []byte {
	t.Helper()
	return run(t, input, filepath.Join(peers(t), "postmap"), args...)
}

func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func build(t *testing.T, kind Kind, records []Record, opt Options) string {
	t.Helper()
	var file bytes.Buffer
	if err := Write(&file, kind, records, opt); err != nil {
		t.Fatal(err)
	}
	return write(t, "table.db", file.Bytes())
}

// asDumped fails unless a walk over the file yields what db_dump prints, in its order,
// and db_verify finds nothing. It returns the number of pairs.
func asDumped(t *testing.T, path string) int {
	t.Helper()
	run(t, nil, "db5.3_verify", "-q", path)
	_, dump, ok := bytes.Cut(run(t, nil, "db5.3_dump", path), []byte("HEADER=END\n"))
	if !ok {
		t.Fatal("db5.3_dump printed no header")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	pairs := 0
	err = d.Walk(func(key, value []byte) error {
		pairs++
		line := fmt.Appendf(nil, " %x\n %x\n", key, value)
		rest, ok := bytes.CutPrefix(dump, line)
		if !ok {
			return fmt.Errorf("pair %d is %.80q, db_dump has %.80q", pairs, line, dump[:min(len(dump), len(line))])
		}
		dump = rest
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if string(dump) != "DATA=END\n" {
		t.Fatalf("db_dump has more than %d pairs: %.200q", pairs, dump)
	}
	return pairs
}

// accessText is the text of a table.
func accessText(records []Record) []byte {
	var text bytes.Buffer
	for _, r := range records {
		fmt.Fprintf(&text, "%s\t%s\n", r.Key, r.Value)
	}
	return text.Bytes()
}

const peerEntries = 300_000

func TestReadMakemap(t *testing.T) {
	text := accessText(accessRecords(peerEntries))
	for _, kind := range []Kind{Hash, Btree} {
		for _, flags := range [][]string{nil, {"-N"}, {"-d"}} {
			t.Run(fmt.Sprint(kind, flags), func(t *testing.T) {
				input := text
				if slices.Contains(flags, "-d") { // some keys five times, one very often
					input = slices.Concat(bytes.Repeat(text[:50_000], 5), bytes.Repeat([]byte("often\tRELAY\n"), 5000))
				}
				path := filepath.Join(t.TempDir(), "access.db")
				makemap(t, input, append(flags, kind.String(), path)...)
				if n, want := asDumped(t, path), bytes.Count(input, []byte("\n")); n != want {
					t.Errorf("%d pairs, want %d", n, want)
				}
			})
		}
	}
}

func TestReadPostmap(t *testing.T) {
	path := write(t, "access", accessText(accessRecords(peerEntries)))
	for _, kind := range []Kind{Hash, Btree} {
		t.Run(kind.String(), func(t *testing.T) {
			postmap(t, nil, kind.String()+":"+path)
			if n := asDumped(t, path+".db"); n != peerEntries {
				t.Errorf("%d pairs, want %d", n, peerEntries)
			}
		})
	}
}

func TestReadSaslpasswd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sasldb2")
	set := func(user string, args ...string) {
		args = append(args, "-f", path, "-u", "example.com", user)
		run(t, []byte("secret of "+user), "saslpasswd2", args...)
	}
	for i := range 60 {
		set(fmt.Sprintf("user%d", i), "-p", "-c")
	}
	set("user7", "-d")
	set("user8", "-p")
	if n := asDumped(t, path); n != 59 {
		t.Errorf("%d pairs, want 59", n)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pairs(data)
	want := " " + hex.EncodeToString([]byte("user8\x00example.com\x00userPassword")) + "\n " + hex.EncodeToString([]byte("secret of user8"))
	if err != nil || !slices.Contains(got, want) {
		t.Errorf("no password of user8 (error %v)", err)
	}
}

// TestWriteVerified has db_verify look at our files of all shapes, and db_dump read them.
func TestWriteVerified(t *testing.T) {
	sizes := map[string][]Record{"empty": nil, "one": accessRecords(1), "table": accessRecords(peerEntries)}
	var long, twice []Record
	for i := range 1500 {
		key := append(bytes.Repeat([]byte{'k'}, i%3*400), fmt.Sprintf("%07d", i*7919%100000)...)
		long = append(long, Record{key, bytes.Repeat([]byte{byte(i)}, i*10)})
		for j := range 1 + i%7 + i/1499*2000 {
			twice = append(twice, Record{fmt.Append(nil, i), bytes.Repeat([]byte{'v'}, j*13%700)})
		}
	}
	sizes["long"], sizes["twice"] = long, twice
	for name, records := range sizes {
		for _, kind := range []Kind{Hash, Btree} {
			for _, pageSize := range []int{512, 4096, 65536} {
				if name == "table" && pageSize == 512 {
					continue // db_verify takes minutes
				}
				t.Run(fmt.Sprintf("%s-%v-%d", name, kind, pageSize), func(t *testing.T) {
					path := build(t, kind, records, Options{PageSize: pageSize, Duplicates: name == "twice"})
					if n := asDumped(t, path); n != len(records) {
						t.Errorf("%d pairs, want %d", n, len(records))
					}
				})
			}
		}
	}
}

// TestWriteLoaded: Berkeley DB can go on with our files.
func TestWriteLoaded(t *testing.T) {
	for _, kind := range []Kind{Hash, Btree} {
		path := build(t, kind, accessRecords(20_000), Options{})
		var more bytes.Buffer
		for i := range 20_000 {
			fmt.Fprintf(&more, "another%d\nvalue\n", i)
		}
		run(t, more.Bytes(), "db5.3_load", "-T", "-t", kind.String(), path)
		if n := asDumped(t, path); n != 40_000 {
			t.Errorf("%v: %d pairs, want 40000", kind, n)
		}
	}
}

// lowered makes the keys as makemap and postmap fold them, and as they look them up.
func lowered(records []Record) []Record {
	for i, r := range records {
		records[i].Key = bytes.ToLower(r.Key)
	}
	return records
}

// nul adds the NUL that Postfix, and makemap -N, end keys and values with.
func nul(records []Record) []Record {
	var with []Record
	for _, r := range records {
		with = append(with, Record{append(bytes.Clone(r.Key), 0), append(bytes.Clone(r.Value), 0)})
	}
	return with
}

func TestMakemapReadsOurs(t *testing.T) {
	records := accessRecords(peerEntries)
	for _, kind := range []Kind{Hash, Btree} {
		out := makemap(t, nil, "-u", kind.String(), build(t, kind, records, Options{}))
		got := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
		var want []string
		for _, r := range records {
			want = append(want, fmt.Sprintf("%s\t%s", r.Key, r.Value))
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%v: makemap -u prints %d lines, not the %d that were written", kind, len(got), len(want))
		}
	}
}

func TestPostmapReadsOurs(t *testing.T) {
	records := lowered(accessRecords(peerEntries))
	for _, kind := range []Kind{Hash, Btree} {
		for name, file := range map[string][]Record{"with NUL": nul(records), "without": records} {
			path := build(t, kind, file, Options{})
			var asked, want bytes.Buffer
			for i := 0; i < len(records); i += 100 {
				fmt.Fprintf(&asked, "%s\nnot.there.%d\n", records[i].Key, i)
				fmt.Fprintf(&want, "%s\t%s\n", records[i].Key, records[i].Value)
			}
			got := postmap(t, asked.Bytes(), "-q", "-", kind.String()+":"+strings.TrimSuffix(path, ".db"))
			if !bytes.Equal(got, want.Bytes()) {
				t.Errorf("%v %s: postmap -q answers %.300q, want %.300q", kind, name, got, want.Bytes())
			}
		}
	}
}

// TestSendmailReadsOurs looks keys up as access_db does, in sendmail's test mode.
func TestSendmailReadsOurs(t *testing.T) {
	records := lowered(accessRecords(peerEntries))
	for _, kind := range []Kind{Hash, Btree} {
		for name, file := range map[string][]Record{"with NUL": nul(records), "without": records} {
			path := build(t, kind, file, Options{})
			cf := write(t, "sendmail.cf", fmt.Appendf(nil, "V10/Berkeley\nO DontBlameSendmail=MapInUnsafeDirPath\n"+
				"Mprog, P=/bin/sh, F=l, S=10, R=10, A=sh\nMlocal, P=/bin/true, F=l, S=10, R=10, A=true\nKaccess %v %s\n", kind, path))
			var asked bytes.Buffer
			var want []string
			for i := 0; i < len(records); i += 500 {
				r := records[i]
				fmt.Fprintf(&asked, "/map access %s\n/map access not.there.%d\n", r.Key, i)
				want = append(want, fmt.Sprintf("map_lookup: access (%s) returns %s (0)", r.Key, r.Value),
					fmt.Sprintf("map_lookup: access (not.there.%d) no match (0)", i))
			}
			// sendmail waits a minute for a host name that has a dot.
			out := run(t, asked.Bytes(), "unshare", "--uts", "sh", "-c", `hostname mail.example.com && exec "$0" "$@"`,
				filepath.Join(peers(t), "usr/libexec/sendmail/sendmail"), "-C", cf, "-bt")
			var got []string
			for line := range strings.Lines(string(out)) {
				if line = strings.TrimPrefix(strings.TrimSpace(line), "> "); strings.HasPrefix(line, "map_lookup: ") {
					got = append(got, line)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%v %s: %d answers, want %d; %.300q, want %.300q", kind, name, len(got), len(want), got, want)
			}
		}
	}
}
