package deliver

import (
	"context"
	"encoding/base64"
	"slices"
	"strconv"
	"time"

	"gatepost/relay/sasl/saslclient"
)

// Bounds of a login. RFC 4954, section 4 has 12288 bytes in a challenge or a response.
const (
	maxAuthLine    = 12288
	maxAuthCommand = 512 // of AUTH with an initial response (RFC 5321, 4.5.3.1.4)
	maxChallenges  = 16
)

// login logs in. Whatever comes in between, the mail waits for the operator to set it
// right; it neither fails nor goes without.
func (s *SMTP) login(c *conn, peer *Peer) *problem {
	creds := c.demand.login
	if !c.can.auth {
		return &problem{status: statusNoSecurity, text: "there is a login" + by(creds.Source) + ", and the server does not offer AUTH"}
	}
	key := loginKey{peer.Host, peer.Port, c.demand.who}
	if p := s.await(c.ctx, key); p != nil {
		return p
	}
	defer s.turns.leave(key)
	refused, p := s.authenticate(c, peer, creds)
	if refused && !c.broken && creds.Token != nil {
		again, err := renewed(c.ctx, creds)
		if err != nil {
			return &problem{status: statusLogin, text: cut("no other token for the login" + by(creds.Source) + ": " + Sanitise([]byte(err.Error())))}
		}
		refused, p = s.authenticate(c, peer, again)
	}
	switch {
	case refused:
		s.turns.proven.Remove(key)
		s.denied.begin(key, loginPause, p.text)
	case p == nil:
		s.turns.proven.Add(key, struct{}{})
		s.denied.end(key)
	}
	return p
}

// deniedLogin is the problem of a login that was refused lately.
func (s *SMTP) deniedLogin(k loginKey) *problem {
	w, is := s.denied.find(k)
	if !is {
		return nil
	}
	wait := time.Until(w.until).Round(time.Second)
	return &problem{status: statusLogin, text: cut("no login for another " + wait.String() + ", after " + strconv.Itoa(w.count) + " in vain: " + w.text)}
}

// renewed are credentials with another token than the one that was refused.
func renewed(ctx context.Context, creds *saslclient.Credentials) (*saslclient.Credentials, error) {
	token, err := creds.Token(ctx, true)
	if err != nil {
		return nil, err
	}
	again := *creds
	again.Token = func(context.Context, bool) (string, error) { return token, nil }
	return &again, nil
}

// authenticate makes one login. refused says that the server did not like it, rather than
// that something went wrong.
func (s *SMTP) authenticate(c *conn, peer *Peer, creds *saslclient.Credentials) (refused bool, p *problem) {
	m, err := s.choose(creds, c.can.mechanisms, peer.Host, c.tls)
	if err != nil {
		return false, &problem{status: statusNoSecurity, text: cut("cannot log in" + by(creds.Source) + ": " + Sanitise([]byte(err.Error())))}
	}
	defer c.forget()
	c.told = append(c.told[:0], creds.Password)
	refused, p = c.perform(m)
	if p != nil {
		p.text = c.told.hide(p.text)
	}
	return refused, p
}

// perform holds the dialogue and looks at what it has come to.
func (c *conn) perform(m saslclient.Mechanism) (refused bool, p *problem) {
	if p := c.dialogue(m); p != nil {
		return false, p
	}
	switch r := &c.reply; {
	case r.code == 235:
		if err := m.Done(); err != nil {
			c.broken = true
			return true, c.loginProblem(m, "the server has not proven itself: "+Sanitise([]byte(err.Error())))
		}
		return false, nil
	case r.code/100 < 4:
		c.broken = true
		return false, c.loginProblem(m, "unexpected reply: "+r.String())
	}
	p = c.loginProblem(m, c.reply.String())
	p.code = c.reply.code
	return true, p
}

func (c *conn) loginProblem(m saslclient.Mechanism, what string) *problem {
	return &problem{status: statusLogin, text: cut("login by " + m.Name() + by(c.demand.login.Source) + ": " + what)}
}

// dialogue sends AUTH and answers the challenges (RFC 4954, section 4). It ends with
// another reply than 334, which the caller looks at.
func (c *conn) dialogue(m saslclient.Mechanism) *problem {
	at := stage{"the reply to AUTH", c.timeouts.Auth}
	initial, has, err := m.Start(c.ctx)
	if err != nil {
		return c.loginProblem(m, Sanitise([]byte(err.Error())))
	}
	c.out = append(append(c.out, "AUTH "...), m.Name()...)
	if has && len(" =\r\n")+len(c.out)+base64.StdEncoding.EncodedLen(len(initial)) <= maxAuthCommand {
		has = false
		if c.out = append(c.out, ' '); len(initial) == 0 {
			c.out = append(c.out, '=')
		}
		c.respond(initial)
	}
	// One that is too long for the command is the answer to an empty challenge.
	for range maxChallenges {
		c.out = append(c.out, '\r', '\n')
		challenge, p := c.exchange(at)
		if p != nil || c.reply.code != 334 {
			return p
		}
		if !has {
			initial, err = m.Next(c.ctx, challenge)
		} else if has = false; len(challenge) > 0 {
			err = errProtocol
		}
		if err == nil && base64.StdEncoding.EncodedLen(len(initial)) > maxAuthLine-2 {
			err = errProtocol
		}
		if err != nil {
			return c.cancel(m, at, Sanitise([]byte(err.Error())))
		}
		c.respond(initial)
	}
	c.out = c.out[:0]
	return c.cancel(m, at, "more than "+strconv.Itoa(maxChallenges)+" challenges")
}

// exchange sends what is to be sent and reads the reply, and the challenge in it.
func (c *conn) exchange(at stage) (challenge []byte, p *problem) {
	if p := c.flush(at); p != nil {
		return nil, p
	}
	var text []byte
	lines := 0
	c.reply.longest = maxAuthLine + len("334 \r\n")
	p = c.hearLines(at, func(line []byte) {
		if lines++; lines == 1 {
			text = slices.Clone(line)
		}
	})
	c.reply.longest = 0
	if p != nil || c.reply.code != 334 {
		return nil, p
	}
	challenge, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil || lines > 1 {
		c.broken = true
		return nil, &problem{status: statusProtocol, text: "protocol error: a challenge that is not Base64"}
	}
	return challenge, nil
}

// cancel ends a login that is under way (RFC 4954, section 4).
func (c *conn) cancel(m saslclient.Mechanism, at stage, why string) *problem {
	c.out = append(c.out[:0], "*\r\n"...)
	if p := c.flush(at); p != nil {
		return p
	}
	if p := c.hear(at); p != nil {
		return p
	}
	c.broken = c.broken || c.reply.code/100 < 4
	return c.loginProblem(m, why)
}

// forget overwrites what secrets the buffer of commands has had.
func (c *conn) forget() {
	clear(c.out[:cap(c.out)])
	c.out, c.told = c.out[:0], nil
}
