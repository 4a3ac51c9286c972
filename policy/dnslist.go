package policy

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"gatepost/internal/dns"
)

// dnsList is a dnsbl or enhdnsbl, ready to be asked.
type dnsList struct {
	DNSList
	listed    errorText
	temporary errorText
	results   []*regexp.Regexp
}

// dnsListRule is FEATURE(dnsbl) or FEATURE(enhdnsbl).
func dnsListRule(c DNSList) (rule, error) {
	name := "dnsbl"
	if c.Enhanced {
		name = "enhdnsbl"
	}
	l := &dnsList{DNSList: c}
	usual := func(text string) string { return `"` + text + `" $&{client_addr} ` }
	var err error
	if !l.is("quarantine") && !l.is("discard") {
		text := c.Message
		if text == "" {
			text = usual("550 Rejected: ") + `" listed at ` + c.Zone + `"`
		}
		if l.listed, err = newErrorText("5.7.1", text, replyAccessDenied); err != nil {
			return rule{}, fmt.Errorf("%s %s: %w", name, c.Zone, err)
		}
	}
	if c.Temporary != "" {
		text := c.Temporary
		if text == "t" {
			text = usual("451 Temporary lookup failure of ") + `" at ` + c.Zone + `"`
		}
		if l.temporary, err = newErrorText("4.4.3", text, replyTemporary); err != nil {
			return rule{}, fmt.Errorf("%s %s: %w", name, c.Zone, err)
		}
	}
	for _, pattern := range c.Results {
		l.results = append(l.results, resultPattern(pattern))
	}
	return rule{name: name, apply: l.ask}, nil
}

func (l *dnsList) is(word string) bool { return l.Message == word }

// resultPattern is a left-hand side of a rule: $+ one token or more, $- one, $*
// any; everything else stands for itself.
func resultPattern(p string) *regexp.Regexp {
	e := regexp.QuoteMeta(p)
	for from, to := range map[string]string{`\$\+`: `.+`, `\$\*`: `.*`, `\$-`: `[^.]+`} {
		e = strings.ReplaceAll(e, from, to)
	}
	return regexp.MustCompile("(?i)^" + e + "$")
}

// ask looks the client's address up. Only IPv4 clients are listed.
func (l *dnsList) ask(ctx context.Context, q *inquiry) (outcome, error) {
	addr := q.facts.Conn.Addr.Unmap()
	if !addr.Is4() {
		return noOpinion, nil
	}
	a, err := q.Lookup(ctx, reversed(addr)+"."+l.Zone, dns.TypeA)
	switch {
	case err != nil && l.Temporary == "":
		return noOpinion, nil // sendmail lets mail pass a list that cannot be asked
	case err != nil:
		return stop(refuse(l.temporary.reply(q))), nil
	case len(a.Addrs) == 0 || !l.counts(a.Addrs[0]):
		return noOpinion, nil
	case l.is("quarantine"):
		return stop(Verdict{Action: Quarantine, Reason: l.Zone}), nil
	case l.is("discard"):
		return stop(Verdict{Action: Discard}), nil
	}
	return stop(refuse(l.listed.reply(q))), nil
}

// counts tells whether an answer means listed; sendmail sees only the first address.
func (l *dnsList) counts(a netip.Addr) bool {
	if !l.Enhanced || len(l.results) == 0 {
		return true
	}
	for _, r := range l.results {
		if r.MatchString(a.String() + ".") {
			return true
		}
	}
	return false
}

// reversed writes an IPv4 address backwards, as DNS lists want it (RFC 5782, 2.1).
func reversed(a netip.Addr) string {
	b := a.As4()
	words := make([]string, 0, len(b))
	for i := len(b) - 1; i >= 0; i-- {
		words = append(words, strconv.Itoa(int(b[i])))
	}
	return strings.Join(words, ".")
}
