package config

import (
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Tables are the administrator's tables.
type Tables struct {
	Access         Table // access map
	RelayDomains   Table // class R
	LocalHostNames Table // class w
	Trusted        Table // clients that may relay; see UsesTrusted
	Spammers       Table // senders that are refused; only when it is named
	VirtualHosts   Table // of the UnixWare relay check; only when it is named
	GenericsTable  Table // what senders are written as; only with the feature genericstable

	// OnUnavailable says what a map on a server does when the server is gone:
	// "tempfail" (it could not be asked) or "last" (what was last known of it stands).
	OnUnavailable string
	// MaxStale is for how long after the last word from its server a Redis map
	// still answers with "tempfail".
	MaxStale time.Duration
}

// All are the tables by their names in gatepost.toml.
func (t *Tables) All() map[string]*Table {
	return map[string]*Table{
		"access": &t.Access, "relay_domains": &t.RelayDomains, "local_host_names": &t.LocalHostNames,
		"trusted": &t.Trusted, "spammers": &t.Spammers, "virtual_hosts": &t.VirtualHosts,
		"genericstable": &t.GenericsTable,
	}
}

// Table is one map, or several: each key is asked of all in order. One that the
// configuration names must exist; the usual files under /etc/mail may be missing,
// and count as empty then.
type Table struct {
	Maps  []Map
	Named bool
	Line  int // where gatepost.toml names it; 0 for a default
}

// Map is one map of a table.
type Map struct {
	Kind string // one of mapKinds
	Path string // of a file; the URL of a redis map, the address of a socketmap, the name of an [[ldap]]
	// Text is the text that a database is made of: it is read while it is newer.
	Text string
	// Database is what makemap makes of a text: it is read when there is no text.
	Database string
}

// The kinds of maps.
const (
	kindText      = "text"
	kindDB        = "db"
	kindCDB       = "cdb"
	kindLMDB      = "lmdb"
	kindCIDR      = "cidr"
	kindRegex     = "regex"
	kindRedis     = "redis"
	kindSocketmap = "socketmap"
	kindLDAP      = "ldap"
)

// mapPrefix is a word before a colon that says what kind of map follows.
type mapPrefix struct {
	word, kind string
	extension  string // that a database's name has; added when it is missing
}

// mapPrefixes are those for files, under the names that makemap(8) and postmap(1)
// have for them.
func mapPrefixes() []mapPrefix {
	return []mapPrefix{
		{"text", kindText, ""},
		{"hash", kindDB, ".db"},
		{"btree", kindDB, ".db"},
		{"cdb", kindCDB, ".cdb"},
		{"lmdb", kindLMDB, ".lmdb"},
		{"cidr", kindCIDR, ""},
		{"regex", kindRegex, ""},
	}
}

const mapsExpected = "expected a path, or one after text:, hash:, btree:, cdb:, lmdb:, cidr: or regex:, or socketmap:, ldap: or redis://"

// defaultTable is one of the usual files, which may be missing.
func defaultTable(path string) Table {
	return Table{Maps: []Map{{Kind: kindText, Path: path}}}
}

func tableKeys() []key {
	table := func(name, example string, at func(*Config) *Table) key {
		return key{name, func(c *Config, v value) { readTable(at(c), v, example) }}
	}
	return []key{
		table("access", "/etc/mail/access", func(c *Config) *Table { return &c.Tables.Access }),
		table("relay_domains", "/etc/mail/relay-domains", func(c *Config) *Table { return &c.Tables.RelayDomains }),
		table("local_host_names", "/etc/mail/local-host-names", func(c *Config) *Table { return &c.Tables.LocalHostNames }),
		table("trusted", "/etc/mail/table/trusted", func(c *Config) *Table { return &c.Tables.Trusted }),
		table("spammers", "/etc/mail/table/spammers", func(c *Config) *Table { return &c.Tables.Spammers }),
		table("virtual_hosts", "/etc/mail/virtual-hosts", func(c *Config) *Table { return &c.Tables.VirtualHosts }),
		table("genericstable", "/etc/mail/genericstable", func(c *Config) *Table { return &c.Tables.GenericsTable }),
		{"on_unavailable", func(c *Config, v value) {
			if s, ok := v.oneOf("tempfail", "last"); ok {
				c.Tables.OnUnavailable = s
			}
		}},
		{"max_stale", func(c *Config, v value) {
			if d, ok := v.duration(time.Second, 24*time.Hour); ok {
				c.Tables.MaxStale = d
			}
		}},
	}
}

// readTable reads one map or a list of them.
func readTable(t *Table, v value, example string) {
	list, ok := v.list(example)
	if !ok {
		return
	}
	*t = Table{Named: true, Line: v.r.doc.line(v.path)}
	for _, e := range list {
		if m, ok := readMap(e, example); ok {
			if slices.Contains(t.Maps, m) {
				e.wrong("which stands in the list already")
			}
			t.Maps = append(t.Maps, m)
		}
	}
}

func readMap(v value, example string) (Map, bool) {
	s, ok := v.text(example)
	if !ok {
		return Map{}, false
	}
	word, rest, hasColon := strings.Cut(s, ":")
	switch {
	case word == "redis" || word == "rediss" || word == "redis+unix":
		if _, err := url.Parse(s); err != nil {
			v.wrong("which is no URL")
			return Map{}, false
		}
		return Map{Kind: kindRedis, Path: s}, true
	case hasColon && (word == kindSocketmap || word == kindLDAP):
		return Map{Kind: word, Path: rest}, rest != "" || v.missing(word)
	}
	for _, p := range mapPrefixes() {
		if hasColon && word == p.word {
			return fileMap(value{v.r, v.path, rest}, p.kind, p.extension, example)
		}
	}
	if hasColon && !strings.ContainsAny(word, "/.") {
		v.wrong(mapsExpected)
		return Map{}, false
	}
	return fileMap(v, kindByName(s), "", example)
}

func (v value) missing(word string) bool {
	v.wrong("expected something after %s:", word)
	return false
}

// kindByName is the kind that a file's name shows.
func kindByName(path string) string {
	switch filepath.Ext(path) {
	case ".db":
		return kindDB
	case ".cdb":
		return kindCDB
	case ".lmdb", ".mdb":
		return kindLMDB
	}
	return kindText
}

func fileMap(v value, kind, extension, example string) (Map, bool) {
	path, ok := v.file(example)
	if !ok {
		return Map{}, false
	}
	if extension != "" && filepath.Ext(path) != extension {
		path += extension
	}
	m := Map{Kind: kind, Path: path}
	if kind == kindDB || kind == kindCDB || kind == kindLMDB {
		m.Text = strings.TrimSuffix(path, filepath.Ext(path))
	}
	return m, true
}
