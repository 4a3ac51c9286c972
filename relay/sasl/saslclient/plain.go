package saslclient

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"errors"
	"fmt"
	"strings"

	"gatepost/relay/sasl"
)

const (
	plain     = sasl.Plain
	loginName = sasl.Login
	cramMD5   = sasl.CRAMMD5
	digestMD5 = sasl.DigestMD5
	external  = sasl.External

	scramSHA1   = sasl.SCRAMSHA1
	scramSHA256 = sasl.SCRAMSHA256
	plus        = "-PLUS"
)

// unproven is the end of mechanisms by which a server proves nothing.
type unproven struct{}

func (unproven) Done() error { return nil }

// plainLogin is RFC 4616.
type plainLogin struct {
	unproven
	c     *Credentials
	asked bool
}

func (*plainLogin) Name() string { return plain }

func (p *plainLogin) Start(context.Context) ([]byte, bool, error) {
	message := p.c.Authorize + "\x00" + p.c.User + "\x00" + p.c.Password
	if strings.Count(message, "\x00") != 2 {
		return nil, false, errors.New("PLAIN: a name or the password has a NUL")
	}
	return []byte(message), true, nil
}

// Next is there for servers that do not take the initial response and ask for it.
func (p *plainLogin) Next(ctx context.Context, challenge []byte) ([]byte, error) {
	if p.asked || len(challenge) > 0 {
		return nil, wrong(plain, "a challenge, though there is none")
	}
	p.asked = true
	message, _, err := p.Start(ctx)
	return message, err
}

// loginLogin is LOGIN, which nobody has specified: two questions, whose words differ from
// server to server.
type loginLogin struct {
	unproven
	c     *Credentials
	asked int
}

func (*loginLogin) Name() string { return loginName }

func (*loginLogin) Start(context.Context) ([]byte, bool, error) { return nil, false, nil }

func (l *loginLogin) Next(context.Context, []byte) ([]byte, error) {
	l.asked++
	switch l.asked {
	case 1:
		return []byte(l.c.User), nil
	case 2:
		return []byte(l.c.Password), nil
	}
	return nil, wrong(loginName, "a third question")
}

// cramLogin is RFC 2195.
type cramLogin struct {
	unproven
	c     *Credentials
	asked bool
}

func (*cramLogin) Name() string { return cramMD5 }

func (*cramLogin) Start(context.Context) ([]byte, bool, error) { return nil, false, nil }

func (c *cramLogin) Next(_ context.Context, challenge []byte) ([]byte, error) {
	switch {
	case c.asked:
		return nil, wrong(cramMD5, "a second challenge")
	case len(challenge) == 0 || len(challenge) > maxChallenge:
		return nil, wrong(cramMD5, "a challenge of %d bytes", len(challenge))
	}
	c.asked = true
	mac := hmac.New(md5.New, []byte(c.c.Password))
	mac.Write(challenge)
	return fmt.Appendf(nil, "%s %x", c.c.User, mac.Sum(nil)), nil
}

// externalLogin is RFC 4422, appendix A: the certificate shown in TLS says who we are.
type externalLogin struct {
	unproven
	authorize string
	asked     bool
}

func (*externalLogin) Name() string { return external }

func (e *externalLogin) Start(context.Context) ([]byte, bool, error) {
	return []byte(e.authorize), true, nil
}

func (e *externalLogin) Next(_ context.Context, challenge []byte) ([]byte, error) {
	if e.asked || len(challenge) > 0 {
		return nil, wrong(external, "a challenge, though there is none")
	}
	e.asked = true
	return []byte(e.authorize), nil
}
