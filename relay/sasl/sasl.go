// Package sasl authenticates SMTP clients (RFC 4422, RFC 4954): the server's side of
// PLAIN, LOGIN, CRAM-MD5, DIGEST-MD5, SCRAM and EXTERNAL, and what stands between
// them and somebody who guesses.
//
// It begins and ends with bytes: base64, the length of lines, and "*" are the SMTP
// server's. Accounts are kept elsewhere, see packages users and sasldb below this one.
//
// A name that nobody has is treated like one with a wrong password: the same answers,
// the same work. What a peer may learn is one of the errors below; why is in the log.
package sasl

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/netip"
)

// What Begin and Next fail with, and the SMTP reply that belongs to it (RFC 4954,
// section 6). Test with errors.Is.
var (
	ErrMechanism  = errors.New("sasl: mechanism not available")                    // 504 5.5.4
	ErrEncryption = errors.New("sasl: mechanism needs TLS")                        // 538 5.7.11
	ErrThrottled  = errors.New("sasl: too many failures")                          // 454 4.7.0
	ErrFailed     = errors.New("sasl: authentication failed")                      // 535 5.7.8
	ErrMalformed  = errors.New("sasl: response is malformed")                      // 501 5.5.2
	ErrTemporary  = errors.New("sasl: authentication is temporarily not possible") // 454 4.7.0
)

// Names of the mechanisms, as in IANA's registry.
const (
	Plain           = "PLAIN"              // RFC 4616
	Login           = "LOGIN"              // never specified
	CRAMMD5         = "CRAM-MD5"           // RFC 2195
	DigestMD5       = "DIGEST-MD5"         // RFC 2831, quality of protection auth
	SCRAMSHA1       = "SCRAM-SHA-1"        // RFC 5802
	SCRAMSHA1Plus   = "SCRAM-SHA-1-PLUS"   // with channel binding
	SCRAMSHA256     = "SCRAM-SHA-256"      // RFC 7677
	SCRAMSHA256Plus = "SCRAM-SHA-256-PLUS" // with channel binding
	External        = "EXTERNAL"           // RFC 4422, appendix A
)

// Mechanisms are all that there are, the best first.
func Mechanisms() []string {
	return []string{External, SCRAMSHA256Plus, SCRAMSHA1Plus, SCRAMSHA256, SCRAMSHA1, DigestMD5, CRAMMD5, Plain, Login}
}

// Limits of what a client sends and what an account may have, in bytes.
const (
	MaxName     = 255   // of a user's name (RFC 4616, section 2)
	MaxPassword = 255   // as PLAIN has it
	maxResponse = 12288 // of a response (RFC 4954, section 4), base64 not counted
)

// Accounts looks users up. It must be safe for concurrent use.
type Accounts interface {
	// Lookup is one of three: the user's secrets, none (false), or an error when it
	// cannot be told. user is prepared by SASLprep, valid UTF-8 of 1 to MaxName bytes.
	// realm is what the client has chosen (DIGEST-MD5), or empty.
	Lookup(ctx context.Context, user, realm string) (Secrets, bool, error)
	// Usual says what secrets are like here, for names that nobody has.
	Usual() Usual
}

// Usual is what secrets of a kind of accounts are like. Made-up answers are made like
// them, and a check of a password takes as long as the longest.
type Usual struct {
	Iterations    int    // that most verifiers have; 0: there are none
	MaxIterations int    // that any has
	Passwords     bool   // some accounts have a password instead of verifiers
	Seed          []byte // that made-up salts come from, the same over restarts; nil: none
}

// Conn is what a client's connection has that mechanisms depend on.
type Conn struct {
	Client netip.Addr
	// Local is our end of the connection: an address that a client may use as our name
	// in DIGEST-MD5. The zero value is fine.
	Local netip.Addr
	// TLS is nil without TLS.
	TLS *tls.ConnectionState
	// Certificate is the one that we have shown, for the channel binding
	// tls-server-end-point (RFC 5929); nil: that is not to be had.
	Certificate *x509.Certificate
	// Identity is who the verified client certificate belongs to, for EXTERNAL; empty
	// without one.
	Identity string
	// PlainOK lets PLAIN and LOGIN be used without TLS.
	PlainOK bool
}
