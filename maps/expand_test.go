package maps

import "testing"

func TestExpand(t *testing.T) {
	for value, want := range map[string]string{
		"smtp:[mx.example]": "smtp:[mx.example]",
		"smtp:[%1.lan]":     "smtp:[a.lan]",
		"%0 %1 %2 %3|":      "k a b |",
		"100%%, %x, %":      "100%, %x, %",
	} {
		if got := Expand(value, "k", "a", "b"); got != want {
			t.Errorf("%q becomes %q, want %q", value, got, want)
		}
	}
}
