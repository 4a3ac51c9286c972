package setup

import "testing"

// TestMessage: a text without quotes is kept to the letter, with its macros.
func TestMessage(t *testing.T) {
	for in, want := range map[string]string{
		"":                           "",
		"550 Go away, please":        `"550 Go away, please"`,
		`"550 " $&{client_addr} "x"`: `"550 " $&{client_addr} "x"`,
		"550 5.7.1 $&{client_addr} is listed, see https://x.example/": `"550 5.7.1 " $&{client_addr} " is listed, see https://x.example/"`,
		"550 at $j":             `"550 at " $j`,
		"550 ${client_name}$&s": `"550 " ${client_name} $&s`,
		"550 $":                 `"550 " $`,
		"550 $&{open":           `"550 " $&{open`,
	} {
		if got := message(in); got != want {
			t.Errorf("message(%q) = %q, want %q", in, got, want)
		}
	}
}
