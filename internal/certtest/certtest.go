// Package certtest makes certificate authorities and certificates for tests.
package certtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// Authority signs certificates.
type Authority struct {
	t     testing.TB
	cert  *x509.Certificate
	key   crypto.Signer
	chain [][]byte // that a server shows after its certificate
}

// New makes an authority with a name, see Name.
func New(t testing.TB, name []byte) *Authority {
	t.Helper()
	a := &Authority{t: t, key: newKey(t)}
	template := a.template(name)
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	a.cert = a.sign(template, template, a.key)
	return a
}

// Sub makes an authority that a signs for. Servers show its certificate after theirs.
func (a *Authority) Sub(name []byte) *Authority {
	a.t.Helper()
	sub := &Authority{t: a.t, key: newKey(a.t)}
	template := a.template(name)
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	sub.cert = a.sign(template, a.cert, sub.key)
	sub.chain = append([][]byte{sub.cert.Raw}, a.chain...)
	return sub
}

// Certificate is the authority's own.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

// Pool has the authority alone.
func (a *Authority) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// Issue makes a certificate, with an ECDSA key on P-256, for a name and hosts. change
// may alter it before it is signed.
func (a *Authority) Issue(name []byte, hosts []string, change ...func(*x509.Certificate)) tls.Certificate {
	a.t.Helper()
	key, template := newKey(a.t), a.template(name)
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	for _, c := range change {
		c(template)
	}
	leaf := a.sign(template, a.cert, key)
	return tls.Certificate{Certificate: append([][]byte{leaf.Raw}, a.chain...), PrivateKey: key, Leaf: leaf}
}

// Host is Issue for a server's name.
func (a *Authority) Host(host string) tls.Certificate {
	a.t.Helper()
	return a.Issue(Name(a.t, "/CN="+host), []string{host})
}

// Unchecked is the DER of a certificate with a name that package x509 might not read.
func (a *Authority) Unchecked(name []byte) []byte {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, a.template(name), a.cert, newKey(a.t).Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return der
}

func (a *Authority) template(name []byte) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		a.t.Fatal(err)
	}
	return &x509.Certificate{SerialNumber: serial, RawSubject: name, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
}

func (a *Authority) sign(template, parent *x509.Certificate, key crypto.Signer) *x509.Certificate {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var types = map[string]asn1.ObjectIdentifier{
	"C": {2, 5, 4, 6}, "ST": {2, 5, 4, 8}, "L": {2, 5, 4, 7}, "O": {2, 5, 4, 10}, "OU": {2, 5, 4, 11}, "CN": {2, 5, 4, 3},
}

// Name is the DER of a distinguished name that is written /C=US/O=Example/CN=name.
func Name(t testing.TB, line string) []byte {
	t.Helper()
	var sets [][]Attribute
	for part := range strings.SplitSeq(strings.TrimPrefix(line, "/"), "/") {
		typ, value, ok := strings.Cut(part, "=")
		if !ok || types[typ] == nil {
			t.Fatalf("name %q: expected TYPE=VALUE with a type of %v, got %q", line, types, part)
		}
		sets = append(sets, []Attribute{{types[typ], asn1.TagUTF8String, value}})
	}
	return DER(t, sets)
}

// Attribute is one of a distinguished name: its type, the tag of its value's type, and
// the bytes of the value.
type Attribute struct {
	Type  asn1.ObjectIdentifier
	Tag   int
	Value string
}

// DER is a distinguished name of sets of attributes.
func DER(t testing.TB, sets [][]Attribute) []byte {
	t.Helper()
	type attribute struct {
		Type  asn1.ObjectIdentifier
		Value asn1.RawValue
	}
	type attributeSET []attribute
	var all []attributeSET
	for _, set := range sets {
		var s attributeSET
		for _, a := range set {
			s = append(s, attribute{a.Type, asn1.RawValue{Tag: a.Tag, Bytes: []byte(a.Value)}})
		}
		all = append(all, s)
	}
	der, err := asn1.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
