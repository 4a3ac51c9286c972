package config

import "crypto/tls"

// TLSOut is what [relay] says of TLS to the servers that mail is handed to.
type TLSOut struct {
	TLSPolicy    Table  // what is demanded of single next hops; not Named: none
	TLSLevel     string // what is demanded of the others: none, may, encrypt, verify or dane
	TLSCAFile    string // PEM, the authorities for verify; "": the system's
	TLSClientMin uint16 // crypto/tls's number of the oldest version
	MTASTS       bool   // RFC 8461
}

func defaultTLSOut() TLSOut { return TLSOut{TLSLevel: "may", TLSClientMin: tls.VersionTLS12} }

func tlsOutKeys() []key {
	return []key{
		{"tls_policy", func(c *Config, v value) { readTable(&c.Relay.TLSPolicy, v, "/etc/gatepost/tls-policy") }},
		{"tls_security_level", func(c *Config, v value) {
			if s, ok := v.oneOf("none", "may", "encrypt", "verify", "dane"); ok {
				c.Relay.TLSLevel = s
			}
		}},
		{"tls_ca_file", func(c *Config, v value) { c.Relay.TLSCAFile, _ = v.file("/etc/gatepost/ca.pem") }},
		{"tls_client_min", func(c *Config, v value) {
			if n := v.tlsVersion("1.2", "1.3"); n != 0 {
				c.Relay.TLSClientMin = n
			}
		}},
		{"mta_sts", func(c *Config, v value) { c.Relay.MTASTS, _ = v.boolean() }},
	}
}
