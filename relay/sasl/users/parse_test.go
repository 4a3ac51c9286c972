package users

import (
	"os"
	"strings"
	"testing"

	"gatepost/relay/sasl"
)

// sample has the verifiers of the password "pencil", and keys of all kinds.
func sample(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile("testdata/users")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestParse(t *testing.T) {
	c, err := parse("users", []byte(sample(t)))
	if err != nil {
		t.Fatal(err)
	}
	user := c.accounts["user"]
	if len(c.accounts) != 2 || user.SCRAMSHA256.Iterations != 4096 || len(user.SCRAMSHA1.StoredKey) != 20 || user.Name != "user" ||
		user.CRAM == nil || *user.CRAM != sasl.NewCRAMKey("pencil") || user.Digest["mail.example.com"] != sasl.NewDigestKey("user", "mail.example.com", "pencil") {
		t.Errorf("accounts %+v", c.accounts)
	}
	if c.usual.Iterations != 4096 || c.usual.MaxIterations != 65536 || len(c.usual.Seed) != seedSize {
		t.Errorf("usual %+v", c.usual)
	}
}

func TestParseRefuses(t *testing.T) {
	const salt, key, sha1 = "W22ZaJ0SNY7soEsUEjb6gQ==", "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=", "6dlGYMOdZcOPutkcNY8U2g7vK9Y="
	good := "SCRAM-SHA-256$4096:" + salt + "$" + key + ":" + key
	digits := strings.Repeat("0", 32)
	if _, err := parse("users", []byte("joe:"+good+"\r\n")); err != nil {
		t.Fatal(err)
	}
	cases := map[string]string{
		"joe":                           "expected NAME:SECRET",
		":x":                            "expected NAME:SECRET",
		"joe:":                          "unknown kind",
		"joe:hunter2":                   "unknown kind",
		"joe:" + good + ",":             "unknown kind",
		"joe:" + good + "," + good:      "SCRAM-SHA-256 is there twice",
		"joe :" + good:                  "end with a space",
		" joe:" + good:                  "begin with",
		"jo\x07e:" + good:               "SASLprep",
		"jo\xffe:" + good:               "not UTF-8",
		"joe\u0308:" + good:             "expected its form after SASLprep (RFC 4013), \"joë\"",
		strings.Repeat("x", 256) + ":":  "longer than 255",
		"joe:" + good + "\njoe:" + good: "is in line 1 already",
		"joe:SCRAM-SHA-256$4096:" + salt + "$" + key:                           "expected SCRAM-SHA-256$ITERATIONS",
		"joe:SCRAM-SHA-256$4095:" + salt + "$" + key + ":" + key:               "4096 to 5000000 iterations",
		"joe:SCRAM-SHA-256$5000001:" + salt + "$" + key + ":" + key:            "4096 to 5000000 iterations",
		"joe:SCRAM-SHA-256$-4096:" + salt + "$" + key + ":" + key:              "4096 to 5000000 iterations",
		"joe:SCRAM-SHA-256$4096:AAAA$" + key + ":" + key:                       "salt: expected 8 to 64 bytes",
		"joe:SCRAM-SHA-256$4096:" + salt + "$" + sha1 + ":" + key:              "stored key: expected 32 to 32 bytes",
		"joe:SCRAM-SHA-256$4096:" + salt + "$" + key + ":" + key[1:]:           "server key: expected",
		"joe:SCRAM-SHA-1$4096:" + salt + "$" + key + ":" + key:                 "stored key: expected 20 to 20 bytes",
		"joe:CRAM-MD5$" + digits:                                               "64 hexadecimal digits",
		"joe:CRAM-MD5$" + strings.Repeat("x", 64):                              "64 hexadecimal digits",
		"joe:DIGEST-MD5$" + digits:                                             "DIGEST-MD5$REALM$KEY",
		"joe:DIGEST-MD5$a b$" + digits:                                         "DIGEST-MD5$REALM$KEY",
		"joe:DIGEST-MD5$a$" + digits[1:]:                                       "32 hexadecimal digits",
		"joe:DIGEST-MD5$a$" + digits + ",DIGEST-MD5$a$" + digits:               "for realm a is there twice",
		"joe:" + strings.Repeat("x", maxLine):                                  "more than 8192 bytes",
		":" + strings.Repeat("A", 43) + "=\n:" + strings.Repeat("A", 43) + "=": "a second seed",
	}
	for text, want := range cases {
		_, err := parse("users", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "users:") {
			t.Errorf("%.60q: error %v, want %q", text, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%.60q: the error has a secret or lines: %v", text, err)
		}
	}
}

// FuzzParse: no file does harm, and what parses is complete.
func FuzzParse(f *testing.F) {
	f.Add(sample(f))
	for line := range strings.Lines(sample(f)) {
		f.Add(line)
	}
	f.Add("joe:SCRAM-SHA-256$4096:$:")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parse("users", []byte(text))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "users:") {
				t.Errorf("no line in %v", err)
			}
			return
		}
		if len(c.accounts) != len(c.listed) {
			t.Fatalf("%d accounts, %d listed", len(c.accounts), len(c.listed))
		}
		for i, a := range c.listed {
			s := c.accounts[a.Name]
			if s.Name != a.Name || len(a.Mechanisms) == 0 || i > 0 && a.Line <= c.listed[i-1].Line {
				t.Errorf("account %+v, secrets of %q", a, s.Name)
			}
			if v := s.SCRAMSHA256; v != nil && (len(v.StoredKey) != 32 || len(v.ServerKey) != 32 || v.Iterations > c.usual.MaxIterations) {
				t.Errorf("%s: verifier %+v", a.Name, v)
			}
		}
	})
}
