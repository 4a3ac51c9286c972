package explain

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"gatepost/maps"
	"gatepost/policy"
)

// Op is what an Edit does to a file.
type Op string

// The edits of a line, or of a word of a class.
const (
	Add    Op = "add"
	Change Op = "change"
	Remove Op = "remove"
)

// The tables that can be edited, by their names in gatepost.toml.
const (
	tableAccess  = "access"
	tableRelay   = "relay_domains"
	tableLocal   = "local_host_names"
	tableVirtual = "virtual_hosts"
	tableTrusted = "trusted"
	tableSpam    = "spammers"
	maxKey       = 512 // bytes; longer than any address or name
	betweenWords = "  "
)

// hasValues tells whether a table has keys and values; the others are classes of words.
func hasValues(table string) bool {
	return table == tableAccess || table == tableTrusted || table == tableSpam
}

// Edit is one edit of a table's text.
type Edit struct {
	Op    Op
	Table string // access, relay_domains, local_host_names, trusted, spammers, virtual_hosts
	File  string
	Lines []int  // of what is changed or removed; a word of a class may stand in several
	Key   string // of a line, or the word of a class
	Old   string // value before; "" for an added line and in a class
	New   string // value after; "" for a removed line and in a class
}

// String is the edit as an instruction.
func (e Edit) String() string {
	switch {
	case e.Op == Add && hasValues(e.Table):
		return "add to " + e.File + ":  " + e.Line()
	case e.Op == Add:
		return "add to " + e.File + ":  " + e.Key
	case e.Op == Change:
		return fmt.Sprintf("change %s to:  %s  (it is %s now)", e.places(), e.Line(), e.Old)
	case hasValues(e.Table):
		return fmt.Sprintf("remove %s (%s %s)", e.places(), e.Key, e.Old)
	}
	return fmt.Sprintf("remove the word %s from %s", e.Key, e.places())
}

// Line is the line of a table with values after the edit.
func (e Edit) Line() string { return e.Key + betweenWords + e.New }

func (e Edit) places() string {
	words := make([]string, len(e.Lines))
	for i, line := range e.Lines {
		words[i] = maps.Source{File: e.File, Line: line}.String()
	}
	return strings.Join(words, " and ")
}

// table is a table whose lines can be listed; *maps.Text is one.
type table interface {
	maps.Map
	File() string
	Editable() bool
	Occurrences(key string) []maps.Entry
}

// patched is a table after an edit: one key has other lines than before.
type patched struct {
	table
	key   string
	lines []maps.Entry // what the key has now, in the order of the file
}

// Lookup implements maps.Map. A lookup that failed before the edit fails after it.
func (p *patched) Lookup(ctx context.Context, key string) (maps.Entry, bool, error) {
	e, found, err := p.table.Lookup(ctx, key)
	if err != nil || !sameKey(key, p.key) {
		return e, found, err
	}
	if len(p.lines) == 0 {
		return maps.Entry{}, false, nil
	}
	return p.lines[0], true, nil
}

// Occurrences are the lines of a key after the edit.
func (p *patched) Occurrences(key string) []maps.Entry {
	if sameKey(key, p.key) {
		return p.lines
	}
	return p.table.Occurrences(key)
}

// apply is the configuration after an edit.
func apply(cfg policy.Config, e Edit) policy.Config {
	switch e.Table {
	case tableAccess:
		cfg.Access = applyLine(cfg.Access, e)
	case tableTrusted:
		cfg.Trusted = applyLine(cfg.Trusted, e)
	case tableSpam:
		cfg.Spammers = applyLine(cfg.Spammers, e)
	case tableRelay:
		cfg.RelayDomains = applyClass(cfg.RelayDomains, e)
	case tableLocal:
		cfg.LocalHostNames = applyClass(cfg.LocalHostNames, e)
	case tableVirtual:
		cfg.VirtualHosts = applyClass(cfg.VirtualHosts, e)
	}
	return cfg
}

// applyLine gives a key of the edited file another line. Where one goes, the next
// one with its key counts.
func applyLine(m maps.Map, e Edit) maps.Map {
	parts := maps.Parts(m)
	for i, m := range parts {
		t, ok := m.(table)
		if !ok || t.File() != e.File {
			continue
		}
		// The first line counts; only when it goes does it matter whether there are more.
		lines := []maps.Entry{{Value: e.New, Source: maps.Source{File: e.File}}}
		if e.Op == Remove {
			lines = t.Occurrences(e.Key)
			lines = lines[min(1, len(lines)):]
		}
		parts[i] = &patched{t, e.Key, lines}
		return maps.Chain(parts)
	}
	return m
}

// applyClass adds a word, or takes one away from the file wherever it stands there.
func applyClass(class []maps.Map, e Edit) []maps.Map {
	class = slices.Clone(class)
	if e.Op == Add {
		return append(class, maps.NewClass(e.File, []string{e.Key}))
	}
	for i, m := range class {
		if t, ok := m.(table); ok && t.File() == e.File {
			class[i] = &patched{table: t, key: e.Key}
		}
	}
	return class
}

// writable tells whether a key can stand in a table's text as a line's key, and
// be read by whoever is to type it.
func writable(key string) bool {
	return key != "" && len(key) <= maxKey && utf8.ValidString(key) &&
		!strings.ContainsFunc(key, func(r rune) bool { return r == '#' || r == '"' || unicode.IsSpace(r) || !unicode.IsGraphic(r) })
}

// sameKey compares keys as tables do, without regard to ASCII case only.
func sameKey(a, b string) bool { return len(a) == len(b) && asciiLower(a) == asciiLower(b) }

func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + ('a' - 'A')
		}
		return r
	}, s)
}
