// Package lint finds what is wrong with a policy before mail does: entries that
// can never match, values that are not what they look like, permissions that are
// wider than they were meant, and whether a stranger can relay to a stranger.
//
// The entries are looked at one by one (Tables, Features, Names). Whether the
// policy as a whole is an open relay is tried out: OpenRelay makes up sessions
// of strangers and asks the policy itself. docs/check.md says what is found and
// why the search is enough.
package lint

import (
	"cmp"
	"fmt"
	"iter"
	"slices"

	"gatepost/internal/config"
	"gatepost/maps"
	"gatepost/policy"
)

// Finding is one thing that is hardly what the administrator meant.
type Finding struct {
	Source maps.Source // the line; without one it concerns the configuration as a whole
	Check  string      // what kind of finding it is, a heading of docs/check.md
	Risk   string      // the name that accept_risk has for it; "" when it has none
	Text   string      // what is wrong, and what was probably meant
}

// String is "file:line: text".
func (f Finding) String() string {
	if f.Source.File == "" {
		return f.Text
	}
	return f.Source.String() + ": " + f.Text
}

// Table is one of the administrator's tables.
type Table struct {
	Text Listing // nil when the policy has no such table
}

// Listing is a table as far as its entries can be listed: a maps.Snapshot, or a
// maps.Chain of them.
type Listing interface {
	maps.Map
	All() iter.Seq2[string, maps.Entry]
	Problems() (first []maps.Problem, all int)
}

// Input is what is looked at.
type Input struct {
	Config                               *config.Config
	Policy                               policy.Config
	Access, RelayDomains, LocalHostNames Table
	Trusted, Spammers, VirtualHosts      Table // those of UnixWare
	GenericsTable                        Table
	GenericsDomains                      []maps.Map // class G
	Mailertable                          Table      // of gatepost-relay
}

// Check makes all checks that need no network, sorted by file and line. What
// accept_risk names is left out.
func Check(in *Input) []Finding {
	c := &collector{in: in}
	c.problems()
	c.access()
	c.relayDomains()
	c.localHostNames()
	c.trusted()
	c.spammers()
	c.virtualHosts()
	c.generics()
	c.mailertable()
	c.features()
	c.deadLists()
	found := slices.DeleteFunc(c.found, func(f Finding) bool { return f.Risk != "" && in.Config.Accepts(f.Risk) })
	slices.SortStableFunc(found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Source.File, b.Source.File), cmp.Compare(a.Source.Line, b.Source.Line))
	})
	return found
}

// collector gathers findings.
type collector struct {
	in      *Input
	found   []Finding
	refuses *bool // whether an address is refused at connection; nil: not looked for yet
}

func (c *collector) add(at maps.Source, check, format string, args ...any) {
	c.risk(at, check, "", format, args...)
}

func (c *collector) risk(at maps.Source, check, risk, format string, args ...any) {
	c.found = append(c.found, Finding{Source: at, Check: check, Risk: risk, Text: fmt.Sprintf(format, args...)})
}

// problems lists what the parser found: lines that are skipped, keys that stand twice.
func (c *collector) problems() {
	for _, t := range []*Table{&c.in.Access, &c.in.RelayDomains, &c.in.LocalHostNames, &c.in.Trusted, &c.in.Spammers, &c.in.VirtualHosts, &c.in.GenericsTable, &c.in.Mailertable} {
		if t.Text == nil {
			continue
		}
		problems, all := t.Text.Problems()
		for _, p := range problems {
			c.add(p.Source, "lines that are skipped", "%s", p.Text)
		}
		if more := all - len(problems); more > 0 && len(problems) > 0 {
			last := problems[len(problems)-1].Source
			c.add(last, "lines that are skipped", "and %d more lines like these, not listed", more)
		}
	}
}

// keySource is where the configuration file has a key.
func keySource(c *config.Config, path string) maps.Source {
	if c.File == "" {
		return maps.Source{}
	}
	return maps.Source{File: c.File, Line: config.KeyLine(c.File, path)}
}
