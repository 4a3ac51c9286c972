package maps_test

import (
	"reflect"
	"testing"

	"gatepost/maps"
)

func TestOccurrences(t *testing.T) {
	at := func(line int, value string) maps.Entry {
		return maps.Entry{Value: value, Source: maps.Source{File: "f", Line: line}}
	}
	for _, tc := range []struct {
		name   string
		format maps.Format
		text   string
		key    string
		want   []maps.Entry
	}{
		{"none", maps.FormatAccess, "a OK\n", "b", nil},
		{"empty key", maps.FormatAccess, "a OK\n", "", nil},
		{"one", maps.FormatAccess, "# a\na OK\n", "A", []maps.Entry{at(2, "OK")}},
		{"twice, skipped lines between", maps.FormatAccess, "To:A REJECT\n to:a OK\nto:a\nb x\nTO:a\tRELAY", "to:A", []maps.Entry{at(1, "REJECT"), at(5, "RELAY")}},
		{"words of a class", maps.FormatClass, "friend.org # x\nFriend.org x\nx friend.org\nnotfriend.org\n", "friend.org",
			[]maps.Entry{at(1, ""), at(2, "")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text, _, err := maps.Parse("f", tc.format, []byte(tc.text))
			if err != nil {
				t.Fatal(err)
			}
			if got := text.Occurrences(tc.key); !reflect.DeepEqual(got, tc.want) {
				t.Errorf("Occurrences(%q) in %q = %v, want %v", tc.key, tc.text, got, tc.want)
			}
			if text.File() != "f" {
				t.Errorf("File() = %q, want f", text.File())
			}
		})
	}
	class := maps.NewClass("this host", []string{"a", "b"})
	if got, want := class.Occurrences("b"), []maps.Entry{{Source: maps.Source{File: "this host"}}}; !reflect.DeepEqual(got, want) {
		t.Errorf("Occurrences in a class of the program = %v, want %v", got, want)
	}
}
