package config

import (
	"slices"
	"strings"
	"testing"
)

func TestAcceptRisk(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       []string
		fault      string
	}{
		{"a list", "accept_risk = [\"open_relay\", \"relay_local_from\"]\n", []string{"open_relay", "relay_local_from"}, ""},
		{"one", "accept_risk = \"open_relay\"\n", []string{"open_relay"}, ""},
		{"none", "", nil, ""},
		{"unknown name", "\naccept_risk = [\"open_relays\"]\n", nil, ":2: accept_risk[0] is \"open_relays\", expected \"open_relay\", "},
		{"wrong type", "accept_risk = true\n", nil, ":1: accept_risk is true, expected a string such as \"open_relay\", or a list of them"},
		{"empty", "accept_risk = []\n", nil, ":1: accept_risk is an empty list, expected a string such as \"open_relay\", or a list of them"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := Load(write(t, tc.text))
			if tc.fault != "" {
				if err == nil || !strings.Contains(err.Error(), tc.fault) {
					t.Fatalf("Load(%q) gave the error %v, want %q in it", tc.text, err, tc.fault)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(c.AcceptRisk, tc.want) {
				t.Errorf("Load(%q).AcceptRisk = %q, want %q", tc.text, c.AcceptRisk, tc.want)
			}
			if got, want := c.Accepts("open_relay"), slices.Contains(tc.want, "open_relay"); got != want {
				t.Errorf("Accepts(open_relay) = %v, want %v", got, want)
			}
		})
	}
}

func TestKeyLine(t *testing.T) {
	file := write(t, "host_name = \"a.example\"\n\n[features]\nnocanonify = true\nrelay_local_from = true\n")
	for path, want := range map[string]int{
		"host_name":                 1,
		"features.relay_local_from": 5,
		"features.delay_checks":     3, // the section
		"tables.access":             0,
	} {
		if got := KeyLine(file, path); got != want {
			t.Errorf("KeyLine(%q) = %d, want %d", path, got, want)
		}
	}
	if got := KeyLine(file+".none", "host_name"); got != 0 {
		t.Errorf("KeyLine of a missing file = %d, want 0", got)
	}
}
