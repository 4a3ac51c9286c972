package sasl

import (
	"bytes"
	"context"
	"unicode/utf8"
)

// plain is RFC 4616: [authzid] NUL authcid NUL passwd.
type plain struct {
	x     *Exchange
	asked bool
}

func (p *plain) next(ctx context.Context, response []byte, given bool) ([]byte, bool, error) {
	if !given && !p.asked {
		p.asked = true
		return nil, false, nil
	}
	parts := bytes.Split(response, []byte{0})
	if len(parts) != 3 || len(parts[1]) == 0 || len(parts[2]) == 0 {
		return nil, false, refuse(ErrMalformed, "expected two NULs, a name and a password")
	}
	authzid, user, password := string(parts[0]), string(parts[1]), string(parts[2])
	if len(authzid) > MaxName || len(user) > MaxName || len(password) > MaxPassword || !utf8.ValidString(authzid+user) {
		return nil, false, refuse(ErrMalformed, "name or password too long, or the name not UTF-8")
	}
	if !sameUser(authzid, user) {
		return nil, false, refuse(ErrFailed, "asked to act for somebody else")
	}
	if err := p.x.password(ctx, user, password); err != nil {
		return nil, false, err
	}
	return nil, true, nil
}

// sameUser tells whether an authorization identity is no other than the user's.
func sameUser(authzid, user string) bool {
	if authzid == "" || authzid == user {
		return true
	}
	a, errA := PrepareName(authzid)
	b, errB := PrepareName(user)
	return errA == nil && errB == nil && a == b
}

// login is what was there before there was a standard: two questions.
type login struct {
	x     *Exchange
	asked bool
	user  string
}

func (l *login) next(ctx context.Context, response []byte, given bool) ([]byte, bool, error) {
	if !l.asked && (!given || len(response) == 0) {
		l.asked = true
		return []byte("Username:"), false, nil
	}
	if l.user == "" {
		l.asked, l.user = true, string(response)
		if len(response) == 0 || len(response) > MaxName || bytes.IndexByte(response, 0) >= 0 || !utf8.Valid(response) {
			return nil, false, refuse(ErrMalformed, "the name is empty, too long, has a NUL, or is not UTF-8")
		}
		return []byte("Password:"), false, nil
	}
	if len(response) == 0 || len(response) > MaxPassword || bytes.IndexByte(response, 0) >= 0 {
		return nil, false, refuse(ErrMalformed, "the password is empty, too long, or has a NUL")
	}
	if err := l.x.password(ctx, l.user, string(response)); err != nil {
		return nil, false, err
	}
	return nil, true, nil
}

// external is RFC 4422, appendix A: who the client is, TLS has shown.
type external struct {
	x     *Exchange
	asked bool
}

func (e *external) next(_ context.Context, response []byte, given bool) ([]byte, bool, error) {
	if !given && !e.asked {
		e.asked = true
		return nil, false, nil
	}
	authzid := string(response)
	if len(authzid) > MaxName || !utf8.ValidString(authzid) || bytes.IndexByte(response, 0) >= 0 {
		return nil, false, refuse(ErrMalformed, "the authorization identity is too long, has a NUL, or is not UTF-8")
	}
	if authzid != "" && authzid != e.x.conn.Identity {
		return nil, false, refuse(ErrFailed, "asked to act for somebody else than the certificate is of")
	}
	e.x.user = e.x.conn.Identity
	return nil, true, nil
}
