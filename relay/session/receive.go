package session

import (
	"context"
	"errors"
	"time"

	"gatepost/internal/front"
	"gatepost/internal/smtp"
	"gatepost/relay/spool"
)

var errSlow = errors.New("too slow")

// rateAfter is when a message must have reached the least rate.
const rateAfter = time.Minute

// unready is the refusal of DATA or BDAT outside of their place; zero if they can
// come.
func (s *session) unready() smtp.Reply {
	switch {
	case !s.tx.open:
		return smtp.MustReply(503, "5.0.0", "Need MAIL command")
	case len(s.tx.rcpts) == 0:
		return smtp.MustReply(503, "5.0.0", "Need RCPT (recipient)")
	}
	return smtp.Reply{}
}

// data is the DATA command and the message after it.
func (s *session) data(arg string) {
	r := s.unready()
	switch {
	case !r.IsZero():
		s.errors++
		s.refuseData(r)
		return
	case arg != "":
		s.errors++
		s.refuseData(smtp.MustReply(501, "5.5.4", "DATA takes no argument"))
		return
	case s.tx.body != nil:
		s.errors++
		s.refuseData(smtp.MustReply(503, "5.5.1", "BDAT in progress"))
		return
	}
	if r := s.create(true); !r.IsZero() {
		s.endTransaction()
		s.refuseData(r)
		return
	}
	s.say(354, "", `Enter mail, end with "." on a line by itself`)
	if err := s.receive(s.tx.body, -1); err != nil {
		s.broken(err)
		return
	}
	s.complete()
}

// refuseData refuses DATA. A client that has not waited for this (RFC 2920, 3.1) is sending
// its message, and what another has written in there must not be taken for commands.
func (s *session) refuseData(r smtp.Reply) {
	s.refuse(r, "")
	if s.wire.waits() {
		s.server.said.Complain("smtp: connection closed: more came after a DATA that is refused", "client", s.who())
		s.over, s.linger = true, true
	}
}

// create begins the message in the spool.
func (s *session) create(dots bool) smtp.Reply {
	s.tx.result = s.verdict()
	now := time.Now()
	w, err := s.server.cfg.Spool.Create(spool.Envelope{
		Arrived: now, Sender: s.tx.reverse, EightBit: s.tx.eightBit, UTF8: s.tx.utf8,
		Recipients: s.tx.rcpts, Hold: s.tx.result.Quarantine, Ret: s.tx.ret, EnvID: s.tx.envID,
		Client: s.broughtBy(),
	})
	if err != nil {
		s.server.said.Complain("smtp: a message cannot be stored", "client", s.who(), "error", err)
		return spoolFault(err)
	}
	b := newBody(w, &s.server.cfg.Limits, dots, s.mode == Normalize, s.tx.result.Discard)
	b.begin(s.received(w.ID(), now))
	s.tx.body = b
	return smtp.Reply{}
}

// verdict is what all decisions about the message come to.
func (s *session) verdict() front.Outcome {
	all := s.client
	all.Merge(s.helo)
	all.Merge(s.tx.result)
	return all
}

// receive reads the text of a message: n bytes, or to its end if n is negative.
// Without a body the bytes are dropped.
func (s *session) receive(b *body, n int64) error {
	l := &s.server.cfg.Limits
	start, got := time.Now(), int64(0)
	if b != nil { // with chunks before this one
		start, got = b.began, b.taken
	}
	for n != 0 {
		now := time.Now()
		by := now.Add(l.Text)
		if end := start.Add(l.Message); end.Before(by) {
			by = end
		}
		if took := now.Sub(start); took > rateAfter && got < l.Rate*int64(took/time.Second) {
			return errSlow
		}
		p, err := s.wire.text(by)
		if err != nil {
			return err
		}
		if n > 0 {
			p = p[:min(int64(len(p)), n)]
		}
		used, ended := len(p), false
		if b != nil {
			used, ended = b.take(p)
		}
		s.wire.used(used)
		if got += int64(used); n > 0 {
			n -= int64(used)
		}
		if ended {
			return nil
		}
		if b != nil && b.endless() {
			return errEndless
		}
	}
	return nil
}

// broken ends the session: a message did not come to its end.
func (s *session) broken(err error) {
	c := s.who()
	if errors.Is(err, errEndless) {
		s.server.faulty.Add(1)
		s.refuse(tooLarge(s.server.cfg.Limits.MessageSize), "")
		s.over, s.linger = true, true
	} else {
		s.failed(err)
	}
	s.server.said.Complain("smtp: a message was not complete", "client", c, "error", err)
	s.endTransaction()
}

// bdat is the BDAT command and its chunk. The chunk is read whatever the reply: its
// bytes must never be taken for commands.
func (s *session) bdat(arg string) {
	n, last, ok := parseBdat(arg)
	switch {
	case !ok:
		s.say(501, "5.5.4", "BDAT requires a size, closing connection")
		s.over, s.linger = true, true
		return
	case n > 2*s.server.cfg.Limits.MessageSize:
		s.refuse(tooLarge(s.server.cfg.Limits.MessageSize), "")
		s.over, s.linger = true, true
		return
	}
	r := s.beginChunk()
	if !r.IsZero() {
		s.endTransaction()
	}
	if err := s.receive(s.tx.body, n); err != nil {
		s.broken(err)
		return
	}
	switch {
	case !r.IsZero():
		s.refuse(r, "")
	case last:
		s.tx.body.finish()
		s.complete()
	default:
		s.chunk()
	}
}

// beginChunk makes ready for a chunk, or returns why it is refused. After a refusal
// more may be on their way, so those are no errors of the client.
func (s *session) beginChunk() smtp.Reply {
	if refuse, yes := s.refused(); yes {
		s.errors++
		return refuse
	}
	if r := s.unready(); !r.IsZero() {
		return r
	}
	if s.tx.body == nil {
		return s.create(false)
	}
	return smtp.Reply{}
}

// chunk answers a chunk that is not the last.
func (s *session) chunk() {
	if r := s.tx.body.refusal(); !r.IsZero() {
		s.decline(r)
		return
	}
	s.say(250, "2.0.0", "Chunk accepted")
}

// complete takes a message that has come to its end.
func (s *session) complete() {
	b := s.tx.body
	r := b.refusal()
	if r.IsZero() && !b.drop {
		r = s.commit()
	}
	if !r.IsZero() {
		s.decline(r)
		return
	}
	s.server.messages.Add(1)
	s.tx.quota = false // it stays counted
	s.errors, s.refusals = 0, 0
	id := b.out.ID()
	action := "accepted"
	switch {
	case b.drop:
		s.server.discarded.Add(1)
		action = "discarded"
	case s.tx.result.Quarantine != "":
		s.server.held.Add(1)
		action = "held"
	}
	s.server.log.Info("smtp: message "+action, "queue", id, "client", s.who(), "helo", s.facts.Helo.Name,
		"sender", s.tx.sender.Raw(), "recipients", len(s.tx.rcpts), "bytes", b.size, "listener", s.rules.Name,
		"auth_authen", s.facts.Auth.Authen, "tls_version", s.secure.version, "cipher", s.secure.cipher, "verify", s.facts.TLS.Verify)
	s.endTransaction()
	s.say(250, "2.0.0", id+" Message accepted for delivery")
}

// commit makes the message durable and hands it on.
func (s *session) commit() smtp.Reply {
	ctx, cancel := context.WithTimeout(s.server.judge.Base, commitWait)
	defer cancel()
	m, err := s.tx.body.out.Commit(ctx)
	if err != nil {
		s.tx.body.err = err
		return spoolFault(err)
	}
	if s.server.cfg.Queued != nil {
		s.server.cfg.Queued(m)
	}
	return smtp.Reply{}
}

// decline refuses a message at its end.
func (s *session) decline(r smtp.Reply) {
	b := s.tx.body
	if b.fault != faultNone {
		s.server.faulty.Add(1)
		s.refusals++
	}
	s.server.said.Complain("smtp: message refused", "client", s.who(), "sender", s.tx.sender.Raw(), "reply", r.String(), "error", b.err)
	s.endTransaction()
	s.refuse(r, "")
}
