package sasldb

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatepost/maps/bdb"
	"gatepost/relay/sasl"
)

const host = "mail.example.com"

// write makes a database of keys and values.
func write(t testing.TB, path string, pairs ...string) {
	t.Helper()
	var records []bdb.Record
	for i := 0; i < len(pairs); i += 2 {
		records = append(records, bdb.Record{Key: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	var file bytes.Buffer
	if err := bdb.Write(&file, bdb.Hash, records, bdb.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// saslpasswd2File is testdata/sasldb2, which testdata/make.sh makes, where its mode can be what it is
// on a host.
func saslpasswd2File(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile("testdata/sasldb2")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "sasldb2")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSaslpasswd2 reads a file that saslpasswd2 made.
func TestSaslpasswd2(t *testing.T) {
	a, err := Open(saslpasswd2File(t), []string{host, "example.org"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ user, realm, name, password string }{
		{"joe", "", "joe", "secret of joe"},
		{"joe", host, "joe", "secret of joe"},
		{"joe@" + host, "", "joe", "secret of joe"},
		{"ann", "", "ann@example.org", "with, \"quotes\""},
		{"ann@example.org", "", "ann@example.org", "with, \"quotes\""},
		{"ann", "example.org", "ann@example.org", "with, \"quotes\""},
		{"eve@example.net", "", "eve@example.net", "pässword"},
		{"eve", "example.net", "eve@example.net", "pässword"},
		{"eve", "", "", ""},
		{"joe", "example.org", "", ""},
		{"ann", host, "", ""},
		{"gone", "", "", ""},
		{"@" + host, "", "", ""},
		{"joe@", "", "", ""},
		{"joe\x00" + host, "", "", ""},
	} {
		s, ok, err := a.Lookup(t.Context(), c.user, c.realm)
		if err != nil || ok != (c.name != "") || s.Name != c.name || s.Password != c.password {
			t.Errorf("%q in %q: %+v, %v, error %v; want %q", c.user, c.realm, s, ok, err, c.name)
		}
	}
	if u := a.Usual(); !u.Passwords || u.Iterations != 0 {
		t.Errorf("usual %+v", u)
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	one, old, text := filepath.Join(dir, "one"), filepath.Join(dir, "sasldb"), filepath.Join(dir, "text")
	write(t, one, "joe\x00"+host+"\x00PLAIN", "\x00\x00secret")
	if err := os.WriteFile(old, append([]byte("\x00\x06\x15\x61"), make([]byte, 600)...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(text, []byte(strings.Repeat("joe:secret\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	odd := filepath.Join(dir, "odd")
	write(t, odd, "joe", "RELAY")
	open := saslpasswd2File(t)
	if err := os.Chmod(open, 0o664); err != nil {
		t.Fatal(err)
	}
	for path, wants := range map[string][]string{
		one:                     {"version 1", "dbconverter-2", "saslpasswd2"},
		old:                     {"version 1", "dbconverter-2", "expected /etc/sasldb2"},
		text:                    {"not a Berkeley DB file"},
		odd:                     {"expected user, realm and property"},
		open:                    {"its mode is 0664, by which everybody on this host can read or change it"},
		filepath.Join(dir, "x"): {"no such file"},
		dir:                     {"not a regular file"},
	} {
		_, err := Open(path, []string{host}, nil)
		for _, want := range wants {
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: error %v, want %q", path, err, want)
			}
		}
	}
}

// TestFollow: saslpasswd2 writes in place.
func TestFollow(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sasldb2")
	write(t, path, "joe\x00"+host+"\x00userPassword", "one")
	a, err := Open(path, []string{host}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"two", "three"} {
		write(t, path, "joe\x00"+host+"\x00userPassword", want)
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			s, ok, _ := a.Lookup(t.Context(), "joe", "")
			if s.Password == want {
				break
			}
			if !ok || time.Now().After(end) {
				t.Fatalf("found %v, password %q, want %q", ok, s.Password, want)
			}
		}
	}
}

// TestPrepared: names in the database are found as clients send them, prepared.
func TestPrepared(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sasldb2")
	write(t, path, "zoe\u0308\x00"+host+"\x00userPassword", "pw", "bad\xff\x00"+host+"\x00userPassword", "pw", "empty\x00"+host+"\x00userPassword", "")
	a, err := Open(path, []string{host}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s, ok, _ := a.Lookup(t.Context(), "zoë", ""); !ok || s.Name != "zoë" {
		t.Errorf("%+v, %v", s, ok)
	}
	if _, ok, _ := a.Lookup(t.Context(), "empty", ""); ok {
		t.Error("an empty password is one")
	}
}

// FuzzParse: no file does harm, and what is found can be asked for.
func FuzzParse(f *testing.F) {
	data, err := os.ReadFile("testdata/sasldb2")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data, uint16(0), byte(0))
	f.Add(data, uint16(12), byte(1))
	f.Add([]byte("joe:secret"), uint16(0), byte(0))
	f.Fuzz(func(t *testing.T, data []byte, at uint16, value byte) {
		data = bytes.Clone(data)
		if int(at) < len(data) {
			data[at] = value
		}
		all, err := parse("sasldb2", data)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "sasldb2: ") {
				t.Errorf("error %v", err)
			}
			return
		}
		for key, password := range *all {
			if name, err := sasl.PrepareName(key.user); err != nil || name != key.user || password == "" {
				t.Errorf("%q: prepared %q, error %v", key, name, err)
			}
		}
	})
}
