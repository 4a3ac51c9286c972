package session

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"gatepost/policy"
	"gatepost/relay/sasl"
)

const (
	longestResponse = 12288 // bytes in a line within AUTH, with CRLF (RFC 4954, 4)
	authTries       = 3     // failed ones, then the session ends
	authRounds      = 10    // responses in one AUTH
)

var (
	errCancelled = errors.New("the client has cancelled AUTH")
	errNotBase64 = errors.New("a response that is not base64")
)

// saslConn is what mechanisms may know of the connection.
func (s *session) saslConn() *sasl.Conn {
	c := &sasl.Conn{Client: s.facts.Conn.Addr, Local: addrOf(s.wire.raw.LocalAddr()), PlainOK: s.rules.PlainOK}
	if conn, ok := s.wire.conn.(*tls.Conn); ok {
		state := conn.ConnectionState()
		c.TLS = &state
		if b, ok := conn.NetConn().(*below); ok {
			c.Certificate = b.leaf()
		}
	}
	if s.facts.TLS.Verify == verifyOK {
		c.Identity = s.facts.TLS.CertSubject
	}
	return c
}

// mechanisms are what AUTH is announced with now.
func (s *session) mechanisms() []string {
	if s.rules.Auth == nil || s.rules.RequireTLS && !s.secure.on() {
		return nil
	}
	return s.rules.Auth.Offered(s.saslConn())
}

// auth is AUTH (RFC 4954).
func (s *session) auth(arg string) {
	words := strings.Fields(arg)
	switch {
	case s.rules.Auth == nil:
		s.wrong(503, "5.3.3", "AUTH not available")
		return
	case s.facts.Auth.Type != "":
		s.wrong(503, "5.5.0", "Already Authenticated")
		return
	case s.tx.open:
		s.wrong(503, "5.5.0", "AUTH not permitted during a mail transaction")
		return
	case !s.extended:
		s.wrong(503, "5.5.1", "Send EHLO first")
		return
	case len(words) == 0:
		s.wrong(501, "5.5.2", "AUTH mechanism must be specified")
		return
	case len(words) > 2:
		s.wrong(501, "5.5.2", "AUTH takes a mechanism and an initial response")
		return
	}
	user, err := s.exchange(words[0], words[1:])
	if err == nil {
		s.facts.Auth = user
		s.server.logins.Add(1)
		s.server.log.Info("smtp: logged in", "listener", s.rules.Name, "client", s.facts.Conn.Addr, "auth_type", user.Type, "auth_authen", user.Authen)
		s.say(235, "2.7.0", "OK Authenticated")
		return
	}
	s.notAuthenticated(err)
}

// exchange is the dialogue of one AUTH command. initial is its initial response, if
// there is one.
func (s *session) exchange(mechanism string, initial []string) (policy.Auth, error) {
	ctx, end := s.server.judge.Until(s.server.decideBy())
	x, err := s.rules.Auth.Begin(ctx, mechanism, s.saslConn())
	end()
	if err != nil {
		return policy.Auth{}, err
	}
	var response []byte
	given := len(initial) > 0
	if given {
		if response, err = initialResponse(initial[0]); err != nil {
			return policy.Auth{}, err
		}
	}
	for range authRounds {
		ctx, end := s.server.judge.Until(s.server.decideBy())
		challenge, done, err := x.Next(ctx, response, given)
		end()
		if err != nil {
			return policy.Auth{}, err
		}
		if !done || len(challenge) > 0 {
			if response, err = s.challenge(challenge); err != nil {
				return policy.Auth{}, err
			}
			given = true
		}
		switch {
		case done && len(challenge) > 0 && len(response) > 0: // the last challenge only tells
			return policy.Auth{}, sasl.ErrMalformed
		case done:
			return policy.Auth{Type: x.Mechanism(), Authen: x.User()}, nil
		}
	}
	return policy.Auth{}, sasl.ErrMalformed
}

// challenge sends one and reads the response to it.
func (s *session) challenge(b []byte) ([]byte, error) {
	s.say(334, "", base64.StdEncoding.EncodeToString(b))
	by := time.Now().Add(s.server.cfg.Limits.Command)
	line, err := s.wire.line(longestResponse, s.mode == Normalize, func() error { return s.wire.rest(by, s.server.doors.Draining) })
	if err != nil {
		return nil, err
	}
	return authResponse(line)
}

// initialResponse reads an initial response: "=" is one that is empty.
func initialResponse(word string) ([]byte, error) {
	if word == "=" {
		return nil, nil
	}
	return authResponse([]byte(word))
}

// authResponse reads a line in answer to a challenge.
func authResponse(line []byte) ([]byte, error) {
	if string(line) == "*" {
		return nil, errCancelled
	}
	b := make([]byte, base64.StdEncoding.DecodedLen(len(line)))
	n, err := base64.StdEncoding.Strict().Decode(b, line)
	if err != nil || strings.ContainsAny(string(line), "\r\n") { // which the decoder passes over
		return nil, errNotBase64
	}
	return b[:n], nil
}

// notAuthenticated answers an AUTH that has not come to a good end.
func (s *session) notAuthenticated(err error) {
	switch {
	case errors.Is(err, errCancelled):
		s.wrong(501, "5.7.0", "AUTH aborted")
	case errors.Is(err, errNotBase64):
		s.wrong(501, "5.5.2", "Cannot decode the response, it is not base64")
	case errors.Is(err, errLongLine):
		s.wrong(500, "5.5.6", "Authentication exchange line is too long")
	case errors.Is(err, sasl.ErrMechanism):
		s.wrong(504, "5.5.4", "Unrecognized authentication type")
	case errors.Is(err, sasl.ErrEncryption):
		s.wrong(538, "5.7.11", "Encryption required for requested authentication mechanism")
	case errors.Is(err, sasl.ErrMalformed):
		s.wrong(501, "5.5.2", "Authentication response is malformed")
	case errors.Is(err, sasl.ErrFailed):
		s.denied(535, "5.7.8", "Authentication credentials invalid")
	case errors.Is(err, sasl.ErrThrottled):
		s.denied(454, "4.7.0", "Too many failed logins, please try again later")
	case errors.Is(err, sasl.ErrTemporary):
		s.denied(454, "4.7.0", "Temporary authentication failure")
	default: // of the connection
		s.failed(err)
	}
}

// denied is for who might be guessing, which it may do only so often.
func (s *session) denied(code int, enhanced, text string) {
	s.server.denied.Add(1)
	s.wrong(code, enhanced, text)
	if s.guesses++; s.guesses >= authTries {
		s.server.said.Complain("smtp: connection closed: too many failed logins", "listener", s.rules.Name, "client", s.facts.Conn.Addr)
		s.closing("4.7.0", "Too many failed logins, closing connection")
	}
}
