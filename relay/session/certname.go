package session

import (
	"crypto/x509"
	"encoding/asn1"
	"strings"
)

// longestCertName is where sendmail begins to leave attributes out. A name that is
// longer is no name here: what is left of two could be the same.
const longestCertName = 255

// emptyName is a distinguished name without attributes, in DER.
const emptyName = "\x30\x00"

const upperHex = "0123456789ABCDEF"

// attributeNames are the short names of attribute types as OpenSSL writes them.
// Types that are not here are written as numbers.
var attributeNames = map[string]string{
	"2.5.4.3": "CN", "2.5.4.4": "SN", "2.5.4.5": "serialNumber", "2.5.4.6": "C", "2.5.4.7": "L",
	"2.5.4.8": "ST", "2.5.4.9": "street", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.12": "title",
	"2.5.4.13": "description", "2.5.4.15": "businessCategory", "2.5.4.16": "postalAddress",
	"2.5.4.17": "postalCode", "2.5.4.18": "postOfficeBox", "2.5.4.19": "physicalDeliveryOfficeName",
	"2.5.4.20": "telephoneNumber", "2.5.4.31": "member", "2.5.4.32": "owner", "2.5.4.33": "roleOccupant",
	"2.5.4.34": "seeAlso", "2.5.4.41": "name", "2.5.4.42": "GN", "2.5.4.43": "initials",
	"2.5.4.44": "generationQualifier", "2.5.4.45": "x500UniqueIdentifier", "2.5.4.46": "dnQualifier",
	"2.5.4.49": "distinguishedName", "2.5.4.50": "uniqueMember", "2.5.4.51": "houseIdentifier",
	"2.5.4.54": "dmdName", "2.5.4.65": "pseudonym", "2.5.4.72": "role", "2.5.4.97": "organizationIdentifier",
	"2.5.4.98": "c3", "2.5.4.99": "n3", "2.5.4.100": "dnsName",
	"1.2.840.113549.1.9.1": "emailAddress", "1.2.840.113549.1.9.2": "unstructuredName",
	"1.2.840.113549.1.9.7": "challengePassword", "1.2.840.113549.1.9.8": "unstructuredAddress",
	"1.2.840.113549.1.9.20": "friendlyName", "1.3.6.1.4.1.311.60.2.1.1": "jurisdictionL",
	"1.3.6.1.4.1.311.60.2.1.2": "jurisdictionST", "1.3.6.1.4.1.311.60.2.1.3": "jurisdictionC",
	"0.9.2342.19200300.100.1.1": "UID", "0.9.2342.19200300.100.1.3": "mail", "0.9.2342.19200300.100.1.9": "host",
	"0.9.2342.19200300.100.1.25": "DC", "0.9.2342.19200300.100.1.37": "associatedDomain",
	"0.9.2342.19200300.100.1.44": "uid", "1.2.643.100.1": "OGRN", "1.2.643.100.3": "SNILS",
	"1.2.643.100.5": "OGRNIP", "1.2.643.3.131.1.1": "INN",
}

// attribute is an AttributeTypeAndValue (RFC 5280, 4.1.2.4).
type attribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// attributeSET is a RelativeDistinguishedName. Package asn1 goes by the end of its
// name.
type attributeSET []attribute

// certName is a distinguished name in DER as sendmail writes it in {cert_subject}
// and {cert_issuer}: OpenSSL's one-line form, in which then some characters are +XX.
// It is "" for a name that cannot be read or is too long.
//
// Source: OpenSSL's X509_NAME_oneline as observed; RFC 3461, 4 (xtext).
func certName(der []byte) string {
	line, ok := oneLine(der)
	if !ok || len(line) > longestCertName {
		return ""
	}
	var b strings.Builder
	for i := range len(line) {
		c := line[i]
		if c <= ' ' || c > '~' || strings.IndexByte(`+\()<>"`, c) >= 0 {
			b.WriteByte('+')
			b.WriteByte(upperHex[c>>4])
			b.WriteByte(upperHex[c&15])
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// certNames are a certificate's subject and issuer. If one of them is no name here, neither
// is the other: half of who it is from is believed no more than nothing.
func certNames(c *x509.Certificate) (subject, issuer string) {
	subject, issuer = certName(c.RawSubject), certName(c.RawIssuer)
	if subject == "" && len(c.RawSubject) > len(emptyName) || issuer == "" && len(c.RawIssuer) > len(emptyName) {
		return "", ""
	}
	return subject, issuer
}

// oneLine is a distinguished name in OpenSSL's one-line form.
func oneLine(der []byte) (string, bool) {
	var sets []attributeSET
	if rest, err := asn1.Unmarshal(der, &sets); err != nil || len(rest) > 0 {
		return "", false
	}
	var b strings.Builder
	for _, set := range sets {
		for i, a := range set {
			if i == 0 {
				b.WriteByte('/')
			} else {
				b.WriteByte('+')
			}
			name := a.Type.String()
			if short, known := attributeNames[name]; known {
				name = short
			}
			b.WriteString(name + "=")
			oneLineValue(&b, a.Value.Bytes)
		}
	}
	return b.String(), true
}

// oneLineValue writes the bytes of a value, whatever they mean in its type.
func oneLineValue(b *strings.Builder, value []byte) {
	for _, c := range value {
		switch {
		case c < ' ' || c > '~':
			b.WriteString(`\x`)
			b.WriteByte(upperHex[c>>4])
			b.WriteByte(upperHex[c&15])
		case c == '/' || c == '+':
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
}
