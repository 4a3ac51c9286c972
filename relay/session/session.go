package session

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"gatepost/internal/front"
	"gatepost/internal/smtp"
	"gatepost/policy"
	"gatepost/relay/spool"
)

// session is one client's session. It belongs to one goroutine.
//
// Everything begins refused and is let pass by a decision, so that a panic leaves
// it refused.
type session struct {
	server  *Server
	rules   *Rules
	wire    *wire
	peer    netip.Addr // the other end of the connection; a proxy's, if there is one
	proxy   bool       // it is one
	trusted bool       // it may say XCLIENT
	local   localUser  // whose program it is, under Rules.Local
	seat    seat       // whose place it takes
	mode    Mode

	policy   Policy
	facts    policy.Facts
	memory   policy.Memory
	counts   bool          // Clients was told of this connection
	early    bool          // the client spoke before the greeting
	client   front.Outcome // of the connection
	helo     front.Outcome // of the latest HELO
	extended bool          // it was EHLO
	secure   secure        // the connection's TLS
	tx       transaction

	commands, errors, refusals, transactions, guesses int

	scratch []byte
	over    bool
	linger  bool // the client should get the last reply
}

// transaction is a message in the making.
type transaction struct {
	open bool
	params
	sender  smtp.Path
	reverse string // how it is sent on
	rcpts   []spool.Recipient
	cost    int64 // of rcpts, in memory
	quota   bool  // it counts against the listener's, until it has been taken
	result  front.Outcome
	body    *body // BDAT has begun
}

// serve is the session from its beginning to its end.
func (s *session) serve() {
	defer s.server.doors.Leave(s)
	defer s.wire.abandon()
	defer s.contain()
	defer s.end()
	defer s.contain()
	s.wire.until = time.Now().Add(s.server.cfg.Limits.Session)
	if !s.begin() {
		return
	}
	for !s.over {
		s.step()
	}
}

// contain ends the session after a panic.
func (s *session) contain() {
	if v := recover(); v != nil {
		s.server.panicked(v)
		s.closing("4.3.0", "Service not available, closing transmission channel")
	}
}

// end lets go of all that the session has.
func (s *session) end() {
	s.endTransaction()
	s.leave()
	s.rise()
	s.wire.close(s.linger)
}

// sit takes a place of a client's, if there is one. XCLIENT peers speak for many.
func (s *session) sit(client netip.Addr) bool {
	place := seat{local: s.rules.Local, uid: s.local.uid}
	switch {
	case s.rules.Local:
	case s.trusted || !client.IsValid():
		return true
	default:
		place.addr = seatOf(client)
	}
	if !s.server.places.take(place) {
		var who any = client
		if place.local {
			who = s.who()
		}
		s.server.crowded.Add(1)
		s.server.said.Complain("smtp: connection closed: too many from one client", "client", who, "limit", s.server.places.max)
		return false
	}
	s.seat = place
	return true
}

func (s *session) rise() {
	if s.seat != (seat{}) {
		s.server.places.leave(s.seat)
		s.seat = seat{}
	}
}

// closing says that the session is at its end.
func (s *session) closing(enhanced, why string) {
	s.say(421, enhanced, s.server.cfg.HostName+" "+why)
	s.over, s.linger = true, true
}

// step is one command.
func (s *session) step() {
	l := &s.server.cfg.Limits
	if !s.tx.open && s.server.doors.Draining() {
		s.failed(errEnded)
		return
	}
	if s.wire.bad != nil {
		s.failed(s.wire.bad)
		return
	}
	if isTLS(s.wire.buffered()) {
		s.foreign()
		return
	}
	by := time.Now().Add(l.Command)
	more := func() (err error) {
		if s.tx.open {
			err = s.wire.fill(by)
		} else {
			err = s.wire.rest(by, s.server.doors.Draining)
		}
		if err == nil && isTLS(s.wire.buffered()) {
			err = errForeign // it may have no line end for long
		}
		return err
	}
	line, err := s.wire.line(l.CommandLine, s.mode == Normalize, more)
	if err != nil {
		s.failed(err)
		return
	}
	if s.commands++; s.commands > l.Commands && !s.rules.Local { // which may have very many recipients
		s.closing("4.7.0", "Too many commands, closing connection")
		return
	}
	if what := illegal(line); what != "" {
		s.wrong(500, "5.5.2", what+" not allowed in commands")
	} else {
		s.command(parseCommand(line))
	}
	s.checkPatience()
}

// checkPatience ends a session that does nothing but fail. A program of this host may do
// so: it has a list of addresses, the good ones of which must get their mail.
func (s *session) checkPatience() {
	l := &s.server.cfg.Limits
	if !s.over && !s.rules.Local && (s.errors >= l.Errors || s.refusals >= l.Refusals) {
		s.server.said.Complain("smtp: connection closed: too many bad commands", "client", s.who())
		s.closing("4.7.0", "Too many bad commands; closing connection")
	}
}

// failed ends the session, or not, for what came instead of a command.
func (s *session) failed(err error) {
	switch {
	case errors.Is(err, errLongLine):
		s.wrong(500, "5.5.2", fmt.Sprintf("Line too long (%d bytes max)", s.server.cfg.Limits.CommandLine))
		s.checkPatience()
	case errors.Is(err, errBareLF):
		// What follows might be taken for a command by us and for an argument by
		// whoever is in between.
		s.say(500, "5.5.2", "Bare <LF> not allowed, closing connection")
		s.over, s.linger = true, true
	case errors.Is(err, errEndless):
		s.closing("4.7.0", "Line too long, closing connection")
	case errors.Is(err, errForeign):
		s.foreign()
	case errors.Is(err, errEnded):
		s.closing("4.3.2", "Server shutting down, please try again later")
	case errors.Is(err, errSlow), timedOut(err):
		s.server.slow.Add(1)
		s.closing("4.4.2", "Timeout waiting for input, closing connection")
		s.linger = false
	default:
		s.over = true
		s.server.lost.Add(1)
		s.server.log.Debug("smtp: connection lost", "client", s.who(), "error", err)
	}
}

// foreign ends the session of a client that speaks another protocol.
func (s *session) foreign() {
	s.server.foreign.Add(1)
	s.server.said.Complain("smtp: connection closed: another protocol", "client", s.who())
	s.closing("4.7.0", "This is a mail server, closing connection")
	s.linger = false
}

// refused returns the refusal of the client, which holds for all that follows.
func (s *session) refused() (smtp.Reply, bool) {
	if s.early {
		return smtp.MustReply(550, "5.0.0", "Command rejected"), true
	}
	return s.client.Refuse, !s.client.Refuse.IsZero()
}

// command does what the client wants. A refused client is still told some things,
// as sendmail does.
func (s *session) command(v verb, arg string) {
	switch v {
	case verbHelo, verbEhlo:
		s.hello(v == verbEhlo, arg)
	case verbQuit:
		s.say(221, "2.0.0", s.server.cfg.HostName+" closing connection")
		s.over = true
	case verbRset:
		s.endTransaction()
		s.say(250, "2.0.0", "Reset state")
	case verbNoop:
		s.say(250, "2.0.0", "OK")
	case verbXclient:
		s.xclient(arg)
	case verbBdat:
		s.bdat(arg)
	case verbForeign:
		s.foreign()
	case verbUnknown:
		s.wrong(500, "5.5.1", "Command unrecognized")
	default:
		refuse, yes := s.refused()
		switch {
		case yes:
			s.errors++
			s.refuse(refuse, "")
		case s.rules.RequireTLS && !s.secure.on() && v != verbStarttls:
			s.wrong(530, "5.7.0", "Must issue a STARTTLS command first")
		default:
			s.permitted(v, arg)
		}
	}
}

// permitted are the commands of a client that is not refused.
func (s *session) permitted(v verb, arg string) {
	switch v {
	case verbMail:
		s.mail(arg)
	case verbRcpt:
		s.rcpt(arg)
	case verbData:
		s.data(arg)
	case verbStarttls:
		s.startTLS(arg)
	case verbAuth:
		s.auth(arg)
	case verbVrfy:
		s.say(252, "2.5.2", "Cannot VRFY user; try RCPT to attempt delivery")
	case verbExpn, verbEtrn:
		s.wrong(502, "5.7.0", "Sorry, we do not allow this operation")
	case verbHelp:
		s.sayLines(214, "2.0.0", []string{
			"HELO EHLO MAIL RCPT DATA BDAT", "RSET NOOP QUIT HELP VRFY", "End of HELP info",
		})
	}
}

// ask has the policy decide, within the time there is.
func (s *session) ask(at policy.Stage) front.Outcome {
	return s.server.judge.Ask(s.policy, at, &s.facts, time.Now(), true)
}

// endTransaction forgets the message, but nothing of the connection.
func (s *session) endTransaction() {
	if b := s.tx.body; b != nil {
		b.out.Abort()
	}
	if s.tx.quota {
		s.rules.Quota.giveBack(s.facts.Conn.Addr)
	}
	s.server.rcptMemory.Add(-s.tx.cost)
	s.tx = transaction{}
	s.facts.Mail, s.facts.Rcpt = policy.Mail{}, policy.Rcpt{}
}
