package scenario

import (
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

// dnsLine takes a fact: NAME TYPE DATA, also with the time to live and the class
// that zone files and dig have before the type. The data may be a failure; without
// a type it is that of every type.
func (d *document) dnsLine(text string) error {
	name, rest := cutField(text)
	word, data := cutField(rest)
	if _, err := strconv.ParseUint(word, 10, 32); err == nil {
		word, data = cutField(data)
	}
	if strings.EqualFold(word, "IN") {
		word, data = cutField(data)
	}
	if word == "" {
		return fmt.Errorf("%q, %s", text, dnsExpected)
	}
	typ := strings.ToUpper(word)
	if addr, err := netip.ParseAddr(name); err == nil && (typ == "PTR" || isFailure(typ)) {
		name = dns.ReverseName(addr)
	}
	name = dnsfake.Plain(name)
	r := d.dns[name]
	if err := addFact(&r, typ, data); err != nil {
		return err
	}
	d.dns[name] = r
	return nil
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
	case isFailure(data) && slices.Contains([]string{"A", "AAAA", "MX", "PTR", "TXT"}, typ):
		return addFailure(r, typ+":"+data)
	case data == "":
		return fmt.Errorf("nothing after the type, %s", dnsExpected)
	}
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
	return fmt.Errorf("type %q, expected A, AAAA, MX, PTR, TXT, CNAME or %s", typ, strings.Join(failures(), ", "))
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
		return fmt.Errorf("%q, expected %s or one of %s", data, expected, strings.Join(failures(), ", "))
	}
	*list = append(*list, addr.String())
	return nil
}

func addExchanger(r *dnsfake.Records, data string) error {
	preference, host := cutField(data)
	n, err := strconv.ParseUint(preference, 10, 16)
	if err != nil || host == "" || strings.ContainsAny(host, " \t") {
		return fmt.Errorf("MX %q, expected a preference and a host such as \"10 mx.example.org\", or \"0 .\" for no mail", data)
	}
	r.MX = append(r.MX, dnsfake.MX{Preference: uint16(n), Host: strings.TrimSuffix(host, ".")})
	return nil
}

func addName(set func(string), typ, data string) error {
	if strings.ContainsAny(data, " \t") {
		return fmt.Errorf("%s %q, expected one name", typ, data)
	}
	set(strings.TrimSuffix(data, "."))
	return nil
}
