package mailertable

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"gatepost/maps"
)

func table(t testing.TB, text string) maps.Map {
	t.Helper()
	m, _, err := maps.Parse("mt", maps.FormatAccess, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestFind(t *testing.T) {
	m := table(t, `
one.example	smtp:[mx.one.example]
.lan	smtp:[%1.lan]
.b.lan	esmtp:%0:%1:%2:%3
.c.lan	relay:a%%b
.	relay:[hub.%1]
`[1:])
	for _, tc := range []struct{ domain, keys, host string }{
		{"one.example", "one.example", "[mx.one.example]"},
		{"ONE.Example", "one.example", "[mx.one.example]"},
		{"x.one.example", "x.one.example .one.example .example .", "[hub.x.one.example]"},
		{"lan", "lan .", "[hub.lan]"},
		{"x.lan", "x.lan .lan", "[x.lan]"},
		{"x.y.lan", "x.y.lan .y.lan .lan", "[x.y.lan]"},
		{"x.y.b.lan", "x.y.b.lan .y.b.lan .b.lan", "error: mt:3: value \"esmtp:.b.lan:x.y:y:\": \".b.lan\" is no host name"},
		{"x.c.lan", "x.c.lan .c.lan", "error: mt:4: value \"relay:a%b\": \"a%b\" is no host name"},
		{"a+b.lan", "a+b.lan .", "error: mt:5: value \"relay:[hub.a+b.lan]\": \"hub.a+b.lan\" is no host name"},
	} {
		match, keys, err := Find(t.Context(), m, tc.domain)
		host := ""
		if err != nil {
			host = "error: " + err.Error()
		} else if match != nil {
			host = match.Host
		}
		if strings.Join(keys, " ") != tc.keys || host != tc.host {
			t.Errorf("%s: host %s by keys %q, want %s by %q", tc.domain, host, keys, tc.host, tc.keys)
		}
	}
	if match, keys, err := Find(t.Context(), table(t, "x.example smtp:a\n"), "y.example"); match != nil || err != nil || len(keys) != 3 {
		t.Errorf("what is not there gave %v, %q, %v", match, keys, err)
	}
}

// brokenMap cannot be asked.
type brokenMap struct{}

func (brokenMap) Lookup(context.Context, string) (maps.Entry, bool, error) {
	return maps.Entry{}, false, errors.New("no server")
}

// TestFindUnknown: what cannot be asked is not absent.
func TestFindUnknown(t *testing.T) {
	if match, _, err := Find(t.Context(), brokenMap{}, "a.example"); match != nil || err == nil {
		t.Errorf("a table that cannot be asked gave %v, %v", match, err)
	}
}

func TestValues(t *testing.T) {
	for in, want := range map[string]string{
		"smtp:mx.example":                   "smtp mx.example [mx.example]",
		"SMTP8 : [mx.example]":              "smtp8 [mx.example] [[mx.example]]",
		"dsmtp:a:b:[c]:26":                  "dsmtp a:b:[c]:26 [a:26 b:26 [c]:26]",
		"relay:[10.0.0.1]:587":              "relay [10.0.0.1]:587 [[10.0.0.1]:587]",
		"esmtp:":                            "esmtp  []",
		"smtp:ann@mx.example":               "smtp mx.example [mx.example] ann@mx.example",
		"smtp:ann@[10.0.0.9]":               "smtp [10.0.0.9] [[10.0.0.9]] ann@[10.0.0.9]",
		"smtp:ann@a:b":                      "error: value \"smtp:ann@a:b\": expected one host without a port after user@, it becomes part of the address",
		"smtp:@a":                           "error: value \"smtp:@a\": expected user@host after the mailer",
		"smtp:a b@c":                        "error: value \"smtp:a b@c\": expected user@host after the mailer",
		"local:":                            "local  []",
		"local:joe":                         "local  [] joe",
		"local:joe@other.example":           "local  [] joe",
		"local:@other.example":              "error: value \"local:@other.example\": expected a user and no more after local",
		"discard":                           "discard  []",
		"Discard:":                          "discard  []",
		"discard:x":                         "discard x []",
		"lmtp:[127.0.0.1]:24":               "lmtp [127.0.0.1]:24 [[127.0.0.1]:24]",
		"lmtp:mail.lan":                     "lmtp mail.lan [[mail.lan]]",
		"lmtp:unix:/run/lmtp":               "lmtp unix:/run/lmtp [] at /run/lmtp",
		"lmtp:unix:run":                     "error: value \"lmtp:unix:run\": expected a path of at most 107 bytes that begins with / after lmtp:unix: such as /run/lmtp",
		"lmtp:":                             "error: value \"lmtp:\": a host is missing",
		"error:5.7.1:550 No. Go":            "error 5.7.1 [] 550 5.7.1 No. Go",
		"error:5.7.1:No. Go":                "error 5.7.1 [] 553 5.7.1 No. Go",
		"error:4.7.0:450 later":             "error 4.7.0 [] 450 4.7.0 later",
		"error:4.7.0:later":                 "error 4.7.0 [] 450 4.7.0 later",
		"error:nohost:No such host":         "error nohost [] 553 5.1.2 No such host",
		"error:tempfail:wait":               "error tempfail [] 450 4.0.0 wait",
		"error:550 text":                    "error  [] 550 5.0.0 text",
		"error:550:text":                    "error  [] 550 5.0.0 text",
		"error:550 5.1.6 moved":             "error  [] 550 5.1.6 moved",
		`error:5.1.1:"550 a: b"`:            "error 5.1.1 [] 550 5.1.1 a: b",
		"error:some words":                  "error  [] 553 5.3.0 some words",
		"error:":                            "error: value \"error:\": error: has no text",
		"error:5.1.1:":                      "error: value \"error:5.1.1:\": error: has no text",
		"error:5.1.1:450 x":                 "error: value \"error:5.1.1:450 x\": 450 and 5.1.1 do not go together, expected both to begin with 4 or with 5",
		"error:250 fine":                    "error: value \"error:250 fine\": reply code 250: expected 400 to 599",
		"mx.example":                        "error: value \"mx.example\" has no mailer, " + expected,
		"[10.0.0.1]:25":                     "error: value \"[10.0.0.1]:25\" has no mailer, " + expected,
		"":                                  "error: value \"\" has no mailer, " + expected,
		"procmail:/etc/rc":                  "error: value \"procmail:/etc/rc\": unknown mailer procmail, expected smtp, esmtp, smtp8, dsmtp, relay, local, lmtp, error or discard",
		"smtp:a..b":                         "error: value \"smtp:a..b\": \"a..b\" is no host name",
		"smtp:" + strings.Repeat("a", 3000): "error: a value of 3005 bytes, expected at most 2048",
	} {
		v, err := parse(in)
		got := fmt.Sprint(v.Mailer, " ", v.Host, " ", v.Hops)
		for _, more := range []string{v.User, v.Reply.String()} {
			if more != "" {
				got += " " + more
			}
		}
		if v.Socket != "" {
			got += " at " + v.Socket
		}
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != want {
			t.Errorf("%q\n gave %s\n want %s", in, got, want)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, tc := range []struct {
		key, value string
		local      bool
		want       string
	}{
		{".lan", "smtp:[%1.lan]", false, ""},
		{"x.lan", "smtp:[%1.lan]", false, `value "smtp:[.lan]": ".lan" is no host name`},
		{".", "smtp:%1", false, ""},
		{".", "lmtp:unix:/run/%1", false, `value "lmtp:unix:/run/%1": expected no % in a path`},
		{".", "smtp:%1.%3", false, ""},
		{"x.lan", "local:joe", true, ""},
		{"x.lan", "local:joe", false, `value "local:joe": relay.local_mail refuses local mail, expected local_mail to be set`},
	} {
		got := ""
		if err := Check(tc.local)(tc.key, tc.value); err != nil {
			got = err.Error()
		}
		if got != tc.want {
			t.Errorf("%s %s: %q, want %q", tc.key, tc.value, got, tc.want)
		}
	}
}

// FuzzFind: whatever a table and a domain are, an answer has somewhere to go to, and no
// domain makes more hosts of a value than the administrator wrote.
func FuzzFind(f *testing.F) {
	for _, s := range [][2]string{
		{"smtp:[%1.lan]", "a.b.lan"}, {"relay:%1:%2:%0", "x.y.lan"}, {"error:5.1.1:550 %1", "a.lan"}, {"local:%1", "joe.lan"},
		{"lmtp:unix:/run/%1", "a.lan"}, {"smtp:u@%1", "h.lan"}, {"%%%", "..lan"}, {"smtp:a,b:26", "a:b.lan"},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, value, domain string) {
		m := entries{".lan": value, ".": value}
		match, keys, err := Find(t.Context(), m, domain)
		if len(keys) == 0 || len(keys) > 2+strings.Count(domain, ".") {
			t.Fatalf("%q has %d keys", domain, len(keys))
		}
		if err != nil || match == nil {
			return
		}
		switch match.Mailer {
		case Local, Discard:
		case Error:
			if match.Reply.IsZero() {
				t.Fatalf("%q for %q refuses with nothing", value, domain)
			}
		case LMTP:
			if len(match.Hops) == 0 && match.Socket == "" {
				t.Fatalf("%q for %q goes nowhere", value, domain)
			}
		default:
			if len(match.Hops) == 0 && match.Host != "" {
				t.Fatalf("%q for %q goes nowhere", value, domain)
			}
		}
	})
}

type entries map[string]string

func (e entries) Lookup(_ context.Context, key string) (maps.Entry, bool, error) {
	v, found := e[key]
	return maps.Entry{Value: v}, found, nil
}
