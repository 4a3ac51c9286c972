package main

import (
	"bytes"
	"strings"
	"testing"
)

// result is what one run of the program did.
type result struct {
	code        int
	out, stderr string
}

// call runs the program with args.
func call(t *testing.T, args ...string) result {
	t.Helper()
	var out, stderr bytes.Buffer
	code := run(t.Context(), append([]string{programName}, args...), strings.NewReader(""), &out, &stderr)
	return result{code, out.String(), stderr.String()}
}

func TestCommandLine(t *testing.T) {
	for _, tc := range []struct {
		name string
		args []string
		want result
	}{
		{"nothing", nil, result{2, "", "gatepost: expected a command, see --help\n"}},
		{"no such command", []string{"lokup"}, result{2, "", "gatepost: unknown command \"lokup\", did you mean \"lookup\"?, see --help\n"}},
		{"no such flag", []string{"lookup", "--confg", "x"}, result{2, "", "gatepost: flag provided but not defined: -confg, did you mean --config?, see --help\n"}},
		{"flag before the command", []string{"--config", "x", "lookup"}, result{2, "", "gatepost: flag provided but not defined: -config, see --help\n"}},
		{"flag after the arguments", []string{"lookup", "access", "u@example.com", "--config"},
			result{2, "", "gatepost: \"--config\" stands after the arguments, expected flags before them: gatepost lookup [--config FILE] TABLE KEY\n"}},
		{"too few", []string{"lookup", "access"}, result{2, "", "gatepost: too few arguments, expected TABLE and KEY: gatepost lookup [--config FILE] TABLE KEY\n"}},
		{"too many", []string{"lookup", "access", "a", "b\x1b[31m"},
			result{2, "", "gatepost: unexpected argument \"b\\x1b[31m\", expected TABLE and KEY: gatepost lookup [--config FILE] TABLE KEY\n"}},
		{"empty flag", []string{"queue", "delete", "--sender=", "--state", "held"},
			result{2, "", "gatepost: --sender is empty, expected it to say which messages are meant\n"}},
		{"no file", []string{"test"}, result{2, "", "gatepost: too few arguments, expected FILE...: gatepost test FILE...\n"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := call(t, tc.args...); got != tc.want {
				t.Errorf("gatepost %q gave %+v, want %+v", tc.args, got, tc.want)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	if got := call(t, "--version"); got.code != 0 || !strings.HasPrefix(got.out, "gatepost version ") {
		t.Errorf("--version gave %+v, want 0 and the version", got)
	}
}
