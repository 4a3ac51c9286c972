// Package logintest is the client's side of SASL mechanisms, for tests, without what
// the server's side is made of.
package logintest

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"github.com/xdg-go/scram"
)

// Client logs a user in by a mechanism.
type Client struct {
	Mechanism, User, Password string
	Host                      string // the server's name
	Realm                     string // DIGEST-MD5; "": the one that the server offers
	step                      int
	scram                     *scram.ClientConversation
}

// Known tells whether there is a mechanism of that name here.
func Known(mechanism string) bool {
	switch mechanism {
	case "PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "EXTERNAL":
		return true
	}
	return false
}

// Login holds the whole dialogue. ask sends a line and returns the reply's code and
// text.
func (c *Client) Login(ask func(line string) (code int, text string, err error)) (code int, text string, err error) {
	for code, text, err = ask("AUTH " + c.Mechanism); err == nil && code == 334; {
		challenge, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return 0, "", fmt.Errorf("challenge %q: %w", text, err)
		}
		response, err := c.respond(challenge)
		if err != nil {
			return 0, "", err
		}
		if code, text, err = ask(base64.StdEncoding.EncodeToString(response)); err != nil {
			return 0, "", err
		}
	}
	return code, text, err
}

func (c *Client) respond(challenge []byte) ([]byte, error) {
	c.step++
	switch {
	case c.Mechanism == "PLAIN":
		return []byte("\x00" + c.User + "\x00" + c.Password), nil
	case c.Mechanism == "LOGIN" && c.step == 1:
		return []byte(c.User), nil
	case c.Mechanism == "LOGIN":
		return []byte(c.Password), nil
	case c.Mechanism == "CRAM-MD5":
		mac := hmac.New(md5.New, []byte(c.Password))
		mac.Write(challenge)
		return []byte(c.User + " " + hex.EncodeToString(mac.Sum(nil))), nil
	case c.Mechanism == "DIGEST-MD5" && c.step == 1:
		return c.digest(string(challenge))
	case strings.HasPrefix(c.Mechanism, "SCRAM-"):
		return c.scramStep(challenge)
	}
	return nil, nil // EXTERNAL, and what only tells
}

// digest answers the challenge of RFC 2831.
func (c *Client) digest(challenge string) ([]byte, error) {
	nonce := regexp.MustCompile(`nonce="([^"]*)"`).FindStringSubmatch(challenge)
	realm := regexp.MustCompile(`realm="([^"]*)"`).FindStringSubmatch(challenge)
	if nonce == nil || realm == nil {
		return nil, fmt.Errorf("no nonce or realm in %q", challenge)
	}
	if c.Realm != "" {
		realm[1] = c.Realm
	}
	sum := func(s string) string { h := md5.Sum([]byte(s)); return string(h[:]) }
	const cnonce, nc = "b2EgbXVyZGVyZXI", "00000001"
	uri := "smtp/" + c.Host
	a1 := sum(c.User+":"+realm[1]+":"+c.Password) + ":" + nonce[1] + ":" + cnonce
	hexOf := func(s string) string { return hex.EncodeToString([]byte(sum(s))) }
	response := hexOf(strings.Join([]string{hexOf(a1), nonce[1], nc, cnonce, "auth", hexOf("AUTHENTICATE:" + uri)}, ":"))
	return fmt.Appendf(nil, `username="%s",realm="%s",nonce="%s",cnonce="%s",nc=%s,qop=auth,digest-uri="%s",response=%s,charset=utf-8`,
		c.User, realm[1], nonce[1], cnonce, nc, uri, response), nil
}

func (c *Client) scramStep(challenge []byte) ([]byte, error) {
	if c.scram == nil {
		hash := scram.SHA256
		if c.Mechanism == "SCRAM-SHA-1" {
			hash = scram.SHA1
		}
		client, err := hash.NewClient(c.User, c.Password, "")
		if err != nil {
			return nil, err
		}
		c.scram = client.NewConversation()
	}
	response, err := c.scram.Step(string(challenge))
	return []byte(response), err
}
