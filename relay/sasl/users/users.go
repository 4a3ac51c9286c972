// Package users keeps the accounts of "gatepost user" in a text file:
//
//	# a comment
//	:SEED
//	NAME:SECRET,SECRET...
//
// A secret is one of
//
//	SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY    base64, as in RFC 5803
//	SCRAM-SHA-1$ITERATIONS:SALT$STOREDKEY:SERVERKEY
//	CRAM-MD5$KEY             64 hexadecimal digits: the inner and outer state of HMAC
//	DIGEST-MD5$REALM$KEY     32 hexadecimal digits: H(NAME:REALM:PASSWORD) of RFC 2831
//
// PLAIN and LOGIN are checked by a SCRAM verifier. SEED is what made-up salts for names
// that nobody has come from.
package users

import (
	"context"
	"log/slog"

	"gatepost/internal/follow"
	"gatepost/relay/sasl"
)

// Accounts are those of a file. It is safe for concurrent use.
type Accounts struct {
	file *follow.Files[content]
}

// Open reads the file. It is read again within a second after it has changed; a bad edit
// is logged with file and line, and what the file said before stays.
//
// It fails for a file that every user of the host may read, and with file and line for
// what is no account.
func Open(path string, log *slog.Logger) (*Accounts, error) {
	read := func() (*content, error) {
		data, err := follow.Read(path, maxFile, true)
		if err != nil {
			return nil, err
		}
		return parse(path, data)
	}
	file, err := follow.Open("accounts", []string{path}, read, log)
	if err != nil {
		return nil, err
	}
	return &Accounts{file}, nil
}

// Lookup never fails: the file is in memory. Accounts have no realm but in the secret
// for DIGEST-MD5.
func (a *Accounts) Lookup(_ context.Context, user, _ string) (sasl.Secrets, bool, error) {
	secrets, ok := a.file.Get().accounts[user]
	return secrets, ok, nil
}

// Usual is what most accounts have.
func (a *Accounts) Usual() sasl.Usual { return a.file.Get().usual }

// Account is what may be told of an account.
type Account struct {
	Name       string
	Mechanisms []string // that it has secrets for; PLAIN and LOGIN take SCRAM's
	Line       int      // in the file
}

// List are the accounts in the order of the file.
func List(path string) ([]Account, error) {
	data, err := follow.Read(path, maxFile, true)
	if err != nil {
		return nil, err
	}
	c, err := parse(path, data)
	if err != nil {
		return nil, err
	}
	return c.listed, nil
}
