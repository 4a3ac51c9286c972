package lint

import "strings"

// The tags of the access table, in lower case as keys are given.
const (
	tagConnect    = "connect:"
	tagFrom       = "from:"
	tagTo         = "to:"
	tagSpam       = "spam:"
	tagClientRate = "clientrate:"
	tagClientConn = "clientconn:"
	tagGreetPause = "greetpause:"
	tagCompat     = "compat:"
)

// written are the tags as one writes them.
func written(tag string) string {
	for _, t := range []string{"Connect:", "From:", "To:", "Spam:", "ClientRate:", "ClientConn:", "GreetPause:", "Compat:"} {
		if strings.EqualFold(t, tag) {
			return t
		}
	}
	return tag
}

// otherTags have keys of forms of their own, or belong to parts of sendmail that
// Gatepost has no part in.
func otherTags() []string {
	return strings.Fields(`compat: certissuer: certsubject: tls_clt: tls_srv: tls_rcpt: try_tls: tls_srv_features:
		tls_clt_features: srv_features: clt_features: authinfo:`)
}

// accessKey is a key of the access table, taken apart. It is in lower case.
type accessKey struct {
	tag  string // with colon; "" for an untagged key
	rest string
}

// parseKey cuts the tag: letters and underscores before a colon. An IPv6 address is none.
func parseKey(key string) accessKey {
	tag, rest, ok := strings.Cut(key, ":")
	if !ok || tag == "ipv6" || tag == "" || strings.ContainsFunc(tag, func(r rune) bool { return (r < 'a' || r > 'z') && r != '_' }) {
		return accessKey{rest: key}
	}
	if looksLikeGroups(key) {
		return accessKey{rest: key}
	}
	return accessKey{tag: key[:len(tag)+1], rest: rest}
}

// looksLikeGroups tells whether a key is an IPv6 address without the word IPv6.
func looksLikeGroups(key string) bool {
	return strings.Count(key, ":") >= 2 && strings.Trim(key, "0123456789abcdef:./") == ""
}

// kind is what a key names.
type kind uint8

const (
	kindDomain  kind = iota // a host or domain, and what is below it
	kindNet                 // an address or the beginning of one
	kindLiteral             // [address] or the beginning of one
	kindUser                // user@
	kindMailbox             // user@domain
)

func (k accessKey) kind() kind {
	at := strings.LastIndexByte(k.rest, '@')
	switch {
	case at >= 0 && at == len(k.rest)-1:
		return kindUser
	case at >= 0:
		return kindMailbox
	case strings.HasPrefix(k.rest, "["):
		return kindLiteral
	}
	if _, ok := parsePrefix(k.rest); ok {
		return kindNet
	}
	return kindDomain
}

// domain is the part of a domain's key that is a name: without a leading dot.
func (k accessKey) domain() string { return strings.TrimPrefix(k.rest, ".") }

// net is the prefix that a key for addresses names; of a literal the inner one.
func (k accessKey) net() (prefix, bool) {
	inner, ok := strings.CutPrefix(k.rest, "[")
	if ok {
		if inner, ok = strings.CutSuffix(inner, "]"); !ok {
			return prefix{}, false
		}
	}
	return parsePrefix(inner)
}
