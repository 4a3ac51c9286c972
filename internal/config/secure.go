package config

import (
	"crypto/tls"
	"path/filepath"
	"slices"
)

// DefaultUsers is the file of accounts when the configuration names none.
const DefaultUsers = "/etc/gatepost/users"

// Secure is what [relay] says of TLS and AUTH. Which listeners have them, Listener says.
type Secure struct {
	ServerCert string // PEM, the chain after the certificate; "" for none (confSERVER_CERT)
	ServerKey  string // PEM (confSERVER_KEY)
	CACert     string // PEM, who may have signed client certificates; "": none are asked for (confCACERT)
	TLSMin     uint16 // crypto/tls's number of the oldest version

	AuthMechanisms []string // in the order in which they are offered (confAUTH_MECHANISMS)
	Users          string   // accounts made by gatepost user; "" for none: only where SASLDB is set
	SASLDB         string   // accounts made by Cyrus's saslpasswd2; "" for none
	AuthRealm      []string // of accounts; the first is that of those who name none. None: the host's name
	SenderBinding  Binding
}

// Binding says which envelope senders a logged-in user may use.
type Binding struct {
	Same bool   // the address that is the login's name
	File string // those that a file lists: "user: address, address"
}

// Set tells whether there is one.
func (b Binding) Set() bool { return b.Same || b.File != "" }

func defaultSecure() Secure {
	return Secure{
		TLSMin: tls.VersionTLS12, Users: DefaultUsers,
		AuthMechanisms: []string{"SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN"},
	}
}

// mechanisms are those that auth_mechanisms takes.
func mechanisms() []string {
	return []string{
		"SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN",
		"DIGEST-MD5", "CRAM-MD5", "EXTERNAL",
	}
}

func secureKeys() []key {
	file := func(name, example string, at func(*Relay) *string) key {
		return key{name, func(c *Config, v value) { *at(&c.Relay), _ = v.file(example) }}
	}
	return []key{
		file("server_cert", "/etc/mail/certs/host.cert", func(r *Relay) *string { return &r.ServerCert }),
		file("server_key", "/etc/mail/certs/host.key", func(r *Relay) *string { return &r.ServerKey }),
		file("ca_cert", "/etc/mail/certs/ca.cert", func(r *Relay) *string { return &r.CACert }),
		{"tls_min", func(c *Config, v value) {
			if n := v.tlsVersion("1.2", "1.3"); n != 0 {
				c.Relay.TLSMin = n
			}
		}},
		{"auth_mechanisms", readMechanisms},
		file("users", DefaultUsers, func(r *Relay) *string { return &r.Users }),
		{"sasldb", readSASLDB},
		{"auth_realm", readRealms},
		{"sender_binding", readBinding},
	}
}

func readMechanisms(c *Config, v value) {
	list, ok := v.list("PLAIN")
	if !ok {
		return
	}
	c.Relay.AuthMechanisms = nil
	for _, e := range list {
		s, ok := e.oneOf(mechanisms()...)
		if ok && slices.Contains(c.Relay.AuthMechanisms, s) {
			e.wrong("which stands in the list already")
		}
		c.Relay.AuthMechanisms = append(c.Relay.AuthMechanisms, s)
	}
}

// readSASLDB refuses the file of SASL version 1 by its name already: it has another form.
func readSASLDB(c *Config, v value) {
	c.Relay.SASLDB, _ = v.file("/etc/sasldb2")
	switch filepath.Base(c.Relay.SASLDB) {
	case "sasldb", "sasldb.db":
		v.wrong("which is the file of SASL version 1, expected \"/etc/sasldb2\": convert the old one with Cyrus's dbconverter-2 once, or make its accounts anew with saslpasswd2 or \"gatepost user add\"")
	}
}

func readRealms(c *Config, v value) {
	list, ok := v.list("example.com")
	if !ok {
		return
	}
	for _, e := range list {
		s, ok := e.text("example.com")
		if ok && !hostName(s) {
			e.wrong("expected a name such as \"example.com\"")
		}
		c.Relay.AuthRealm = append(c.Relay.AuthRealm, s)
	}
}

// readBinding reads "same", or the path of a file.
func readBinding(c *Config, v value) {
	if v.v == "same" {
		c.Relay.SenderBinding.Same = true
		return
	}
	c.Relay.SenderBinding.File, _ = v.file("/etc/gatepost/senders")
}

// checkSecure checks what no single key about TLS and AUTH can tell.
func (r *reader) checkSecure(c *Config) {
	s := &c.Relay.Secure
	switch {
	case s.ServerCert != "" && s.ServerKey == "":
		r.fault("relay.server_cert", "relay.server_cert has no relay.server_key, expected server_key = \"/etc/mail/certs/host.key\"")
	case s.ServerCert == "" && s.ServerKey != "":
		r.fault("relay.server_key", "relay.server_key has no relay.server_cert, expected server_cert = \"/etc/mail/certs/host.cert\"")
	case s.ServerCert == "" && s.CACert != "":
		r.fault("relay.ca_cert", "relay.ca_cert means nothing without relay.server_cert: clients show certificates in TLS only")
	}
	if slices.Contains(s.AuthMechanisms, "EXTERNAL") && s.CACert == "" {
		r.fault("relay.auth_mechanisms", "relay.auth_mechanisms has EXTERNAL, which needs relay.ca_cert: it logs in who has a certificate")
	}
	if _, said := r.doc.lines["relay.users"]; !said && s.SASLDB != "" {
		s.Users = ""
	}
}
