package deliver

import (
	"crypto/tls"
	"strings"

	"gatepost/relay/tlspolicy"
)

type tlsState = tls.ConnectionState

// startTLS asks for TLS; refused says that the server would rather not. Whatever follows
// the reply in clear is not the server's word: it was put there to be taken for what the
// server says under TLS.
func (c *conn) startTLS() (refused bool, p *problem) {
	at := stage{"the reply to STARTTLS", c.timeouts.Hello}
	c.out = append(c.out, "STARTTLS\r\n"...)
	if p := c.flush(at); p != nil {
		return false, p
	}
	if p := c.hear(at); p != nil {
		return false, p
	}
	if c.reply.code != 220 {
		return true, nil
	}
	if c.in.Buffered() > 0 {
		c.broken = true
		return false, &problem{status: statusProtocol, text: "protocol error: something in clear after the reply to STARTTLS"}
	}
	return false, nil
}

// handshake has TLS spoken, and checks what it came to.
func (c *conn) handshake(host string) *problem {
	policy := &c.demand.policy
	t := tls.Client(c.raw, policy.Config(host))
	c.arm(c.timeouts.TLS)
	if err := t.Handshake(); err != nil {
		c.broken = true
		if c.ctx.Err() != nil {
			return c.lost(stage{name: "the TLS handshake"}, err)
		}
		return &problem{status: statusTLS, text: cut("the TLS handshake has failed: " + cause(err)), noTLS: true}
	}
	state := t.ConnectionState()
	if err := policy.Check(host, &state); err != nil {
		c.broken = true
		return &problem{status: statusTLS, text: cut("the server is not who it should be" + by(policy.Source) + ": " + Sanitise([]byte(err.Error()))), noTLS: true}
	}
	c.Conn, c.tls = t, &state
	c.in.Reset(t)
	c.via.secured = describe(policy.Level, &state)
	return nil
}

// describe is how the log tells that a connection is secured: "TLSv1.3, verified".
func describe(level tlspolicy.Level, state *tls.ConnectionState) string {
	how := "encrypted"
	switch level {
	case tlspolicy.Verify:
		how = "verified"
	case tlspolicy.Fingerprint:
		how = "fingerprint"
	case tlspolicy.DANE:
		how = "DANE"
	}
	return strings.Replace(tls.VersionName(state.Version), "TLS ", "TLSv", 1) + ", " + how
}
