package config

import "strings"

// DNSList is a DNS blocklist: a table [[dnsbl]], or FEATURE(dnsbl) or
// FEATURE(enhdnsbl) with its arguments.
type DNSList struct {
	Zone      string
	Enhanced  bool     // enhdnsbl: only certain answers count
	Message   string   // text with code, quarantine or discard; "" the usual text
	Temporary string   // what a failed lookup is: "" ignored, t the usual text, else a text with code
	Results   []string // enhdnsbl: addresses that count as listed
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
		list := DNSList{}
		v.r.table(c, e, listKeys(&list))
		if list.Zone == "" {
			v.r.fault(e.path, "%s has no zone, expected zone = \"bl.example.net\"", e.path)
		}
		list.Enhanced = list.Results != nil
		c.DNSLists = append(c.DNSLists, list)
	}
}

func listKeys(list *DNSList) []key {
	text := func(name, example string, at *string) key {
		return key{name, func(_ *Config, v value) { *at, _ = v.text(example) }}
	}
	return []key{
		{"zone", func(_ *Config, v value) { list.Zone = v.zone() }},
		text("message", "550 5.7.1 $&{client_addr} is listed", &list.Message),
		text("temporary", "t", &list.Temporary),
		{"results", func(_ *Config, v value) {
			elements, ok := v.list("127.0.0.2")
			if !ok {
				return
			}
			for _, e := range elements {
				if s, ok := e.text("127.0.0.2"); ok {
					list.Results = append(list.Results, s)
				}
			}
		}},
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
