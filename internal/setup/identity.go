package setup

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"gatepost/internal/dns"
	"gatepost/policy"
)

// probeTime bounds what is asked of the DNS about this host itself.
const probeTime = 5 * time.Second

// host is this machine as far as names go; tests have another one.
type host struct {
	hostsFile  string
	resolvConf string
	hostname   func() (string, error)
	addresses  func() ([]net.Addr, error) // of the interfaces
}

func thisHost() host {
	return host{"/etc/hosts", "/etc/resolv.conf", os.Hostname, interfaceAddrs}
}

// interfaceAddrs are the addresses of the interfaces that are up.
func interfaceAddrs() ([]net.Addr, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var out []net.Addr
	for _, i := range all {
		if i.Flags&net.FlagUp == 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			return nil, err
		}
		out = append(out, addrs...)
	}
	return out, nil
}

// names answers questions about host names, the hosts file before the DNS.
type names struct {
	hosts    *dns.Hosts
	resolver dns.Resolver
}

// fullName is the host's own full name ($j). It is the name as it is when no full one can be found.
func (h host) fullName(ctx context.Context, n names, log *slog.Logger) (string, error) {
	name, err := h.hostname()
	if err != nil {
		return "", fmt.Errorf("cannot ask for the host's name, set host_name in the configuration: %w", err)
	}
	name = strings.TrimSuffix(name, ".")
	if strings.Contains(name, ".") || name == "" {
		return name, nil
	}
	if canonical, _, found := n.hosts.Find(name); found && strings.Contains(canonical, ".") {
		return canonical, nil
	}
	for _, t := range []dns.Type{dns.TypeA, dns.TypeAAAA} {
		a, err := n.resolver.Lookup(ctx, name, t)
		if err != nil {
			log.Warn("cannot ask the DNS for the host's full name", "name", name, "error", err)
		} else if !a.Empty() && strings.Contains(a.Name, ".") {
			return a.Name, nil
		}
	}
	log.Warn("the host's name has no domain, set host_name in the configuration", "name", name)
	return name, nil
}

// localWords is what always belongs to class w: localhost, the host's name, the
// addresses of that name, and unless probe is false the addresses of the
// interfaces and their names (sendmail's main and load_if_names). What cannot be
// looked up is left out with a warning: fewer local names mean fewer permissions.
func (h host) localWords(ctx context.Context, n names, hostName string, probe bool, log *slog.Logger) []string {
	words := []string{"localhost", hostName}
	for _, a := range n.addresses(ctx, hostName, log) {
		words = append(words, bracketed(a))
	}
	if !probe {
		return words
	}
	addrs, err := h.addresses()
	if err != nil {
		log.Warn("cannot list the network interfaces, their addresses are not taken as local", "error", err)
	}
	for _, raw := range addrs {
		prefix, ok := raw.(*net.IPNet)
		if !ok {
			continue
		}
		a, ok := netip.AddrFromSlice(prefix.IP)
		if !ok {
			continue
		}
		a = a.Unmap().WithZone("")
		words = append(words, bracketed(a))
		if name := n.nameOf(ctx, a, log); name != "" {
			words = append(words, name)
		}
	}
	return words
}

func (n names) addresses(ctx context.Context, name string, log *slog.Logger) []netip.Addr {
	if _, addrs, found := n.hosts.Find(name); found {
		return addrs
	}
	var out []netip.Addr
	for _, t := range []dns.Type{dns.TypeA, dns.TypeAAAA} {
		a, err := n.resolver.Lookup(ctx, name, t)
		if err != nil {
			log.Warn("cannot look up the addresses of the host's name", "name", name, "error", err)
			continue
		}
		out = append(out, a.Addrs...)
	}
	return out
}

// nameOf is the name of an interface's address, or "". The DNS is not asked
// about addresses that mean nothing outside of this host or link.
func (n names) nameOf(ctx context.Context, a netip.Addr, log *slog.Logger) string {
	if name, found := n.hosts.Name(a); found {
		return strings.TrimSuffix(name, ".")
	}
	if a.IsLoopback() || a.IsLinkLocalUnicast() {
		return ""
	}
	answer, err := n.resolver.Lookup(ctx, dns.ReverseName(a), dns.TypePTR)
	if err != nil {
		log.Warn("cannot look up the name of an interface's address", "address", a, "error", err)
		return ""
	}
	if len(answer.Names) == 0 {
		return ""
	}
	return answer.Names[0]
}

// bracketed is an address as the rule sets write a host without a name.
func bracketed(a netip.Addr) string { return "[" + policy.AddrText(a) + "]" }

// domainOf is $m: the host name without its first label.
func domainOf(hostName string) string {
	_, domain, _ := strings.Cut(hostName, ".")
	return domain
}
