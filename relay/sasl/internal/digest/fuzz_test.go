package digest

import (
	"slices"
	"strings"
	"testing"
)

// FuzzDirectives: what parses is what the same values, quoted, parse to.
func FuzzDirectives(f *testing.F) {
	for _, s := range []string{
		`charset=utf-8,username="chris",realm="elwood.innosoft.com",nonce="OA6MG9tEQGm2hh",nc=00000001,cnonce="OA6MHXh6VqTrRk",digest-uri="imap/elwood.innosoft.com",response=d388dad90d4bbd760a152321f2143af7,qop=auth`,
		`, a = "\"\\" ,, B=c ,`, `a="`, `a="\`, `a`, `a=`, `a=b c`, `a=1,A=2`, `realm=a,realm="b"`, "a=\"\x00\"",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := Parse(s, MaxResponse, "realm")
		if err != nil {
			return
		}
		var parts []string
		for name, values := range d {
			for _, value := range values {
				if name != strings.ToLower(name) || name == "" || strings.Contains(value, "\x00") || len(values) > 1 && name != "realm" {
					t.Errorf("%q=%q", name, value)
				}
				parts = append(parts, name+"="+Quote(value))
			}
		}
		text := strings.Join(parts, ",")
		if len(text) > MaxResponse {
			return
		}
		again, err := Parse(text, MaxResponse, "realm")
		if err != nil || len(again) != len(d) {
			t.Fatalf("%q: %d directives, then %d, error %v", s, len(d), len(again), err)
		}
		for name, value := range d {
			if !slices.Equal(again[name], value) {
				t.Errorf("%q: %q, then %q", name, value, again[name])
			}
		}
	})
}
