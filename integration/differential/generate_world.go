package main

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"

	"gatepost/internal/dns/dnsfake"
)

// world is what there is around a policy: names, addresses, clients.
type world struct {
	zone    dnsfake.Zone
	domain  string   // of the host's name
	ownAddr string   // of the host's name
	domains []string // of senders and recipients; not all are in the DNS
	hosts   []string // with an address
	locals  []string // local parts
	clients []Client
}

func (g *generator) makeWorld() {
	g.zone = dnsfake.Zone{}
	g.domain = g.pick([]string{"example.com", "corp.example.org", "mail.test", "a.b.c.example.net"})
	g.p.HostName = g.pick([]string{"mx", "relay-1", "gate"}) + "." + g.domain
	g.ownAddr = fmt.Sprintf("198.18.0.%d", 1+g.IntN(250))
	g.zone[g.p.HostName] = dnsfake.Records{A: []string{g.ownAddr}}
	g.p.LocalAlways = []string{"localhost", g.p.HostName, "[" + g.ownAddr + "]"}
	g.locals = []string{
		g.pick([]string{"joe", "ann.lee", "x"}), g.pick([]string{"jane", "list-owner", "o'hara"}),
		g.pick([]string{"friend", "root", "12345"}), g.pick([]string{"evil", "a_b", "abuse=x"}), "postmaster",
	}
	g.makeDomains()
	for range 10 {
		g.clients = append(g.clients, g.client())
	}
	if g.chance(60) {
		g.clients = append(g.clients, Client{"127.0.0.1", "127.0.0.1", "localhost", "localhost", "OK"})
	}
	if g.chance(30) {
		g.clients = append(g.clients, Client{"::1", "IPv6:0:0:0:0:0:0:0:1", "localhost", "localhost", "OK"})
	}
}

// labels are parts of names; what the access map says of one often means others.
func labels() []string {
	return []string{"a", "b", "mail", "news", "dept", "x-1", "lists", "www", "under_score", "10", "relay", "connect", "localhost"}
}

func tops() []string {
	return []string{"friend.org", "partner.net", "isp.net", "bulk.co.uk", "spam.biz", "uni.edu", "org", "xn--bcher-kva.test", "foo"}
}

// makeDomains makes names with all kinds of records; aliases may dangle or go in
// circles.
func (g *generator) makeDomains() {
	g.domains = []string{g.domain, g.p.HostName}
	g.hosts = []string{g.p.HostName}
	for range 16 {
		name := g.pick(tops())
		if g.chance(25) {
			name = g.domain
		}
		for range g.IntN(3) {
			name = g.pick(labels()) + "." + name
		}
		g.domains = append(g.domains, name)
		if _, made := g.zone[name]; made {
			continue
		}
		if r, exists := g.records(); exists {
			g.zone[name] = r
			if len(r.A) > 0 {
				g.hosts = append(g.hosts, name)
			}
		}
	}
}

func (g *generator) records() (r dnsfake.Records, exists bool) {
	v4 := func() string { return fmt.Sprintf("198.51.100.%d", 1+g.IntN(250)) }
	switch g.IntN(20) {
	case 0, 1, 2, 3, 4:
		return dnsfake.Records{MX: g.exchangers()}, true
	case 5, 6:
		return dnsfake.Records{A: []string{v4()}, MX: g.exchangers()}, true
	case 7, 8, 9, 10:
		return dnsfake.Records{A: []string{v4()}}, true
	case 11:
		return dnsfake.Records{AAAA: []string{"2001:db8:5::1"}}, true
	case 12, 13, 14:
		return dnsfake.Records{CNAME: g.pick(append([]string{"gone.invalid"}, g.domains...))}, true
	case 15:
		return dnsfake.Records{TXT: []string{"nothing else"}}, true
	case 16:
		return dnsfake.Records{Fail: "SERVFAIL"}, true
	case 17:
		return dnsfake.Records{A: []string{v4()}, Fail: g.pick([]string{"MX:SERVFAIL", "AAAA:SERVFAIL"})}, true
	case 18:
		return dnsfake.Records{MX: g.exchangers(), Fail: g.pick([]string{"A:SERVFAIL", "AAAA:SERVFAIL"})}, true
	}
	return r, false
}

func (g *generator) exchangers() []dnsfake.MX {
	var list []dnsfake.MX
	for range 1 + g.IntN(2) {
		host := g.pick(g.hosts)
		switch g.IntN(14) {
		case 0:
			host = g.p.HostName
		case 1:
			host = "gone.invalid"
		case 2:
			return []dnsfake.MX{{Preference: 0, Host: ""}}
		case 3:
			host = g.pick([]string{"127.0.0.1", "192.0.2.25", "300.1.1.1"})
		case 4:
			host = fmt.Sprintf("bad%d.example.net", len(g.zone))
			g.zone[host] = dnsfake.Records{A: []string{g.pick([]string{"127.0.0.1", "10.0.0.1", "0.0.0.0", "100.1.1.1"})}}
		}
		list = append(list, dnsfake.MX{Preference: uint16(10 * (1 + g.IntN(3))), Host: host})
	}
	return list
}

// client makes a client with one of the outcomes of reverse lookup.
func (g *generator) client() Client {
	addr := g.address()
	for _, c := range g.clients {
		if c.Address == addr.String() {
			return c
		}
	}
	c := Client{Address: addr.String(), Addr: fullAddress(addr)}
	c.Name = "[" + c.Addr + "]"
	c.Ptr = c.Name
	c.Resolve = "FAIL"
	reverse, err := dns.ReverseAddr(c.Address)
	if err != nil {
		panic(err) // the address has just been made
	}
	reverse = strings.TrimSuffix(reverse, ".")
	outcome := g.IntN(20)
	if outcome == 0 {
		g.zone[reverse] = dnsfake.Records{Fail: "SERVFAIL"}
		c.Resolve = "TEMP"
	}
	if outcome <= 4 {
		return c
	}
	c.Ptr = g.casing(fmt.Sprintf("c%d.%s", len(g.zone), g.pick(g.domains)))
	g.zone[reverse] = dnsfake.Records{PTR: []string{c.Ptr}}
	c.Resolve = "FORGED"
	if outcome <= 7 {
		if outcome == 5 {
			g.zone[plainName(c.Ptr)] = dnsfake.Records{Fail: "SERVFAIL"}
		}
		return c
	}
	c.Name, c.Resolve = c.Ptr, "OK"
	g.forward(plainName(c.Ptr), addr)
	return c
}

// forward lets a name have the address, sometimes by an alias.
func (g *generator) forward(name string, addr netip.Addr) {
	r := dnsfake.Records{A: []string{addr.String()}}
	if addr.Is6() {
		r = dnsfake.Records{AAAA: []string{addr.String()}}
	}
	if g.chance(15) {
		target := fmt.Sprintf("real%d.%s", len(g.zone), g.pick(g.domains))
		g.zone[name] = dnsfake.Records{CNAME: target}
		name = target
	} else if g.chance(10) {
		r.MX = g.exchangers()
	}
	g.zone[name] = r
}

func (g *generator) address() netip.Addr {
	octet := func() byte { return byte(g.IntN(256)) }
	switch g.IntN(10) {
	case 0, 1:
		return netip.AddrFrom4([4]byte{10, byte(g.IntN(3)), byte(g.IntN(3)), octet()})
	case 2:
		return netip.AddrFrom4([4]byte{192, 0, 2, octet()})
	case 3:
		return netip.AddrFrom4([4]byte{203, 0, 113, octet()})
	case 4, 5:
		return netip.AddrFrom4([4]byte{198, 51, 100, octet()})
	case 6:
		return netip.AddrFrom4([4]byte{198, 18, byte(g.IntN(2)), octet()})
	case 7:
		return netip.MustParseAddr(g.pick([]string{"fd00::5", "fe80:1::2", "2001:db8::1:0:0:1"}))
	}
	return netip.MustParseAddr(fmt.Sprintf("2001:db8:%x:%x::%x", g.IntN(3), g.IntN(3), 1+g.IntN(0xffff)))
}

// fullAddress is the address as sendmail writes it.
func fullAddress(a netip.Addr) string {
	if a.Is4() {
		return a.String()
	}
	b := a.As16()
	s := "IPv6"
	for i := 0; i < len(b); i += 2 {
		s += fmt.Sprintf(":%x", uint16(b[i])<<8|uint16(b[i+1]))
	}
	return s
}

func (g *generator) clientAddrs() []string {
	var list []string
	for _, c := range g.clients {
		list = append(list, c.Addr)
	}
	return list
}

// listFacts puts clients on the DNS lists of the policy.
func (g *generator) listFacts() {
	for _, f := range g.p.Features {
		if f.Name != "dnsbl" && f.Name != "enhdnsbl" {
			continue
		}
		for _, c := range g.clients {
			addr := netip.MustParseAddr(c.Address)
			if !addr.Is4() || !g.chance(45) {
				continue
			}
			o := addr.As4()
			name := fmt.Sprintf("%d.%d.%d.%d.%s", o[3], o[2], o[1], o[0], strings.ToLower(f.Arguments[0]))
			r := dnsfake.Records{A: []string{fmt.Sprintf("127.0.0.%d", 2+g.IntN(4))}}
			switch g.IntN(8) {
			case 0:
				r = dnsfake.Records{Fail: "SERVFAIL"}
			case 1:
				r.A = append(r.A, "127.0.0.9")
			case 2:
				r = dnsfake.Records{TXT: []string{"listed, they say"}}
			}
			g.zone[name] = r
		}
	}
}
