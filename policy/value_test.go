package policy

import "testing"

// TestNormalise has the examples of sendmail's own behaviour: blanks beside
// punctuation go, one stays between words.
func TestNormalise(t *testing.T) {
	for in, want := range map[string]string{
		"No spam, please":                   "No spam,please",
		"gone; try later":                   "gone;try later",
		"a  b":                              "a b",
		"see http://x/y":                    "see http://x/y",
		"5.2 GB":                            "5.2 GB",
		"100% blocked + logged":             "100%blocked+logged",
		"x (c) y":                           "x y",
		`ERROR:5.7.1:"550 Go away, please"`: `ERROR:5.7.1:"550 Go away, please"`,
		"REJECT ":                           "REJECT",
		"REJECT # why":                      "REJECT # why",
		"unclosed (comment":                 "unclosed(comment",
		`unclosed "quote`:                   `unclosed"quote`,
		"":                                  "",
	} {
		if got := normalise(in); got != want {
			t.Errorf("normalise(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestErrorReply has the forms of error values (cf/README, "error").
func TestErrorReply(t *testing.T) {
	for in, want := range map[string]string{
		"ERROR:5.7.1:550 No spam":        "550 5.7.1 No spam",
		"ERROR:550 No spam":              "550 5.0.0 No spam",
		"550 No spam":                    "550 5.0.0 No spam",
		"550 5.7.9 No spam":              "550 5.7.9 No spam",
		"ERROR:5.7.1:550 5.2.2 own code": "550 5.2.2 own code",
		"ERROR:4.7.1:550 x":              "550 4.7.1 x",
		"ERROR:a.b.c:550 x":              "550 5.0.0 x",
		"ERROR:5.7.1:no code":            "553 5.3.0 no code",
		"No spam":                        "553 5.3.0 No spam",
		"550":                            "553 5.3.0 550",
		"550-5.7.1 x":                    "553 5.3.0 550-5.7.1 x",
		"REJECT now":                     "553 5.3.0 REJECT now",
		"DISCARD:x":                      "553 5.3.0 DISCARD:x",
		"QUARANTINE":                     "553 5.3.0 QUARANTINE",
		"error:421 bye":                  "421 4.0.0 bye",
	} {
		r, err := errorReply(normalise(in))
		if err != nil || r.String() != want {
			t.Errorf("%q: got %q, %v; want %q", in, r, err, want)
		}
	}
}

func TestUptoBracket(t *testing.T) {
	for in, want := range map[string]string{
		"Mailbox for <you>": "Mailbox for<you",
		`550 "a > b" c`:     `550"a > b"c`,
		"550 plain":         "550 plain",
	} {
		if got := uptoBracket(normalise(in)); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestCheckAccess(t *testing.T) {
	cases := []struct {
		key, val string
		ok       bool
	}{
		{"connect:10", "REJECT", true},
		{"10.1", "RELAY", true},
		{"ipv6:2001:db8", "OK", true},
		{"from:spam.test", "ERROR:5.7.1:550 no", true},
		{"to:u@", "some text", true},
		{"from:spam.test", "ERROR:", false},
		{"from:spam.test", "ERROR:5.7.1:", true}, // the text is "5.7.1:"
		{"from:spam.test", "250 fine", false},
		{"from:spam.test", "ERROR:5.7.1:250 fine", false},
		{"spam.test", "999 x", false},
		{"greetpause:10", "0", true},
		{"certissuer:/c=us", "SUBJECT", true},
		{"spam:u@example.com", "FRIEND", true},
	}
	for _, c := range cases {
		if err := CheckAccess(c.key, c.val); (err == nil) != c.ok {
			t.Errorf("%s %s: error %v, want ok %v", c.key, c.val, err, c.ok)
		}
	}
}
