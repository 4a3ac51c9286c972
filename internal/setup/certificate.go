package setup

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"gatepost/internal/follow"
)

// maxFollowed bounds the size of files that are followed, in bytes.
const maxFollowed = 4 << 20

// Certificate is this host's TLS certificate with its key, read anew when its files
// change. It is safe for concurrent use.
type Certificate struct {
	file string
	pair *follow.Files[tls.Certificate]
}

// OpenCertificate reads a certificate, with the chain after it, and its key, both in
// PEM. A key that everybody on this host can read is refused.
func OpenCertificate(certFile, keyFile string, log *slog.Logger) (*Certificate, error) {
	read := func() (*tls.Certificate, error) { return readPair(certFile, keyFile) }
	pair, err := follow.Open("the TLS certificate", []string{certFile, keyFile}, read, log)
	if err != nil {
		return nil, err
	}
	return &Certificate{certFile, pair}, nil
}

// Get returns the certificate in force; its Leaf is set.
func (c *Certificate) Get() *tls.Certificate { return c.pair.Get() }

// Fault is why the files as they are now are not in force; nil when they are.
func (c *Certificate) Fault() error { return c.pair.Fault() }

func readPair(certFile, keyFile string) (*tls.Certificate, error) {
	cert, err := follow.Read(certFile, maxFollowed, false)
	if err != nil {
		return nil, err
	}
	key, err := follow.Read(keyFile, maxFollowed, true)
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(cert); block == nil {
		return nil, fmt.Errorf("%s: no PEM, expected -----BEGIN CERTIFICATE-----", certFile)
	}
	if err := usableKey(key); err != nil {
		return nil, fmt.Errorf("%s: %w", keyFile, err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	switch {
	case err == nil:
		return &pair, nil
	case strings.Contains(err.Error(), "private key does not match public key"):
		return nil, fmt.Errorf("%s: the certificate is not that of the key %s", certFile, keyFile)
	}
	return nil, fmt.Errorf("%s and %s: %w", certFile, keyFile, err)
}

func usableKey(key []byte) error {
	for rest := key; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return errors.New("no PEM with a key, expected -----BEGIN PRIVATE KEY-----")
		}
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
			return errors.New("the key has a pass phrase, which nobody could type at a start, expected one without: openssl pkey -in FILE -out FILE")
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			return nil
		}
	}
}

// CAs are those who may have signed certificates of clients, read anew when their file
// changes. It is safe for concurrent use.
type CAs struct {
	pool *follow.Files[x509.CertPool]
}

// OpenCAs reads certificates in PEM.
func OpenCAs(file string, log *slog.Logger) (*CAs, error) {
	read := func() (*x509.CertPool, error) { return readPool(file) }
	pool, err := follow.Open("the list of certificate authorities", []string{file}, read, log)
	if err != nil {
		return nil, err
	}
	return &CAs{pool}, nil
}

// Get returns the pool in force.
func (c *CAs) Get() *x509.CertPool { return c.pool.Get() }

func readPool(file string) (*x509.CertPool, error) {
	data, err := follow.Read(file, maxFollowed, false)
	if err != nil {
		return nil, err
	}
	pool, found := x509.NewCertPool(), false
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			line := 1 + bytes.Count(data[:len(data)-len(rest)], []byte("\n"))
			return nil, fmt.Errorf("%s: the certificate that ends before line %d cannot be read: %w", file, line, err)
		}
		pool.AddCert(cert)
		found = true
	}
	if !found {
		return nil, fmt.Errorf("%s: no certificate, expected -----BEGIN CERTIFICATE-----", file)
	}
	return pool, nil
}
