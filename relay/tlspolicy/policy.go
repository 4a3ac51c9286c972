// Package tlspolicy says how a connection to a mail server must be secured before mail
// is handed over, and checks whether it is.
package tlspolicy

import (
	"crypto/tls"
	"crypto/x509"

	"gatepost/internal/dns"
)

// Level is how much a connection must be secured. The names are Postfix's
// (smtp_tls_security_level).
type Level uint8

const (
	May         Level = iota // TLS where it is offered, with any certificate; else in clear
	None                     // never TLS
	Encrypt                  // TLS, with any certificate
	Fingerprint              // TLS, with one of the listed certificates
	Verify                   // TLS, with a certificate for the host, of a known authority
	DANE                     // TLS, with a certificate that TLSA records vouch for (RFC 7672)
)

// Policy is what is demanded of connections to one host. The zero Policy is May.
type Policy struct {
	Level        Level
	Implicit     bool           // TLS from the first byte, not by STARTTLS (RFC 8314, 3.3)
	Names        []string       // Verify, DANE: the names of which the certificate must have one; "*.example.org" stands for one label more, ".example.org" for any. None: the host's
	Fingerprints [][]byte       // Fingerprint: SHA-256 of certificates or of their public keys
	TLSA         []TLSA         // DANE
	Roots        *x509.CertPool // Verify: nil is the system's
	MinVersion   uint16         // tls.VersionTLS12, ...; 0: TLS 1.2
	Source       string         // who says so, for the log: "/etc/gatepost/tls-policy:3", "MTA-STS of example.org"
}

// TLSA is a TLSA record (RFC 6698, 2.1).
type TLSA = dns.TLSA

// Required tells whether mail must wait rather than go in clear.
func (p *Policy) Required() bool { return p.Level >= Encrypt || p.Implicit }

// Config is for the client's side of a handshake with host. It leaves the check of the
// certificate to Check. By DANE the name that is told to the server is that of the TLSA
// records (RFC 7672, 8.1), the first of Names.
func (p *Policy) Config(host string) *tls.Config {
	min := p.MinVersion
	if min == 0 {
		min = tls.VersionTLS12
	}
	if p.Level == DANE && len(p.Names) > 0 {
		host = p.Names[0]
	}
	return &tls.Config{ServerName: host, MinVersion: min, InsecureSkipVerify: true}
}
