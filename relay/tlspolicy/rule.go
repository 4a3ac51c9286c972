package tlspolicy

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// word is a security level as it is written. The words are Postfix's (TLS_README, "SMTP
// client TLS security levels").
type word string

const (
	wordNone        word = "none"
	wordMay         word = "may"
	wordEncrypt     word = "encrypt"
	wordFingerprint word = "fingerprint"
	wordVerify      word = "verify"
	wordSecure      word = "secure"
	wordDANE        word = "dane"
	wordDANEOnly    word = "dane-only"
)

const wordsExpected = "expected none, may, encrypt, fingerprint, verify, secure, dane or dane-only"

// rule is what an entry of the table says.
type rule struct {
	level      word
	match      []string // verify and secure: names, or hostname, nexthop, dot-nexthop
	prints     [][]byte // fingerprint
	minVersion uint16   // 0: not said
	wrapped    bool     // wrappermode
}

// parseRule reads "LEVEL ATTRIBUTE=VALUE ...", with blanks or commas between.
func parseRule(value string) (r rule, err error) {
	words := strings.FieldsFunc(value, func(c rune) bool { return c == ' ' || c == '\t' || c == ',' || c == '\r' })
	if len(words) == 0 {
		return rule{}, errors.New("no level, " + wordsExpected)
	}
	r.level = word(strings.ToLower(words[0]))
	switch r.level {
	case wordNone, wordMay, wordEncrypt, wordDANE, wordDANEOnly, wordFingerprint:
	case wordVerify:
		r.match = []string{matchHostname}
	case wordSecure:
		r.match = []string{matchNextHop, matchDotNextHop}
	default:
		return rule{}, fmt.Errorf("level %.40q, %s", words[0], wordsExpected)
	}
	if err := r.attributes(words[1:]); err != nil {
		return rule{}, err
	}
	if r.level == wordFingerprint && len(r.prints) == 0 {
		return rule{}, errors.New("fingerprint without a certificate, expected match= and its SHA-256 as 64 hexadecimal digits")
	}
	return r, nil
}

func (r *rule) attributes(words []string) error {
	if r.level == wordNone && len(words) > 0 {
		return fmt.Errorf("%.40q after none, which has no attributes", words[0])
	}
	var match []string
	for _, w := range words {
		name, value, ok := strings.Cut(w, "=")
		if !ok || value == "" {
			return fmt.Errorf("%.40q, expected match=, protocols=, min_version= or wrappermode= with a value", w)
		}
		var err error
		switch name {
		case "match":
			if r.level == wordFingerprint {
				err = r.addPrints(value)
				break
			}
			match = append(match, strings.Split(value, ":")...)
		case "protocols":
			r.minVersion, err = oldestOf(value)
		case "min_version":
			if r.minVersion = versionNamed(value); r.minVersion == 0 {
				err = fmt.Errorf("min_version=%.20s, expected TLSv1, TLSv1.1, TLSv1.2 or TLSv1.3", value)
			}
		case "wrappermode":
			if r.wrapped = value == "yes"; !r.wrapped && value != "no" {
				err = fmt.Errorf("wrappermode=%.20s, expected yes or no", value)
			}
		default:
			err = fmt.Errorf("attribute %.40q is not supported, expected match, protocols, min_version or wrappermode", name)
		}
		if err != nil {
			return err
		}
	}
	return r.setMatch(match)
}

// The words of match= that stand for names.
const (
	matchHostname   = "hostname"    // the host's, after MX
	matchNextHop    = "nexthop"     // the domain's, as mail is routed
	matchDotNextHop = "dot-nexthop" // any below that
)

func (r *rule) setMatch(match []string) error {
	if match == nil {
		return nil
	}
	if r.match == nil {
		return fmt.Errorf("match= means nothing at the level %s, expected verify, secure or fingerprint", r.level)
	}
	for _, m := range match {
		name := strings.TrimPrefix(strings.TrimPrefix(m, "*"), ".")
		if m != matchHostname && m != matchNextHop && m != matchDotNextHop && !isHost(name) {
			return fmt.Errorf("match=%.80q, expected hostname, nexthop, dot-nexthop, a name, or .example.org for all below, with colons between", m)
		}
	}
	r.match = match
	return nil
}

func (r *rule) addPrints(value string) error {
	for one := range strings.SplitSeq(value, "|") {
		sum, err := hex.DecodeString(strings.ReplaceAll(one, ":", ""))
		if err != nil || len(sum) != sha256.Size {
			return fmt.Errorf("fingerprint %.100q, expected a SHA-256: 64 hexadecimal digits, with or without colons", one)
		}
		r.prints = append(r.prints, sum)
	}
	return nil
}

// names are those that the certificate must have for a host of a domain.
func (r *rule) names(a Ask) []string {
	var names []string
	for _, m := range r.match {
		switch m {
		case matchHostname:
			m = a.Host
		case matchNextHop:
			m = a.Domain
		case matchDotNextHop:
			if m = "." + a.Domain; isAddr(a.Domain) {
				continue
			}
		}
		names = append(names, m)
	}
	return names
}

// versions are those of TLS by their names in Postfix's configuration, the oldest first.
var versions = [...]struct {
	name   string
	number uint16
}{{"SSLv2", 2}, {"SSLv3", 3}, {"TLSv1", tls.VersionTLS10}, {"TLSv1.1", tls.VersionTLS11}, {"TLSv1.2", tls.VersionTLS12}, {"TLSv1.3", tls.VersionTLS13}}

// versionNamed is the number of a version that we speak, "TLSv1.2" or "1.2"; 0 for others.
func versionNamed(name string) uint16 {
	if i := versionIndex(name); i > 1 {
		return versions[i].number
	}
	return 0
}

func versionIndex(name string) int {
	for i, v := range versions {
		if strings.EqualFold(v.name, name) || v.name == "TLSv"+name {
			return i
		}
	}
	return -1
}

// oldestOf reads protocols=, as smtp_tls_mandatory_protocols has it: ">=TLSv1.2",
// "TLSv1.2:TLSv1.3" or "!SSLv2:!SSLv3:!TLSv1".
func oldestOf(value string) (uint16, error) {
	const expected = "expected such as >=TLSv1.2"
	allowed, only := slices.Repeat([]bool{true}, len(versions)), false
	for one := range strings.SplitSeq(value, ":") {
		name := strings.TrimLeft(one, "!<>=")
		sign, i := strings.TrimSuffix(one, name), versionIndex(name)
		switch {
		case i < 0:
			return 0, fmt.Errorf("protocols=%.80s: %.20q is no version of TLS, %s", value, one, expected)
		case sign == ">=":
			clear(allowed[:i])
		case sign == "<=":
			clear(allowed[i+1:])
		case sign == "!":
			allowed[i] = false
		case sign == "" && !only:
			only = true
			clear(allowed)
			allowed[i] = true
		case sign == "":
			allowed[i] = true
		default:
			return 0, fmt.Errorf("protocols=%.80s: %.20q, %s", value, one, expected)
		}
	}
	oldest := max(2, slices.Index(allowed, true))
	if slices.Contains(allowed[oldest:], false) {
		return 0, fmt.Errorf("protocols=%.80s leaves a newer version of TLS out than it allows, %s", value, expected)
	}
	return versions[oldest].number, nil
}
