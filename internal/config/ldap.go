package config

import "fmt"

// LDAP is a table [[ldap]]: a part of a directory that a table may name as
// "ldap:NAME". Keys without a value in the file are empty, and mean what
// sendmail's K line means without the flag.
type LDAP struct {
	Name         string
	URL          string // -H: ldap://, ldaps:// or ldapi://
	StartTLS     bool
	CAFile       string // to check the server's certificate with; "" for the system's
	BindDN       string // -d
	PasswordFile string // -P
	Base         string // -b
	Scope        string // -s: base, one or sub
	Filter       string // -k: %0 or %s is the key; "" for that of sendmail's own schema
	Cluster      string // ${sendmailMTACluster}, for sendmail's own filter
	Attribute    string // -v
	SingleMatch  bool   // -1; sendmail's own filter has it
	Line         int
}

// readLDAP reads the tables [[ldap]].
func readLDAP(c *Config, v value) {
	l, ok := v.v.([]any)
	if !ok || len(l) == 0 {
		v.wrong("expected tables, each beginning with [[ldap]]")
		return
	}
	for _, e := range v.elements(l) {
		d := LDAP{Line: v.r.doc.line(e.path)}
		v.r.table(c, e, ldapKeys(&d))
		for _, need := range []struct{ name, value, example string }{
			{"name", d.Name, "staff"}, {"url", d.URL, "ldaps://ldap.example.com"},
			{"base", d.Base, "ou=mail,dc=example,dc=com"},
		} {
			if need.value == "" {
				v.r.fault(e.path, "%s has no %s, expected %s = %q", e.path, need.name, need.name, need.example)
			}
		}
		if d.Filter != "" && d.Cluster != "" {
			v.r.fault(e.path+".cluster", "%s.cluster means nothing beside filter, expected one of the two", e.path)
		}
		if _, twice := c.Directory(d.Name); twice && d.Name != "" {
			v.r.fault(e.path, "%s has the name %q, which another one has", e.path, d.Name)
		}
		c.LDAP = append(c.LDAP, d)
	}
}

// Directory is the [[ldap]] with a name.
func (c *Config) Directory(name string) (LDAP, bool) {
	for _, d := range c.LDAP {
		if d.Name == name {
			return d, true
		}
	}
	return LDAP{}, false
}

func ldapKeys(d *LDAP) []key {
	text := func(name, example string, at *string) key {
		return key{name, func(_ *Config, v value) { *at, _ = v.text(example) }}
	}
	file := func(name, example string, at *string) key {
		return key{name, func(_ *Config, v value) { *at, _ = v.file(example) }}
	}
	flag := func(name string, at *bool) key {
		return key{name, func(_ *Config, v value) { *at, _ = v.boolean() }}
	}
	return []key{
		text("name", "staff", &d.Name),
		text("url", "ldaps://ldap.example.com", &d.URL),
		flag("starttls", &d.StartTLS),
		file("ca_file", "/etc/ssl/certs/ca.pem", &d.CAFile),
		text("bind_dn", "cn=mail,dc=example,dc=com", &d.BindDN),
		file("password_file", "/etc/gatepost/ldap.password", &d.PasswordFile),
		text("base", "ou=mail,dc=example,dc=com", &d.Base),
		{"scope", func(_ *Config, v value) { d.Scope, _ = v.oneOf("base", "one", "sub") }},
		text("filter", "(&(objectClass=sendmailMTAMapObject)(sendmailMTAKey=%0))", &d.Filter),
		text("cluster", "mx", &d.Cluster),
		text("attribute", "sendmailMTAMapValue", &d.Attribute),
		flag("single_match", &d.SingleMatch),
	}
}

// checkDirectories finds tables that name an [[ldap]] that is not there, and what
// sendmail's own filter needs.
func (r *reader) checkDirectories(c *Config) {
	for i, d := range c.LDAP {
		if path := fmt.Sprintf("ldap[%d]", i); d.Filter == "" && c.HostName == "" {
			r.fault(path, "%s without a filter asks for entries of this host, and needs host_name", path)
		}
	}
	for name, t := range c.Tables.All() {
		for _, m := range t.Maps {
			if _, known := c.Directory(m.Path); m.Kind == kindLDAP && !known {
				r.fault("tables."+name, "tables.%s names ldap:%s, but there is no [[ldap]] with name = %q", name, m.Path, m.Path)
			}
		}
	}
}
