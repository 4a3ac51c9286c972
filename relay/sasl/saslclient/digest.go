package saslclient

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"gatepost/relay/sasl/internal/digest"
)

// digestLogin is RFC 2831 with the quality of protection "auth".
type digestLogin struct {
	c       *Credentials
	uri     string
	cnonce  string
	rspauth string // what the server's proof must be; "" before the response
	proven  bool
}

func newDigest(l *login) *digestLogin {
	return &digestLogin{c: l.c, uri: "smtp/" + strings.Trim(l.host, "[]"), cnonce: rand.Text()}
}

func (*digestLogin) Name() string { return digestMD5 }

func (*digestLogin) Start(context.Context) ([]byte, bool, error) { return nil, false, nil }

func (d *digestLogin) Next(_ context.Context, challenge []byte) ([]byte, error) {
	switch {
	case d.proven:
		return nil, wrong(digestMD5, "a third challenge")
	case d.rspauth != "":
		return nil, d.prove(string(challenge))
	}
	all, err := parseChallenge(string(challenge))
	if err != nil {
		return nil, wrong(digestMD5, "the challenge: %v", err)
	}
	return d.answer(all)
}

// parseChallenge checks a digest-challenge (section 2.1.1).
func parseChallenge(text string) (digest.Directives, error) {
	all, err := digest.Parse(text, digest.MaxChallenge, "realm")
	if err != nil {
		return nil, err
	}
	switch {
	case all.Get("nonce") == "":
		return nil, errors.New("no nonce")
	case !strings.EqualFold(all.Get("algorithm"), "md5-sess"):
		return nil, errors.New("the algorithm is not md5-sess")
	case all.Has("charset") && !strings.EqualFold(all.Get("charset"), "utf-8"):
		return nil, errors.New("the charset is not utf-8")
	case all.Has("qop") && !slices.ContainsFunc(strings.Split(all.Get("qop"), ","), func(q string) bool { return strings.EqualFold(strings.TrimSpace(q), "auth") }):
		return nil, errors.New("the quality of protection auth is not offered")
	}
	// They are sent back, or hashed: a control character could end the line, or a part.
	for _, name := range []string{"nonce", "realm"} {
		for _, value := range all[name] {
			if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				return nil, fmt.Errorf("%s has a control character", name)
			}
		}
	}
	return all, nil
}

// realm is that of the credentials, which must be offered unless none is, else the first
// that is offered (as sendmail has it, saslgetrealm).
func (d *digestLogin) realm(offered []string) (string, error) {
	switch {
	case d.c.Realm == "" && len(offered) > 0:
		return offered[0], nil
	case len(offered) > 0 && !slices.Contains(offered, d.c.Realm):
		return "", fmt.Errorf("DIGEST-MD5: the realm is to be %q, and the server offers %.100q", d.c.Realm, offered)
	}
	return d.c.Realm, nil
}

func (d *digestLogin) answer(all digest.Directives) ([]byte, error) {
	realm, err := d.realm(all["realm"])
	if err != nil {
		return nil, err
	}
	utf := all.Has("charset")
	hashed := func(s string) string { return s }
	sent := []string{d.c.User, d.c.Password, d.c.Authorize}
	if utf {
		hashed = digest.Fold
	}
	for i, s := range sent {
		short, ok := digest.ToLatin1(s)
		if !utf8.ValidString(s) || !utf && !ok {
			return nil, errors.New("DIGEST-MD5: a name or the password has characters that this server does not take")
		}
		if !utf {
			sent[i] = short
		}
	}
	user, password, authzid := sent[0], sent[1], sent[2]
	s := digest.Session{Nonce: all.Get("nonce"), CNonce: d.cnonce, NC: "00000001", URI: d.uri, AuthzID: authzid}
	response, rspauth := s.Hashes(digest.Key(hashed(user), hashed(realm), hashed(password)))
	d.rspauth = rspauth
	return digestResponse(s, utf, user, realm, response), nil
}

// digestResponse puts a digest-response together (section 2.1.2).
func digestResponse(s digest.Session, utf bool, user, realm, response string) []byte {
	var b []byte
	if utf {
		b = append(b, "charset=utf-8,"...)
	}
	b = fmt.Appendf(b, "username=%s,", digest.Quote(user))
	if realm != "" {
		b = fmt.Appendf(b, "realm=%s,", digest.Quote(realm))
	}
	b = fmt.Appendf(b, "nonce=%s,nc=%s,cnonce=%s,digest-uri=%s,response=%s,qop=auth",
		digest.Quote(s.Nonce), s.NC, digest.Quote(s.CNonce), digest.Quote(s.URI), response)
	if s.AuthzID != "" {
		b = fmt.Appendf(b, ",authzid=%s", digest.Quote(s.AuthzID))
	}
	return b
}

// prove checks the server's response-auth (section 2.1.3).
func (d *digestLogin) prove(text string) error {
	all, err := digest.Parse(text, digest.MaxChallenge)
	if err != nil {
		return wrong(digestMD5, "the proof: %v", err)
	}
	if !hmac.Equal([]byte(strings.ToLower(all.Get("rspauth"))), []byte(d.rspauth)) {
		return wrong(digestMD5, "it does not prove that it knows the password")
	}
	d.proven = true
	return nil
}

func (d *digestLogin) Done() error {
	if !d.proven {
		return wrong(digestMD5, "it takes us for logged in without a proof that it knows the password")
	}
	return nil
}
