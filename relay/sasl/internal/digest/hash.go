package digest

import (
	"crypto/md5"
	"encoding/hex"
	"strings"
)

// Key is H(username:realm:password) (RFC 2831, section 2.1.2.1) of the bytes as they
// are: see Fold.
func Key(user, realm, password string) [md5.Size]byte {
	return md5.Sum([]byte(user + ":" + realm + ":" + password))
}

// Session is one dialogue.
type Session struct {
	Nonce, CNonce, NC string
	URI               string
	AuthzID           string // as it was sent; "": none was
}

// Hashes are the client's response, and the server's rspauth that proves that it knows
// the password too, in hexadecimal (RFC 2831, sections 2.1.2.1 and 2.1.3).
func (s Session) Hashes(key [md5.Size]byte) (response, rspauth string) {
	a1 := string(key[:]) + ":" + s.Nonce + ":" + s.CNonce
	if s.AuthzID != "" {
		a1 += ":" + s.AuthzID
	}
	hashed := hexMD5(a1)
	of := func(a2 string) string {
		return hexMD5(strings.Join([]string{hashed, s.Nonce, s.NC, s.CNonce, "auth", hexMD5(a2)}, ":"))
	}
	return of("AUTHENTICATE:" + s.URI), of(":" + s.URI)
}

func hexMD5(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

// Fold is a string of UTF-8 as it is hashed: in ISO 8859-1 where that has all of it.
func Fold(s string) string {
	if short, ok := ToLatin1(s); ok {
		return short
	}
	return s
}

// FromLatin1 is the UTF-8 of ISO 8859-1.
func FromLatin1(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteRune(rune(s[i]))
	}
	return b.String()
}

// ToLatin1 is false when a character is not in ISO 8859-1.
func ToLatin1(s string) (string, bool) {
	var b strings.Builder
	for _, r := range s {
		if r > 0xff {
			return "", false
		}
		b.WriteByte(byte(r))
	}
	return b.String(), true
}
