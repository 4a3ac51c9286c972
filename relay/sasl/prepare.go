package sasl

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash"
	"unicode/utf8"

	"github.com/xdg-go/stringprep"

	"gatepost/relay/sasl/internal/digest"
)

// PrepareName makes a user's name what accounts are kept under: SASLprep (RFC 4013).
// It fails for what no account can be named: nothing, more than MaxName bytes, control
// characters, characters that Unicode 3.2 did not have.
func PrepareName(name string) (string, error) {
	return prepare("name", name, MaxName)
}

// PreparePassword makes a password what verifiers are derived from. It fails for what
// no account can have, as PrepareName does.
func PreparePassword(password string) (string, error) {
	return prepare("password", password, MaxPassword)
}

// prepare never says what it was given: that may be a password.
func prepare(what, s string, most int) (string, error) {
	switch {
	case s == "":
		return "", fmt.Errorf("the %s is empty", what)
	case len(s) > most:
		return "", fmt.Errorf("the %s is longer than %d bytes", what, most)
	case !utf8.ValidString(s):
		return "", fmt.Errorf("the %s is not UTF-8", what)
	}
	prepared, err := stringprep.SASLprep.Prepare(s)
	switch {
	case err != nil:
		var reason stringprep.Error
		errors.As(err, &reason)
		return "", fmt.Errorf("the %s has a character that SASLprep (RFC 4013) does not allow: %s", what, reason.Msg)
	case prepared == "":
		return "", fmt.Errorf("the %s has only characters that do not count (RFC 4013)", what)
	case len(prepared) > most:
		return "", fmt.Errorf("the %s is longer than %d bytes", what, most)
	}
	return prepared, nil
}

// foldPassword is a password as it is compared: prepared when it can be, and taken for
// Latin-1 when it is not UTF-8, as old clients send it.
func foldPassword(password string) string {
	if !utf8.ValidString(password) {
		password = digest.FromLatin1(password)
	}
	if prepared, err := PreparePassword(password); err == nil {
		return prepared
	}
	return password
}

// samePassword is false for an account without one. Neither length shows in the time.
func samePassword(want, got string) bool {
	a, b := sha256.Sum256([]byte(want)), sha256.Sum256([]byte(got))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && want != ""
}

// burn takes as long as a derivation of that many rounds.
func burn(h func() hash.Hash, password string, salt []byte, rounds int) {
	// It fails only in FIPS mode, for a short key.
	_, _ = pbkdf2.Key(h, password, salt, rounds, h().Size())
}
