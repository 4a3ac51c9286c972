package policy

import (
	"context"
	"strings"
)

// tag is the part of an access key before the colon.
type tag string

const (
	tagConnect tag = "Connect:"
	tagFrom    tag = "From:"
	tagTo      tag = "To:"
	tagSpam    tag = "Spam:"

	tagClientRate tag = "ClientRate:"
	tagClientConn tag = "ClientConn:"
	tagGreetPause tag = "GreetPause:"
	tagCompat     tag = "Compat:"

	tagCertIssuer  tag = "CertIssuer:"
	tagCertSubject tag = "CertSubject:"
)

// mark says which keys a search tries: sendmail's + and !.
type mark uint8

const (
	anyKey    mark = iota // "Tag:key", then "key"
	taggedKey             // "Tag:key" only
)

// value is what a search of the access map found; "" with found false is a miss.
type value struct {
	text  string
	found bool
}

func (v value) is(word string) bool { return v.found && strings.EqualFold(v.text, word) }

// searchExact tries one key (E of rule set SearchList).
func (q *inquiry) searchExact(ctx context.Context, t tag, m mark, key string) (value, error) {
	e, found, err := q.access(ctx, string(t)+key)
	if !found && err == nil && m == anyKey {
		e, found, err = q.access(ctx, key)
	}
	return value{normalise(e.Value), found}, err
}

// skips tells whether a hit ends the search as not found.
func (q *inquiry) skips(v value) bool { return q.policy.features.AccessSkip && v.is("SKIP") }

// searchDomain is rule set D (LookUpDomain): the name, then what is left when its
// first label goes, down to the last; [a.b.c.d] and [IPv6:...] lose their last part.
func (q *inquiry) searchDomain(ctx context.Context, t tag, m mark, name string) (value, error) {
	for name != "" {
		v, err := q.searchExact(ctx, t, m, name)
		if !v.found && err == nil && q.policy.features.LookupDotDomain {
			if _, rest, ok := cutLabel(name); ok {
				v, err = q.searchExact(ctx, t, m, "."+rest)
			}
		}
		if err != nil || v.found {
			return q.unlessSkipped(v), err
		}
		name = shorterDomain(name)
	}
	return value{}, nil
}

func (q *inquiry) unlessSkipped(v value) value {
	if q.skips(v) {
		return value{}
	}
	return v
}

func cutLabel(name string) (label, rest string, ok bool) {
	label, rest, ok = strings.Cut(name, ".")
	return label, rest, ok && label != "" && rest != ""
}

// shorterDomain is the next key of rule set D, "" when nothing can be removed.
func shorterDomain(name string) string {
	if inner, ok := strings.CutPrefix(name, "["); ok && strings.HasSuffix(inner, "]") {
		if inner = shorterAddr(strings.TrimSuffix(inner, "]")); inner == "" {
			return ""
		}
		return "[" + inner + "]"
	}
	if _, rest, ok := cutLabel(name); ok {
		return rest
	}
	return ""
}

// searchAddr is rule set A (LookUpAddress): the address, then with its last part
// dropped again and again.
func (q *inquiry) searchAddr(ctx context.Context, t tag, m mark, addr string) (value, error) {
	for addr != "" {
		v, err := q.searchExact(ctx, t, m, addr)
		if err != nil || v.found {
			return q.unlessSkipped(v), err
		}
		addr = shorterAddr(addr)
	}
	return value{}, nil
}

// shorterAddr is the next key of rule set A, "" when nothing can be removed.
func shorterAddr(addr string) string {
	i := strings.LastIndexAny(addr, ".:")
	if i <= 0 {
		return ""
	}
	return strings.TrimSuffix(addr[:i], ":")
}

// plusBase is what stands before the first + that is not within quotes.
func plusBase(local string) (base string, ok bool) {
	for i := 0; i < len(local); {
		if local[i] == '+' {
			return local[:i], i > 0
		}
		i, _ = nextToken(local, i)
	}
	return "", false
}

// searchUser tries the keys of rule sets F and U: the local part, then for
// base+detail also base+* and base, each followed by at ("@" or "@domain").
func (q *inquiry) searchUser(ctx context.Context, t tag, m mark, local, at string) (value, error) {
	v, err := q.searchExact(ctx, t, m, local+at)
	base, plus := plusBase(local)
	if v.found || err != nil || !plus {
		return v, err
	}
	if v, err = q.searchExact(ctx, t, m, base+"+*"+at); v.found || err != nil {
		return v, err
	}
	return q.searchExact(ctx, t, m, base+at)
}
