package users

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"gatepost/relay/sasl"
)

const (
	maxFile = 16 << 20 // bytes
	maxLine = 8 << 10
	maxSalt = 64
	minSalt = 8

	seedSize = 32
)

// content is what a file says.
type content struct {
	accounts map[string]sasl.Secrets
	lines    map[string]int
	listed   []Account
	usual    sasl.Usual
}

// parse fails with file and line. No error has a secret in it.
func parse(path string, data []byte) (*content, error) {
	c := &content{accounts: map[string]sasl.Secrets{}, lines: map[string]int{}}
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		if err := c.line(strings.TrimRight(line, "\r\n"), number); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, number, err)
		}
	}
	c.usual.Iterations, c.usual.MaxIterations = c.iterations()
	return c, nil
}

func (c *content) line(line string, number int) error {
	switch {
	case len(line) > maxLine:
		return fmt.Errorf("the line has more than %d bytes", maxLine)
	case strings.TrimSpace(line) == "", strings.HasPrefix(line, "#"):
		return nil
	}
	name, rest, ok := strings.Cut(line, ":")
	if !ok {
		return errors.New("no account; expected NAME:SECRET")
	}
	if name == "" {
		return c.seed(rest)
	}
	if err := checkName(name); err != nil {
		return err
	}
	if first, twice := c.lines[name]; twice {
		return fmt.Errorf("account %q is in line %d already", name, first)
	}
	secrets := sasl.Secrets{Name: name}
	for secret := range strings.SplitSeq(rest, ",") {
		if err := addSecret(&secrets, secret); err != nil {
			return fmt.Errorf("account %q: %w", name, err)
		}
	}
	c.accounts[name], c.lines[name] = secrets, number
	c.listed = append(c.listed, Account{name, mechanisms(secrets), number})
	return nil
}

func (c *content) seed(text string) error {
	seed, err := base64.StdEncoding.Strict().DecodeString(text)
	switch {
	case c.usual.Seed != nil:
		return errors.New("a second seed; expected NAME:SECRET")
	case err != nil || len(seed) != seedSize:
		return fmt.Errorf("no account name before the colon, and no seed after it; expected NAME:SECRET, or %d bytes in base64", seedSize)
	}
	c.usual.Seed = seed
	return nil
}

// checkName fails for what cannot be a name in the file.
func checkName(name string) error {
	prepared, err := sasl.PrepareName(name)
	switch {
	case err != nil:
		return err
	case prepared != name:
		return fmt.Errorf("account %q can never log in; expected its form after SASLprep (RFC 4013), %q", name, prepared)
	case strings.ContainsAny(name, ":"):
		return fmt.Errorf("account %q: a name cannot have a colon", name)
	case name[0] == '#' || strings.TrimSpace(name) != name:
		return fmt.Errorf("account %q: a name cannot begin with # or a space, or end with a space", name)
	}
	return nil
}

func addSecret(s *sasl.Secrets, text string) error {
	kind, rest, _ := strings.Cut(text, "$")
	switch kind {
	case sasl.SCRAMSHA256:
		return addVerifier(&s.SCRAMSHA256, kind, rest, sha256.Size)
	case sasl.SCRAMSHA1:
		return addVerifier(&s.SCRAMSHA1, kind, rest, sha1.Size)
	case sasl.CRAMMD5:
		key, err := unhex(rest, 2*md5.Size)
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		if s.CRAM != nil {
			return fmt.Errorf("%s is there twice", kind)
		}
		s.CRAM = &sasl.CRAMKey{Inner: [md5.Size]byte(key[:md5.Size]), Outer: [md5.Size]byte(key[md5.Size:])}
		return nil
	case sasl.DigestMD5:
		return addDigest(s, rest)
	}
	// What stands there may be a password.
	return errors.New("a secret of unknown kind; expected one that begins with SCRAM-SHA-256$, SCRAM-SHA-1$, CRAM-MD5$ or DIGEST-MD5$")
}

func addDigest(s *sasl.Secrets, text string) error {
	realm, digits, ok := strings.Cut(text, "$")
	if !ok || !sasl.ValidRealm(realm) {
		return errors.New("DIGEST-MD5: expected DIGEST-MD5$REALM$KEY")
	}
	key, err := unhex(digits, md5.Size)
	if err != nil {
		return fmt.Errorf("DIGEST-MD5: %w", err)
	}
	if _, twice := s.Digest[realm]; twice {
		return fmt.Errorf("DIGEST-MD5 for realm %s is there twice", realm)
	}
	if s.Digest == nil {
		s.Digest = map[string][md5.Size]byte{}
	}
	s.Digest[realm] = [md5.Size]byte(key)
	return nil
}

func unhex(text string, size int) ([]byte, error) {
	key, err := hex.DecodeString(text)
	if err != nil || len(key) != size {
		return nil, fmt.Errorf("expected %d hexadecimal digits", 2*size)
	}
	return key, nil
}

// addVerifier reads ITERATIONS:SALT$STOREDKEY:SERVERKEY.
func addVerifier(v **sasl.Verifier, kind, text string, size int) error {
	if *v != nil {
		return fmt.Errorf("%s is there twice", kind)
	}
	front, back, ok := strings.Cut(text, "$")
	count, salt, ok1 := strings.Cut(front, ":")
	stored, server, ok2 := strings.Cut(back, ":")
	if !ok || !ok1 || !ok2 {
		return fmt.Errorf("%s: expected %[1]s$ITERATIONS:SALT$STOREDKEY:SERVERKEY", kind)
	}
	n, err := strconv.ParseUint(count, 10, 31)
	if err != nil || n < sasl.MinIterations || n > sasl.MaxIterations {
		return fmt.Errorf("%s: expected %d to %d iterations", kind, sasl.MinIterations, sasl.MaxIterations)
	}
	got := &sasl.Verifier{Iterations: int(n)}
	for _, part := range []struct {
		name        string
		text        string
		to          *[]byte
		least, most int
	}{{"salt", salt, &got.Salt, minSalt, maxSalt}, {"stored key", stored, &got.StoredKey, size, size}, {"server key", server, &got.ServerKey, size, size}} {
		raw, err := base64.StdEncoding.Strict().DecodeString(part.text)
		if err != nil || len(raw) < part.least || len(raw) > part.most {
			return fmt.Errorf("%s: %s: expected %d to %d bytes in base64", kind, part.name, part.least, part.most)
		}
		*part.to = raw
	}
	*v = got
	return nil
}

// mechanisms are those that there is a secret for, the best first.
func mechanisms(s sasl.Secrets) []string {
	var names []string
	for _, m := range []struct {
		name string
		has  bool
	}{{sasl.SCRAMSHA256, s.SCRAMSHA256 != nil}, {sasl.SCRAMSHA1, s.SCRAMSHA1 != nil},
		{sasl.DigestMD5, len(s.Digest) > 0}, {sasl.CRAMMD5, s.CRAM != nil}} {
		if m.has {
			names = append(names, m.name)
		}
	}
	return names
}

// iterations are the number that most verifiers have, and the largest.
func (c *content) iterations() (most, largest int) {
	numbers := map[int]int{}
	for _, s := range c.accounts {
		for _, v := range []*sasl.Verifier{s.SCRAMSHA256, s.SCRAMSHA1} {
			if v != nil {
				numbers[v.Iterations]++
				largest = max(largest, v.Iterations)
			}
		}
	}
	for n, times := range numbers {
		if times > numbers[most] || times == numbers[most] && n > most {
			most = n
		}
	}
	return most, largest
}
