package tlspolicy

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
)

// The certificate usages of which SMTP has use (RFC 7672, 3.1).
const (
	daneTA = 2 // an authority in the chain, and the name
	daneEE = 3 // the server's own certificate, whatever its names and dates
)

// The selectors and matching types (RFC 6698, 2.1.2 and 2.1.3).
const (
	wholeCertificate, publicKey = 0, 1
	exact, bySHA256, bySHA512   = 0, 1, 2
)

// Usable are the records that a client of SMTP can go by. PKIX-TA and PKIX-EE are none
// (RFC 7672, 3.1.3), and of digests only the best of the same usage and selector is
// (RFC 7671, 9).
func Usable(records []TLSA) []TLSA {
	type kind struct{ usage, selector uint8 }
	best := map[kind]uint8{}
	for _, r := range records {
		if k := (kind{r.Usage, r.Selector}); isUsable(r) && r.Matching > best[k] {
			best[k] = r.Matching
		}
	}
	var usable []TLSA
	for _, r := range records {
		if isUsable(r) && (r.Matching == exact || r.Matching == best[kind{r.Usage, r.Selector}]) {
			usable = append(usable, r)
		}
	}
	return usable
}

func isUsable(r TLSA) bool {
	if r.Usage != daneTA && r.Usage != daneEE || r.Selector > publicKey {
		return false
	}
	switch r.Matching {
	case exact:
		if r.Selector == publicKey {
			_, err := x509.ParsePKIXPublicKey(r.Data)
			return err == nil
		}
		_, err := x509.ParseCertificate(r.Data)
		return err == nil
	case bySHA256:
		return len(r.Data) == sha256.Size
	case bySHA512:
		return len(r.Data) == sha512.Size
	}
	return false
}

// vouchesFor tells whether a record is about a certificate.
func vouchesFor(r TLSA, c *x509.Certificate) bool {
	data := c.Raw
	if r.Selector == publicKey {
		data = c.RawSubjectPublicKeyInfo
	}
	switch r.Matching {
	case bySHA256:
		sum := sha256.Sum256(data)
		data = sum[:]
	case bySHA512:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return bytes.Equal(data, r.Data)
}

// checkTLSA checks the certificate by the records (RFC 7672, 3). When none fits, the error is
// that of the authority that was nearest to it.
func (p *Policy) checkTLSA(host string, certs []*x509.Certificate) error {
	failed := ErrTLSA
	for _, r := range Usable(p.TLSA) {
		if r.Usage == daneEE {
			if vouchesFor(r, certs[0]) {
				return nil
			}
			continue
		}
		anchor := anchorOf(r, certs)
		if anchor == nil {
			continue
		}
		roots := x509.NewCertPool()
		roots.AddCert(anchor)
		err := p.checkChain(host, certs, roots)
		if err == nil {
			return nil
		}
		failed = err
	}
	return failed
}

// anchorOf is the authority that a record speaks of: among what the server shows, or in
// the record itself, which the server need not show then (RFC 7671, 5.2.2).
func anchorOf(r TLSA, certs []*x509.Certificate) *x509.Certificate {
	for _, c := range certs {
		if vouchesFor(r, c) {
			return c
		}
	}
	if r.Selector == wholeCertificate && r.Matching == exact {
		if c, err := x509.ParseCertificate(r.Data); err == nil {
			return c
		}
	}
	return nil
}
