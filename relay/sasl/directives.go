package sasl

import (
	"errors"
	"fmt"
	"strings"
)

// directives are the "name=value" pairs of a digest-response by name in lower case,
// values unquoted (RFC 2831, section 7.1).
type directives map[string]string

const (
	maxDigestResponse = 4095 // RFC 2831, section 2.1.2: less than 4096
	maxDirectives     = 64
)

// parseDirectives fails for what is no list of directives, and for one that is there
// twice: who reads the first and who reads the last would not see the same.
func parseDirectives(s string) (directives, error) {
	if len(s) > maxDigestResponse {
		return nil, errors.New("the response is too long")
	}
	d := directives{}
	for {
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
		value, rest, err := directiveValue(strings.TrimLeft(rest, linearSpace))
		if err != nil {
			return nil, fmt.Errorf("directive %q: %w", name, err)
		}
		s = strings.TrimLeft(rest, linearSpace)
		if s != "" && s[0] != ',' {
			return nil, fmt.Errorf("directive %q: more after its value", name)
		}
		if _, twice := d[name]; twice {
			return nil, fmt.Errorf("directive %q is there twice", name)
		}
		if len(d) == maxDirectives {
			return nil, errors.New("too many directives")
		}
		d[name] = value
	}
}

const linearSpace = " \t\r\n"

// isToken tells characters of a token (RFC 2831, section 7.1).
func isToken(r rune) bool {
	return r > ' ' && r < 0x7f && !strings.ContainsRune(`()<>@,;:\"/[]?={}`, r)
}

// directiveValue is the token or quoted string that s begins with, and what follows.
func directiveValue(s string) (value, rest string, err error) {
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

// quote is the quoted string of a value without control characters.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
