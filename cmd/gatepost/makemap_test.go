package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestMakemap(t *testing.T) {
	name := filepath.Join(t.TempDir(), "access")
	call := func(stdin string, args ...string) (code int, out, errs string) {
		var o, e strings.Builder
		code = run(t.Context(), append([]string{programName, "makemap"}, args...), strings.NewReader(stdin), &o, &e)
		return code, o.String(), e.String()
	}
	for _, c := range []struct {
		stdin string
		args  []string
		code  int
		out   string
		errs  string
	}{
		{"a b\nnov\nc d\n", []string{"hash", name}, 1, "", "makemap: NAME: line 2: no RHS for LHS nov\n"},
		{"", []string{"-u", "hash", name}, 0, "a\tb\nc\td\n", ""},
		{"Q:r\n", []string{"-Nvoft:", "hash", name}, 0, "key=`Q', val=`r'\n", ""},
		{"", []string{"-u", "-t", "=", "hash", name}, 0, "Q=r\na=b\nc=d\n", ""},
		{"", []string{"-l"}, 0, "hash\nbtree\ncdb\n", ""},
		{"", []string{"-s", "-c", "4096", "-C", "/etc/mail/sendmail.cf", "cdb", name}, 0, "", ""},
		{"", []string{"-x", "hash", name}, 2, "", "gatepost: unknown flag -x, see --help\n"},
		{"", []string{"-t"}, 2, "", "gatepost: flag -t has no value\n"},
		{"", []string{"-tab", "hash", name}, 2, "", "gatepost: flag -t is followed by \"ab\", expected one character\n"},
		{"", []string{"hash"}, 2, "", "gatepost: expected TYPE and FILE, see --help\n"},
		{"", []string{"ndbm", name}, 2, "", "gatepost: unknown type \"ndbm\", expected hash, btree or cdb\n"},
	} {
		code, out, errs := call(c.stdin, c.args...)
		lines := strings.SplitAfter(out, "\n")
		if c.args[0] == "-u" {
			lines = sorted(lines)
		}
		if code != c.code || strings.Join(lines, "") != c.out || strings.ReplaceAll(errs, name, "NAME") != c.errs {
			t.Errorf("makemap %q gave %d, %q, %q; want %d, %q, %q", c.args, code, out, errs, c.code, c.out, c.errs)
		}
	}
	if code, out, _ := call("", "--help"); code != 0 || !strings.Contains(out, "TYPE is hash, btree or cdb") {
		t.Errorf("--help gave %d, %s", code, out)
	}
}

func sorted(lines []string) []string {
	lines = slices.Clone(lines)
	slices.SortFunc(lines, func(a, b string) int {
		if a == "" || b == "" { // what follows the last newline stays last
			return strings.Compare(b, a)
		}
		return strings.Compare(a, b)
	})
	return lines
}
