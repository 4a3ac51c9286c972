package config

import (
	"strings"
	"time"
)

// DNSList is a DNS list: a table [[dnsbl]], or FEATURE(dnsbl) or FEATURE(enhdnsbl)
// with its arguments.
type DNSList struct {
	Zone      string
	Enhanced  bool     // enhdnsbl: only certain answers count
	Message   string   // text with code, quarantine or discard; "" the usual text
	Temporary string   // what a failed lookup is: "" ignored, t the usual text, else a text with code
	Results   []string // enhdnsbl: addresses that count as listed
	Table     *ListTable
}

// ListTable is what a table [[dnsbl]] has beyond the FEATUREs.
type ListTable struct {
	Lookup   string   // "" or "address", "client_name", "sender" or "helo"
	Results  []Result // answers that count as listed; none: any
	Weight   int
	Weighted bool // weight is set
	Allow    bool
	Reason   bool
	IPv6     bool
	Health   bool
	Key      string // secret
}

// Scored tells whether the list only adds to the sum of weights.
func (t *ListTable) Scored() bool {
	scored := t.Weighted
	for _, r := range t.Results {
		scored = scored || r.Weighted
	}
	return scored
}

// Domains tells whether domains are looked up, and not addresses.
func (t *ListTable) Domains() bool { return t.Lookup != "" && t.Lookup != "address" }

// defaultListTimeout is for all lists of a decision together; a mail server waits
// 10 s for its answer.
const defaultListTimeout = 3 * time.Second

// ListTimeout is how long all DNS lists of a decision may take together.
func (c *Config) ListTimeout() time.Duration {
	if c.Features.DNSBLTimeout == 0 {
		return min(defaultListTimeout, c.Milter.Timeout/2)
	}
	return c.Features.DNSBLTimeout
}

// listFeatures are about all lists together. They are no FEATUREs of sendmail's.
func listFeatures() []feature {
	unlessOff := func(read func(f *Features, v value)) func(f *Features, v value) {
		return func(f *Features, v value) {
			if v.v != false {
				read(f, v)
			}
		}
	}
	return []feature{
		{name: "dnsbl_threshold", read: unlessOff(func(f *Features, v value) { f.DNSBLThreshold, _ = v.integer(1, 1_000_000) })},
		{name: "dnsbl_message", read: unlessOff(func(f *Features, v value) {
			f.DNSBLMessage, _ = v.text("550 5.7.1 Rejected: $&{client_addr} is listed")
		})},
		{name: "dnsbl_timeout", read: unlessOff(func(f *Features, v value) { f.DNSBLTimeout, _ = v.duration(100*time.Millisecond, time.Minute) })},
	}
}

// Lists are all DNS lists in the order in which they are asked: dnsbl, enhdnsbl,
// then the tables [[dnsbl]] as they stand in the file.
func (c *Config) Lists() []DNSList {
	return append(append(append([]DNSList{}, c.Features.DNSBL...), c.Features.EnhDNSBL...), c.DNSLists...)
}

// readLists reads the tables [[dnsbl]].
func readLists(c *Config, v value) {
	l, ok := v.v.([]any)
	if !ok || len(l) == 0 {
		v.wrong("expected tables, each beginning with [[dnsbl]]")
		return
	}
	for _, e := range v.elements(l) {
		list := DNSList{Table: &ListTable{IPv6: true, Health: true}}
		v.r.table(c, e, listKeys(&list))
		if list.Zone == "" {
			v.r.fault(e.path, "%s has no zone, expected zone = \"bl.example.net\"", e.path)
		}
		list.Enhanced = list.Table.Results != nil
		c.DNSLists = append(c.DNSLists, list)
	}
}

func listKeys(list *DNSList) []key {
	t := list.Table
	text := func(name, example string, at *string) key {
		return key{name, func(_ *Config, v value) { *at, _ = v.text(example) }}
	}
	flag := func(name string, at *bool) key {
		return key{name, func(_ *Config, v value) { *at, _ = v.boolean() }}
	}
	return []key{
		{"zone", func(_ *Config, v value) { list.Zone = v.zone() }},
		text("message", "550 5.7.1 $&{client_addr} is listed", &list.Message),
		text("temporary", "t", &list.Temporary),
		{"lookup", func(_ *Config, v value) { t.Lookup, _ = v.oneOf("address", "client_name", "sender", "helo") }},
		{"results", func(_ *Config, v value) { t.Results = v.results() }},
		{"weight", func(_ *Config, v value) { t.Weight, t.Weighted = v.integer(-maxWeight, maxWeight) }},
		flag("allow", &t.Allow),
		flag("reason", &t.Reason),
		flag("ipv6", &t.IPv6),
		flag("health", &t.Health),
		{"key", func(_ *Config, v value) { t.Key = v.listKey() }},
		{"key_file", func(_ *Config, v value) { t.Key = v.listKeyFile() }},
	}
}

// zone is the name of a DNS list.
func (v value) zone() string {
	s, ok := v.text("bl.example.net")
	if ok && !hostName(strings.TrimSuffix(s, ".")) {
		v.wrong("expected a name such as \"bl.example.net\"")
	}
	return strings.TrimSuffix(s, ".")
}

// readFeatureLists reads dnsbl or enhdnsbl: a zone, a zone with further arguments,
// or a list of such lists, which stands for the feature used more than once.
func readFeatureLists(v value, enhanced bool) []DNSList {
	if v.v == false {
		return nil
	}
	l, isList := v.v.([]any)
	if !isList {
		return []DNSList{{Zone: v.zone(), Enhanced: enhanced}}
	}
	var out []DNSList
	for _, e := range v.elements(l) {
		arguments, nested := e.v.([]any)
		if !nested {
			return []DNSList{featureList(v, v.elements(l), enhanced)}
		}
		out = append(out, featureList(e, e.elements(arguments), enhanced))
	}
	if len(out) == 0 {
		v.wrong("expected the name of a zone, or a list of arguments such as [\"bl.example.net\", \"\", \"t\"]")
	}
	return out
}

func featureList(v value, arguments []value, enhanced bool) DNSList {
	most := 3
	if enhanced {
		most = 9
	}
	if len(arguments) == 0 || len(arguments) > most {
		v.wrong("expected 1 to %d arguments", most)
		return DNSList{}
	}
	list := DNSList{Zone: arguments[0].zone(), Enhanced: enhanced}
	for i, a := range arguments[1:] {
		s, ok := a.v.(string)
		switch {
		case !ok:
			a.wrong("expected a string")
		case i == 0:
			list.Message = s
		case i == 1:
			list.Temporary = s
		default:
			list.Results = append(list.Results, s)
		}
	}
	return list
}
