package ldap

import (
	"errors"
	"fmt"
	"strings"

	ldapv3 "github.com/go-ldap/ldap/v3"
)

// SendmailFilter is the filter of sendmail's own schema (misc/sendmail.schema) for a
// table of the name, such as "access", that belongs to the cluster or to the host;
// either may be empty. FEATURE(`access_db', `LDAP') asks with this filter.
func SendmailFilter(table, cluster, host string) string {
	var owner string
	if cluster != "" {
		owner = "(sendmailMTACluster=" + literal(cluster) + ")"
	}
	if host != "" {
		owner += "(sendmailMTAHost=" + literal(host) + ")"
	}
	if cluster != "" && host != "" {
		owner = "(|" + owner + ")"
	}
	return "(&(objectClass=sendmailMTAMapObject)" + owner +
		"(sendmailMTAMapName=" + literal(table) + ")(sendmailMTAKey=%0))"
}

// literal makes a text a value in a filter that still has its placeholders.
func literal(s string) string {
	return strings.ReplaceAll(ldapv3.EscapeFilter(s), "%", "%%")
}

// A filter is cut at the places where the key goes.
type filter []string

// parseFilter reads a filter with %0 or %s for the key and %% for a percent sign.
func parseFilter(s string) (filter, error) {
	if strings.Contains(s, "${") || strings.Contains(s, "=$j)") {
		return nil, fmt.Errorf("filter %q: sendmail's macros are not known here; expected their values", s)
	}
	var f filter
	var text strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			text.WriteByte(s[i])
			continue
		}
		i++
		switch {
		case i < len(s) && s[i] == '%':
			text.WriteByte('%')
		case i < len(s) && (s[i] == '0' || s[i] == 's'):
			f = append(f, text.String())
			text.Reset()
			if before := strings.Join(f, ""); !inValue(before) {
				return nil, fmt.Errorf("filter %q: %%0 stands outside of a value; expected a form of (attribute=%%0)", s)
			}
		default:
			return nil, fmt.Errorf("filter %q: expected %%0 where the key goes, and %%%% for a percent sign", s)
		}
	}
	if f == nil {
		return nil, fmt.Errorf("filter %q: no %%0 where the key goes", s)
	}
	f = append(f, text.String())
	if _, err := ldapv3.CompileFilter(f.with("key")); err != nil {
		return nil, fmt.Errorf("filter %q: %s; expected a form of (attribute=%%0)", s, reason(err))
	}
	return f, nil
}

// inValue reports that a filter's next character is one of a value. Values have no
// parentheses (RFC 4515, 3), so that it takes an equals sign since the last one.
func inValue(before string) bool {
	i := strings.LastIndexAny(before, "()")
	return i >= 0 && before[i] == '(' && strings.Contains(before[i:], "=")
}

// with puts the key into the filter, as RFC 4515, 3 writes a value.
func (f filter) with(key string) string {
	return strings.Join(f, ldapv3.EscapeFilter(key))
}

// reason is the library's explanation without its number and name of the error.
func reason(err error) string {
	var e *ldapv3.Error
	if errors.As(err, &e) {
		err = e.Err
	}
	return strings.TrimPrefix(err.Error(), "ldap: ")
}
