package session

import (
	"strconv"
	"strings"
	"time"

	"gatepost/internal/front"
	"gatepost/internal/smtp"
	"gatepost/policy"
	"gatepost/relay/spool"
)

// hello is HELO and EHLO.
func (s *session) hello(extended bool, name string) {
	word := "HELO"
	if extended {
		word = "EHLO"
	}
	switch {
	case name == "":
		s.wrong(501, "5.0.0", word+" requires domain address")
		return
	case !validHelo(name):
		s.wrong(501, "5.0.0", "Invalid domain name")
		return
	}
	s.endTransaction()
	s.extended = extended
	s.judgeHelo(name)
	if refuse := s.helo.Refuse; !refuse.IsZero() {
		s.refuse(refuse, "")
		return
	}
	text := s.server.cfg.HostName + " Hello " + s.clientText() + ", pleased to meet you"
	if !extended {
		s.say(250, "", text)
		return
	}
	s.sayLines(250, "", s.keywords(text))
}

// judgeHelo asks the policy about a name, unless the client is refused anyway.
func (s *session) judgeHelo(name string) {
	s.facts.Helo = policy.Helo{Given: true, Name: name}
	s.helo = front.Outcome{}
	if _, refused := s.refused(); refused {
		return
	}
	s.helo.Refuse = front.InternalFault()
	s.helo = s.ask(policy.StageHelo)
}

// keywords is what EHLO announces.
func (s *session) keywords(greeting string) []string {
	l := &s.server.cfg.Limits
	words := []string{
		greeting,
		"ENHANCEDSTATUSCODES",
		"PIPELINING",
		"8BITMIME",
		"SIZE " + strconv.FormatInt(l.MessageSize, 10),
		"DSN",
		"SMTPUTF8",
		"CHUNKING",
		"LIMITS MAILMAX=" + strconv.Itoa(l.Transactions) + " RCPTMAX=" + strconv.Itoa(l.Recipients),
	}
	if _, refused := s.refused(); !refused {
		words = s.offers(words)
	}
	if s.trusted {
		words = append(words, xclientKeyword)
	}
	return append(words, "HELP")
}

// offers adds what the listener's rules have to be announced now.
func (s *session) offers(words []string) []string {
	if s.rules.TLS != nil && !s.secure.on() {
		if err := s.rules.certificate(); err == nil {
			words = append(words, "STARTTLS")
		} else {
			s.server.said.Complain("smtp: STARTTLS is not announced", "listener", s.rules.Name, "error", err)
		}
	}
	if mechanisms := s.mechanisms(); len(mechanisms) > 0 {
		words = append(words, "AUTH "+strings.Join(mechanisms, " "))
	}
	return words
}

// mail begins a transaction.
func (s *session) mail(arg string) {
	path, words, ok := parsePath(arg, "FROM")
	switch {
	case s.tx.open:
		s.wrong(503, "5.5.0", "Sender already specified")
		return
	case s.rules.RequireAuth && s.facts.Auth.Type == "":
		s.wrong(530, "5.7.0", "Authentication required")
		return
	case !ok:
		s.wrong(501, "5.5.2", `Syntax error in parameters scanning "`+echo(arg)+`"`)
		return
	case !s.helo.Refuse.IsZero():
		s.refuseFor(s.helo.Refuse, "")
		return
	case s.transactions >= s.server.cfg.Limits.Transactions:
		s.closing("4.7.0", "Too many messages in this session, please connect again")
		return
	}
	sender := smtp.ParsePath(path)
	if fault := sender.Fault(); !fault.IsZero() {
		s.errors++
		s.refuse(fault, path)
		return
	}
	p := params{auth: len(s.mechanisms()) > 0}
	if f := p.parse(words); f != nil {
		s.wrong(f.code, f.enhanced, f.text)
		return
	}
	if s.rules.Sender != "" {
		sender = smtp.ParsePath("<" + s.rules.Sender + ">")
	}
	s.sender(sender, p)
}

// sender is a MAIL command in good form.
func (s *session) sender(from smtp.Path, p params) {
	limit, room := s.server.cfg.Limits.MessageSize, s.server.cfg.Room
	switch {
	case p.size > limit:
		s.refuseFor(tooLarge(limit), "")
		return
	case p.size > 0 && room != nil && !room(p.size):
		s.refuseFor(spoolFault(spool.ErrFull), "")
		return
	case !p.utf8 && !ascii(from.Raw()):
		s.refuseFor(needsUTF8(), from.Raw())
		return
	}
	s.facts.Mail = policy.Mail{Sender: from}
	out := s.ask(policy.StageMail)
	if !out.Refuse.IsZero() {
		s.facts.Mail = policy.Mail{}
		s.refuseFor(out.Refuse, from.Raw())
		return
	}
	path, refuse := reversePath(from)
	if !refuse.IsZero() {
		s.facts.Mail = policy.Mail{}
		s.refuseFor(refuse, from.Raw())
		return
	}
	if !s.ownSender(path) {
		s.facts.Mail = policy.Mail{}
		s.refuseFor(smtp.MustReply(553, "5.7.1", "Sender address rejected: not owned by user"), from.Raw())
		return
	}
	if q := s.rules.Quota; q != nil && !q.take(s.facts.Conn.Addr, time.Now()) {
		s.facts.Mail = policy.Mail{}
		s.refuseFor(smtp.MustReply(452, "4.7.1", "Too many messages from your address, please try again later"), "")
		return
	}
	s.transactions++
	s.tx = transaction{open: true, params: p, sender: from, reverse: path, quota: s.rules.Quota != nil, result: out}
	s.say(250, "2.1.0", echo(from.Raw())+"... Sender ok")
}

// ownSender tells whether the user who has logged in may send as sender.
func (s *session) ownSender(sender string) bool {
	user := s.facts.Auth.Authen
	return s.rules.SenderOf == nil || user == "" || s.rules.SenderOf(user, sender)
}

// reversePath is how a sender is sent on, which is what he means in the form of RFC 5321:
// the policy lets forms pass in which the next host could see the end of the address, and
// parameters behind it. What has no such form is refused.
func reversePath(from smtp.Path) (string, smtp.Reply) {
	text := from.Address()
	if text == "" {
		return "", smtp.Reply{}
	}
	m := smtp.ParseMailbox(text, smtp.Syntax{NoUUCP: true, NoPercentHack: true})
	m.Domain = strings.TrimSuffix(m.Domain, ".") // so it is for sendmail
	return m.ForwardPath(), m.Unsendable()
}

// refuseFor refuses a sender or recipient by policy. Refusals for good are counted.
func (s *session) refuseFor(r smtp.Reply, address string) {
	if r.Code() >= 500 {
		s.refusals++
	}
	s.refuse(r, address)
}

// needsUTF8 refuses an address that only SMTPUTF8 can carry (RFC 6531, 3.5).
func needsUTF8() smtp.Reply {
	return smtp.MustReply(553, "5.6.7", "Address requires SMTPUTF8")
}

// rcpt adds a recipient.
func (s *session) rcpt(arg string) {
	path, words, ok := parsePath(arg, "TO")
	switch {
	case !s.tx.open:
		s.wrong(503, "5.0.0", "Need MAIL before RCPT")
		return
	case s.tx.body != nil:
		s.wrong(503, "5.5.1", "BDAT in progress")
		return
	case !ok:
		s.wrong(501, "5.5.2", `Syntax error in parameters scanning "`+echo(arg)+`"`)
		return
	case s.manyRecipients():
		s.say(452, "4.5.3", "Too many recipients")
		return
	}
	to := smtp.ParsePath(path)
	if fault := to.Fault(); !fault.IsZero() {
		s.errors++
		s.refuse(fault, path)
		return
	}
	var p rcptParams
	if f := p.parse(words, s.tx.utf8); f != nil {
		s.wrong(f.code, f.enhanced, f.text)
		return
	}
	s.recipient(to, p)
}

// recipient is a RCPT command in good form. Its refusal is that recipient's alone.
func (s *session) recipient(to smtp.Path, p rcptParams) {
	if !s.tx.utf8 && !ascii(to.Raw()) {
		s.refuseFor(needsUTF8(), to.Raw())
		return
	}
	out := s.judgeRecipient(to)
	refuse := out.Refuse
	if refuse.IsZero() {
		if refuse = s.askAddress(out.Recipient); !refuse.IsZero() {
			s.server.log.Info("smtp: recipient refused, though the policy accepts", "client", s.who(),
				"sender", s.tx.sender.Raw(), "recipient", to.Raw(), "reply", refuse.String())
		}
	}
	if !refuse.IsZero() {
		s.refuseFor(refuse, to.Raw())
		return
	}
	s.tx.result.Merge(out)
	s.add(spool.Recipient{Address: out.Recipient.ForwardPath(), Notify: p.notify, ORcpt: p.orcpt})
	s.say(250, "2.1.5", echo(to.Raw())+"... Recipient ok")
}

// judgeRecipient asks the policy. Where the local part has quotes or backslashes it asks
// about the address that is sent on too: for the tables j\oe is not joe, for the next host
// it is.
func (s *session) judgeRecipient(to smtp.Path) front.Outcome {
	out := s.askRecipient(to)
	if !out.Refuse.IsZero() || !strings.ContainsAny(out.Recipient.Local, `\"`) {
		return out
	}
	path := out.Recipient.ForwardPath()
	if path == to.Text() {
		return out
	}
	sent := s.askRecipient(smtp.ParsePath("<" + path + ">"))
	if sent.Refuse.IsZero() && sent.Recipient.ForwardPath() != path {
		sent.Refuse = smtp.MustReply(553, "5.1.3", "Invalid route address")
	}
	out.Refuse = sent.Refuse
	out.Merge(sent)
	return out
}

func (s *session) askRecipient(to smtp.Path) front.Outcome {
	s.facts.Rcpt = policy.Rcpt{Recipient: to}
	defer func() { s.facts.Rcpt = policy.Rcpt{} }()
	return s.ask(policy.StageRcpt)
}

// askAddress asks about the address that the policy understood, which is the one that
// the message goes to: whether it can be sent on, and whether a local one exists.
func (s *session) askAddress(to smtp.Mailbox) smtp.Reply {
	if to.Domain == "" || to.Local == "" {
		return front.InternalFault() // a policy that accepts must have understood it
	}
	if r := to.Unsendable(); !r.IsZero() {
		return r
	}
	local := s.server.cfg.LocalRecipient
	if local == nil {
		return smtp.Reply{}
	}
	ctx, done := s.server.judge.Until(s.server.decideBy())
	defer done()
	return local(ctx, to)
}

// Every message has room for so many recipients (RFC 5321, 4.5.3.1.8).
const recipientsAtLeast = 100

// rcptCost is about what a recipient takes in memory besides its texts, in bytes.
const rcptCost = 112

// manyRecipients tells whether there is no room for one more: the client sends the
// message to the others later (RFC 5321, 4.5.3.1.10).
func (s *session) manyRecipients() bool {
	l, n := &s.server.cfg.Limits, len(s.tx.rcpts)
	return n >= l.Recipients || n >= recipientsAtLeast && s.server.rcptMemory.Load() >= l.RcptMemory
}

// add adds a recipient, once.
func (s *session) add(to spool.Recipient) {
	t := &s.tx
	for i := range t.rcpts {
		if r := &t.rcpts[i]; r.Address == to.Address {
			r.Notify = r.Notify.And(to.Notify)
			return
		}
	}
	t.rcpts = append(t.rcpts, to)
	cost := rcptCost + int64(len(to.Address)+len(to.ORcpt))
	t.cost += cost
	s.server.rcptMemory.Add(cost)
}
