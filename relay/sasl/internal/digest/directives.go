// Package digest is what both sides of DIGEST-MD5 (RFC 2831) have in common: lists of
// directives, and the hashes.
package digest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Directives are the "name=value" pairs of a challenge or a response by name in lower
// case, values unquoted (RFC 2831, section 7.1).
type Directives map[string][]string

// Get is the value of a directive that can be there once; "" when it is not.
func (d Directives) Get(name string) string {
	if v := d[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Has tells whether a directive is there.
func (d Directives) Has(name string) bool { return len(d[name]) > 0 }

const (
	// MaxResponse bounds what a client sends: less than 4096 bytes (RFC 2831, section 2.1.2).
	MaxResponse = 4095
	// MaxChallenge bounds what a server sends: less than 2048 bytes (section 2.1.1).
	MaxChallenge = 2047

	maxDirectives = 64
)

// Parse reads a list of directives of at most so many bytes. It fails for what is no
// such list, and for a directive that is there twice, unless it is one of many: who reads
// the first and who reads the last would not see the same.
func Parse(s string, most int, many ...string) (Directives, error) {
	if len(s) > most {
		return nil, fmt.Errorf("more than %d bytes", most)
	}
	d := Directives{}
	for count := 0; ; count++ {
		s = strings.TrimLeft(s, ", \t\r\n")
		if s == "" {
			return d, nil
		}
		n := strings.IndexFunc(s, func(r rune) bool { return !isToken(r) })
		if n < 1 {
			return nil, errors.New("expected the name of a directive")
		}
		name := strings.ToLower(s[:n])
		rest, ok := strings.CutPrefix(strings.TrimLeft(s[n:], linearSpace), "=")
		if !ok {
			return nil, fmt.Errorf("directive %q has no value", name)
		}
		value, rest, err := cutValue(strings.TrimLeft(rest, linearSpace))
		if err != nil {
			return nil, fmt.Errorf("directive %q: %w", name, err)
		}
		s = strings.TrimLeft(rest, linearSpace)
		if s != "" && s[0] != ',' {
			return nil, fmt.Errorf("directive %q: more after its value", name)
		}
		if d.Has(name) && !slices.Contains(many, name) {
			return nil, fmt.Errorf("directive %q is there twice", name)
		}
		if count == maxDirectives {
			return nil, errors.New("too many directives")
		}
		d[name] = append(d[name], value)
	}
}

const linearSpace = " \t\r\n"

// isToken tells characters of a token (RFC 2831, section 7.1).
func isToken(r rune) bool {
	return r > ' ' && r < 0x7f && !strings.ContainsRune(`()<>@,;:\"/[]?={}`, r)
}

// cutValue is the token or quoted string that s begins with, and what follows.
func cutValue(s string) (value, rest string, err error) {
	if !strings.HasPrefix(s, `"`) {
		n := strings.IndexFunc(s, func(r rune) bool { return !isToken(r) })
		if n < 0 {
			n = len(s)
		}
		if n == 0 {
			return "", "", errors.New("expected a value")
		}
		return s[:n], s[n:], nil
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], nil
		case 0:
			return "", "", errors.New("a NUL")
		case '\\':
			if i++; i == len(s) || s[i] == 0 {
				return "", "", errors.New("a backslash before nothing")
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", errors.New("the quotation mark is not closed")
}

// Quote is the quoted string of a value without control characters.
func Quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
