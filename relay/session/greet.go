package session

import (
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"gatepost/internal/front"
	"gatepost/internal/peer"
	"gatepost/policy"
)

// begin finds out who the client is and greets it; false if the session is over.
func (s *session) begin() bool {
	s.facts.Conn.Addr, s.facts.TLS.Verify = s.peer, verifyNone
	if s.rules.Local {
		s.local.name = peer.Name(s.local.uid)
	}
	if s.proxy && !s.proxyHeader() || !s.fence() || s.rules.Implicit && !s.handshake() {
		return false
	}
	return s.judgeClient(false) && s.waitPause() && s.greet()
}

// proxyHeader reads what the proxy says about the client; false if the session is
// over. A proxy that goes without a word has only looked whether we are there.
func (s *session) proxyHeader() bool {
	by := time.Now().Add(proxyWait)
	p, n, err := parseProxy(s.wire.buffered())
	for err == nil && n == 0 {
		if err = s.wire.rest(by, s.server.doors.Draining); err == nil {
			p, n, err = parseProxy(s.wire.buffered())
		}
	}
	switch {
	case errors.Is(err, errEnded), errors.Is(err, io.EOF) && len(s.wire.buffered()) == 0:
		return false
	case err != nil:
		s.server.foreign.Add(1)
		s.server.said.Complain("smtp: connection of a proxy closed: no proper PROXY header", "proxy", s.peer, "reason", err.Error())
		return false
	}
	s.wire.used(n)
	if p.local {
		return true
	}
	s.facts.Conn.Addr = p.client
	if s.sit(p.client) {
		return true
	}
	if !s.rules.Implicit { // which cannot read it
		s.closing("4.7.0", "Too many connections from your address, please try again later")
	}
	return false
}

// judgeClient asks the policy about the client; named says that its name is known.
// It returns false if the client is to go at once.
func (s *session) judgeClient(named bool) bool {
	s.client = front.Outcome{Refuse: front.InternalFault()}
	cfg, c := &s.server.cfg, &s.facts.Conn
	s.policy = cfg.Policy()
	c.Routes = true // the next hop may follow what is in a local part, and it trusts us
	s.facts.Memory = &s.memory
	s.mode = Reject
	switch {
	case s.rules.Local: // programs write lines as the system has them
		s.mode = Normalize
	case cfg.BareNewline != nil && c.Addr.IsValid():
		s.mode = cfg.BareNewline(c.Addr)
	}
	s.arrive()
	start := time.Now()
	if !named {
		s.resolveClient(start)
	}
	s.client = s.server.judge.Ask(s.policy, policy.StageConnect, &s.facts, start, true)
	if s.client.Refuse.Code() != 421 {
		return true
	}
	s.refuse(s.client.Refuse, "")
	s.over, s.linger = true, true
	return false
}

// arrive counts the client's connection.
func (s *session) arrive() {
	cfg, c := &s.server.cfg, &s.facts.Conn
	if cfg.Clients == nil || !c.Addr.IsValid() || cfg.Counting != nil && !cfg.Counting() {
		return
	}
	s.counts = true
	c.Rate, c.Open = cfg.Clients.Begin(c.Addr)
}

// leave takes the connection out of the count.
func (s *session) leave() {
	if s.counts {
		s.counts = false
		s.server.cfg.Clients.End(s.facts.Conn.Addr)
	}
}

// resolveClient looks up the client's name. That may take half of the time there
// is for the decision: without a name in time, which is a temporary failure of
// the lookup, there still is one.
func (s *session) resolveClient(start time.Time) {
	c := &s.facts.Conn
	if s.rules.Local {
		c.Local, c.Resolve, c.Name, c.Ptr = true, policy.ResolveOK, localName, localName
		return
	}
	c.Resolve, c.Name, c.Ptr = policy.ResolveFail, "", ""
	if s.server.cfg.ResolveClient == nil || !c.Addr.IsValid() {
		return
	}
	ctx, done := s.server.judge.Until(start.Add(s.server.cfg.Limits.Decision / 2))
	defer done()
	c.Resolve, c.Name, c.Ptr = s.server.cfg.ResolveClient(ctx, c.Addr)
}

// waitPause holds the greeting back, and finds clients that do not wait for it. It
// returns false if the session is over.
func (s *session) waitPause() bool {
	if s.rules.Local { // what is piped into sendmail -bs is all there at once
		return true
	}
	var pause time.Duration
	if s.policy != nil && s.client.Refuse.IsZero() {
		ctx, done := s.server.judge.Until(s.server.decideBy())
		pause = s.policy.GreetPause(ctx, &s.facts)
		done()
	}
	s.early = s.wire.waits()
	if pause > 0 && !s.early {
		err := s.wire.rest(time.Now().Add(pause), s.server.doors.Draining)
		if err != nil && !timedOut(err) {
			s.failed(err)
			return false
		}
		s.early = err == nil
	}
	if s.early {
		s.server.early.Add(1)
		s.server.log.Info("smtp: client spoke before the greeting, its commands are refused", "client", s.facts.Conn.Addr)
	}
	return true
}

// greet sends the greeting.
func (s *session) greet() bool {
	if s.early {
		s.say(554, "", s.server.cfg.HostName+" ESMTP not accepting messages")
	} else {
		s.say(220, "", s.server.cfg.HostName+" ESMTP Gatepost")
	}
	return true
}

// inputWaits tells, without waiting, whether the client has sent something.
func inputWaits(conn net.Conn) bool {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	waits := false
	if err := raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		waits = err == nil && n > 0
	}); err != nil {
		return false
	}
	return waits
}
