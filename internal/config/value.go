package config

import (
	"fmt"
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
		v.wrong("expected a time from %q to %q, such as \"2s\" or \"500ms\"", low, high)
		return 0, false
	}
	return d, true
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
