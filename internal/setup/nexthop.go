package setup

import (
	"context"
	"net/netip"

	"gatepost/internal/dns"
)

// Addresses are those of a host that mail is to be handed to, IPv4 first, by the
// hosts file or else the DNS. None and no error: there is no such host, or it has none.
func (e *Engine) Addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	s := e.current.Load()
	if _, addrs, found := s.hosts.Find(host); found {
		return addrs, nil
	}
	var all []netip.Addr
	var failed error
	for _, t := range []dns.Type{dns.TypeA, dns.TypeAAAA} {
		a, err := s.resolver.Lookup(ctx, host, t)
		if err != nil {
			failed = err
			continue
		}
		all = append(all, a.Addrs...)
	}
	if len(all) > 0 {
		return all, nil
	}
	return nil, failed
}
