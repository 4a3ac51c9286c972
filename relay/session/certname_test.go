package session

import (
	"encoding/asn1"
	"strings"
	"testing"

	"gatepost/internal/certtest"
)

var (
	oidCN    = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidEmail = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}
)

// oddNames are names whose one-line form is not what one would write at once.
func oddNames() map[string][][]certtest.Attribute {
	one := func(oid asn1.ObjectIdentifier, tag int, value string) [][]certtest.Attribute {
		return [][]certtest.Attribute{{{Type: oid, Tag: tag, Value: value}}}
	}
	const utf8, printable, ia5, t61, bmp = asn1.TagUTF8String, asn1.TagPrintableString, asn1.TagIA5String, asn1.TagT61String, asn1.TagBMPString
	return map[string][][]certtest.Attribute{
		"plain":              one(oidCN, utf8, "alice.example.com"),
		"blanks and so on":   one(oidCN, utf8, `bob <bob@example.com> (R&D) "x" \ +1 /etc`),
		"umlauts":            one(oidCN, utf8, "Jürgen Müller"),
		"Latin 1":            one(oidCN, t61, "J\xfcrgen"),
		"control characters": one(oidCN, utf8, "a\tb\x7f"),
		"NUL":                one(oidCN, utf8, "good.example\x00.evil"),
		"two bytes each":     one(oidCN, bmp, "\x00a\x00b\x01\x02"),
		"four bytes each":    one(oidCN, 28, "\x00\x00\x00a\x00\x00\x00b"),
		"empty value":        one(oidCN, utf8, ""),
		"email":              one(oidEmail, ia5, "a@b.example"),
		"unknown type":       one(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, utf8, "x"),
		"domain components":  {{{Type: asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}, Tag: ia5, Value: "com"}}, {{Type: oidCN, Tag: printable, Value: "x"}}},
		"order":              {{{Type: oidCN, Tag: utf8, Value: "first"}}, {{Type: asn1.ObjectIdentifier{2, 5, 4, 6}, Tag: printable, Value: "US"}}, {{Type: oidCN, Tag: utf8, Value: "last"}}},
		"a set of two":       {{{Type: oidCN, Tag: utf8, Value: "a"}, {Type: oidEmail, Tag: ia5, Value: "a@b"}}, {{Type: oidCN, Tag: utf8, Value: "b"}}},
		"injected attribute": one(oidCN, utf8, "x/O=Example Corp"),
		"long":               {{{Type: oidCN, Tag: utf8, Value: strings.Repeat("x", 200)}}, {{Type: oidCN, Tag: utf8, Value: strings.Repeat("y", 46)}}},
	}
}

func TestCertName(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"/C=US/O=Example Corp/OU=R (and) D/CN=bob <bob@example.com>", "/C=US/O=Example+20Corp/OU=R+20+28and+29+20D/CN=bob+20+3Cbob@example.com+3E"},
		{"/CN=a+b\"c\\d", "/CN=a+5C+2Bb+22c+5Cd"},
		{"/CN=ü", "/CN=+5CxC3+5CxBC"},
		{"/CN=" + strings.Repeat("x", 251), "/CN=" + strings.Repeat("x", 251)},
		{"/CN=" + strings.Repeat("x", 252), ""},
	} {
		if got := certName(certtest.Name(t, tt.in)); got != tt.want {
			t.Errorf("%s is %q, want %q", tt.in, got, tt.want)
		}
	}
	if got := certName([]byte{0x30, 0x84, 0xff}); got != "" {
		t.Errorf("no name is %q", got)
	}
}

// FuzzCertName: a name that is not "" has no characters that an access entry or a log
// line could be hurt by.
func FuzzCertName(f *testing.F) {
	for _, sets := range oddNames() {
		f.Add(certtest.DER(f, sets))
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		name := certName(der)
		if len(name) > 3*longestCertName || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`\()<>"`, r) }) {
			t.Fatalf("%x is %q", der, name)
		}
	})
}
