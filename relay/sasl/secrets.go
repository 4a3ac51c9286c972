package sasl

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"hash"

	"github.com/xdg-go/scram"
)

const (
	// DefaultIterations of new verifiers: the most that clients with Cyrus SASL take.
	DefaultIterations = 65536
	// MinIterations is what RFC 7677, section 4, asks for.
	MinIterations = 4096
	// MaxIterations bounds what a check costs.
	MaxIterations = 5_000_000
	saltSize      = 16
)

// Secrets are what is known of a user. Each mechanism takes what it can use: one that
// finds nothing treats the user as unknown.
type Secrets struct {
	// Name is the account's name: who it is in {auth_authen}.
	Name        string
	SCRAMSHA1   *Verifier
	SCRAMSHA256 *Verifier
	// Password serves all mechanisms; empty: it is not known.
	Password string
	// CRAM serves CRAM-MD5 only.
	CRAM *CRAMKey
	// Digest serves DIGEST-MD5 only: the hash of "user:realm:password", by realm.
	Digest map[string][16]byte
}

// Verifier lets a password be checked that is not known (RFC 5802, section 3).
type Verifier struct {
	Iterations           int
	Salt                 []byte
	StoredKey, ServerKey []byte
}

// NewVerifier derives a verifier with a new salt. hash is scram.SHA1 or scram.SHA256;
// password is prepared, see PreparePassword.
func newVerifier(h func() hash.Hash, password string, iterations int) (*Verifier, error) {
	salt := make([]byte, saltSize)
	rand.Read(salt)
	return derive(h, password, salt, iterations)
}

// NewSCRAMSHA1 derives a verifier with a new salt from a prepared password.
func NewSCRAMSHA1(password string, iterations int) (*Verifier, error) {
	return newVerifier(scram.SHA1, password, iterations)
}

// NewSCRAMSHA256 derives a verifier with a new salt from a prepared password.
func NewSCRAMSHA256(password string, iterations int) (*Verifier, error) {
	return newVerifier(scram.SHA256, password, iterations)
}

func derive(h func() hash.Hash, password string, salt []byte, iterations int) (*Verifier, error) {
	if iterations < MinIterations || iterations > MaxIterations {
		return nil, fmt.Errorf("sasl: %d iterations; expected %d to %d", iterations, MinIterations, MaxIterations)
	}
	client, err := scram.HashGeneratorFcn(h).NewClientUnprepped("", password, "")
	if err != nil {
		return nil, fmt.Errorf("sasl: verifier: %w", err)
	}
	c, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt), Iters: iterations})
	if err != nil {
		return nil, fmt.Errorf("sasl: verifier: %w", err)
	}
	return &Verifier{iterations, salt, c.StoredKey, c.ServerKey}, nil
}

// madeUp is a verifier that no password belongs to, which is the same for the same
// user each time.
func madeUp(u Usual, name, user string) *Verifier {
	mac := hmac.New(sha256.New, u.Seed)
	fmt.Fprintf(mac, "%s %s", name, user)
	return &Verifier{Iterations: u.Iterations, Salt: mac.Sum(nil)[:saltSize]}
}
