package explain

import (
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"gatepost/maps"
	"gatepost/policy"
)

// The tags of access keys that an edit may set.
const (
	tagConnect    = "Connect:"
	tagFrom       = "From:"
	tagTo         = "To:"
	tagSpam       = "Spam:"
	tagClientRate = "ClientRate:"
	tagClientConn = "ClientConn:"
)

// candidates lists edits that may turn the verdict around, those with the
// smallest reach first. The keys are those that the policy itself asked for. last
// are words of classes, with which all mail of a domain would go.
func (f *search) candidates(cfg policy.Config, stages []Stage) (near, last []Edit) {
	c := &collection{cfg: cfg, addr: policy.AddrText(f.session.Facts.Conn.Addr), found: map[string]policy.Answer{}}
	k := c.keys(stages)
	hits := c.hits(stages[len(stages)-1].Steps, f.accept)
	narrow := func(a policy.Answer) bool { return k.isNarrow(a.Key) || a.Key == c.addr || a.Key == k.trusted }

	c.remove(hits, narrow)
	if f.accept {
		c.permit(k, hits)
		c.relayFor(k)
	} else {
		c.forbid(k, hits)
	}
	near = c.edits
	if !f.accept {
		c.edits = nil
		c.removeWords(hits)
		last = c.edits
	}
	return near, last
}

// collection gathers candidates.
type collection struct {
	cfg   policy.Config
	addr  string                   // the client's, as in keys
	found map[string]policy.Answer // entries of access that the policy met, by their keys in lower case
	edits []Edit
}

// permit: entries that let the session pass, but do not let it relay, and then
// those that let the client relay, or relay for the recipient's domain.
func (c *collection) permit(k keys, hits []policy.Answer) {
	for _, key := range k.narrow {
		c.set(key, permitting(key))
	}
	c.addLine(tableSpam, c.cfg.Spammers, k.spammer, "OK")
	c.remove(hits, func(policy.Answer) bool { return true })
	for _, a := range hits {
		c.change(a, "OK")
	}
	for _, key := range k.narrow {
		c.relay(key)
	}
	c.addLine(tableTrusted, c.cfg.Trusted, k.trusted, "accept")
	for _, key := range k.domains {
		if !tooWide(key) {
			c.set(key, permitting(key))
			c.relay(key)
		}
	}
	for _, key := range k.users {
		c.set(key, "OK")
	}
}

// relay sets RELAY for a client or a recipient, never for a public suffix.
func (c *collection) relay(key string) {
	tag, rest := cutTag(key)
	isClient := tag == tagConnect && rest == c.addr
	if isClient || tag == tagTo && !tooWide(key) {
		c.set(key, "RELAY")
	}
}

// relayFor adds words to classes: the client's address, the recipient's domain.
func (c *collection) relayFor(k keys) {
	if !k.relaying {
		return
	}
	c.addWord(tableRelay, c.addr)
	if !tooWide(k.recipient) {
		c.addWord(tableRelay, k.recipient)
		c.addWord(tableVirtual, k.recipient)
		c.addWord(tableLocal, k.recipient)
	}
}

// forbid: entries that refuse, or that hide a permission of a wider one.
func (c *collection) forbid(k keys, hits []policy.Answer) {
	for _, key := range k.narrow {
		c.set(key, forbidding(key))
		c.hide(key)
	}
	c.remove(hits, func(policy.Answer) bool { return true })
	for _, a := range hits {
		c.change(a, "REJECT")
	}
	for _, key := range k.domains {
		c.set(key, forbidding(key))
		c.hide(key)
	}
	for _, key := range k.users {
		c.set(key, "REJECT")
	}
}

// hide takes away a permission to relay that a wider key or the key itself gives:
// OK does not relay.
func (c *collection) hide(key string) {
	if tag, _ := cutTag(key); tag == tagConnect || tag == tagTo || tag == tagFrom {
		c.set(key, "OK")
	}
}

func permitting(key string) string {
	switch tag, _ := cutTag(key); tag {
	case tagClientRate, tagClientConn:
		return "0"
	case tagSpam:
		return "FRIEND"
	}
	return "OK"
}

func forbidding(key string) string {
	switch tag, _ := cutTag(key); tag {
	case tagClientRate, tagClientConn:
		return "" // a limit on connections is no verdict on this one
	case tagSpam:
		return "HATER"
	}
	return "REJECT"
}

// set gives a key a value: by a new line, or by changing the line that counts.
func (c *collection) set(key, value string) {
	file := editable(maps.Parts(c.cfg.Access))
	if file == "" || value == "" || !writable(key) {
		return
	}
	if line, there := c.found[asciiLower(key)]; there {
		c.change(line, value)
		return
	}
	c.add(Edit{Op: Add, Table: tableAccess, File: file, Key: key, New: value})
}

// editable is the file of the first map that an administrator edits as a text, ""
// for none.
func editable(parts []maps.Map) string {
	for _, m := range parts {
		if t, ok := m.(table); ok && t.Editable() {
			return t.File()
		}
	}
	return ""
}

// addLine adds a line to one of the tables of UnixWare, for a key that it does not have.
func (c *collection) addLine(name string, m maps.Map, key, value string) {
	if t, ok := m.(table); ok && writable(key) && len(t.Occurrences(key)) == 0 {
		c.add(Edit{Op: Add, Table: name, File: t.File(), Key: key, New: value})
	}
}

// change gives the line of an answer another value.
func (c *collection) change(a policy.Answer, value string) {
	if a.Table != tableAccess && a.Table != tableSpam || a.Value == value || a.Source.Line == 0 || !writable(a.Key) {
		return
	}
	c.add(Edit{Op: Change, Table: a.Table, File: a.Source.File, Lines: []int{a.Source.Line}, Key: a.Key, Old: a.Value, New: value})
}

// remove takes away the lines of the answers that which picks, and words that
// are an address.
func (c *collection) remove(hits []policy.Answer, which func(policy.Answer) bool) {
	for _, a := range hits {
		switch {
		case !which(a):
		case hasValues(a.Table):
			c.add(Edit{Op: Remove, Table: a.Table, File: a.Source.File, Lines: []int{a.Source.Line}, Key: a.Key, Old: a.Value})
		case a.Table == tableRelay && a.Key == c.addr:
			c.removeWord(a)
		}
	}
}

func (c *collection) removeWords(hits []policy.Answer) {
	for _, a := range hits {
		if !hasValues(a.Table) {
			c.removeWord(a)
		}
	}
}

// removeWord takes a word of a class away from all lines of its file.
func (c *collection) removeWord(a policy.Answer) {
	for _, m := range c.class(a.Table) {
		t, ok := m.(table)
		if !ok || t.File() != a.Source.File {
			continue
		}
		var lines []int
		for _, o := range t.Occurrences(a.Key) {
			lines = append(lines, o.Source.Line)
		}
		c.add(Edit{Op: Remove, Table: a.Table, File: t.File(), Lines: slices.Compact(lines), Key: a.Key})
	}
}

// addWord adds a word to the first file of a class.
func (c *collection) addWord(name, word string) {
	if file := editable(c.class(name)); file != "" && writable(word) {
		c.add(Edit{Op: Add, Table: name, File: file, Key: word})
	}
}

func (c *collection) class(name string) []maps.Map {
	switch name {
	case tableRelay:
		return c.cfg.RelayDomains
	case tableVirtual:
		return c.cfg.VirtualHosts
	}
	return c.cfg.LocalHostNames
}

// add notes an edit once.
func (c *collection) add(e Edit) {
	same := func(x Edit) bool {
		return x.Op == e.Op && x.Table == e.Table && x.Key == e.Key && x.New == e.New && slices.Equal(x.Lines, e.Lines)
	}
	if !slices.ContainsFunc(c.edits, same) {
		c.edits = append(c.edits, e)
	}
}

// tooWide tells whether a key or a word names a public suffix, or a single label:
// an entry for it would be one for half the world.
func tooWide(key string) bool {
	_, domain := cutTag(key)
	domain = domain[strings.LastIndexByte(domain, '@')+1:]
	domain = asciiLower(strings.Trim(domain, "."))
	suffix, _ := publicsuffix.PublicSuffix(domain)
	return suffix == domain
}
