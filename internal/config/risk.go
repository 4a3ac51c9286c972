package config

import (
	"os"
	"slices"
)

// Risks are the names that accept_risk takes: findings of gatepost check that
// the administrator wants as they are.
func Risks() []string {
	return []string{
		"open_relay",  // a stranger can relay to strangers
		"broad_relay", // RELAY on a public suffix, or on a network of one octet
		// and the features of these names
		"promiscuous_relay", "relay_local_from", "relay_mail_from", "relay_based_on_MX",
		"relay_entire_domain", "loose_relay_check", "check_rcpt",
	}
}

// readAcceptRisk reads the top-level key accept_risk.
func readAcceptRisk(c *Config, v value) {
	list, ok := v.list("open_relay")
	if !ok {
		return
	}
	for _, e := range list {
		if s, ok := e.oneOf(Risks()...); ok {
			c.AcceptRisk = append(c.AcceptRisk, s)
		}
	}
}

// Accepts tells whether accept_risk has the name.
func (c *Config) Accepts(risk string) bool { return slices.Contains(c.AcceptRisk, risk) }

// KeyLine is the line of a key in a configuration file, by its path such as
// "features.relay_local_from", or of what is around it; 0 when the file cannot
// be read or has nothing of the kind.
func KeyLine(file, path string) int {
	data, err := os.ReadFile(file)
	if err != nil || len(data) > maxFile {
		return 0
	}
	doc, err := parseDocument(file, data)
	if err != nil {
		return 0
	}
	return doc.line(path)
}
