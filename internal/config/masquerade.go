package config

import (
	"fmt"
	"strings"

	"gatepost/internal/smtp"
)

// Masquerade is what [relay] says of the addresses that others see.
type Masquerade struct {
	MasqueradeAs        string            // MASQUERADE_AS, without final dot; "" for none
	MasqueradeDomain    Class             // MASQUERADE_DOMAIN, class M
	MasqueradeException Class             // MASQUERADE_EXCEPTION, class N
	ExposedUser         Class             // EXPOSED_USER, class E
	GenericsDomain      Class             // GENERICS_DOMAIN, class G
	SendAs              string            // the account as which all mail to the smart host is sent; "" for none
	SendAsByHost        map[string]string // the same for each next hop, by its name in lower case
}

// Class is a class of sendmail's: words, and files of them.
type Class struct {
	Words []string
	File  Table // not Named: none
}

func (c *Class) empty() bool { return len(c.Words) == 0 && !c.File.Named }

// MasqueradeFeatures are the FEATURE()s about addresses that others see.
type MasqueradeFeatures struct {
	MasqueradeEnvelope     bool
	MasqueradeEntireDomain bool
	LimitedMasquerade      bool
	AllMasquerade          bool
	LocalNoMasquerade      bool
	GenericsTable          bool // the table is Tables.GenericsTable
	GenericsEntireDomain   bool
	AlwaysAddDomain        bool
	AddDomain              string // the domain that always_add_domain names; "" for the host's
}

// classes are the classes by their keys.
func (m *Masquerade) classes() []struct {
	key   string
	class *Class
} {
	return []struct {
		key   string
		class *Class
	}{
		{"masquerade_domain", &m.MasqueradeDomain}, {"masquerade_exception", &m.MasqueradeException},
		{"exposed_user", &m.ExposedUser}, {"generics_domain", &m.GenericsDomain},
	}
}

func masqueradeKeys() []key {
	keys := []key{{"masquerade_as", readMasqueradeAs}, {"send_as", readSendAs}}
	for i, c := range new(Masquerade).classes() {
		at := func(c *Config) *Class { return c.Relay.classes()[i].class }
		keys = append(keys,
			key{c.key, func(c *Config, v value) { readWords(at(c), v, c.Relay.classes()[i].key == "exposed_user") }},
			key{c.key + "_file", func(c *Config, v value) { readTable(&at(c).File, v, "/etc/mail/masquerade-domains") }})
	}
	return keys
}

func masqueradeFeatures() []feature {
	return []feature{
		flag("masquerade_envelope", func(f *Features) *bool { return &f.MasqueradeEnvelope }),
		flag("masquerade_entire_domain", func(f *Features) *bool { return &f.MasqueradeEntireDomain }),
		flag("limited_masquerade", func(f *Features) *bool { return &f.LimitedMasquerade }),
		flag("allmasquerade", func(f *Features) *bool { return &f.AllMasquerade }),
		flag("local_no_masquerade", func(f *Features) *bool { return &f.LocalNoMasquerade }),
		flag("genericstable", func(f *Features) *bool { return &f.GenericsTable }),
		flag("generics_entire_domain", func(f *Features) *bool { return &f.GenericsEntireDomain }),
		{name: "always_add_domain", read: readAlwaysAddDomain},
	}
}

// readAlwaysAddDomain reads true, false, or the domain to add.
func readAlwaysAddDomain(f *Features, v value) {
	if on, isBool := v.v.(bool); isBool {
		f.AlwaysAddDomain = on
		return
	}
	s, isText := v.v.(string)
	if !isText || !hostName(strings.TrimSuffix(s, ".")) {
		v.wrong("expected true, false, or a domain such as \"example.com\"")
		return
	}
	f.AlwaysAddDomain, f.AddDomain = true, s
}

func readMasqueradeAs(c *Config, v value) {
	s, ok := v.text("example.com")
	if !ok {
		return
	}
	if s = strings.TrimSuffix(s, "."); !hostName(s) {
		v.wrong("expected a domain such as \"example.com\"")
		return
	}
	c.Relay.MasqueradeAs = s
}

// readWords reads the members of a class: domains, or users.
func readWords(class *Class, v value, users bool) {
	example := "example.com"
	if users {
		example = "root"
	}
	list, ok := v.list(example)
	if !ok {
		return
	}
	for _, e := range list {
		s, ok := e.text(example)
		switch {
		case !ok:
		case users && strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '@' || r == 0x7f }):
			e.wrong("expected a user without domain, such as %q", example)
		case !users && !hostName(s):
			e.wrong("expected a domain such as %q", example)
		default:
			class.Words = append(class.Words, s)
		}
	}
}

// readSendAs reads an account, or a table of them by next hops.
func readSendAs(c *Config, v value) {
	const example = "account@isp.example"
	hosts, isTable := v.v.(map[string]any)
	if !isTable {
		if s, ok := v.text(example); ok && account(v, s) {
			c.Relay.SendAs = s
		}
		return
	}
	c.Relay.SendAsByHost = map[string]string{}
	for host, a := range hosts {
		e := value{v.r, join(v.path, host), a}
		if hops, err := smtp.ParseNextHops(host); err != nil || len(hops) != 1 || !hops[0].MX && strings.ContainsAny(host, "[]") || hops[0].Port != 0 {
			e.wrong("whose key is %q, expected the name of a next hop, without port", host)
		} else if s, ok := e.text(example); ok && account(e, s) {
			c.Relay.SendAsByHost[strings.ToLower(hops[0].Host)] = s
		}
	}
}

// account checks an address that stands in From: and after MAIL.
func account(v value, s string) bool {
	box := smtp.ParseMailbox(s, smtp.Syntax{NoUUCP: true, NoPercentHack: true})
	bad := strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }) || strings.ContainsAny(s, "<>(),;:\"\\")
	if bad || box.Local == "" || !hostName(box.Domain) || len(s) > smtp.MaxPath {
		v.wrong("expected an address such as \"account@isp.example\"")
		return false
	}
	return true
}

// checkMasquerade checks what no single key about masquerading can tell.
func (r *reader) checkMasquerade(c *Config) {
	m, f := &c.Relay.Masquerade, &c.Features
	needs := func(key, other string) {
		r.fault(key, "%s means nothing without %s", key, other)
	}
	if m.MasqueradeAs == "" {
		for _, one := range m.classes()[:3] {
			if one.key != "masquerade_exception" && !one.class.empty() {
				needs(r.named("relay."+one.key), "relay.masquerade_as")
			}
		}
		if f.LimitedMasquerade {
			needs("features.limited_masquerade", "relay.masquerade_as")
		}
	}
	if f.LimitedMasquerade && m.MasqueradeDomain.empty() {
		needs("features.limited_masquerade", "relay.masquerade_domain: no address with a domain would be masqueraded")
	}
	if f.MasqueradeEntireDomain && m.MasqueradeDomain.empty() {
		needs("features.masquerade_entire_domain", "relay.masquerade_domain")
	}
	if !f.GenericsTable {
		switch {
		case c.Tables.GenericsTable.Named:
			needs("tables.genericstable", "features.genericstable = true")
		case !m.GenericsDomain.empty():
			needs(r.named("relay.generics_domain"), "features.genericstable = true")
		case f.GenericsEntireDomain:
			needs("features.generics_entire_domain", "features.genericstable = true")
		}
	}
	r.checkRewriting(c, needs)
	if m.SendAs != "" && !c.Relay.SmartHost.Set() {
		needs("relay.send_as", fmt.Sprintf("relay.smart_host: for other next hops write send_as = { \"smtp.isp.example\" = %q }", m.SendAs))
	}
}

// checkRewriting checks the features that need something to rewrite by.
func (r *reader) checkRewriting(c *Config, needs func(key, other string)) {
	if c.Relay.MasqueradeAs != "" || c.Features.GenericsTable {
		return
	}
	for name, on := range map[string]bool{
		"masquerade_envelope": c.Features.MasqueradeEnvelope, "allmasquerade": c.Features.AllMasquerade,
		"local_no_masquerade": c.Features.LocalNoMasquerade,
	} {
		if on {
			needs("features."+name, "relay.masquerade_as or features.genericstable")
		}
	}
}

// named is the one of key and key_file that the file has.
func (r *reader) named(key string) string {
	if _, said := r.doc.lines[key]; !said {
		return key + "_file"
	}
	return key
}
