package route

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"gatepost/internal/dns"
	"gatepost/internal/smtp"
	"gatepost/relay/deliver"
)

// deliverPort is where servers take mail for a domain.
const deliverPort = 25

// maxExchangers is how many hosts of a domain are tried.
const maxExchangers = 20

func status(class, subject, detail uint16) smtp.EnhancedCode {
	return smtp.EnhancedCode{Class: class, Subject: subject, Detail: detail}
}

func statusLoop() smtp.EnhancedCode { return status(5, 4, 6) }

func failed(code smtp.EnhancedCode, format string, args ...any) error {
	return deliver.NoRoute{Outcome: deliver.Failed, Status: code, Text: fmt.Sprintf(format, args...)}
}

// Exchangers are the hosts that take mail for a domain, in the order in which they are to be
// tried (RFC 5321, 5.1): by preference, equal ones shuffled; the domain itself where there
// are no MX records. This host, and what comes no earlier in the list, is left out. A
// deliver.NoRoute says that the domain takes no mail, or from us: an error otherwise that the
// DNS could not be asked.
func (r *Router) Exchangers(ctx context.Context, domain string) (deliver.Exchangers, error) {
	hosts, authentic, err := r.exchangers(ctx, domain)
	if err != nil {
		return deliver.Exchangers{}, r.mine(domain, err)
	}
	return deliver.Exchangers{Hosts: hosts, Authentic: authentic}, nil
}

// mine has a fault of the smart host's name wait for the administrator: all mail would
// fail otherwise.
func (r *Router) mine(domain string, err error) error {
	fault, ok := err.(deliver.NoRoute)
	if ok && slices.ContainsFunc(r.config.SmartHost.Hops, func(h smtp.NextHop) bool { return strings.EqualFold(h.Host, domain) }) {
		fault.Outcome, fault.Status.Class = deliver.Deferred, 4
		return fault
	}
	return err
}

func (r *Router) exchangers(ctx context.Context, domain string) (hosts []string, authentic bool, err error) {
	answer, err := r.config.Site.Lookup(ctx, domain, dns.TypeMX)
	switch {
	case err != nil:
		return nil, false, fmt.Errorf("cannot look up the mail exchangers of %s: %w", domain, err)
	case len(answer.MX) == 0:
		hosts, err = r.itself(ctx, domain)
		return hosts, answer.Authentic, err
	case len(answer.MX) == 1 && answer.MX[0].Host == "":
		return nil, false, failed(status(5, 1, 10), "%s takes no mail (null MX)", domain) // RFC 7505
	}
	list := usable(answer.MX)
	if len(list) == 0 {
		return nil, false, failed(status(5, 4, 4), "the MX records of %s name no host", domain)
	}
	found, err := r.examine(ctx, list)
	if err != nil {
		return nil, false, err
	}
	hosts, err = r.others(domain, list, found)
	return hosts, answer.Authentic, err
}

// itself is the domain as its own mail exchanger.
func (r *Router) itself(ctx context.Context, domain string) ([]string, error) {
	switch addrs, err := r.Resolve(ctx, domain); {
	case err != nil:
		return nil, err
	case len(addrs.Addrs) == 0:
		return nil, failed(status(5, 1, 2), "Host unknown: %s has neither MX records nor an address", domain)
	case r.anySelf(ctx, addrs.Addrs):
		return nil, failed(statusLoop(), "mail for %s loops back to this host", domain)
	}
	return []string{domain}, nil
}

// usable are the records that name a host, the best first, each host once. Equal ones are
// in random order, to share the work.
func usable(records []dns.MX) []dns.MX {
	list := make([]dns.MX, 0, len(records))
	for _, mx := range records {
		mx.Host = strings.ToLower(mx.Host)
		if hops, err := smtp.ParseNextHops(mx.Host); err == nil && len(hops) == 1 && hops[0].MX {
			list = append(list, mx)
		}
	}
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	slices.SortStableFunc(list, func(a, b dns.MX) int { return cmp.Compare(a.Preference, b.Preference) })
	seen := map[string]bool{}
	list = slices.DeleteFunc(list, func(mx dns.MX) bool {
		again := seen[mx.Host]
		seen[mx.Host] = true
		return again
	})
	return list[:min(len(list), maxExchangers)]
}

// examined is what is known of a mail exchanger.
type examined struct {
	self   bool // it is this host
	absent bool // it certainly has no address
	err    error
}

// examine looks at all of them at once. A host that cannot be looked up now stays in the
// list: its turn may never come.
func (r *Router) examine(ctx context.Context, list []dns.MX) ([]examined, error) {
	found := make([]examined, len(list))
	var all sync.WaitGroup
	for i, mx := range list {
		all.Go(func() { found[i] = r.examineOne(ctx, mx.Host) })
	}
	all.Wait()
	for i := range found {
		if found[i].err != nil {
			return nil, fmt.Errorf("whether %s is this host cannot be told: %w", list[i].Host, found[i].err)
		}
	}
	return found, nil
}

func (r *Router) examineOne(ctx context.Context, host string) (e examined) {
	if e.self, e.err = r.config.Site.IsLocal(ctx, host); e.self || e.err != nil {
		return e
	}
	addrs, err := r.Resolve(ctx, host)
	e.absent = err == nil && len(addrs.Addrs) == 0
	e.self = r.anySelf(ctx, addrs.Addrs)
	return e
}

// others are the hosts that come before this one in the list.
func (r *Router) others(domain string, list []dns.MX, found []examined) ([]string, error) {
	self := slices.IndexFunc(found, func(e examined) bool { return e.self })
	var hosts []string
	for i, mx := range list {
		if self >= 0 && mx.Preference >= list[self].Preference {
			break
		}
		if !found[i].absent {
			hosts = append(hosts, mx.Host)
		}
	}
	switch {
	case len(hosts) > 0:
		return hosts, nil
	case self >= 0:
		return nil, failed(statusLoop(), "mail for %s loops back to this host: %s is the best of its mail exchangers that can be used, and %s does not take the domain for local", domain, list[self].Host, r.config.Site.HostName())
	}
	return nil, failed(status(5, 4, 4), "no mail exchanger of %s has an address", domain)
}

// isSelf tells whether mail to an address would come back to us. Nobody else is at 0.0.0.0.
func (r *Router) isSelf(ctx context.Context, addr netip.Addr) bool {
	return addr.IsUnspecified() || r.config.Listening != nil && r.config.Listening(ctx, addr)
}

func (r *Router) anySelf(ctx context.Context, addrs []netip.Addr) bool {
	return slices.ContainsFunc(addrs, func(a netip.Addr) bool { return r.isSelf(ctx, a) })
}

// Resolve returns the addresses of a host, by the hosts file or else the DNS; none and no
// error when there is no such host. IPv6 and IPv4 take turns, and chance says which is first,
// so that one of them that does not work costs no more than one attempt (Postfix's
// smtp_address_preference = any).
func (r *Router) Resolve(ctx context.Context, host string) (deliver.Addresses, error) {
	if _, addrs, found := r.config.Site.Hosts().Find(host); found {
		return deliver.Addresses{Addrs: slices.DeleteFunc(slices.Clone(addrs), r.unused)}, nil
	}
	var found [2][]netip.Addr
	var failures [2]error
	authentic := [2]bool{true, true}
	var both sync.WaitGroup
	for i, t := range []dns.Type{dns.TypeA, dns.TypeAAAA} {
		if t == dns.TypeA && !r.config.IPv4 || t == dns.TypeAAAA && !r.config.IPv6 {
			continue
		}
		both.Go(func() {
			answer, err := r.config.Site.Lookup(ctx, host, t)
			found[i], failures[i], authentic[i] = answer.Addrs, err, answer.Authentic
		})
	}
	both.Wait()
	if len(found[0])+len(found[1]) == 0 {
		for _, err := range failures {
			if err != nil {
				return deliver.Addresses{}, fmt.Errorf("cannot look up the addresses of %s: %w", host, err)
			}
		}
	}
	first := rand.IntN(2)
	return deliver.Addresses{Addrs: inTurn(found[first], found[1-first]), Authentic: authentic[0] && authentic[1]}, nil
}

func (r *Router) unused(addr netip.Addr) bool {
	return addr.Is4() && !r.config.IPv4 || addr.Is6() && !r.config.IPv6
}

// inTurn takes one of each as long as there are, then the rest.
func inTurn(a, b []netip.Addr) []netip.Addr {
	all := make([]netip.Addr, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		all = append(all, a[0], b[0])
		a, b = a[1:], b[1:]
	}
	return append(append(all, a...), b...)
}
