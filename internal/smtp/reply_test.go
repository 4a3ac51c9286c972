package smtp

import (
	"strings"
	"testing"
)

func TestEnhancedCode(t *testing.T) {
	for s, want := range map[string]bool{
		"5.07.1": true, "5.7.001": true, "5.7.1": true, "4.3.0": true, "2.0.0": true, "5.123.999": true,
		"3.7.1": false, "5.7": false, "5.7.1.1": false, "5.7.1000": false, "5..1": false, "a.b.c": false, "": false, "5.-7.1": false, "5.+7.1": false,
	} {
		e, ok := ParseEnhancedCode(s)
		if ok != want || ok && e.String() != s {
			t.Errorf("%q: %v %q, want %v", s, ok, e, want)
		}
	}
}

func TestNewReply(t *testing.T) {
	e := EnhancedCode{Class: 5, Subject: 7, Detail: 1}
	cases := []struct {
		name string
		code int
		text string
		ok   bool
	}{
		{"plain", 550, "Relaying denied", true},
		{"two lines", 550, "one\ntwo", true},
		{"success code", 250, "fine", false},
		{"code too high", 600, "x", false},
		{"carriage return", 550, "a\rb", false},
		{"NUL", 550, "a\x00b", false},
		{"longest line", 550, strings.Repeat("a", MaxReplyLine), true},
		{"line too long", 550, strings.Repeat("a", MaxReplyLine+1), false},
		{"most lines", 550, strings.Repeat("a\n", MaxReplyLines-1) + "a", true},
		{"too many lines", 550, strings.Repeat("a\n", MaxReplyLines) + "a", false},
	}
	for _, c := range cases {
		if _, err := NewReply(c.code, e, c.text); (err == nil) != c.ok {
			t.Errorf("%s: error %v, want ok %v", c.name, err, c.ok)
		}
	}
}

func TestReplyAligned(t *testing.T) {
	r, err := NewReply(452, EnhancedCode{Class: 5, Subject: 7, Detail: 1}, "later")
	if err != nil {
		t.Fatal(err)
	}
	if got := r.String(); got != "452 5.7.1 later" {
		t.Errorf("reply %q", got)
	}
	if got := r.Aligned().String(); got != "452 4.7.1 later" {
		t.Errorf("aligned %q", got)
	}
}
