// Package credentials reads what a table's client shows to its server: a password
// and certificates, each kept in a file of its own. Files are read anew for every
// connection, so that they can be replaced while the daemon runs.
package credentials

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"strings"
)

const (
	maxPassword = 1 << 10
	maxPEM      = 4 << 20 // a bundle of all public authorities has about 200 KiB
)

// CheckPrivate reports a password file that is missing, or that users other than
// its owner and group can read or change. It is meant for the time of configuration:
// a file whose mode is loosened later must not stop mail.
func CheckPrivate(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("password file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("password file %s: not a regular file", file)
	}
	if mode := info.Mode().Perm(); mode&0o007 != 0 {
		return fmt.Errorf("password file %s: mode %04o lets every user of this host in; expected 0640 or 0600", file, mode)
	}
	return nil
}

// Password is the one line of the file, without its line end.
func Password(file string) (string, error) {
	text, err := read(file, maxPassword)
	if err != nil {
		return "", fmt.Errorf("password file: %w", err)
	}
	password := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if password == "" || strings.ContainsAny(password, "\r\n\x00") {
		return "", fmt.Errorf("password file %s: expected one line with the password", file)
	}
	return password, nil
}

// TLS names the files of a TLS client, all in PEM. All may be empty: the system's
// authorities, and no certificate of our own.
type TLS struct {
	CAFile   string // authorities that may sign the server's certificate
	CertFile string // our certificate, for a server that asks for one
	KeyFile  string // and its key
}

// Config reads the files. host is the name or address that the server's certificate must have.
func (t TLS) Config(host string) (*tls.Config, error) {
	config := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if t.CAFile != "" {
		text, err := read(t.CAFile, maxPEM)
		if err != nil {
			return nil, fmt.Errorf("CA file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("CA file %s: no certificate in it; expected PEM", t.CAFile)
		}
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		return nil, fmt.Errorf("certificate file and key file: expected both or none")
	}
	if t.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("certificate %s, key %s: %w", t.CertFile, t.KeyFile, err)
		}
		config.Certificates = []tls.Certificate{cert}
	}
	return config, nil
}

func read(file string, limit int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > limit {
		return nil, fmt.Errorf("%s: more than %d bytes", file, limit)
	}
	return text, nil
}
