package authinfo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatepost/maps"
	"gatepost/maps/bdb"
	"gatepost/relay/authinfo"
)

// some is a source of tokens for T:file:/t only.
type some struct{}

func (some) Source(name string) (func(context.Context, bool) (string, error), error) {
	if name != "file:/t" {
		return nil, errors.New("T: not this")
	}
	return func(context.Context, bool) (string, error) { return "token", nil }, nil
}

func write(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "authinfo")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestEntries: what a line means, or what is wrong with it.
func TestEntries(t *testing.T) {
	for _, tc := range []struct{ value, want string }{
		{`"U:joe" "P:secret"`, `user "joe" password "secret"`},
		{`U:joe P:secret`, `user "joe" password "secret"`},
		{`"u:joe" "p:secret"`, `user "joe" password "secret"`},
		{`"I:joe" "P:secret"`, `user "joe" password "secret"`},
		{`"U:joe" "I:joe" "P:secret"`, `user "joe" password "secret"`},
		{`"U:ann" "I:joe" "P:secret" "R:isp.example" "M:PLAIN login"`, `user "joe" for "ann" password "secret" realm "isp.example" by [PLAIN LOGIN]`},
		{`"U=am9l" "P=c2VjcmV0"`, `user "joe" password "secret"`},
		{`"U:joe" "P=YSJiIGM="`, `user "joe" password "a\"b c"`},
		{`"U:joe" "P:a b\c = d"`, `user "joe" password "a b\\c = d"`},
		{`"U:joe" "P:x" "M:GSSAPI KERBEROS_V4 CRAM-MD5"`, `user "joe" password "x" by [CRAM-MD5]`},
		{`"M:EXTERNAL"`, `user "" password "" by [EXTERNAL]`},
		{`"U:joe" "M:XOAUTH2" "T:file:/t"`, `user "joe" password "" by [XOAUTH2] token`},
		{`"U:joe" "T:file:/t"`, `user "joe" password "" token`},
		{`"U:joe"`, `:1: no password, expected`},
		{`"P:SECRET"`, `:1: no user, expected`},
		{`"U:joe" "P:SECRET" "X:y"`, `:1: letter 'X' is unknown, expected U, I, P, R, M or T`},
		{`"U:joe" "PSECRET"`, `:1: a word that does not begin with a letter`},
		{`"U:joe" "P:SECRET`, `:1: a quotation mark is not closed`},
		{`"U:joe" "P:SEC"RET"`, `:1: more after a closing quotation mark`},
		{`"U:joe" "P:SEC\"RET"`, `:1: more after a closing quotation mark`},
		{`"U:joe" P:SEC"RET`, `:1: a quotation mark inside a word`},
		{`"U:joe" "P=SECRET!"`, `:1: P= is not followed by base64`},
		{`"U:joe" "P=AAAA"`, `:1: P has a control character`},
		{`"U:joe" "P:"`, `:1: P has no value`},
		{`"U:joe" "P:SECRET" "P:SECRET"`, `:1: P is there twice`},
		{`"U:joe" "P:SECRET" "M:PLIAN"`, `:1: mechanism "PLIAN" in M is unknown, expected some of SCRAM-SHA-256-PLUS`},
		{`"U:joe" "P:SECRET" "M:GSSAPI"`, `:1: no mechanism in M that can be used here`},
		{`"U:joe" "P:SECRET" "M:XOAUTH2"`, `:1: no mechanism in M that can be used here`},
		{`"U:joe" "P:SECRET" "T:file:/t"`, `:1: a password (P) and a source of tokens (T)`},
		{`"U:joe" "T:file:/u"`, `:1: T: not this`},
		{`"U:joe" "T:file:/t" "M:PLAIN"`, `:1: no mechanism in M`},
		{`SECRET`, `:1: a word that does not begin`},
	} {
		path := write(t, "AuthInfo:h.example\t"+tc.value+"\n")
		table, err := authinfo.Open(maps.Spec{Path: path}, authinfo.Options{Tokens: some{}})
		if strings.HasPrefix(tc.want, ":1") {
			if err == nil || !strings.HasPrefix(err.Error(), path+tc.want) || strings.Contains(err.Error(), "SEC") {
				t.Errorf("%s: error %v, want %s", tc.value, err, tc.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tc.value, err)
			continue
		}
		c, err := table.Find(t.Context(), "H.example.", netip.Addr{})
		if c == nil || err != nil {
			t.Errorf("%s: %v, error %v", tc.value, c, err)
			continue
		}
		got := fmt.Sprintf("user %q", c.User)
		if c.Authorize != "" {
			got += fmt.Sprintf(" for %q", c.Authorize)
		}
		got += fmt.Sprintf(" password %q", c.Password)
		if c.Realm != "" {
			got += fmt.Sprintf(" realm %q", c.Realm)
		}
		if c.Mechanisms != nil {
			got += fmt.Sprintf(" by %v", c.Mechanisms)
		}
		if c.Token != nil {
			got += " token"
		}
		if got != tc.want || c.Source != path+":1" {
			t.Errorf("%s: %s at %s, want %s", tc.value, got, c.Source, tc.want)
		}
		if tried := table.Explain(t.Context(), "h.example", netip.Addr{}); len(tried) != 1 || c.Password != "" && strings.Contains(tried[0].Value, c.Password) {
			t.Errorf("%s: explained by %+v", tc.value, tried)
		}
	}
}

// TestOrder: the server's name, its address, then the entry for all.
func TestOrder(t *testing.T) {
	const text = `# logins
AuthInfo:mx.example	"U:name" "P:x"
AuthInfo:[bracket.example]	"U:bracket" "P:x"
AuthInfo:192.0.2.1	"U:v4" "P:x"
AuthInfo:IPv6:2001:DB8:0:0:0:0:0:1	"U:v6" "P:x"
`
	one := func(line string) *authinfo.Table {
		table, err := authinfo.Open(maps.Spec{Path: write(t, text+line)}, authinfo.Options{
			Clear: func(host string, addr netip.Addr) bool { return host == "mx.example" && addr.IsValid() }})
		if err != nil {
			t.Fatal(err)
		}
		return table
	}
	for _, tc := range []struct{ host, addr, want, withDefault string }{
		{"MX.example", "192.0.2.1", "name", "name"},
		{"bracket.example", "", "bracket", "bracket"},
		{"sub.mx.example", "192.0.2.1", "v4", "v4"},
		{"", "::ffff:192.0.2.1", "v4", "v4"},
		{"other.example", "2001:db8::1", "v6", "v6"},
		{"[2001:db8::1]", "", "v6", "v6"},
		{"sub.mx.example", "192.0.2.2", "", "all"},
		{"", "", "", "all"},
	} {
		for line, want := range map[string]string{"": tc.want, "AuthInfo:\t\"U:all\" \"P:x\"\n": tc.withDefault} {
			addr, _ := netip.ParseAddr(tc.addr)
			c, err := one(line).Find(t.Context(), tc.host, addr)
			got := ""
			if c != nil {
				got = c.User
			}
			if got != want || err != nil {
				t.Errorf("%s %s: user %q, error %v, want %q", tc.host, tc.addr, got, err, want)
			}
			if c != nil && c.AllowClear != (tc.host == "mx.example" && addr.IsValid()) {
				t.Errorf("%s: in clear %v", tc.host, c.AllowClear)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	const good = "AuthInfo:a.example\t\"U:joe\" \"P:SECRET\"\n"
	for name, tc := range map[string]struct{ text, want string }{
		"other key":  {good + "b.example\t\"U:joe\" \"P:SECRET\"\n", ":2: the line does not begin with AuthInfo:, expected AuthInfo:HOST"},
		"twice":      {good + "AuthInfo:A.example\t\"U:joe\" \"P:SECRET\"\n", ":2: key \"AuthInfo:A.example\" stands in line 1 already"},
		"same host":  {good + "AuthInfo:[a.example]\t\"U:joe\" \"P:SECRET\"\n", ":2: AuthInfo:a.example is there already, at "},
		"no value":   {good + "AuthInfo:b.example\n", ":2: key \"AuthInfo:b.example\" has no value"},
		"blank":      {good + " AuthInfo:b.example\t\"U:joe\" \"P:SECRET\"\n", ":2: the line begins with a blank"},
		"long":       {good + "AuthInfo:b.example\t\"U:joe\" \"P:" + strings.Repeat("S", 2000) + "\"\n", ":2: the line has 20"},
		"DOS":        {strings.ReplaceAll(good, "\n", "\r\n"), ":1: "},
		"NUL":        {good + "AuthInfo:b\x00\n", ":2: NUL byte"},
		"everything": {"\x7fELF\x01", ":1: a line without AuthInfo: at its begin"},
		"continued":  {good + "\"P:SECRET\"\n", ":2: a line without AuthInfo: at its begin"},
		"continued2": {good + "\"P:SECRET\" x\n", ":2: the line does not begin with AuthInfo:"},
	} {
		path := write(t, tc.text)
		err := authinfo.Check(maps.Spec{Path: path}, nil)
		if err == nil || !strings.HasPrefix(err.Error(), path+tc.want) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: error %v, want %s", name, err, tc.want)
		}
	}
	path := write(t, good)
	for mode, want := range map[os.FileMode]bool{0o600: true, 0o640: true, 0o400: true, 0o644: false, 0o604: false, 0o602: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if err := authinfo.Check(maps.Spec{Path: path}, nil); (err == nil) != want || err != nil && !strings.Contains(err.Error(), "chmod o= "+path) {
			t.Errorf("mode %04o: error %v", mode, err)
		}
	}
}

// TestDatabase: a .db is read, unless the text beside it is newer; both must be closed to
// others.
func TestDatabase(t *testing.T) {
	text := write(t, "AuthInfo:h.example\t\"U:text\" \"P:x\"\n")
	var out bytes.Buffer
	record := []bdb.Record{{Key: []byte("authinfo:h.example\x00"), Value: []byte("\"U:database\" \"P:x\"\x00")}}
	if err := bdb.Write(&out, bdb.Hash, record, bdb.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(text+".db", out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	spec := maps.Spec{Kind: maps.KindDB, Path: text + ".db", Beside: maps.Beside{Path: text, IfNewer: true}}
	for _, tc := range []struct {
		age  time.Duration
		want string
	}{{time.Hour, "database"}, {-time.Hour, "text"}} {
		at := time.Now().Add(-tc.age)
		if err := os.Chtimes(text, at, at); err != nil {
			t.Fatal(err)
		}
		table, err := authinfo.Open(spec, authinfo.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if c, err := table.Find(t.Context(), "h.example", netip.Addr{}); err != nil || c.User != tc.want {
			t.Errorf("text of %s ago: %v, error %v, want %s", tc.age, c, err, tc.want)
		}
	}
	if err := os.Chmod(text, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := authinfo.Check(spec, nil); err == nil {
		t.Error("a text that everybody can read is read in place of the database")
	}
}

// TestLive: edits are in force within seconds; a bad one is not, nor is one that opens the
// file to everybody.
func TestLive(t *testing.T) {
	t.Parallel()
	path := write(t, "AuthInfo:\t\"U:one\" \"P:x\"\n")
	var log bytes.Buffer
	table, err := authinfo.Open(maps.Spec{Path: path}, authinfo.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	wait := func(what string, done func(user string) bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			c, err := table.Find(t.Context(), "h", netip.Addr{})
			if err != nil || c == nil {
				t.Fatalf("%s: %v, error %v", what, c, err)
			}
			if done(c.User) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s: user is %q, fault %v", what, c.User, table.Fault())
			}
		}
	}
	edit := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	edit("AuthInfo:\t\"U:two\" \"P:x\"\n")
	wait("good edit", func(user string) bool { return user == "two" })
	edit("AuthInfo:\t\"U:three\" \"P:SECRET\n")
	wait("bad edit", func(user string) bool {
		return user == "two" && table.Fault() != nil && strings.HasPrefix(table.Fault().Error(), path+":1: ")
	})
	edit("AuthInfo:\t\"U:four\" \"P:x\"\n")
	wait("good again", func(user string) bool { return user == "four" && table.Fault() == nil })
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	wait("opened to all", func(user string) bool { return user == "four" && table.Fault() != nil })
	if strings.Contains(log.String(), "SECRET") {
		t.Errorf("logged %s", log.String())
	}
}

// TestAccess: without a table of their own entries stand in the access table, and are for
// domains and networks too.
func TestAccess(t *testing.T) {
	path := write(t, `Connect:192.0.2.9	REJECT
AuthInfo:mx.isp.example	"U:host" "P:x"
AuthInfo:isp.example	"U:domain" "P:x"
AuthInfo:192.0.2	"U:net" "P:x"
AuthInfo:IPv6:2001:db8	"U:net6" "P:x"
AuthInfo:bad.example	"U:bad"
`)
	table, err := maps.Open(maps.Spec{Name: "access", Path: path}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	a := authinfo.NewAccess(table.Map, authinfo.Options{})
	for _, tc := range []struct{ host, addr, want string }{
		{"mx.isp.example", "192.0.2.1", "host"},
		{"Other.isp.example.", "192.0.2.1", "domain"},
		{"other.example", "192.0.2.1", "net"},
		{"other.example", "2001:db8::1", "net6"},
		{"other.example", "198.51.100.1", ""},
	} {
		c, err := a.Find(t.Context(), tc.host, netip.MustParseAddr(tc.addr))
		got := ""
		if c != nil {
			got = c.User
		}
		if got != tc.want || err != nil {
			t.Errorf("%s %s: user %q, error %v, want %q", tc.host, tc.addr, got, err, tc.want)
		}
	}
	if c, err := a.Find(t.Context(), "bad.example", netip.Addr{}); c != nil || err == nil || !strings.HasPrefix(err.Error(), path+":6: no password") {
		t.Errorf("bad line: %v, error %v", c, err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if c, err := a.Find(t.Context(), "mx.isp.example", netip.Addr{}); c != nil || err == nil || !strings.Contains(err.Error(), "mode 0644") {
		t.Errorf("open to all: %v, error %v", c, err)
	}
	if c, err := a.Find(t.Context(), "other.example", netip.Addr{}); c != nil || err != nil {
		t.Errorf("open to all, no entry: %v, error %v", c, err)
	}
}

// FuzzTable: what is taken has a user and a secret, and no error shows one.
func FuzzTable(f *testing.F) {
	for _, s := range []string{`"U:joe" "P:hidden"`, `U:a I:b P:hidden R:r M:PLAIN`, `"U=am9l" "P=aGlkZGVu"`, `"M:EXTERNAL"`, `"U:joe" "T:file:/t" "M:XOAUTH2"`, `"P:hidden`, `"P:hidden"x`, "\x00", `""`} {
		f.Add("h.example", s)
	}
	f.Fuzz(func(t *testing.T, host, value string) {
		path := write(t, "AuthInfo:"+host+"\t"+value+"\n")
		table, err := authinfo.Open(maps.Spec{Path: path}, authinfo.Options{Tokens: some{}})
		if err != nil {
			word := strings.ToUpper(value)
			if strings.Contains(err.Error(), "hidden") && !strings.Contains(host, "hidden") && !strings.Contains(word, "M:") && !strings.Contains(word, "M=") && !strings.Contains(word, "AUTHINFO:") {
				t.Errorf("%q: error %v", value, err)
			}
			return
		}
		c, err := table.Find(t.Context(), host, netip.Addr{})
		if err != nil || c == nil {
			return // the host had a blank, or a line end
		}
		byCertificate := len(c.Mechanisms) == 1 && c.Mechanisms[0] == "EXTERNAL"
		if c.User == "" && !byCertificate || c.Password == "" && c.Token == nil && !byCertificate || strings.ContainsAny(c.User+c.Password+c.Authorize, "\x00\r\n") {
			t.Errorf("%q: %v", value, c)
		}
	})
}
