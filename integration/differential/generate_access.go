package main

import (
	"fmt"
	"strings"
)

// access makes the text of an access file. Keys mean names and addresses of this
// world, so that they are found.
func (g *generator) access() string {
	var b strings.Builder
	n := 6 + g.IntN(30)
	if g.plain {
		n = 3 + g.IntN(12)
	}
	for range n {
		b.WriteString(g.accessLine() + "\n")
	}
	return b.String()
}

func (g *generator) accessLine() string {
	if g.chance(3) {
		return g.pick([]string{"", "# a comment", " leading.blank REJECT", "key.without.value", "\t", "#Connect:10 RELAY", "To:x@ \t "})
	}
	tag, key := g.accessKey()
	if g.chance(6) {
		tag = g.casing(strings.ToLower(tag))
	}
	if g.chance(1) && (key == "" || key[0] < '0' || key[0] > '9') { // a blank makes the key a value; not a code
		tag += " "
	}
	value := g.value(tag)
	if g.chance(2) {
		value += g.pick([]string{" ", " # comment", "\t"})
	}
	return tag + g.casing(key) + g.pick([]string{"\t", " ", "\t\t", "   "}) + value
}

func (g *generator) accessKey() (tag, key string) {
	switch g.IntN(20) {
	case 0, 1, 2, 3:
		return "Connect:", g.connectKey()
	case 4, 5, 6, 7:
		return "From:", g.addressKey()
	case 8, 9, 10, 11:
		return "To:", g.addressKey()
	case 12:
		return "", g.connectKey()
	case 13, 14:
		return "", g.addressKey()
	case 15, 16:
		if g.p.has("delay_checks") {
			return "Spam:", g.addressKey()
		}
		return "To:", g.addressKey()
	case 17:
		return g.certificateKey()
	}
	return g.controlKey()
}

func (g *generator) certificateKey() (tag, key string) {
	if g.chance(50) {
		return "CertIssuer:", g.pick(issuers())
	}
	return "CertSubject:", g.pick(subjects())
}

func (g *generator) controlKey() (tag, key string) {
	switch {
	case g.p.has("ratecontrol") && g.chance(40):
		return "ClientRate:", g.network(g.pick(g.clientAddrs()))
	case g.p.has("conncontrol") && g.chance(40):
		return "ClientConn:", g.pick([]string{"", g.network(g.pick(g.clientAddrs()))})
	case g.p.has("greet_pause") && g.chance(60):
		return "GreetPause:", g.connectKey()
	case g.p.has("compat_check") && g.chance(60):
		return "Compat:", g.pick(g.locals) + "@" + g.pick(g.domains) + "<@>" + g.pick(g.locals) + "@" + g.pick(g.domains)
	}
	return "From:", g.addressKey()
}

func (g *generator) connectKey() string {
	c := &g.clients[g.IntN(len(g.clients))]
	switch g.IntN(12) {
	case 0, 1:
		return c.Addr
	case 2, 3:
		return g.network(c.Addr)
	case 4:
		return "[" + g.network(c.Addr) + "]"
	case 5:
		return c.Address
	case 6, 7:
		return c.Ptr
	case 8:
		return g.suffix(c.Ptr)
	case 9:
		return "." + g.suffix(c.Ptr)
	case 10:
		return g.network(c.Addr) + "."
	}
	return g.pick(g.domains)
}

func (g *generator) addressKey() string {
	domain, local := g.pick(g.domains), g.pick(g.locals)
	switch g.IntN(16) {
	case 0, 1, 2:
		return local + "@" + domain
	case 3, 4:
		return local + "@"
	case 5:
		return local + "+*@" + g.pick([]string{"", domain})
	case 6:
		return local + "+x@" + g.pick([]string{"", domain})
	case 7:
		return "." + domain
	case 8:
		return g.suffix(domain)
	case 9:
		return `"` + local + `"@` + domain
	case 10:
		return "[" + g.network(g.pick(g.clientAddrs())) + "]"
	case 11:
		return g.pick([]string{"<>", "localhost", "invalid", "@" + domain, local, "a b@", "two words@" + domain, "*@" + domain})
	}
	return domain
}

func (g *generator) value(tag string) string {
	switch strings.TrimSpace(strings.ToLower(tag)) {
	case "spam:":
		return g.pick([]string{"FRIEND", "FRIEND", "HATER", "HATER", "friend", "REJECT", "OK", "SPAMFRIEND"})
	case "certissuer:":
		return g.pick([]string{"RELAY", "SUBJECT", "SUBJECT", "OK", "REJECT"})
	case "certsubject:":
		return g.pick([]string{"RELAY", "RELAY", "OK"})
	case "clientrate:", "clientconn:":
		return g.pick([]string{"0", "1", "3", "5", "10", "none"})
	case "greetpause:":
		return g.pick([]string{"0", "2000", "7000"})
	case "compat:":
		return g.pick([]string{"DISCARD", "DISCARD:quiet", "DISCARD now", "TEMP:not now", "ERROR:go away", "ERROR:550 5.7.1 no", "REJECT", "TEMP:451 4.7.1 later"})
	}
	if g.chance(62) {
		return g.pick([]string{
			"RELAY", "RELAY", "RELAY", "REJECT", "REJECT", "REJECT", "OK", "OK", "DISCARD", "SKIP", "SKIP",
			"reject", "Relay", "ok", "skip", "Discard", "FRIEND", "HATER", "SUBJECT", "SPAMFRIEND", "SPAMHATER",
		})
	}
	return g.text()
}

// text is a value that is an error text, in all forms of writing.
func (g *generator) text() string {
	code := g.pick([]string{"550", "551", "553", "554", "571", "450", "451", "452", "421", "521"})
	text := g.prose()
	enh := g.pick([]string{"5.7.1", "4.2.1", "5.1.1", "5.2.100", "4.1234.1", "6.1.1", "5.7", "5.07.1"})
	switch g.IntN(14) {
	case 0, 1:
		return code + " " + text
	case 2:
		return code + " " + enh + " " + text
	case 3, 4:
		return "ERROR:" + code + " " + text
	case 5, 6:
		return "ERROR:" + enh + ":" + code + " " + text
	case 7:
		return "ERROR:" + enh + `:"` + code + " " + strings.ReplaceAll(text, `"`, "") + `"`
	case 8:
		return "ERROR:" + text
	case 9:
		return "ERROR:" + enh + ":" + text
	case 10:
		return `ERROR:"` + code + " " + enh + " " + strings.ReplaceAll(text, `"`, "") + `"`
	case 11:
		return "QUARANTINE:" + text
	case 12:
		return g.pick([]string{"QUARANTINE", "DISCARD:x", "REJECT now", "OK.", "RELAYED", "ERROR", "Error:550 x", code, code + "-5.7.1 x", code + " ", "quarantine:x", "<REJECT>"})
	}
	return text
}

// prose strings words and punctuation together.
func (g *generator) prose() string {
	words := []string{
		"Go", "away", "no", "spam", "don't", "http://example.com/why?a=b", "5.2", "GB", "user.name", "a-b", "x_y", "<you>", "(closed)",
		"100%", "you@listed", "[10.1.2.3]", "a/b", "c:d", "!", "plus+minus", `"two  words"`, "=", "#1", "~", "*", "&", "e;f", "^", "{z}", "|", "'", "`q", "Tag:key", "?",
	}
	var b strings.Builder
	b.WriteString(g.pick([]string{"Mail", "We", "See", "blocked"}))
	for range g.IntN(6) {
		b.WriteString(g.pick([]string{" ", " ", " ", "  ", ", ", ". ", "; ", ": ", " - ", "!"}))
		b.WriteString(g.pick(words))
	}
	return fmt.Sprint(b.String())
}
