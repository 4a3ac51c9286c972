// Package saslclient logs in to other mail servers: the client's side of SASL (RFC 4422)
// as SMTP AUTH uses it (RFC 4954).
package saslclient

import (
	"context"
	"crypto/tls"
	"errors"
)

// Credentials are what is needed to log in to a server.
type Credentials struct {
	User       string   // the authentication identity, whose password it is
	Authorize  string   // the authorization identity; "": the same
	Password   string   // "" with Token
	Realm      string   // "": the server's
	Mechanisms []string // that may be used, the first that is offered; none: all that are safe
	AllowClear bool     // a password may cross the wire without TLS

	// Token gives an OAuth 2.0 access token (XOAUTH2, OAUTHBEARER); nil: there is none.
	// rejected asks for another than the last one, which the server did not take.
	Token func(ctx context.Context, rejected bool) (string, error)

	Source string // where they stand, for the log: "/etc/mail/authinfo:3"
}

// ErrNoMechanism: the server offers none that may be used.
var ErrNoMechanism = errors.New("the server offers no mechanism that may be used")

// Mechanism is one login under way.
type Mechanism interface {
	// Name is that of the AUTH command: "SCRAM-SHA-256".
	Name() string

	// Start gives the initial response, which may be empty; has tells whether there is one.
	Start(ctx context.Context) (initial []byte, has bool, err error)

	// Next answers a challenge. The error ends the login (the client sends "*").
	Next(ctx context.Context, challenge []byte) (response []byte, err error)

	// Done is asked when the server says that the login has succeeded. An error: it has not
	// proven that it knows the password, which the mechanism demands.
	Done() error
}

// Choose begins a login at host by the best mechanism of those offered that the credentials
// allow. cs is that of the connection; nil: it is not secured. The error is ErrNoMechanism,
// wrapped with what was offered.
func Choose(c *Credentials, offered []string, host string, cs *tls.ConnectionState) (Mechanism, error) {
	return nil, ErrNoMechanism
}
