package milter

import (
	"time"

	lib "github.com/d--j/go-milter"

	"gatepost/internal/front"
	"gatepost/internal/smtp"
	"gatepost/policy"
)

// session is an SMTP session as the MTA tells it, and what was decided of it so
// far. The library calls its methods from one goroutine.
//
// Everything begins refused and is let pass by a decision, so that a panic or a
// missing event leaves it refused.
type session struct {
	server *Server
	conn   *conn
	hold   bool // the MTA can quarantine

	policy Decider
	facts  policy.Facts
	memory policy.Memory // of the connection
	known  bool          // the MTA told who the client is
	counts bool          // Clients was told of this connection
	client front.Outcome // of the connection
	helo   front.Outcome // of the latest HELO
	mail   front.Outcome // of the message so far
	rcpts  int           // recipients of the message that were let pass
}

var _ lib.Milter = (*session)(nil)

func newSession(s *Server, c *conn, hold bool) *session {
	return &session{server: s, conn: c, hold: hold}
}

// NewConnection begins: at the start and, on the same transport, after QUIT_NC.
func (s *session) NewConnection(lib.Modifier) error {
	s.endMessage()
	s.leave()
	*s = session{server: s.server, conn: s.conn, hold: s.hold}
	return nil
}

// arrive counts the client's connection.
func (s *session) arrive() {
	wanted := s.server.cfg.Counting == nil || s.server.cfg.Counting()
	if clients := s.server.cfg.Clients; clients != nil && wanted && s.facts.Conn.Addr.IsValid() {
		s.counts = true
		s.facts.Conn.Rate, s.facts.Conn.Open = clients.Begin(s.facts.Conn.Addr)
	}
}

// leave takes the connection out of the count.
func (s *session) leave() {
	if s.counts {
		s.counts = false
		s.server.cfg.Clients.End(s.facts.Conn.Addr)
	}
}

// Connect takes the policy in force and asks it about the client.
func (s *session) Connect(host, family string, _ uint16, addr string, m lib.Modifier) (resp *lib.Response, _ error) {
	defer s.contain("connect", &resp)
	_ = s.NewConnection(m)
	s.client.Refuse = front.InternalFault()
	s.policy = s.server.cfg.Policy()
	s.facts.Conn = clientFacts(host, family, addr, s.conn.macros)
	s.facts.Memory = &s.memory
	s.known = s.facts.Conn.Addr.IsValid() || s.facts.Conn.Local
	if !s.known {
		s.client = front.Outcome{}
		s.server.said.Complain("milter: the MTA did not tell the client's address; its mail gets a temporary failure",
			"host", host, "family", family, "address", addr)
		return lib.RespContinue, nil
	}
	s.arrive()
	start := time.Now()
	s.resolveClient(start)
	s.client = s.askSince(policy.StageConnect, start)
	if s.client.Refuse.Code() == 421 {
		return s.say(s.refusal(s.client.Refuse)), nil
	}
	return lib.RespContinue, nil
}

// resolveClient looks up the client's name where the MTA does not say how it was
// verified. That may take half of the time there is for the decision: without a
// name in time, which is a temporary failure of the lookup, there still is one.
func (s *session) resolveClient(start time.Time) {
	resolve, addr := s.server.cfg.ResolveClient, s.facts.Conn.Addr
	if resolve == nil || !addr.IsValid() || saysResolve(s.conn.macros) {
		return
	}
	ctx, done := s.server.judge.Until(start.Add(s.server.cfg.Timeout / 2))
	defer done()
	c := &s.facts.Conn
	c.Resolve, c.Name, c.Ptr = resolve(ctx, addr)
}

// Helo may come again, after STARTTLS or at the client's whim.
func (s *session) Helo(name string, _ lib.Modifier) (resp *lib.Response, _ error) {
	defer s.contain("helo", &resp)
	s.endMessage()
	s.facts.Helo = policy.Helo{Given: true, Name: name}
	s.facts.TLS = policy.TLS{}
	takeTLS(&s.facts.TLS, s.conn.macros)
	s.helo = front.Outcome{}
	if !s.client.Refuse.IsZero() {
		return s.say(s.refusal(s.client.Refuse)), nil
	}
	if !s.known {
		return lib.RespContinue, nil
	}
	s.helo.Refuse = front.InternalFault()
	s.helo = s.ask(policy.StageHelo)
	return s.say(s.refusal(s.helo.Refuse)), nil
}

// MailFrom begins a message.
func (s *session) MailFrom(_, _ string, _ lib.Modifier) (resp *lib.Response, _ error) {
	defer s.contain("mail", &resp)
	s.endMessage()
	if refuse, ok := s.refused(); ok {
		return s.say(s.refusal(transaction(refuse))), nil
	}
	if !s.known {
		return s.say(s.refusal(front.InternalFault())), nil
	}
	s.facts.Auth = authFacts(s.conn.macros)
	takeTLS(&s.facts.TLS, s.conn.macros)
	id, _ := s.conn.macros.get(macroQueueID)
	s.facts.Mail = policy.Mail{Sender: smtp.ParsePath(s.conn.text()), QueueID: id}
	s.mail = s.ask(policy.StageMail)
	s.conn.inMessage = s.mail.Refuse.IsZero()
	return s.say(s.refusal(transaction(s.mail.Refuse))), nil
}

// RcptTo asks about one recipient. Its refusal is that recipient's alone.
func (s *session) RcptTo(_, _ string, _ lib.Modifier) (resp *lib.Response, _ error) {
	defer s.contain("rcpt", &resp)
	if refuse, ok := s.refused(); ok {
		return s.say(s.refusal(transaction(refuse))), nil
	}
	if !s.conn.inMessage {
		return s.say(s.refusal(front.InternalFault())), nil
	}
	if id, ok := s.conn.macros.get(macroQueueID); ok {
		s.facts.Mail.QueueID = id
	}
	s.facts.Rcpt = policy.Rcpt{Recipient: smtp.ParsePath(s.conn.text())}
	o := s.ask(policy.StageRcpt)
	s.facts.Rcpt = policy.Rcpt{}
	if o.Refuse.IsZero() {
		s.mail.Merge(o)
		s.rcpts++
	}
	return s.say(s.refusal(transaction(o.Refuse))), nil
}

// EndOfMessage does what could not be done before.
func (s *session) EndOfMessage(m lib.Modifier) (resp *lib.Response, _ error) {
	defer s.contain("end of message", &resp)
	all := s.client
	all.Merge(s.helo)
	all.Merge(s.mail)
	asked := s.conn.inMessage && s.rcpts > 0
	s.endMessage()
	switch {
	case !asked:
		return s.say(s.refusal(front.InternalFault())), nil
	case all.Discard:
		return lib.RespDiscard, nil
	case all.Quarantine != "":
		if err := m.Quarantine(all.Quarantine); err != nil {
			return s.say(s.refusal(front.InternalFault())), nil
		}
	}
	return lib.RespContinue, nil
}

// Abort ends a message, or comes for nothing: Postfix sends it freely.
func (s *session) Abort(lib.Modifier) error {
	s.endMessage()
	return nil
}

// Data and the following are switched off; an MTA that cannot is told to go on.
func (s *session) Data(lib.Modifier) (*lib.Response, error) { return lib.RespContinue, nil }

// Header is switched off.
func (s *session) Header(_, _ string, _ lib.Modifier) (*lib.Response, error) {
	return lib.RespContinue, nil
}

// Headers is switched off.
func (s *session) Headers(lib.Modifier) (*lib.Response, error) { return lib.RespContinue, nil }

// BodyChunk is switched off.
func (s *session) BodyChunk([]byte, lib.Modifier) (*lib.Response, error) {
	return lib.RespContinue, nil
}

// Unknown is switched off.
func (s *session) Unknown(string, lib.Modifier) (*lib.Response, error) { return lib.RespContinue, nil }

// Cleanup is the end of the transport.
func (s *session) Cleanup(lib.Modifier) { s.leave() }

// endMessage forgets the message, but nothing of the connection.
func (s *session) endMessage() {
	s.conn.inMessage = false
	s.mail, s.rcpts = front.Outcome{}, 0
	s.facts.Auth, s.facts.Mail, s.facts.Rcpt = policy.Auth{}, policy.Mail{}, policy.Rcpt{}
}

// refused returns the refusal of the client or its greeting: it holds for all
// that follows.
func (s *session) refused() (smtp.Reply, bool) {
	if !s.client.Refuse.IsZero() {
		return s.client.Refuse, true
	}
	return s.helo.Refuse, !s.helo.Refuse.IsZero()
}

// ask has the policy decide, within the time there is.
func (s *session) ask(at policy.Stage) front.Outcome { return s.askSince(at, time.Now()) }

// askSince does, where some of the time has been spent.
func (s *session) askSince(at policy.Stage, start time.Time) front.Outcome {
	return s.server.judge.Ask(s.policy, at, &s.facts, start, s.hold)
}

// refusal is the answer for a reply, and for the zero Reply to go on.
func (s *session) refusal(r smtp.Reply) answer {
	if r.IsZero() {
		return answer{}
	}
	return answer{frame: s.server.replies.frame(r)}
}

// say gives an answer. The library carries a plain temporary failure, in whose
// place the connection puts the reply.
func (s *session) say(a answer) *lib.Response {
	if a.frame == nil {
		return lib.RespContinue
	}
	s.conn.reply = a.frame
	return lib.RespTempFail
}

// contain turns a panic into a temporary failure. What was being decided stays
// refused.
func (s *session) contain(at string, resp **lib.Response) {
	if v := recover(); v != nil {
		s.server.panicked(at, v)
		*resp = s.say(s.refusal(front.InternalFault()))
	}
}
