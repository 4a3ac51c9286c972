package scenario

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"gatepost/internal/dns"
	"gatepost/policy"
)

// client is how a test describes one: the address, and what a mail server would
// have found out about its name. Without resolve the facts of the DNS tell.
type client struct {
	address string // "local": no network connection
	name    string // {client_name}: verified name, or [address]
	ptr     string // {client_ptr}: reverse name, or [address]
	resolve string // {client_resolve}
}

// conn is the client as a mail server reports it.
func (c client) conn(p *policy.Config) (policy.Conn, error) {
	var conn policy.Conn
	if c.address == "local" || c.address == "0" {
		conn.Local = true
		if c.resolve == "" {
			conn.Name, conn.Resolve = "localhost", policy.ResolveOK
			return conn, nil
		}
	} else {
		addr, err := netip.ParseAddr(c.address)
		if err != nil || addr.Zone() != "" {
			return conn, fmt.Errorf("client address %s, expected an IPv4 or IPv6 address, or local", short(c.address))
		}
		conn.Addr = addr.Unmap()
	}
	if c.resolve == "" {
		found := dns.ResolveClient(context.Background(), p.Resolver, p.Hosts, conn.Addr)
		conn.Name, conn.Ptr, conn.Resolve = found.Name, found.Ptr, policy.ParseResolve(found.Resolve)
		return conn, nil
	}
	if conn.Resolve = policy.ParseResolve(c.resolve); conn.Resolve == policy.ResolveUnknown {
		return conn, fmt.Errorf("resolve state %q, expected OK, FAIL, FORGED or TEMP", c.resolve)
	}
	conn.Ptr = unlessBracketed(c.ptr)
	if conn.Resolve == policy.ResolveOK {
		if conn.Name = unlessBracketed(c.name); conn.Name == "" {
			return conn, errors.New("a client whose state is OK has a name, expected it")
		}
	}
	return conn, nil
}

// unlessBracketed is the name, "" for "[address]": no name.
func unlessBracketed(name string) string {
	if strings.HasPrefix(name, "[") {
		return ""
	}
	return strings.TrimSuffix(name, ".")
}
