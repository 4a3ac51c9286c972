package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// generator makes one policy and its sessions. All it makes follows from the seed:
// it never ranges over a map.
type generator struct {
	*rand.Rand
	p Policy
	world
	plain bool // a policy as sites have them; otherwise anything is mixed with anything
}

// generate makes the policy with this number, the same for the same seed.
func generate(seed uint64, number int) Policy {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, uint64(number)))}
	g.plain = g.chance(30)
	g.p.ID = fmt.Sprintf("seed%d-%04d", seed, number)
	g.p.Tags = []string{}
	g.makeWorld()
	g.p.Features = g.features()
	g.p.TrustAuth = g.mechanisms()
	g.p.LocalHosts = g.localHosts()
	g.p.Relay = g.relayDomains()
	g.p.OwnDomains = []string{g.domain}
	if g.chance(15) {
		g.p.OwnDomains = append(g.p.OwnDomains, g.pick(g.domains))
	}
	if g.p.has("access_db") {
		g.p.Access = g.access()
	}
	g.listFacts()
	g.p.DNS = g.zone
	for range sessionsPerPolicy {
		g.p.Sessions = append(g.p.Sessions, g.session())
	}
	return g.p
}

// chance is true this often in a hundred.
func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

func (g *generator) pick(list []string) string { return list[g.IntN(len(list))] }

// some picks up to most of the list, in any order.
func (g *generator) some(list []string, most int) []string {
	picked := []string{}
	n := g.IntN(min(most, len(list)) + 1)
	for _, i := range g.Perm(len(list))[:n] {
		picked = append(picked, list[i])
	}
	return picked
}

// casing changes the case of letters now and then.
func (g *generator) casing(s string) string {
	switch g.IntN(20) {
	case 0:
		return strings.ToUpper(s)
	case 1:
		b := []byte(s)
		for i, c := range b {
			if 'a' <= c && c <= 'z' && g.chance(50) {
				b[i] = c - 32
			}
		}
		return string(b)
	}
	return s
}

// session makes one session.
func (g *generator) session() Session {
	s := Session{Client: g.clients[g.IntN(len(g.clients))], MailFrom: g.sender(), Expected: Expected{Rcpt: []Verdict{}}}
	s.Helo = g.helo(&s.Client)
	for range 1 + g.IntN(4) {
		s.RcptTo = append(s.RcptTo, g.recipient())
	}
	switch {
	case g.chance(9):
		s.Auth = &Auth{g.pick(allMechanisms()), g.pick([]string{"joe", "jane", "bob@" + g.domain})}
	case g.chance(6):
		s.TLS = g.certificate()
	}
	if g.p.has("ratecontrol", "conncontrol") {
		s.Rate, s.Connections = 1+g.IntN(12), 1+g.IntN(9)
	}
	return s
}

func (g *generator) helo(c *Client) string {
	switch g.IntN(8) {
	case 0, 1, 2:
		return strings.Trim(c.Ptr, ".")
	case 3:
		return g.casing(g.p.HostName)
	case 4:
		return g.casing(g.pick(g.domains))
	}
	return g.pick([]string{
		"client.example.net", "unqualified", "localhost", "localhost.localdomain", "trailing.", "a.b", "friend",
		"[" + c.Addr + "]", "[127.0.0.1]", "[" + g.ownAddr + "]", "[IPv6:2001:db8::7]", "[IPv6:::1]", g.domain, "mx", "x-y_z.example.net", "1.2.3.4", "[10.1.2.3",
	})
}

func allMechanisms() []string {
	return []string{"PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-256"}
}

func (g *generator) mechanisms() []string {
	if g.chance(75) {
		return []string{}
	}
	return g.some(allMechanisms(), 3)
}

func (g *generator) certificate() *TLS {
	switch g.IntN(6) {
	case 0:
		return &TLS{Verify: "NO"}
	case 1:
		return &TLS{Verify: "FAIL", Subject: subjects()[0], Issuer: issuers()[0]}
	}
	return &TLS{Verify: "OK", Subject: g.pick(subjects()), Issuer: g.pick(issuers())}
}

func subjects() []string {
	return []string{"/C=US/O=Example+20Corp/CN=alice.example.com", "/C=DE/CN=gw.partner.net", "/O=R+20+28and+29+20D/CN=bob+20+3Cbob@example.com+3E"}
}

func issuers() []string {
	return []string{"/C=US/O=Example+20Corp/CN=Example+20CA", "/C=DE/O=Partner/CN=Root+20+28two+29", "/O=Nobody/CN=x"}
}

func (g *generator) localHosts() []string {
	list := []string{}
	for range g.IntN(5) {
		name := g.pick(g.domains)
		switch g.IntN(10) {
		case 0:
			name = g.pick(g.clientAddrs())
			name = "[" + name + "]"
		case 1:
			name = g.domain
		case 2:
			name = "[" + g.ownAddr + "]"
		}
		list = append(list, g.casing(name))
	}
	if g.chance(60) {
		list = append(list, g.domain)
	}
	return list
}

// relayDomains are lines of the file: names and addresses, whole and in part,
// some lines with comments or two words.
func (g *generator) relayDomains() []string {
	list := []string{}
	for range g.IntN(5) {
		member := g.relayMember()
		switch g.IntN(20) {
		case 0:
			member += " " + g.relayMember()
		case 1:
			member += " # " + g.pick(g.domains)
		case 2:
			member = "# " + member
		case 3:
			member = "  " + member
		}
		list = append(list, member)
	}
	return list
}

func (g *generator) relayMember() string {
	switch g.IntN(12) {
	case 0, 1, 2, 3:
		return g.casing(g.pick(g.domains))
	case 4:
		return "." + g.pick(g.domains)
	case 5:
		return g.suffix(g.pick(g.domains))
	case 6:
		return "[" + g.pick(g.clientAddrs()) + "]"
	case 7:
		return g.pick(g.clientAddrs())
	case 8:
		return g.network(g.pick(g.clientAddrs()))
	case 9:
		return g.network(g.pick(g.clientAddrs())) + g.pick([]string{".", ":", ""})
	case 10:
		return g.pick(g.locals) + "@" + g.pick(g.domains)
	}
	return g.clients[g.IntN(len(g.clients))].Ptr
}

// suffix cuts labels off a name, network parts off an address.
func (g *generator) suffix(name string) string {
	labels := strings.Split(name, ".")
	return strings.Join(labels[g.IntN(len(labels)):], ".")
}

func (g *generator) network(addr string) string {
	sep := "."
	if strings.HasPrefix(addr, "IPv6:") {
		sep = ":"
	}
	parts := strings.Split(addr, sep)
	return strings.Join(parts[:1+g.IntN(len(parts))], sep)
}
