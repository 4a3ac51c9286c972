package setup

import (
	"context"
	"net/netip"

	"gatepost/internal/dns"
	"gatepost/policy"
)

// ResolveClient finds out a client's name as sendmail does: how it came out, the
// verified name, and the reverse name. The hosts file is asked before the DNS.
func (e *Engine) ResolveClient(ctx context.Context, addr netip.Addr) (r policy.Resolve, name, ptr string) {
	s := e.current.Load()
	found := dns.ResolveClient(ctx, s.resolver, s.hosts, addr)
	if found.Err != nil {
		e.log.Debug("a client's name could not be looked up", "client", addr, "resolve", found.Resolve, "error", found.Err)
	}
	return policy.ParseResolve(found.Resolve), found.Name, found.Ptr
}
