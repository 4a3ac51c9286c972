package users

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gatepost/relay/sasl"
)

// Options are which secrets an account gets, besides a verifier for SCRAM-SHA-256.
type Options struct {
	Iterations int  // of the verifiers; 0: sasl.DefaultIterations
	SHA1       bool // a verifier for SCRAM-SHA-1
	// MD5 adds secrets for CRAM-MD5 and, in each of Realms, DIGEST-MD5. Whoever reads
	// them can log in by these mechanisms, and finds weak passwords in no time.
	MD5    bool
	Realms []string
}

// kinds are the options that give an account the secrets that it has.
func kinds(s sasl.Secrets) Options {
	return Options{SHA1: s.SCRAMSHA1 != nil, MD5: s.CRAM != nil || len(s.Digest) > 0, Realms: slices.Sorted(maps.Keys(s.Digest))}
}

// accountLine is the line of an account.
func accountLine(name, password string, o Options) (string, error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	prepared, err := sasl.PreparePassword(password)
	if err != nil {
		return "", err
	}
	if o.Iterations == 0 {
		o.Iterations = sasl.DefaultIterations
	}
	v, err := sasl.NewSCRAMSHA256(prepared, o.Iterations)
	if err != nil {
		return "", err
	}
	secrets := []string{verifier(sasl.SCRAMSHA256, v)}
	if o.SHA1 {
		if v, err = sasl.NewSCRAMSHA1(prepared, o.Iterations); err != nil {
			return "", err
		}
		secrets = append(secrets, verifier(sasl.SCRAMSHA1, v))
	}
	if o.MD5 {
		// These mechanisms take a password as it was typed.
		key := sasl.NewCRAMKey(password)
		secrets = append(secrets, sasl.CRAMMD5+"$"+hex.EncodeToString(key.Inner[:])+hex.EncodeToString(key.Outer[:]))
		for _, realm := range slices.Compact(slices.Sorted(slices.Values(o.Realms))) {
			if !sasl.ValidRealm(realm) {
				return "", fmt.Errorf("realm %q: expected a name of letters, digits, dots and hyphens", realm)
			}
			key := sasl.NewDigestKey(name, realm, password)
			secrets = append(secrets, sasl.DigestMD5+"$"+realm+"$"+hex.EncodeToString(key[:]))
		}
	}
	line := name + ":" + strings.Join(secrets, ",")
	if len(line) > maxLine {
		return "", errors.New("too many realms for one account")
	}
	return line, nil
}

func verifier(kind string, v *sasl.Verifier) string {
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%s$%d:%s$%s:%s", kind, v.Iterations, b64(v.Salt), b64(v.StoredKey), b64(v.ServerKey))
}

// head begins a new file.
func head() string {
	return "# Accounts of gatepost-relay, made by \"gatepost user\". See docs/auth.md.\n"
}

func newSeed() string {
	seed := make([]byte, seedSize)
	rand.Read(seed)
	return ":" + base64.StdEncoding.EncodeToString(seed) + "\n"
}
