package lint

import (
	"slices"
	"strings"

	"gatepost/maps"
	"gatepost/policy"
)

// most bounds each list of a survey. A policy that has more is searched in part,
// and the result says so.
const most = 2000

// survey is what the tables have that may let a stranger in: keys so short that
// they name strangers, and what a stranger can write as a sender.
type survey struct {
	prefixes []prefix // one octet, or up to two groups of IPv6
	suffixes []string // public suffixes
	users    []string // the local parts of keys "user@"
	senders  []string // senders that keys with From: or without tag name: user@domain, a domain, or .domain
	locals   []string // local domains
	routes   []string // domains through which a recipient may be routed
	pointers []string // names of clients that have an entry OK or RELAY; also .domain
	partial  bool     // a list was full

	wanted wanted
}

// wanted is what a stranger can make use of, by the features. The rest is not
// listed, so that tables full of it do not count as searched in part.
type wanted struct {
	senders, locals, users, pointers, friends bool
}

func newWanted(f *policy.Features) wanted {
	relay := f.RelayLocalFrom || f.RelayMailFrom
	senders := relay || f.DelayChecks != policy.DelayNone
	return wanted{
		senders:  senders,
		locals:   relay,
		users:    senders || f.RelayToFullAddress,
		pointers: f.UseClientPtr,
		friends:  f.DelayChecks == policy.DelayFriend || f.DelayChecks == policy.DelayHater,
	}
}

// newSurvey reads the tables of a policy. Keys and members come in lower case.
func newSurvey(c *policy.Config) *survey {
	s := &survey{wanted: newWanted(&c.Features)}
	if c.Features.CheckRcpt == policy.CheckRcptUnixWare {
		s.unixware(c)
	}
	for _, class := range c.RelayDomains {
		for word := range words(class) {
			s.relayMember(word)
		}
	}
	for _, class := range c.LocalHostNames {
		for word := range words(class) {
			if s.wanted.locals && hostName(word) {
				s.add(&s.locals, word)
			}
		}
	}
	for _, class := range c.OwnDomains {
		for word := range words(class) {
			s.suffix(word)
		}
	}
	for key, e := range words(c.Access) {
		s.entry(parseKey(key), e.Value)
	}
	for key := range words(c.Trusted) {
		s.trusted(key)
	}
	s.networks(c)
	return s
}

// networks takes the networks of cidr maps by which a client may be let in.
func (s *survey) networks(c *policy.Config) {
	for _, one := range networks(c.Access) {
		for key, e := range one.All() {
			tag, n, err := maps.ParseNetwork(key)
			if err == nil && (tag == "" || tag == tagConnect) && mayPermit(e.Value) {
				s.network(n)
			}
		}
	}
	for _, one := range networks(c.RelayDomains...) {
		for key := range one.All() {
			if tag, n, err := maps.ParseNetwork(key); err == nil && tag == "" {
				s.network(n)
			}
		}
	}
}

// trusted takes a key of the trusted table.
func (s *survey) trusted(key string) {
	if below, ok := strings.CutPrefix(key, "*."); ok && strings.Trim(below, "*.") != "" {
		s.suffix(below)
	} else if p, ok := parsePrefix(strings.TrimRight(key, "*.")); ok && key[len(key)-1] == '*' {
		s.net(p)
	}
}

// unixware notes what the UnixWare check takes for ours.
func (s *survey) unixware(c *policy.Config) {
	for _, class := range slices.Concat(c.VirtualHosts, c.OwnDomains) {
		for word := range words(class) {
			if hostName(word) && len(s.routes) < 3 {
				s.add(&s.routes, word)
			}
		}
	}
}

func (s *survey) add(list *[]string, word string) {
	switch {
	case len(*list) >= most:
		s.partial = true
	case !slices.Contains(*list, word):
		*list = append(*list, word)
	}
}

// suffix notes a name if strangers can have names below it.
func (s *survey) suffix(name string) {
	name = strings.TrimPrefix(name, ".")
	if _, ok := strangersBelow(name); ok {
		s.add(&s.suffixes, name)
	}
}

// net notes a prefix if strangers can have addresses below it.
func (s *survey) net(p prefix) {
	if !p.short() {
		return
	}
	same := func(q prefix) bool { return q.v6 == p.v6 && slices.Equal(q.parts, p.parts) }
	switch {
	case len(s.prefixes) >= most:
		s.partial = true
	case !slices.ContainsFunc(s.prefixes, same):
		s.prefixes = append(s.prefixes, p)
	}
}

// relayMember takes a member of relay-domains: the beginning of addresses, or the end of names.
func (s *survey) relayMember(word string) {
	if p, ok := parsePrefix(strings.TrimRight(word, ".:")); ok {
		s.net(p)
		return
	}
	s.suffix(word)
	if name := strings.TrimPrefix(word, "."); hostName(name) && len(s.routes) < 3 {
		s.add(&s.routes, name)
	}
}

// entry takes an entry of the access table. Only those whose value may permit
// something are of use to a stranger; what refuses is left to the policy, which
// is asked about each session. A short prefix under the tags that count
// connections is one with its own limit, whatever it is.
func (s *survey) entry(k accessKey, value string) {
	counts := k.tag == tagClientRate || k.tag == tagClientConn
	if !counts && !mayPermit(value) {
		return
	}
	switch k.tag {
	case "", tagConnect, tagFrom, tagTo, tagSpam, tagClientRate, tagClientConn:
	default:
		return
	}
	switch k.kind() {
	case kindNet, kindLiteral:
		if p, ok := k.net(); ok {
			s.net(p)
		}
		if k.kind() == kindLiteral {
			s.sender(k)
		}
	case kindUser:
		if s.wanted.users {
			s.add(&s.users, strings.TrimSuffix(k.rest, "@"))
		}
	case kindMailbox:
		s.sender(k)
	case kindDomain:
		s.domain(k)
	}
}

func (s *survey) domain(k accessKey) {
	s.sender(k)
	name := k.domain()
	if !hostName(name) {
		return
	}
	s.suffix(name)
	switch {
	case s.wanted.pointers && (k.tag == "" || k.tag == tagConnect):
		s.add(&s.pointers, k.rest)
	case k.tag == tagSpam && s.wanted.friends, k.tag == tagTo && len(s.routes) < 3:
		s.add(&s.routes, name)
	}
}

// sender notes what can be written in a MAIL command to hit the key; ".domain"
// stands for a name below it.
func (s *survey) sender(k accessKey) {
	if s.wanted.senders && (k.tag == "" || k.tag == tagFrom) {
		s.add(&s.senders, k.rest)
	}
}

// mayPermit tells whether a value could, once its comments and blanks are taken
// out, be one that lets pass. It may err on the side of yes.
func mayPermit(value string) bool {
	v := strings.ToUpper(value)
	for _, word := range []string{"OK", "RELAY", "SKIP", "FRIEND"} {
		if strings.Contains(v, word) {
			return true
		}
	}
	return false
}
