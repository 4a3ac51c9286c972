package sasl

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/subtle"
	"encoding"
	"encoding/hex"
	"fmt"
	"hash"
)

// CRAMKey is the state of MD5 after the first block of HMAC's inner and outer hash
// (RFC 2104, section 4): it serves in place of the password for CRAM-MD5, and for
// nothing else.
type CRAMKey struct {
	Inner, Outer [md5.Size]byte
}

// NewCRAMKey makes the key of a password.
func NewCRAMKey(password string) CRAMKey {
	if len(password) > md5.BlockSize {
		sum := md5.Sum([]byte(password))
		password = string(sum[:])
	}
	block := func(pad byte) [md5.Size]byte {
		b := bytes.Repeat([]byte{pad}, md5.BlockSize)
		subtle.XORBytes(b, b, []byte(password))
		h := md5.New()
		h.Write(b)
		state, err := h.(encoding.BinaryMarshaler).MarshalBinary()
		if err != nil {
			panic(err) // it never fails
		}
		return [md5.Size]byte(state[len(md5Magic):])
	}
	return CRAMKey{block(0x36), block(0x5c)}
}

// md5Magic begins a state of crypto/md5.
const md5Magic = "md5\x01"

// resume goes on from a state after one block.
func resume(state [md5.Size]byte) hash.Hash {
	h := md5.New()
	text := append([]byte(md5Magic), state[:]...)
	text = append(text, make([]byte, md5.BlockSize+7)...)
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(append(text, md5.BlockSize)); err != nil {
		panic(err) // of the right length, it never fails
	}
	return h
}

// sum is the keyed hash of text.
func (k CRAMKey) sum(text []byte) []byte {
	inner, outer := resume(k.Inner), resume(k.Outer)
	inner.Write(text)
	outer.Write(inner.Sum(nil))
	return outer.Sum(nil)
}

// cramMD5 is RFC 2195.
type cramMD5 struct {
	x         *Exchange
	challenge []byte
}

func (c *cramMD5) next(ctx context.Context, response []byte, given bool) ([]byte, bool, error) {
	if c.challenge == nil {
		if given && len(response) > 0 {
			return nil, false, refuse(ErrMalformed, "the mechanism has no initial response")
		}
		s := c.x.server
		c.challenge = fmt.Appendf(nil, "<%s.%d@%s>", s.random(), s.now().Unix(), s.cfg.HostName)
		return c.challenge, false, nil
	}
	space := bytes.LastIndexByte(response, ' ')
	if space < 1 || space > MaxName || bytes.IndexByte(response, 0) >= 0 {
		return nil, false, refuse(ErrMalformed, "expected a name and a digest")
	}
	digest := make([]byte, md5.Size)
	if text := response[space+1:]; len(text) != 2*md5.Size {
		return nil, false, refuse(ErrMalformed, "the digest has not 32 hexadecimal digits")
	} else if _, err := hex.Decode(digest, text); err != nil {
		return nil, false, refuse(ErrMalformed, "the digest is not hexadecimal")
	}
	if err := c.check(ctx, string(response[:space]), digest); err != nil {
		return nil, false, err
	}
	return nil, true, nil
}

func (c *cramMD5) check(ctx context.Context, user string, digest []byte) error {
	name, err := PrepareName(user)
	if err != nil {
		return refuse(ErrFailed, "the name is not one that accounts have")
	}
	return c.x.attempt(ctx, name, "", func(ctx context.Context) error {
		secrets, found, err := c.x.server.known(ctx, name, "")
		if err != nil {
			return err
		}
		// Made in any case: a name that nobody has costs the same.
		key := NewCRAMKey(secrets.Password)
		if secrets.CRAM != nil {
			key = *secrets.CRAM
		}
		known := found && (secrets.CRAM != nil || secrets.Password != "")
		if !hmac.Equal(key.sum(c.challenge), digest) || !known {
			return refuse(ErrFailed, "wrong password, or no such user with a secret for CRAM-MD5")
		}
		c.x.user = secrets.Name
		return nil
	})
}
