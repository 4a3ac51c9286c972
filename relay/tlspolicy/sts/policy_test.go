package sts

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

const good = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.Example.net.\r\nmax_age: 604800\r\n"

func TestParse(t *testing.T) {
	week := 604800 * time.Second
	for name, tc := range map[string]struct {
		text string
		want Policy
		err  string // the error has it; "": none
	}{
		"RFC 8461, 3.2":       {good, Policy{Enforce, []string{"mail.example.com", "*.example.net"}, week}, ""},
		"bare LF, no last":    {"version:STSv1\nmode:testing\nmx:a.example\nmax_age:604800", Policy{Testing, []string{"a.example"}, week}, ""},
		"none":                {"version: STSv1\nmode: none\nmax_age: 604800\n", Policy{None, nil, week}, ""},
		"unknown fields":      {"version: STSv1\nx-new: a: b\nmode: none\nmax_age: 604800\n", Policy{None, nil, week}, ""},
		"the first counts":    {"version: STSv1\nmode: none\nmode: enforce\nmax_age: 604800\nmax_age: 1\n", Policy{None, nil, week}, ""},
		"too long":            {"version: STSv1\nmode: none\nmax_age: 9999999999\n", Policy{None, nil, maxAge}, ""},
		"nothing":             {"", Policy{}, "version"},
		"another version":     {"version: STSv2\nmode: none\nmax_age: 1\n", Policy{}, `version: "STSv2"`},
		"no mode":             {"version: STSv1\nmax_age: 1\n", Policy{}, "mode"},
		"no age":              {"version: STSv1\nmode: none\n", Policy{}, "max_age"},
		"negative age":        {"version: STSv1\nmode: none\nmax_age: -1\n", Policy{}, "max_age"},
		"an age of 11 digits": {"version: STSv1\nmode: none\nmax_age: 00000000001\n", Policy{}, "max_age"},
		"no mx":               {"version: STSv1\nmode: enforce\nmax_age: 1\n", Policy{}, "no mx"},
		"star in the middle":  {"version: STSv1\nmode: enforce\nmx: a.*.example\nmax_age: 1\n", Policy{}, "mx"},
		"star alone":          {"version: STSv1\nmode: enforce\nmx: *\nmax_age: 1\n", Policy{}, "mx"},
		"a page":              {"<html>\n", Policy{}, "NAME: VALUE"},
		"too many mx":         {good + strings.Repeat("mx: a.example\n", maxPatterns), Policy{}, "more than 64"},
		"too big":             {good + strings.Repeat("x: y\n", maxPolicy/4), Policy{}, "over 65536 bytes"},
	} {
		got, err := Parse(tc.text)
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: error %v, want %q", name, err, tc.err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, tc.want)
		}
	}
}

func TestHas(t *testing.T) {
	p := Policy{MX: []string{"mail.example.com", "*.example.net"}}
	for host, want := range map[string]bool{
		"mail.example.com": true, "MAIL.example.com.": true, "a.example.net": true,
		"example.net": false, "a.b.example.net": false, "x.mail.example.com": false, "": false,
	} {
		if p.Has(host) != want {
			t.Errorf("Has(%q) = %v, want %v", host, !want, want)
		}
	}
}

func TestRecordID(t *testing.T) {
	for text, want := range map[string]string{
		"v=STSv1; id=20160831085700Z;":           "20160831085700Z",
		"v=STSv1;id=1":                           "1",
		"v=STSv1 ; x=y; id=a1 ;":                 "a1",
		"v=spf1 -all|v=STSv1; id=2":              "2",
		"v=STSv1; id=1|v=STSv1; id=2":            "",
		"v=STSv1; id=;":                          "",
		"v=STSv1;":                               "",
		"v=STSv1; id=a-b":                        "",
		"v=STSv10; id=1":                         "",
		"":                                       "",
		"v=STSv1; id=" + strings.Repeat("1", 33): "",
	} {
		if id, ok := recordID(strings.Split(text, "|")); ok != (want != "") || ok && id != want {
			t.Errorf("%q gave %q, %v, want %q", text, id, ok, want)
		}
	}
}

// FuzzParse gives any text to what reads policies and records: what is taken is within bounds,
// and is the same when it has been written down and read again.
func FuzzParse(f *testing.F) {
	f.Add(good)
	f.Add("version: STSv1\nmode: none\nmax_age: 0\n")
	f.Add("v=STSv1; id=20160831085700Z;")
	f.Fuzz(func(t *testing.T, text string) {
		if id, ok := recordID(strings.Split(text, "\n")); ok && !isID(id) {
			t.Errorf("id %q", id)
		}
		p, err := Parse(text)
		if err != nil {
			return
		}
		if p.MaxAge < 0 || p.MaxAge > maxAge || len(p.MX) > maxPatterns || p.Mode != None && len(p.MX) == 0 {
			t.Errorf("%+v", p)
		}
		again := fmt.Sprintf("version: STSv1\nmode: %s\nmax_age: %d\n", p.Mode, int64(p.MaxAge/time.Second))
		for _, mx := range p.MX {
			again += "mx: " + mx + "\n"
		}
		if q, err := Parse(again); err != nil || !reflect.DeepEqual(p, q) {
			t.Errorf("%q gave %+v, and that %+v, %v", text, p, q, err)
		}
	})
}
