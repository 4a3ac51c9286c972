package dns

import (
	"context"
	"net/netip"
	"slices"
	"strings"
)

// ClientName is what can be known of the name of a client: sendmail's
// {client_name}, {client_ptr} and {client_resolve}.
type ClientName struct {
	Name    string // the verified name, without final dot; "" unless Resolve is OK
	Ptr     string // the reverse name, verified or not; "" when there is none
	Resolve string // OK; FAIL: no reverse name; FORGED: it does not lead back; TEMP: the reverse lookup failed
	Err     error  // of a lookup that got no answer: the cause of TEMP, or a cause of FORGED
}

// The values of ClientName.Resolve (sendmail operations guide, 5.2).
const (
	ClientOK     = "OK"
	ClientFail   = "FAIL"
	ClientForged = "FORGED"
	ClientTemp   = "TEMP"
)

// ResolveClient looks up the name of a client: the name of its address, and
// whether one of the addresses of that name, in the client's family, is the
// client's. The hosts file, which may be nil, is asked before the DNS. As in
// sendmail only the first reverse name counts, and a forward lookup that fails
// is FORGED, not TEMP (getauthinfo, daemon.c).
func ResolveClient(ctx context.Context, r Resolver, hosts *Hosts, addr netip.Addr) ClientName {
	addr = addr.Unmap().WithZone("")
	name, err := reverseName(ctx, r, hosts, addr)
	switch {
	case err != nil:
		return ClientName{Resolve: ClientTemp, Err: err}
	case name == "":
		return ClientName{Resolve: ClientFail}
	}
	addrs, err := forwardAddrs(ctx, r, hosts, name, addr)
	if err != nil || !slices.Contains(addrs, addr) {
		return ClientName{Ptr: name, Resolve: ClientForged, Err: err}
	}
	return ClientName{Name: name, Ptr: name, Resolve: ClientOK}
}

func reverseName(ctx context.Context, r Resolver, hosts *Hosts, addr netip.Addr) (string, error) {
	if name, found := hosts.Name(addr); found {
		return relative(name), nil
	}
	a, err := r.Lookup(ctx, ReverseName(addr), TypePTR)
	if err != nil || len(a.Names) == 0 {
		return "", err
	}
	return relative(a.Names[0]), nil
}

// forwardAddrs are the addresses of a name in the family of like.
func forwardAddrs(ctx context.Context, r Resolver, hosts *Hosts, name string, like netip.Addr) ([]netip.Addr, error) {
	if strings.Trim(name, ".") == "" {
		return nil, nil
	}
	t := TypeA
	if like.Is6() {
		t = TypeAAAA
	}
	if _, addrs, found := hosts.Find(name); found {
		other := func(a netip.Addr) bool { return a.Is4() != like.Is4() }
		if same := slices.DeleteFunc(slices.Clone(addrs), other); len(same) > 0 {
			return same, nil
		}
	}
	a, err := r.Lookup(ctx, name, t)
	return a.Addrs, err
}
