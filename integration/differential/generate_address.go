package main

func (g *generator) sender() string {
	switch g.IntN(30) {
	case 0, 1:
		return "<>"
	case 2:
		return "<" + g.localPart() + ">"
	case 3:
		return "<" + g.local() + "@" + g.pick([]string{"localhost", "LOCALHOST", "localhost." + g.domain, "[127.0.0.1]", "[IPv6:::1]", "[IPv6:0:0:0:0:0:0:0:1]", "localhost.UUCP", "localhost.localdomain"}) + ">"
	}
	return g.mailbox()
}

func (g *generator) recipient() string {
	if g.chance(6) {
		return "<" + g.localPart() + ">"
	}
	return g.mailbox()
}

// mailbox is an address with a domain, in any of the ways of writing.
func (g *generator) mailbox() string {
	local, domain := g.localPart(), g.mailDomain()
	switch g.IntN(40) {
	case 0:
		return "<" + local + "%" + domain + "@" + g.mailDomain() + ">"
	case 1:
		return "<" + domain + "!" + g.local() + "@" + g.mailDomain() + ">"
	case 2:
		return "<" + domain + "!" + g.local() + ">"
	case 3:
		return "<" + g.local() + "%" + domain + ">"
	case 4:
		return "<@" + g.pick(g.domains) + ":" + local + "@" + domain + ">"
	case 5:
		return "<@" + g.pick(g.domains) + ",@" + g.pick(g.domains) + ":" + local + "@" + domain + ">"
	case 6:
		return `<"` + g.local() + "@" + g.pick(g.domains) + `"@` + domain + ">"
	case 7:
		return "<" + g.local() + "%" + g.pick(g.domains) + "%" + domain + "@" + g.mailDomain() + ">"
	case 8:
		return "<" + g.local() + "@" + domain + ".>"
	case 9:
		return "<" + g.pick(g.domains) + "!" + domain + "!" + g.local() + "@" + g.mailDomain() + ">"
	case 10:
		return `<"` + g.local() + "%" + g.pick(g.domains) + `"@` + domain + ">"
	}
	return "<" + local + "@" + domain + ">"
}

func (g *generator) local() string { return g.pick(g.locals) }

func (g *generator) localPart() string {
	local := g.casing(g.local())
	switch g.IntN(20) {
	case 0, 1, 2:
		return local + "+" + g.pick([]string{"x", "", "a.b", "x+y", "*"})
	case 3:
		return `"` + local + `"`
	case 4:
		return g.pick([]string{`"two words"`, "." + local, local + ".", "a..b", `"a\"b"`, local + "/x", "{" + local + "}", `""`, `"` + local + `+x"`, local + ":x"})
	}
	return local
}

func (g *generator) mailDomain() string {
	switch g.IntN(20) {
	case 0:
		return "[" + g.pick(g.clientAddrs()) + "]"
	case 1:
		return g.pick([]string{"[" + g.ownAddr + "]", "[127.0.0.1]", "[IPv6:2001:db8::1]", "[10.1.2]", "-x." + g.domain, "foo", "org"})
	case 2:
		return g.pick(labels()) + "." + g.pick(g.domains)
	case 3:
		return g.suffix(g.pick(g.domains))
	case 4:
		if ptr := g.clients[g.IntN(len(g.clients))].Ptr; ptr[0] != '[' {
			return ptr
		}
	case 5:
		return "nowhere.invalid"
	}
	return g.casing(g.pick(g.domains))
}
