package rewrite

import (
	"errors"
	"fmt"
	"strings"

	"gatepost/internal/smtp"
	"gatepost/maps"
)

// generic looks an address of a generics domain up in the genericstable, as
// user+detail@domain, user+*@domain, user@domain, @domain, user, user+* and user without
// detail. done means that the answer is the address; one without a domain is still to be
// masqueraded.
func (q *query) generic(a *address) (done bool) {
	domain := a.domain
	if a.form == thisHost {
		domain = q.r.c.HostName
	} else if _, ours := q.under(q.r.c.GenericsDomains, domain, q.r.c.Features.GenericsEntireDomain); !ours {
		return false
	}
	value, e, found := q.search(a.user, domain, a.form == canonical)
	if !found || q.err != nil {
		return false
	}
	q.change("genericstable", e)
	if user, rest, qualified := cutUnquoted(value, '@'); qualified {
		*a = q.canonify(smtp.Mailbox{Local: user, Domain: rest})
		q.change("genericstable", e)
		return true
	}
	*a = address{value, "", thisHost}
	return false
}

// search tries the keys of an address in their order.
func (q *query) search(user, domain string, tryDomain bool) (value string, e maps.Entry, found bool) {
	base, detail, plus := cutUnquoted(user, '+')
	type try struct {
		key  string
		args []string
	}
	tries := []try{{user + "@" + domain, nil}}
	if plus {
		tries = append(tries, try{base + "+*@" + domain, []string{detail}}, try{base + "@" + domain, nil})
	}
	if tryDomain {
		tries = append(tries, try{"@" + domain, []string{user}})
	}
	tries = append(tries, try{user, nil})
	if plus {
		tries = append(tries, try{base + "+*", []string{detail}}, try{base, nil})
	}
	for _, t := range tries {
		key := unquote(t.key)
		e, found := q.in([]maps.Map{q.r.c.Generics}, key)
		if !found {
			continue
		}
		if err := CheckGeneric(key, e.Value); err != nil && q.err == nil { // of a server; files are checked when they are read
			q.err = fmt.Errorf("%s, key %s: %w", e.Source, key, err)
		}
		if value := maps.Expand(e.Value, append([]string{key}, t.args...)...); CheckGeneric(key, value) == nil {
			return value, e, true
		}
	}
	return "", maps.Entry{}, false
}

// cutUnquoted cuts s at the first c outside of quoted strings that has something before it.
func cutUnquoted(s string, c byte) (before, after string, found bool) {
	if i := smtp.IndexUnquoted(s, string(c)); i > 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// unquote is how sendmail looks for a key: without quotes, and without the backslashes
// that quote.
func unquote(s string) string {
	if !strings.ContainsAny(s, `"\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '"' {
			continue
		}
		if s[i] == '\\' {
			if i++; i == len(s) {
				break
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// CheckGeneric tells whether an entry of the genericstable can be acted on: its value
// must be an address, with or without domain, in ASCII.
func CheckGeneric(key, value string) error {
	const expected = "expected an address such as joe.smith@example.com, or a user"
	switch {
	case value == "":
		return errors.New("there is no value, " + expected)
	case len(value) > smtp.MaxPath:
		return fmt.Errorf("the value has %d bytes, expected at most %d", len(value), smtp.MaxPath)
	case strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r >= 0x7f }), smtp.IndexUnquoted(value, "<>(),;:") >= 0:
		return fmt.Errorf("%q is no address, %s", value, expected)
	}
	if strings.HasPrefix(value, "@") || strings.HasSuffix(value, "@") {
		return fmt.Errorf("%q is only half an address, %s", value, expected)
	}
	return nil
}
