package policy

import (
	"context"
	"net/netip"
	"strings"

	"gatepost/internal/dns"
	"gatepost/internal/smtp"
)

// address is a mailbox in the form that the rule sets compare: the domain
// canonified, without final dot. domain is "" for an unqualified address.
type address struct {
	local, domain string
	resolved      resolution
}

// resolution is what canonifying the domain made known about it.
type resolution uint8

const (
	notAsked resolution = iota
	isFound
	isAbsent
	isUnknown // could not be asked
)

// maxReparse bounds how often a local part is parsed anew; sendmail's limit for
// recursion is MAXRULERECURSION, 50.
const maxReparse = 50

// canonAddr is rule set CanonAddr: canonify, then Parse0. An address at a local
// domain, or without any, whose local part routes is parsed anew without it.
func (q *inquiry) canonAddr(ctx context.Context, text string) (*address, error) {
	for range maxReparse {
		a, err := q.canonMailbox(ctx, smtp.ParseMailbox(text, q.policy.syntax))
		if err != nil {
			return nil, err
		}
		if a.domain != "" {
			local, err := q.isLocal(ctx, a.domain)
			if err != nil || !local {
				return a, err
			}
		}
		a.local = dequote(a.local)
		if a.local == "" && text != "" {
			return nil, errNoUser
		}
		if !q.routes(a.local) || a.local == text {
			return a, nil
		}
		text = a.local
	}
	return nil, errReparse
}

// canonMailbox canonifies the domain of a mailbox (rule set Canonify2).
func (q *inquiry) canonMailbox(ctx context.Context, m smtp.Mailbox) (*address, error) {
	a := &address{local: m.Local}
	if m.Domain == "" {
		return a, nil
	}
	var err error
	a.domain, a.resolved, err = q.canonDomain(ctx, m.Domain)
	return a, err
}

func (q *inquiry) canonDomain(ctx context.Context, domain string) (string, resolution, error) {
	p := q.policy
	if strings.EqualFold(domain, "localhost") || strings.EqualFold(domain, "localhost."+p.domain) ||
		!p.syntax.NoUUCP && strings.EqualFold(domain, "localhost.UUCP") {
		return p.host, notAsked, nil
	}
	if host, ok := strings.CutSuffix(domain, ".UUCP"); ok && !p.syntax.NoUUCP {
		return q.canonUUCP(ctx, domain, host)
	}
	if strings.HasPrefix(domain, "[") {
		self, err := q.has(ctx, &p.localNames, domain)
		if self {
			return p.host, notAsked, err
		}
		return domain, notAsked, err
	}
	if strings.HasSuffix(domain, ".") {
		return strings.TrimRight(domain, "."), notAsked, nil
	}
	if p.features.NoCanonify {
		return domain, notAsked, nil
	}
	name, known := q.canonName(ctx, domain)
	return name, known, nil
}

// canonUUCP is what becomes of host!user: an address literal is the name that it
// leads to, another host is looked up.
func (q *inquiry) canonUUCP(ctx context.Context, domain, host string) (string, resolution, error) {
	literal := strings.HasPrefix(host, "[")
	if q.policy.features.NoCanonify {
		if literal {
			return "", notAsked, errLiteral
		}
		return domain, notAsked, nil
	}
	name, known := q.canonName(ctx, host)
	if literal && known == isFound {
		if name, known = q.nameOfLiteral(ctx, host); known == isFound {
			return name, notAsked, nil
		}
	}
	switch {
	case known == isFound:
		return name, known, nil
	case literal:
		return "", notAsked, errLiteral
	}
	return domain, notAsked, nil
}

// nameOfLiteral is the name of [address], by /etc/hosts or the DNS.
func (q *inquiry) nameOfLiteral(ctx context.Context, literal string) (string, resolution) {
	text := strings.TrimSuffix(strings.TrimPrefix(literal, "["), "]")
	if rest, ok := cutWord(text, "IPv6:"); ok {
		text = rest
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return literal, isAbsent
	}
	if name, found := q.policy.hosts.Name(addr); found {
		return name, isFound
	}
	a, err := q.Lookup(ctx, dns.ReverseName(addr), dns.TypePTR)
	if err != nil || len(a.Names) == 0 {
		return literal, isAbsent
	}
	return a.Names[0], isFound
}

// canonName looks a name up ($[ name $]); a name that is not found, or cannot be
// asked about, stays as it is.
func (q *inquiry) canonName(ctx context.Context, name string) (string, resolution) {
	c, err := dns.Canonify(ctx, q, q.policy.hosts, q.policy.domain, name)
	switch {
	case err != nil:
		return name, isUnknown
	case !c.Found:
		return name, isAbsent
	}
	return strings.TrimSuffix(c.Name, "."), isFound
}

// routes tells whether a local part has a routing character outside of quoted
// strings (sendmail's class O).
func (q *inquiry) routes(local string) bool {
	return smtp.IndexUnquoted(local, q.policy.routing) >= 0
}

// dequote removes the quotes of a local part that is one quoted string without
// blanks, and with no odd bracket or parenthesis (sendmail's dequote map).
// Backslashes stay.
func dequote(local string) string {
	if len(local) < 2 || local[0] != '"' || local[len(local)-1] != '"' {
		return local
	}
	var inner strings.Builder
	angles, comments := 0, 0
	for i := 1; i < len(local)-1; i++ {
		c := local[i]
		switch c {
		case '\\':
			inner.WriteByte(c)
			if i++; i == len(local)-1 {
				return local // the last quote is not the end
			}
			c = local[i]
		case ' ', '\t', '"':
			return local
		case '(':
			comments++
		case ')':
			comments--
		case '<':
			angles++
		case '>':
			angles--
		}
		if comments < 0 || angles < 0 {
			return local
		}
		inner.WriteByte(c)
	}
	if comments != 0 || angles != 0 {
		return local
	}
	return inner.String()
}

// isLocal tells whether a domain is in class w.
func (q *inquiry) isLocal(ctx context.Context, domain string) (bool, error) {
	return q.has(ctx, &q.policy.localNames, domain)
}

// parseRecipient is rule set ParseRecipient: besides what canonAddr does, a local
// part that routes is parsed anew when its domain is one that we would relay to,
// so that the address behind it is the one that is judged.
func (q *inquiry) parseRecipient(ctx context.Context, text string) (*address, error) {
	for range maxReparse {
		a, err := q.canonAddr(ctx, text)
		if err != nil {
			return nil, err
		}
		a.local = dequote(a.local)
		if a.domain == "" || !q.routes(a.local) || a.local == text {
			return a, nil
		}
		relayed, err := q.relaysTo(ctx, a.domain)
		if err != nil || !relayed {
			return a, err
		}
		text = a.local
	}
	return nil, errReparse
}

// relaysTo tells whether a recipient domain is authorised for ParseRecipient.
func (q *inquiry) relaysTo(ctx context.Context, domain string) (bool, error) {
	if q.policy.features.CheckRcpt == CheckRcptUnixWare {
		return q.isOurs(ctx, domain)
	}
	if own, err := q.ownsOrRelays(ctx, domain); own || err != nil {
		return own, err
	}
	v, err := q.relayEntry(ctx, tagTo, domain)
	if err != nil || v.found { // any entry keeps sendmail from asking for the MX
		return v.is("RELAY"), err
	}
	if q.policy.features.RelayBasedOnMX {
		return q.servesMX(ctx, domain)
	}
	return false, nil
}

// ownsOrRelays tests class m (with relay_entire_domain) and class R.
func (q *inquiry) ownsOrRelays(ctx context.Context, name string) (bool, error) {
	if q.policy.features.RelayEntireDomain {
		if own, err := q.endsIn(ctx, &q.policy.ownDomains, name); own || err != nil {
			return own, err
		}
	}
	return q.inRelayDomains(ctx, name)
}

// inRelayDomains tests class R: with subdomains, or exactly with relay_hosts_only.
func (q *inquiry) inRelayDomains(ctx context.Context, name string) (bool, error) {
	if q.policy.features.RelayHostsOnly {
		return q.has(ctx, &q.policy.relayDomains, name)
	}
	return q.endsIn(ctx, &q.policy.relayDomains, name)
}

// relayEntry searches the access map for permission to relay for a host name.
func (q *inquiry) relayEntry(ctx context.Context, t tag, name string) (value, error) {
	if q.policy.features.RelayHostsOnly {
		return q.searchExact(ctx, t, anyKey, name)
	}
	return q.searchDomain(ctx, t, anyKey, name)
}

// servesMX tells whether one of the domain's mail exchangers is this host.
func (q *inquiry) servesMX(ctx context.Context, domain string) (bool, error) {
	hosts, err := q.exchangers(ctx, domain)
	if err != nil {
		return false, mxFault{domain, err}
	}
	for _, host := range hosts {
		if local, err := q.isLocal(ctx, host); local || err != nil {
			return local, err
		}
	}
	return false, nil
}

// exchangers lists the MX hosts of a domain; one without any is its own, and so,
// for sendmail, is one with a null MX (RFC 7505).
func (q *inquiry) exchangers(ctx context.Context, domain string) ([]string, error) {
	a, err := q.Lookup(ctx, domain, dns.TypeMX)
	if err != nil {
		return nil, err
	}
	if len(a.MX) == 0 {
		return []string{domain}, nil
	}
	hosts := make([]string, 0, len(a.MX))
	for _, mx := range a.MX {
		if mx.Host == "" {
			mx.Host = domain
		}
		hosts = append(hosts, mx.Host)
	}
	return hosts, nil
}
