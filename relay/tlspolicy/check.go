package tlspolicy

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// What Check finds, in the words of an operator; the subject is the server. Its errors wrap one
// of these.
var (
	ErrNoTLS         = errors.New("the connection is in clear, and TLS is demanded")
	ErrNoCertificate = errors.New("it shows no certificate")
	ErrFingerprint   = errors.New("its certificate is none of those that are listed")
	ErrAuthority     = errors.New("its certificate is of no authority that is known here")
	ErrExpired       = errors.New("its certificate is out of date")
	ErrUnfit         = errors.New("its certificate is unfit for a mail server")
	ErrName          = errors.New("its certificate is for another name")
	ErrTLSA          = errors.New("its certificate is none that its TLSA records vouch for")
)

// maxNamed is how many names of a certificate an error has.
const maxNamed = 3

// Check tells whether a handshake with host has come to what the policy demands. The error
// wraps one of those above, and says what was expected.
func (p *Policy) Check(host string, cs *tls.ConnectionState) error {
	switch {
	case p.Level < Encrypt:
		return nil
	case cs == nil || !cs.HandshakeComplete:
		return ErrNoTLS
	case p.Level == Encrypt:
		return nil
	case len(cs.PeerCertificates) == 0:
		return ErrNoCertificate
	}
	switch p.Level {
	case Fingerprint:
		return p.checkFingerprint(cs.PeerCertificates[0])
	case DANE:
		return p.checkTLSA(host, cs.PeerCertificates)
	}
	return p.checkChain(host, cs.PeerCertificates, p.Roots)
}

// names are those of which the certificate must have one.
func (p *Policy) names(host string) []string {
	if len(p.Names) == 0 {
		return []string{host}
	}
	return p.Names
}

func (p *Policy) checkFingerprint(leaf *x509.Certificate) error {
	whole, key := sha256.Sum256(leaf.Raw), sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	for _, f := range p.Fingerprints {
		if bytes.Equal(f, whole[:]) || bytes.Equal(f, key[:]) {
			return nil
		}
	}
	return fmt.Errorf("%w: its SHA-256 is %x, that of its public key %x", ErrFingerprint, whole, key)
}

// checkChain checks that the certificate leads to one of roots and has one of the names.
func (p *Policy) checkChain(host string, certs []*x509.Certificate, roots *x509.CertPool) error {
	between := x509.NewCertPool()
	for _, c := range certs[1:] {
		between.AddCert(c)
	}
	if _, err := certs[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between}); err != nil {
		return inWords(err)
	}
	names := p.names(host)
	if slices.ContainsFunc(names, func(n string) bool { return isFor(certs[0], n) }) {
		return nil
	}
	return fmt.Errorf("%w: it is for %s, expected %s", ErrName, namesOf(certs[0]), strings.Join(names, " or "))
}

// inWords is what package x509 has found.
func inWords(err error) error {
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	var system x509.SystemRootsError
	switch {
	case errors.As(err, &system):
		return fmt.Errorf("%w: this host has no list of authorities, expected the package ca-certificates or relay.tls_ca_file", ErrAuthority)
	case errors.As(err, &unknown):
		return ErrAuthority
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil:
		return fmt.Errorf("%w: it or its authority's is good from %s to %s", ErrExpired,
			invalid.Cert.NotBefore.UTC().Format(time.DateTime), invalid.Cert.NotAfter.UTC().Format(time.DateTime))
	}
	return ErrUnfit
}

// namesOf lists names of a certificate for the log.
func namesOf(c *x509.Certificate) string {
	var names []string
	for _, n := range c.DNSNames {
		names = append(names, fmt.Sprintf("%.100q", n))
	}
	for _, a := range c.IPAddresses {
		names = append(names, a.String())
	}
	switch more := len(names) - maxNamed; {
	case len(names) == 0:
		return "no host"
	case more > 0:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNamed], ", "), more)
	}
	return strings.Join(names, ", ")
}
