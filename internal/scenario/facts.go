package scenario

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"gatepost/internal/dns"
	"gatepost/internal/dns/dnsfake"
)

// dnsExpected says what a line of the section dns looks like.
const dnsExpected = `expected "NAME TYPE DATA" such as "example.org MX 10 mx.example.org", "192.0.2.1 PTR mx.example.org" or "slow.example A SERVFAIL"`

// Facts are records of the DNS by name, as they are written in a policy test.
type Facts struct{ zone dnsfake.Zone }

// Add takes a fact: NAME TYPE DATA, also with the time to live and the class that
// zone files and dig have before the type. The data may be a failure; without a
// type it is that of every type. NXDOMAIN instead of the type says that the name
// has no records.
func (f *Facts) Add(text string) error {
	name, rest := cutField(strings.TrimSpace(text))
	word, data := cutField(rest)
	if _, err := strconv.ParseUint(word, 10, 32); err == nil {
		word, data = cutField(data)
	}
	if strings.EqualFold(word, "IN") {
		word, data = cutField(data)
	}
	if word == "" {
		return fmt.Errorf("%s, %s", short(text), dnsExpected)
	}
	typ := strings.ToUpper(word)
	if addr, err := netip.ParseAddr(name); err == nil && (typ == "PTR" || isFailure(typ)) {
		name = dns.ReverseName(addr)
	}
	name = dnsfake.Plain(name)
	r := f.zone[name]
	if err := addFact(&r, typ, data); err != nil {
		return err
	}
	if f.zone == nil {
		f.zone = dnsfake.Zone{}
	}
	f.zone[name] = r
	return nil
}

// Over is a resolver that answers from the facts for the names that they have,
// and asks r about others. A Facts that is empty changes nothing.
func (f *Facts) Over(r dns.Resolver) dns.Resolver {
	if len(f.zone) == 0 {
		return r
	}
	return &overlay{f.zone, dnsfake.NewFake(f.zone), r}
}

// overlay has facts before another resolver.
type overlay struct {
	zone  dnsfake.Zone
	fake  *dnsfake.Fake
	other dns.Resolver
}

const maxAliases = 16 // CNAMEs followed, as in package dns

// Lookup implements dns.Resolver. An alias may lead to a name of the other.
func (o *overlay) Lookup(ctx context.Context, name string, t dns.Type) (dns.Answer, error) {
	target := name
	for range maxAliases {
		r, known := o.zone[dnsfake.Plain(target)]
		if !known {
			return o.other.Lookup(ctx, target, t)
		}
		if r.CNAME == "" || r.Fail != "" {
			break
		}
		target = r.CNAME
	}
	a, err := o.fake.Lookup(ctx, name, t)
	a.Server = "given"
	return a, err
}

// cutField cuts the first word.
func cutField(s string) (word, rest string) {
	s = strings.TrimLeft(s, " \t")
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimSpace(s[i:])
}

// failures are the ways in which a question gets no answer.
func failures() []string { return []string{"SERVFAIL", "REFUSED", "TIMEOUT"} }

func isFailure(word string) bool { return slices.Contains(failures(), word) }

func addFact(r *dnsfake.Records, typ, data string) error {
	switch {
	case isFailure(typ) && data == "":
		return addFailure(r, typ)
	case typ == "NXDOMAIN" && data == "":
		return nil
	case isFailure(data) && slices.Contains([]string{"A", "AAAA", "MX", "PTR", "TXT"}, typ):
		return addFailure(r, typ+":"+data)
	case data == "":
		return fmt.Errorf("nothing after the type, %s", dnsExpected)
	}
	return addRecord(r, typ, data)
}

func addRecord(r *dnsfake.Records, typ, data string) error {
	switch typ {
	case "A":
		return addAddress(&r.A, data, netip.Addr.Is4, "an IPv4 address")
	case "AAAA":
		return addAddress(&r.AAAA, data, netip.Addr.Is6, "an IPv6 address")
	case "MX":
		return addExchanger(r, data)
	case "PTR":
		return addName(func(name string) { r.PTR = append(r.PTR, name) }, typ, data)
	case "CNAME":
		if r.CNAME != "" {
			return fmt.Errorf("a second CNAME, expected one")
		}
		return addName(func(name string) { r.CNAME = name }, typ, data)
	case "TXT":
		r.TXT = append(r.TXT, strings.Trim(data, `"`))
		return nil
	}
	return fmt.Errorf("type %s, expected A, AAAA, MX, PTR, TXT, CNAME, NXDOMAIN or %s", short(typ), strings.Join(failures(), ", "))
}

func addFailure(r *dnsfake.Records, failure string) error {
	if r.Fail != "" {
		failure = r.Fail + "," + failure
	}
	r.Fail = failure
	return nil
}

func addAddress(list *[]string, data string, family func(netip.Addr) bool, expected string) error {
	addr, err := netip.ParseAddr(data)
	if err != nil || !family(addr) || addr.Zone() != "" {
		return fmt.Errorf("%s, expected %s or one of %s", short(data), expected, strings.Join(failures(), ", "))
	}
	*list = append(*list, addr.String())
	return nil
}

func addExchanger(r *dnsfake.Records, data string) error {
	preference, host := cutField(data)
	n, err := strconv.ParseUint(preference, 10, 16)
	if err != nil || host == "" || strings.ContainsAny(host, " \t") {
		return fmt.Errorf("MX %s, expected a preference and a host such as \"10 mx.example.org\", or \"0 .\" for no mail", short(data))
	}
	r.MX = append(r.MX, dnsfake.MX{Preference: uint16(n), Host: strings.TrimSuffix(host, ".")})
	return nil
}

func addName(set func(string), typ, data string) error {
	if strings.ContainsAny(data, " \t") {
		return fmt.Errorf("%s %s, expected one name", typ, short(data))
	}
	set(strings.TrimSuffix(data, "."))
	return nil
}
