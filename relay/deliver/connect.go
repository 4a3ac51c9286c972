package deliver

import (
	"context"
	"net"
	"net/netip"
	"time"

	"gatepost/relay/tlspolicy"
)

// connect opens a connection to a peer that is ready for mail: greeted, secured as is
// demanded, and logged in. Where TLS is only wished for and fails, a fresh connection
// does without.
func (s *SMTP) connect(ctx context.Context, peer *Peer) (*conn, *problem) {
	d, p := s.demand(ctx, peer)
	if p != nil {
		return nil, p
	}
	if d.login != nil {
		if p := s.deniedLogin(loginKey{peer.Host, peer.Port, d.who}); p != nil {
			return nil, p
		}
	}
	c, p := s.open(ctx, peer, &d, false)
	if p != nil && p.noTLS && !d.policy.Required() && ctx.Err() == nil {
		s.config.Log.Warn("TLS has failed, going on in clear", "relay", peer.String(), "reason", p.text)
		c, p = s.open(ctx, peer, &d, true)
	}
	if p == nil {
		s.dead.end(netip.AddrPortFrom(peer.Addr, peer.Port))
	}
	return c, p
}

// open opens a connection; clear says that TLS is not to be tried.
func (s *SMTP) open(ctx context.Context, peer *Peer, d *demand, clear bool) (*conn, *problem) {
	network, where := "tcp", ""
	if path := peer.Hop.socket(); path != "" {
		network, where = "unix", path
	} else {
		where = netip.AddrPortFrom(peer.Addr, peer.Port).String()
	}
	timeouts := s.timeouts(ctx)
	dialer := net.Dialer{Timeout: timeouts.Connect}
	nc, err := dialer.DialContext(ctx, network, where)
	if err != nil {
		return nil, &problem{status: statusNoAnswer, text: "cannot connect: " + cause(err), deaf: true}
	}
	c := newConn(nc, peer.String(), timeouts)
	c.place, c.demand = peer.place(), *d
	c.limit = time.Now().Add(s.config.Timeouts.Ready)
	release := c.guard(ctx)
	p := s.prepare(c, peer, clear)
	release()
	if p != nil {
		c.Close()
		return nil, p
	}
	return c, nil
}

// prepare makes a new connection ready for mail.
func (s *SMTP) prepare(c *conn, peer *Peer, clear bool) *problem {
	if c.demand.policy.Implicit {
		if p := c.handshake(peer.Host); p != nil {
			return p
		}
	}
	if p := c.greeting(); p != nil {
		p.deaf = true
		return p
	}
	if p := c.hello(s.config.HostName, s.config.LMTP); p != nil {
		p.deaf = true
		return p
	}
	if c.tls == nil && !clear {
		if p := s.secure(c, peer); p != nil {
			return p
		}
	}
	if c.demand.login == nil {
		return nil
	}
	return s.login(c, peer)
}

// secure has TLS spoken from here on, if it is offered and wanted (RFC 3207). A problem
// without noTLS is no matter of wishing.
func (s *SMTP) secure(c *conn, peer *Peer) *problem {
	policy := &c.demand.policy
	switch {
	case policy.Level == tlspolicy.None:
		return nil
	case !c.can.startTLS && policy.Required():
		return &problem{status: statusNoSecurity, text: "TLS is required" + by(policy.Source) + ", and the server does not offer STARTTLS"}
	case !c.can.startTLS:
		return nil
	}
	refused, p := c.startTLS()
	switch {
	case p != nil:
		return p
	case refused && policy.Required():
		p := c.reply.problem()
		p.status, p.text = statusNoSecurity, cut("TLS is required"+by(policy.Source)+", and STARTTLS is refused: "+c.reply.String())
		return p
	case refused:
		s.config.Log.Warn("TLS is refused, going on in clear", "relay", peer.String(), "reason", c.reply.String())
		return nil
	}
	if p := c.handshake(peer.Host); p != nil {
		return p
	}
	// What was said before may have been anybody's words (RFC 3207, 4.2).
	c.can = extensions{}
	p = c.hello(s.config.HostName, s.config.LMTP)
	if p != nil {
		p.noTLS = p.dead
	}
	return p
}

// by names who demands something.
func by(source string) string {
	if source == "" {
		return ""
	}
	return " by " + Sanitise([]byte(source))
}
