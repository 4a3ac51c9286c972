package smtp

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseNextHops(t *testing.T) {
	for in, want := range map[string]string{
		"example.org":                           "example.org",
		"Example.ORG.":                          "example.org",
		"example.org:26":                        "example.org:26",
		"[mx.example.org]":                      "[mx.example.org]",
		"[mx.example.org]:587":                  "[mx.example.org]:587",
		"a.example:[b.example]":                 "a.example [b.example]",
		"a.example,b.example:26":                "a.example:26 b.example:26",
		"a:25:[b]:26:c":                         "a:25 [b]:26 c",
		"192.0.2.1":                             "[192.0.2.1]",
		"[192.0.2.1]:587":                       "[192.0.2.1]:587",
		"2001:db8::1":                           "[IPv6:2001:db8::1]",
		"[IPv6:2001:db8::1]:25":                 "[IPv6:2001:db8::1]:25",
		"[2001:DB8::1]:[10.0.0.1]":              "[IPv6:2001:db8::1] [10.0.0.1]",
		"[::ffff:192.0.2.1]":                    "[192.0.2.1]",
		" a.example : b.example ":               "a.example b.example",
		"":                                      "error: a host is missing",
		"a.example:":                            "error: a host is missing",
		":587":                                  "error: a host is missing",
		"587":                                   `error: "587" is no port of a host before it, 1 to 65535`,
		"a:587:588":                             `error: "588" is no port of a host before it, 1 to 65535`,
		"a:0":                                   `error: "0" is no port of a host before it, 1 to 65535`,
		"a:65536":                               `error: "65536" is no port of a host before it, 1 to 65535`,
		"[]":                                    "error: a host is missing",
		"[a":                                    `error: "[a" is no host in brackets, expected [HOST]`,
		"[a]b":                                  `error: "[a]b" is no host in brackets, expected [HOST]`,
		"a b":                                   `error: "a b" is no host name`,
		"a..b":                                  `error: "a..b" is no host name`,
		"u@a.example":                           `error: "u@a.example" is no host name`,
		"1.2.3":                                 `error: "1.2.3" is no host name`,
		strings.Repeat("a:", MaxNextHops) + "a": "error: more than 20 hosts",
	} {
		hops, err := ParseNextHops(in)
		words := make([]string, len(hops))
		for i, h := range hops {
			words[i] = h.String()
		}
		got := strings.Join(words, " ")
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != want {
			t.Errorf("%q gave %s, want %s", in, got, want)
		}
	}
}

func TestCutMailer(t *testing.T) {
	for in, want := range map[string]string{
		"smtp:[mx.lan]":   "smtp [mx.lan] true",
		"SMTP : mx.lan":   "smtp mx.lan true",
		"local:":          "local  true",
		"error:5.7.1:550": "error 5.7.1:550 true",
		"mx.lan:587":      " mx.lan:587 false",
		"[mx.lan]:587":    " [mx.lan]:587 false",
		"mx.lan":          " mx.lan false",
		":x":              " :x false",
	} {
		mailer, rest, ok := CutMailer(in)
		if got := fmt.Sprint(mailer, " ", rest, " ", ok); got != want {
			t.Errorf("%q gave %q, want %q", in, got, want)
		}
	}
}

// FuzzParseNextHops: what is read can be written, and is read again as the same.
func FuzzParseNextHops(f *testing.F) {
	for _, s := range []string{"a.example:[b]:587", "[IPv6:2001:db8::1]:25,c", "2001:db8::1", "[a", "a:0", "::", "[]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		hops, err := ParseNextHops(in)
		if err != nil {
			return
		}
		if len(hops) == 0 || len(hops) > MaxNextHops {
			t.Fatalf("%q gave %d hops", in, len(hops))
		}
		words := make([]string, len(hops))
		for i, h := range hops {
			words[i] = h.String()
			again, err := ParseNextHops(words[i])
			if err != nil || len(again) != 1 || again[0] != h {
				t.Fatalf("%q gave %+v, written %q, which gave %+v, %v", in, h, words[i], again, err)
			}
		}
	})
}
