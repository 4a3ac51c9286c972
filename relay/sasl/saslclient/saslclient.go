// Package saslclient logs in to other mail servers: the client's side of SASL (RFC 4422)
// as SMTP AUTH uses it (RFC 4954). As with package sasl it begins and ends with bytes:
// base64, the length of lines, and "*" are the SMTP client's.
package saslclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// Names of the mechanisms that package sasl has no server for.
const (
	OAuthBearer = "OAUTHBEARER" // RFC 7628
	XOAuth2     = "XOAUTH2"     // Google's and Microsoft's, from before there was a standard
)

// Credentials are what is needed to log in to a server. They print and log without
// their secrets.
type Credentials struct {
	User       string   // the authentication identity, whose password it is
	Authorize  string   // the authorization identity; "": the same
	Password   string   // "" with Token
	Realm      string   // "": the server's
	Mechanisms []string // that may be used, the first that is offered; none: all that are safe
	AllowClear bool     // a password may cross the wire without TLS

	// Token gives an OAuth 2.0 access token (XOAUTH2, OAUTHBEARER); nil: there is none.
	// rejected asks for another than the last one, which the server did not take.
	Token     func(ctx context.Context, rejected bool) (string, error)
	TokenFrom string // what Token stands for, so that one can be told from another; it is not shown

	Source string // where they stand, for the log: "/etc/mail/authinfo:3"
}

// String is who logs in, and what there is to do it with.
func (c Credentials) String() string {
	s := fmt.Sprintf("user %q", c.User)
	if c.Authorize != "" {
		s += fmt.Sprintf(" for %q", c.Authorize)
	}
	if c.Password != "" {
		s += " with a password"
	}
	if c.Token != nil {
		s += " with a token"
	}
	if c.Source != "" {
		s += " (" + c.Source + ")"
	}
	return s
}

// Format is String for every verb: no %+v shows the password.
func (c Credentials) Format(f fmt.State, _ rune) { fmt.Fprint(f, c.String()) }

// GoString is String.
func (c Credentials) GoString() string { return c.String() }

// LogValue is String, for log/slog.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalJSON never shows more than String does.
func (c Credentials) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, "%q", c.String()), nil }

// What Choose and a Mechanism fail with; test with errors.Is.
var (
	// ErrNoMechanism: the server offers none that may be used.
	ErrNoMechanism = errors.New("the server offers no mechanism that may be used")
	// ErrServer: the server says what the mechanism does not allow, or has not proven
	// that it knows the password.
	ErrServer = errors.New("the server's side of the login is wrong")
	// ErrToken: there is no access token to be had now.
	ErrToken = errors.New("no access token")
)

// Mechanism is one login under way. It is not safe for concurrent use.
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

// maxChallenge bounds a challenge, in bytes, where the mechanism has no bound of its own:
// 12288 characters of base64 (RFC 4954, section 4).
const maxChallenge = 9216

// Choose begins a login at host by the best mechanism of those offered that the credentials
// allow: the first of Mechanisms when there are some, else the strongest. cs is that of the
// connection; nil: it is not secured, and nothing is used unless AllowClear. The error is
// ErrNoMechanism, wrapped with what was offered.
func Choose(c *Credentials, offered []string, host string, cs *tls.ConnectionState) (Mechanism, error) {
	if cs == nil && !c.AllowClear {
		return nil, fmt.Errorf("%w: the connection is not encrypted", ErrNoMechanism)
	}
	l := &login{c: c, host: host, tls: cs, offered: make([]string, len(offered))}
	for i, name := range offered {
		l.offered[i] = strings.ToUpper(name)
	}
	order := c.Mechanisms
	if len(order) == 0 {
		order = strongest()
	}
	for _, name := range order {
		name = strings.ToUpper(name)
		if !slices.Contains(l.offered, name) {
			continue
		}
		if m := l.mechanism(name); m != nil {
			return m, nil
		}
	}
	return nil, fmt.Errorf("%w: it offers %.200q, and may be used: %q", ErrNoMechanism, strings.Join(l.offered, " "), strings.Join(order, " "))
}

// Known are the names that Mechanisms may have, the strongest first.
func Known() []string { return append(strongest(), external) }

// strongest are the mechanisms that are used without being named.
func strongest() []string {
	return []string{scramSHA256 + plus, scramSHA1 + plus, scramSHA256, scramSHA1, digestMD5, cramMD5, OAuthBearer, XOAuth2, plain, loginName}
}

// login is what mechanisms are made of.
type login struct {
	c       *Credentials
	host    string
	tls     *tls.ConnectionState
	offered []string // in upper case
}

// mechanism is nil when the credentials, or the connection, have not what it needs.
func (l *login) mechanism(name string) Mechanism {
	switch name {
	case external:
		if l.tls == nil {
			return nil
		}
		return &externalLogin{authorize: l.c.Authorize}
	case OAuthBearer, XOAuth2:
		if l.c.Token == nil {
			return nil
		}
		return &bearerLogin{login: l, name: name}
	}
	if l.c.Password == "" {
		return nil
	}
	switch name {
	case plain:
		return &plainLogin{c: l.c}
	case loginName:
		return &loginLogin{c: l.c}
	case cramMD5:
		return &cramLogin{c: l.c}
	case digestMD5:
		return newDigest(l)
	case scramSHA256, scramSHA1, scramSHA256 + plus, scramSHA1 + plus:
		return newSCRAM(l, name)
	}
	return nil
}

// wrong is a fault of the server; text may have some of its words.
func wrong(name, format string, a ...any) error {
	return fmt.Errorf("%w: %s: %.200s", ErrServer, name, fmt.Sprintf(format, a...))
}
