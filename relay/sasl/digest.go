package sasl

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"gatepost/relay/sasl/internal/digest"
)

// digestMD5 is RFC 2831 without security layers and without subsequent authentication:
// a nonce serves one dialogue.
type digestMD5 struct {
	x     *Exchange
	nonce string
}

// digestResponse is what a client has sent, understood.
type digestResponse struct {
	user       string // UTF-8
	bytes      string // the name as it is hashed
	realm      string
	cnonce     string
	uri        string
	authzid    string // UTF-8
	rawAuthzid string
	given      []byte // the response
	qopIsAuth  bool
	nonce, nc  string
	service    string // of uri, as are these
	host       string
	serverName string
}

func (d *digestMD5) next(ctx context.Context, response []byte, given bool) ([]byte, bool, error) {
	if d.nonce == "" {
		// An initial response is an attempt at subsequent authentication: the client
		// is to begin anew (section 2.2).
		d.nonce = d.x.server.random()
		return d.challenge(), false, nil
	}
	r, err := parseDigestResponse(string(response))
	if err != nil {
		return nil, false, refuse(ErrMalformed, err.Error())
	}
	if err := d.fits(r); err != nil {
		return nil, false, err
	}
	answer, err := d.check(ctx, r)
	return answer, err == nil, err
}

func (d *digestMD5) challenge() []byte {
	var b []byte
	for _, realm := range d.x.server.cfg.Realms {
		b = fmt.Appendf(b, "realm=%s,", digest.Quote(realm))
	}
	return fmt.Appendf(b, "nonce=%s,qop=\"auth\",charset=utf-8,algorithm=md5-sess", digest.Quote(d.nonce))
}

func parseDigestResponse(text string) (*digestResponse, error) {
	all, err := digest.Parse(text, digest.MaxResponse)
	if err != nil {
		return nil, err
	}
	for _, needed := range []string{"username", "nonce", "cnonce", "nc", "digest-uri", "response"} {
		if all.Get(needed) == "" {
			return nil, fmt.Errorf("no directive %q", needed)
		}
	}
	r := &digestResponse{bytes: all.Get("username"), user: all.Get("username"), realm: all.Get("realm"), cnonce: all.Get("cnonce"),
		uri: all.Get("digest-uri"), authzid: all.Get("authzid"), rawAuthzid: all.Get("authzid"), nonce: all.Get("nonce"), nc: all.Get("nc")}
	charset, utf := all.Get("charset"), all.Has("charset")
	switch {
	case utf && !strings.EqualFold(charset, "utf-8"):
		return nil, fmt.Errorf("charset %.40q", charset)
	case utf && !utf8.ValidString(r.user+r.realm+r.authzid):
		return nil, fmt.Errorf("not UTF-8, but charset=utf-8")
	case utf:
		// Hashed in ISO 8859-1 where that has all of it (section 2.1.2.1).
		r.bytes = digest.Fold(r.user)
	default:
		r.user, r.authzid = digest.FromLatin1(r.user), digest.FromLatin1(r.authzid)
	}
	if len(r.user) > MaxName || len(r.authzid) > MaxName {
		return nil, fmt.Errorf("a name too long")
	}
	if r.given, err = hex.DecodeString(all.Get("response")); err != nil || len(r.given) != md5.Size {
		return nil, fmt.Errorf("response is not 32 hexadecimal digits")
	}
	r.qopIsAuth = !all.Has("qop") || all.Get("qop") == "auth"
	r.service, r.host, _ = strings.Cut(r.uri, "/")
	r.host, r.serverName, _ = strings.Cut(r.host, "/")
	return r, nil
}

// fits refuses a response to another challenge, or for another service.
func (d *digestMD5) fits(r *digestResponse) error {
	s := d.x.server
	var why string
	switch {
	case !hmac.Equal([]byte(r.nonce), []byte(d.nonce)):
		why = "the nonce is not this dialogue's"
	case r.nc != "00000001":
		why = "the nonce has been used"
	case !r.qopIsAuth:
		why = "a quality of protection that was not offered"
	case !slices.Contains(s.cfg.Realms, r.realm):
		why = fmt.Sprintf("realm %q, which was not offered", r.realm)
	case !strings.EqualFold(r.service, "smtp"):
		why = fmt.Sprintf("a response for the service %q", r.service)
	case !s.ownHost(r.host, d.x.conn) || r.serverName != "" && !s.ownHost(r.serverName, d.x.conn):
		why = fmt.Sprintf("a response for the host %q, which is no name of ours", r.host)
	case !sameUser(r.authzid, r.user):
		why = "asked to act for somebody else"
	default:
		return nil
	}
	return refuse(ErrFailed, why)
}

func (d *digestMD5) check(ctx context.Context, r *digestResponse) ([]byte, error) {
	name, err := PrepareName(r.user)
	if err != nil {
		return nil, refuse(ErrFailed, "the name is not one that accounts have")
	}
	var answer []byte
	err = d.x.attempt(ctx, name, r.realm, func(ctx context.Context) error {
		secrets, found, err := d.x.server.known(ctx, name, r.realm)
		if err != nil {
			return err
		}
		key, has := digestKey(secrets, r)
		want, proof := r.hashes(key, d.nonce)
		if !hmac.Equal(want, r.given) || !found || !has {
			return refuse(ErrFailed, "wrong password, or no such user with a secret for DIGEST-MD5 and this realm")
		}
		answer, d.x.user = fmt.Appendf(nil, "rspauth=%s", proof), secrets.Name
		return nil
	})
	return answer, err
}

// digestKey is H(username:realm:password), one that nothing belongs to when there is no
// secret for it.
func digestKey(secrets Secrets, r *digestResponse) ([md5.Size]byte, bool) {
	made := digest.Key(r.bytes, r.realm, digest.Fold(secrets.Password))
	if key, ok := secrets.Digest[r.realm]; ok {
		return key, true
	}
	return made, secrets.Password != ""
}

// NewDigestKey is H(username:realm:password) of RFC 2831, section 2.1.2.1, which serves
// in place of the password for DIGEST-MD5 in this realm.
func NewDigestKey(user, realm, password string) [md5.Size]byte {
	return digest.Key(digest.Fold(user), realm, digest.Fold(password))
}

// hashes are what the response must be, and what proves to the client that the server
// knows the password too, in hexadecimal.
func (r *digestResponse) hashes(key [md5.Size]byte, nonce string) (want []byte, proof string) {
	response, proof := digest.Session{Nonce: nonce, CNonce: r.cnonce, NC: r.nc, URI: r.uri, AuthzID: r.rawAuthzid}.Hashes(key)
	want, _ = hex.DecodeString(response)
	return want, proof
}
