package maps

import "testing"

func TestPatterns(t *testing.T) {
	p, err := parsePatterns("/r", "# comment\n"+`/^from:.*@([^.]+\.)?spam\.example$/	REJECT
/^Connect:dyn[0-9]+\./i  550 5.7.1 no dial-up hosts
/a\/b/ DISCARD
/^to:/ OK
`)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"From:joe@spam.example":   "REJECT @/r:2",
		"From:joe@x.spam.example": "REJECT @/r:2",
		"From:joe@notspam.org":    "-",
		"Connect:dyn12.isp.net":   "550 5.7.1 no dial-up hosts @/r:3",
		"connect:dyn12.isp.net":   "-",
		"xa/by":                   "DISCARD @/r:4",
		"TO:anyone":               "OK @/r:5",
	} {
		if got := lookupText(t, p, key); got != want {
			t.Errorf("Lookup(%q) = %s, want %s", key, got, want)
		}
	}
	if p.Len() != 4 || p.Size() == 0 {
		t.Errorf("Len() = %d, Size() = %d", p.Len(), p.Size())
	}
}

func TestPatternsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"a OK":       `/r:1: the line has no expression between slashes, expected /EXPRESSION/ and a value`,
		"/a OK":      `/r:1: the line has no expression between slashes, expected /EXPRESSION/ and a value`,
		`/a\/ OK`:    `/r:1: the line has no expression between slashes, expected /EXPRESSION/ and a value`,
		"\n// OK":    `/r:2: the expression is empty and would match every key`,
		"/a/x OK":    `/r:1: flag "x" after the expression, expected i or none`,
		"/a/":        `/r:1: expression /a/ has no value`,
		"/(/ REJECT": "/r:1: expression /(/: error parsing regexp: missing closing ): `(?i)(`",
	} {
		if _, err := parsePatterns("/r", text); err == nil || err.Error() != want {
			t.Errorf("%q gave %v, want %s", text, err, want)
		}
	}
}

func FuzzPatterns(f *testing.F) {
	f.Add("/^from:.*$/i OK\n", "From:a")
	f.Add(`/a\/b\\/ x`, `a/b\`)
	f.Fuzz(func(t *testing.T, text, key string) {
		if p, err := parsePatterns("/r", text); err == nil {
			lookupText(t, p, key)
		}
	})
}
