// Package mailertable reads sendmail's mailertable: which mailer takes the mail for a
// domain, and to which host (cf/README, USING MAILERTABLES; rule sets Mailertable and
// MailerToTriple of proto.m4).
package mailertable

import (
	"context"
	"fmt"
	"strings"

	"gatepost/internal/smtp"
	"gatepost/maps"
)

// Match is the entry that decides about a domain.
type Match struct {
	Value
	Key   string
	Entry maps.Entry // its value as written
}

// Find searches the table for a domain, in any case and without final dot: for the domain
// itself, then for ".rest" with ever fewer labels, then for ".". keys are those that were
// tried. match is nil when none is there. An error means that the table could not be asked,
// or that the entry makes no sense.
func Find(ctx context.Context, table maps.Map, domain string) (match *Match, keys []string, err error) {
	for _, s := range searches(domain) {
		keys = append(keys, s.key)
		entry, found, err := table.Lookup(ctx, s.key)
		if err != nil {
			return nil, keys, fmt.Errorf("mailertable, key %s: %w", s.key, err)
		}
		if !found {
			continue
		}
		v, err := s.value(entry.Value)
		if err != nil {
			return nil, keys, fmt.Errorf("%s: %w", entry.Source, err)
		}
		return &Match{v, s.key, entry}, keys, nil
	}
	return nil, keys, nil
}

// search is one key that is tried, and what the value's %1 and %2 stand for then.
type search struct {
	key     string
	matched string // %1: what stands before the key in the domain; nothing for the domain itself
	label   string // %2: the last label of that
}

// searches are the keys for a domain, in their order. sendmail takes labels off as single
// tokens: where one is more than that, only "." is left.
func searches(domain string) []search {
	domain = strings.ToLower(domain)
	all := []search{{key: domain}}
	for from := 0; ; {
		dot := strings.IndexByte(domain[from:], '.')
		if dot < 0 {
			break
		}
		label := domain[from : from+dot]
		if label == "" || strings.ContainsFunc(label, func(r rune) bool { return r < 0x80 && smtp.IsDelimiter(byte(r)) }) {
			break
		}
		from += dot + 1
		all = append(all, search{domain[from-1:], domain[:from-1], label})
	}
	return append(all, search{key: ".", matched: domain})
}

// value reads the value of the entry with the key, in which %0 is the key, %1 what the
// wildcard matched, %2 its last label. A path is not made of what strangers
// write into addresses.
func (s search) value(text string) (Value, error) {
	v, err := parse(maps.Expand(text, s.key, s.matched, s.label))
	if err == nil && v.Socket != "" && strings.Contains(text, "%") {
		err = fmt.Errorf("value %q: expected no %% in a path", text)
	}
	return v, err
}

// Check tells whether an entry can be acted on, for use when the table is loaded. local says
// that there is a way for local mail, so that local: makes sense.
func Check(local bool) func(key, value string) error {
	return func(key, value string) error {
		s := search{key: key}
		if strings.HasPrefix(key, ".") {
			s.matched, s.label = "x", "x"
		}
		v, err := s.value(value)
		if err == nil && v.Mailer == Local && !local {
			err = fmt.Errorf("value %q: relay.local_mail refuses local mail, expected local_mail to be set", value)
		}
		return err
	}
}
