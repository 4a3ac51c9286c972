package dns

import (
	"context"
	"net/netip"
	"strings"
)

// Canon is a host name as sendmail's canonification leaves it.
type Canon struct {
	Name  string // the canonical name without final dot if found, else the name as given
	Found bool
}

// Canonify does what $[ name $] does in sendmail's rules: the hosts file, then
// AAAA, A and MX in the DNS, until one has a record; a CNAME replaces the name
// by its target. The name of an entry in the hosts file gets the own domain if
// it has none. ownDomain ($m) and hosts may be empty. An address in brackets,
// "[192.0.2.1]" or "[IPv6:2001:db8::1]", is found under its own name if it has
// a PTR record or an entry in the hosts file.
//
// All questions go through r. An error means that nothing was found and that a
// question failed ("temporary"); the Canon then has the name as given. Sources:
// host_map_lookup (daemon.c), text_getcanonname and extract_canonname (map.c)
// and dns_getcanonname (domain.c) of sendmail 8.17.
func Canonify(ctx context.Context, r Resolver, hosts *Hosts, ownDomain, name string) (Canon, error) {
	given := Canon{Name: name}
	if strings.HasPrefix(name, "[") {
		return canonifyAddr(ctx, r, hosts, given)
	}
	if canonical, found := findHost(hosts, ownDomain, relative(name)); found {
		return Canon{Name: canonical, Found: true}, nil
	}
	canonical := relative(name)
	if !strings.Contains(canonical, ".") {
		return given, nil // without a search list sendmail asks for no name of one label
	}
	var failed error
	for _, t := range []Type{TypeAAAA, TypeA, TypeMX} {
		ans, err := r.Lookup(ctx, canonical, t)
		if err != nil {
			failed = err
			continue
		}
		if !sameName(ans.Name, canonical) { // an alias; kept as written if not
			canonical = ans.Name
			if !strings.Contains(canonical, ".") {
				return given, failed
			}
		}
		if !ans.Empty() {
			return Canon{Name: canonical, Found: true}, nil
		}
	}
	return given, failed
}

// findHost looks in the hosts file for the name, and for its first label if the rest is the own domain.
func findHost(hosts *Hosts, ownDomain, name string) (canonical string, found bool) {
	canonical, _, found = hosts.Find(name)
	if !found {
		label, domain, ok := strings.Cut(name, ".")
		if !ok || domain == "" || !sameName(domain, ownDomain) {
			return "", false
		}
		if canonical, _, found = hosts.Find(label); !found {
			return "", false
		}
	}
	// sendmail appends its domain to localhost as well, but its rules take that
	// apart again before they look; here the plain word is the canonical one.
	if ownDomain != "" && !strings.Contains(canonical, ".") && !sameName(canonical, "localhost") {
		canonical += "." + relative(ownDomain)
	}
	return canonical, true
}

func canonifyAddr(ctx context.Context, r Resolver, hosts *Hosts, given Canon) (Canon, error) {
	addr, ok := bracketed(given.Name)
	if !ok {
		return given, nil
	}
	if _, found := hosts.Name(addr); found {
		return Canon{Name: given.Name, Found: true}, nil
	}
	ans, err := r.Lookup(ctx, ReverseName(addr), TypePTR)
	if err != nil {
		return given, err
	}
	return Canon{Name: given.Name, Found: !ans.Empty()}, nil
}

// bracketed reads an address literal (RFC 5321, 4.1.3). As in sendmail the tag IPv6: may be missing.
func bracketed(name string) (netip.Addr, bool) {
	s, ok := strings.CutSuffix(relative(name), "]")
	if !ok {
		return netip.Addr{}, false
	}
	s = s[1:]
	if len(s) > 5 && strings.EqualFold(s[:5], "IPv6:") {
		addr, err := netip.ParseAddr(s[5:])
		return addr, err == nil && addr.Is6() && addr.Zone() == ""
	}
	addr, err := netip.ParseAddr(s)
	return addr, err == nil && addr.Zone() == ""
}
