package program

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"":                       "",
		"plain é ü 日本":           "plain é ü 日本",
		`back\slash`:             `back\slash`,
		"a\nb\tc\rd":             `a\nb\tc\x0dd`,
		"\x1b[2J":                `\x1b[2J`,
		"\x7f\x00":               `\x7f\x00`,
		"\u009b31m":              `\u009b31m`,
		"\xff\xfe":               `\xff\xfe`,
		"right\u202eleft":        `right\u202eleft`,
		"zero\u200bwidth":        `zero\u200bwidth`,
		"line\u2028paragraph":    `line\u2028paragraph`,
		"said \ufffd itself":     `said \ufffd itself`,
		"no-break\u00a0space ok": "no-break\u00a0space ok",
	} {
		if got := Printable(in); got != want {
			t.Errorf("Printable(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("a\x1b\u202e\xff")
	f.Fuzz(func(t *testing.T, s string) {
		got := Printable(s)
		if strings.ContainsFunc(got, unprintable) {
			t.Errorf("Printable(%q) = %q", s, got)
		}
		if again := Printable(got); again != got {
			t.Errorf("Printable(%q) = %q, and of that %q", s, got, again)
		}
	})
}

// app is a program with one command, whose action gives err or checks arguments.
func app(action cli.ActionFunc) *cli.App {
	a := NewApp("tool", "test things", "dev")
	a.Flags = []cli.Flag{ConfigFlag()}
	a.Action = action
	return a
}

func TestRun(t *testing.T) {
	for _, tc := range []struct {
		name   string
		err    error
		code   int
		stderr string
	}{
		{"fine", nil, 0, ""},
		{"temporary", errors.New("no answer"), 75, "tool: no answer\n"},
		{"usage", Usage(errors.New("what?")), 2, "tool: what?\n"},
		{"usage, wrapped", fmt.Errorf("a: %w", Usage(errors.New("b"))), 2, "tool: a: b\n"},
		{"several", Usage(errors.Join(errors.New("a"), errors.New("b\x1b"))), 2, "tool: a\ntool: b\\x1b\n"},
		{"said already", Exit(ExitWrong), 1, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out, stderr bytes.Buffer
			code := Run(t.Context(), app(func(*cli.Context) error { return tc.err }), []string{"tool"}, &out, &stderr)
			if code != tc.code || stderr.String() != tc.stderr || out.Len() > 0 {
				t.Errorf("%v ended with %d, %q and %q, want %d and %q", tc.err, code, stderr.String(), out.String(), tc.code, tc.stderr)
			}
		})
	}
}

func TestNoArguments(t *testing.T) {
	var out, stderr bytes.Buffer
	code := Run(t.Context(), app(NoArguments), []string{"tool", "x"}, &out, &stderr)
	if want := "tool: unexpected argument \"x\", see --help\n"; code != 2 || stderr.String() != want {
		t.Errorf("ended with %d and %q, want 2 and %q", code, stderr.String(), want)
	}
	if code := Run(t.Context(), app(NoArguments), []string{"tool"}, &out, &stderr); code != 0 {
		t.Errorf("without arguments it ended with %d", code)
	}
}

func TestLoadConfig(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good"), filepath.Join(dir, "bad")
	for path, text := range map[string]string{good: "host_name = \"mx.example.com\"\n", bad: "x = 1\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name string
		args []string
		host string
		want string
	}{
		{"named", []string{"--config", good}, "mx.example.com", ""},
		{"named but missing", []string{"--config", filepath.Join(dir, "none")}, "", "no such file"},
		{"broken", []string{"--config", bad}, "", "bad:1: unknown key x"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out, stderr bytes.Buffer
			Run(t.Context(), app(func(c *cli.Context) error {
				cfg, err := LoadConfig(c)
				if err == nil && cfg.HostName != tc.host {
					t.Errorf("host name %q, want %q", cfg.HostName, tc.host)
				}
				return err
			}), append([]string{"tool"}, tc.args...), &out, &stderr)
			if !strings.Contains(stderr.String(), tc.want) || (tc.want == "") != (stderr.Len() == 0) {
				t.Errorf("stderr %q, want in it %q", stderr.String(), tc.want)
			}
		})
	}
}

// TestDefaultConfigMayBeMissing: only the default file, and only when it is not there.
func TestDefaultConfigMayBeMissing(t *testing.T) {
	a := app(func(c *cli.Context) error {
		cfg, err := LoadConfig(c)
		if err == nil && cfg.File != "" {
			t.Errorf("read %q, want the defaults", cfg.File)
		}
		return err
	})
	a.Flags = []cli.Flag{&cli.StringFlag{Name: "config", Value: filepath.Join(t.TempDir(), "none")}}
	var out, stderr bytes.Buffer
	if code := Run(t.Context(), a, []string{"tool"}, &out, &stderr); code != 0 {
		t.Errorf("ended with %d and %q, want the defaults", code, stderr.String())
	}
}

func TestVersion(t *testing.T) {
	if got := Version("1.2.3"); got != "1.2.3" {
		t.Errorf("Version(1.2.3) = %q", got)
	}
	if got := Version("dev"); got == "" {
		t.Error("Version(dev) is empty")
	}
}
