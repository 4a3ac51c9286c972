package saslclient

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// bearerLogin is XOAUTH2 and OAUTHBEARER (RFC 7628): an OAuth 2.0 access token in place of
// a password.
type bearerLogin struct {
	*login
	name    string
	refused bool
}

func (b *bearerLogin) Name() string { return b.name }

func (b *bearerLogin) Start(ctx context.Context) ([]byte, bool, error) {
	token, err := b.c.Token(ctx, false)
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrToken, err)
	}
	if !isToken(token) {
		return nil, false, fmt.Errorf("%w: what came for one has other characters than a token (RFC 6750, section 2.1)", ErrToken)
	}
	user := b.c.User
	if b.c.Authorize != "" {
		user = b.c.Authorize // the mailbox; who we are is in the token
	}
	if strings.ContainsFunc(user, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, false, errors.New(b.name + ": the user's name has a control character")
	}
	if b.name == XOAuth2 {
		return []byte("user=" + user + "\x01auth=Bearer " + token + "\x01\x01"), true, nil
	}
	name := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(user) // RFC 5801, section 4
	return []byte("n,a=" + name + ",\x01host=" + b.host + "\x01auth=Bearer " + token + "\x01\x01"), true, nil
}

// isToken tells b64token (RFC 6750, section 2.1), of a length that a server takes.
func isToken(s string) bool {
	s = strings.TrimRight(s, "=")
	return s != "" && len(s) < maxChallenge && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/") == ""
}

// Next gets JSON that says why the token is not taken, which must be answered before the
// server gives its reply (RFC 7628, section 3.2.3).
func (b *bearerLogin) Next(_ context.Context, challenge []byte) ([]byte, error) {
	if b.refused || len(challenge) > maxChallenge {
		return nil, wrong(b.name, "a challenge too long, or one too many")
	}
	b.refused = true
	if b.name == XOAuth2 {
		return []byte{}, nil
	}
	return []byte{1}, nil
}

// Done fails for a server that first refuses the token and then takes it.
func (b *bearerLogin) Done() error {
	if b.refused {
		return wrong(b.name, "it has refused the token, and takes us for logged in")
	}
	return nil
}
