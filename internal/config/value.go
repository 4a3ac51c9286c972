package config

import (
	"fmt"
	"math"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// value is one value of the document. Its methods give it as a Go type, or
// report what is wrong and give false.
type value struct {
	r    *reader
	path string
	v    any
}

// wrong reports what was expected at v, and what stands there instead.
func (v value) wrong(format string, args ...any) {
	v.r.fault(v.path, "%s is %s, %s", v.path, describe(v.v), fmt.Sprintf(format, args...))
}

// describe names a value in a message: strings and numbers as written, others by their kind.
func describe(v any) string {
	switch v := v.(type) {
	case string:
		if len(v) > 80 {
			v = strings.ToValidUTF8(v[:80], "") + "..."
		}
		return strconv.Quote(v)
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return "the number " + strconv.FormatInt(v, 10)
	case float64:
		return "the number " + strconv.FormatFloat(v, 'g', -1, 64)
	case []any:
		if len(v) == 0 {
			return "an empty list"
		}
		return "a list"
	case map[string]any:
		return "a table"
	}
	return "a date or time"
}

func (v value) boolean() (bool, bool) {
	b, ok := v.v.(bool)
	if !ok {
		v.wrong("expected true or false")
	}
	return b, ok
}

// text is a string that is not empty. example is for the message.
func (v value) text(example string) (string, bool) {
	s, ok := v.v.(string)
	if !ok || s == "" {
		v.wrong("expected a string such as %q", example)
		return "", false
	}
	return s, true
}

func (v value) oneOf(words ...string) (string, bool) {
	s, ok := v.v.(string)
	if !ok || !slices.Contains(words, s) {
		v.wrong("expected %s", quoted(words))
		return "", false
	}
	return s, true
}

// quoted is a list of words for a message: "a", "b" or "c".
func quoted(words []string) string {
	q := make([]string, len(words))
	for i, w := range words {
		q[i] = strconv.Quote(w)
	}
	if len(q) < 2 {
		return strings.Join(q, "")
	}
	return strings.Join(q[:len(q)-1], ", ") + " or " + q[len(q)-1]
}

// flag is a boolean that may also be left unsaid.
func (v value) flag() *bool {
	if b, ok := v.boolean(); ok {
		return &b
	}
	return nil
}

func (v value) integer(low, high int64) (int, bool) {
	n, ok := v.v.(int64)
	if !ok || n < low || n > high {
		v.wrong("expected a number from %d to %d", low, high)
		return 0, false
	}
	return int(n), true
}

func (v value) duration(low, high time.Duration) (time.Duration, bool) {
	s, _ := v.v.(string)
	d, err := time.ParseDuration(s)
	if err != nil || d < low || d > high {
		example := `"2s" or "500ms"`
		if high > 24*time.Hour { // of which who writes 5d has to hear that there are no days
			example = `"4h", or "120h" for five days`
		}
		v.wrong("expected a time from %q to %q, such as %s", low, high, example)
		return 0, false
	}
	return d, true
}

// size is a number of bytes: 52428800, "50 MiB", "500KB". KB, MB and GB are powers of
// 1000, KiB, MiB and GiB of 1024.
func (v value) size(low, high int64) (int64, bool) {
	n, ok := v.v.(int64)
	if s, isText := v.v.(string); isText {
		n, ok = parseSize(s)
	}
	if !ok || n < low || n > high {
		v.wrong("expected a size from %s to %s, such as \"50 MiB\" or \"500 KB\"", sizeText(low), sizeText(high))
		return 0, false
	}
	return n, true
}

func parseSize(s string) (int64, bool) {
	digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
	n, err := strconv.ParseInt(s[:digits], 10, 64)
	unit := sizeUnit(strings.TrimPrefix(s[digits:], " "))
	if err != nil || unit == 0 || n > math.MaxInt64/unit {
		return 0, false
	}
	return n * unit, true
}

// sizeUnit is how many bytes a unit has; 0 for what is none.
func sizeUnit(s string) int64 {
	switch s {
	case "", "B":
		return 1
	case "KB":
		return 1e3
	case "MB":
		return 1e6
	case "GB":
		return 1e9
	case "KiB":
		return 1 << 10
	case "MiB":
		return 1 << 20
	case "GiB":
		return 1 << 30
	}
	return 0
}

// sizeText writes a size in the largest unit that divides it.
func sizeText(n int64) string {
	for _, unit := range []string{"GiB", "MiB", "KiB"} {
		if n > 0 && n%sizeUnit(unit) == 0 {
			return strconv.FormatInt(n/sizeUnit(unit), 10) + " " + unit
		}
	}
	return strconv.FormatInt(n, 10) + " bytes"
}

// list is the elements of a list that is not empty; a lone string is a list of one.
func (v value) list(example string) ([]value, bool) {
	if _, ok := v.v.(string); ok {
		return []value{v}, true
	}
	l, ok := v.v.([]any)
	if !ok || len(l) == 0 {
		v.wrong("expected a string such as %q, or a list of them", example)
		return nil, false
	}
	return v.elements(l), true
}

func (v value) elements(l []any) []value {
	out := make([]value, len(l))
	for i, x := range l {
		out[i] = value{r: v.r, path: v.path + "[" + strconv.Itoa(i) + "]", v: x}
	}
	return out
}

// file is the path of a file; a relative one starts at the configuration file's directory.
func (v value) file(example string) (string, bool) {
	s, ok := v.text(example)
	if !ok {
		return "", false
	}
	if strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		v.wrong("expected no control characters in a path")
		return "", false
	}
	if !filepath.IsAbs(s) {
		s = filepath.Join(v.r.dir, s)
	}
	return s, true
}

// addrPort is ADDRESS or ADDRESS:PORT; an IPv6 address with a port is in brackets.
func addrPort(s string, port uint16) (netip.AddrPort, bool) {
	if a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil {
		return netip.AddrPortFrom(a, port), port != 0
	}
	ap, err := netip.ParseAddrPort(s)
	return ap, err == nil && ap.Port() != 0
}
