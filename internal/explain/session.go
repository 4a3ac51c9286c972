// Package explain plays an SMTP session against a policy, with the record of
// each question that the policy asked, and finds the smallest edit of a table
// that would turn a verdict around. It decides nothing itself: all verdicts,
// also those after an edit, are policy.Decide's.
package explain

import (
	"context"

	"gatepost/internal/dns"
	"gatepost/internal/smtp"
	"gatepost/policy"
)

// Session is one SMTP session: a connection with one message.
type Session struct {
	// Facts are those of the connection, helo, TLS and AUTH; Mail and Rcpt are not
	// looked at. A client whose Resolve is not known is looked up.
	Facts policy.Facts
	From  smtp.Path
	To    []smtp.Path // in the order of the RCPT commands
}

// Stage is a point of the session, and how it was decided.
type Stage struct {
	policy.Decision
	Argument string // of MAIL or RCPT, as written; "" at connect
	// Decisive: nothing before it refused or dropped the message, and it is the
	// stage that a client would complain about. Each recipient may be one.
	Decisive bool
	Flip     *Flip  // for a decisive stage: what turns its verdict around
	NoFlip   string // why there is no Flip: what decides instead

	// Relay is how gatepost-relay refuses a recipient whom the policy accepts. Explain
	// leaves it zero; who knows the relay's configuration fills it in.
	Relay smtp.Reply
}

// Report is a session explained.
type Report struct {
	Session Session         // with the client's name filled in
	Lookups []policy.Answer // how the client's name was found; none when it was given
	Stages  []Stage         // connect, mail and each recipient, as far as the session came
}

// Explain plays the session as a mail server would: a refused connection or MAIL
// ends it, a discard does not. Each question is put to the DNS once: what is
// tried afterwards gets the same answers. The error tells that no policy can be
// made of cfg; lookups that fail are in the record.
func Explain(ctx context.Context, cfg policy.Config, s Session) (*Report, error) {
	cfg.Resolver = newMemo(cfg.Resolver)
	r := &Report{Session: s}
	if s.Facts.Conn.Resolve == policy.ResolveUnknown && !s.Facts.Conn.Local {
		r.Lookups = resolveClient(ctx, cfg, &r.Session.Facts.Conn)
	}
	var err error
	if r.Stages, err = play(ctx, cfg, &r.Session, len(s.To)+1); err != nil {
		return nil, err
	}
	for _, at := range decisive(r.Stages) {
		stage := &r.Stages[at]
		stage.Decisive = true
		flip, found, err := FindFlip(ctx, cfg, r.Session, at)
		if err != nil {
			return nil, err
		}
		switch {
		case found:
			stage.Flip = &flip
		case ctx.Err() != nil:
			stage.NoFlip = "time was up before one was found"
		default:
			stage.NoFlip = whyNot(&stage.Decision)
		}
	}
	return r, nil
}

// Failed tells whether a lookup could not be made.
func (r *Report) Failed() bool {
	if failed(r.Lookups) {
		return true
	}
	for i := range r.Stages {
		for _, step := range r.Stages[i].Steps {
			if step.Err != nil || failed(step.Asked) {
				return true
			}
		}
	}
	return false
}

func failed(answers []policy.Answer) bool {
	for _, a := range answers {
		if a.Err != nil {
			return true
		}
	}
	return false
}

// play asks the policy stage by stage, up to the one with index last: 0 is the
// connection, 1 MAIL, the others are the recipients.
func play(ctx context.Context, cfg policy.Config, s *Session, last int) ([]Stage, error) {
	p, err := policy.New(cfg)
	if err != nil {
		return nil, err
	}
	memory := &policy.Memory{} // as a front has it, and anew for each try
	facts := policy.Facts{Conn: s.Facts.Conn, Memory: memory}
	stages := []Stage{{Decision: p.Decide(ctx, policy.StageConnect, &facts)}}
	if last == 0 || refused(&stages[0]) {
		return stages, nil
	}
	facts = s.Facts
	facts.Memory = memory
	facts.Mail = policy.Mail{Sender: s.From}
	facts.Rcpt = policy.Rcpt{}
	stages = append(stages, Stage{Decision: p.Decide(ctx, policy.StageMail, &facts), Argument: s.From.Raw()})
	if refused(&stages[1]) {
		return stages, nil
	}
	for _, to := range s.To[:last-1] {
		facts.Rcpt.Recipient = to
		stages = append(stages, Stage{Decision: p.Decide(ctx, policy.StageRcpt, &facts), Argument: to.Raw()})
	}
	return stages, nil
}

// refused tells whether the client gets an error; a mail server then asks no more.
func refused(s *Stage) bool {
	return s.Verdict.Action != policy.Accept && s.Verdict.Action != policy.Discard && s.Verdict.Action != policy.Quarantine
}

// decisive picks the stages whose verdicts matter: the first of connection and
// MAIL that is not accepted, else every recipient.
func decisive(stages []Stage) []int {
	for at := range stages[:min(2, len(stages))] {
		if !accepted(stages, at) {
			return []int{at}
		}
	}
	var all []int
	for at := 2; at < len(stages); at++ {
		all = append(all, at)
	}
	return all
}

// accepted tells whether the session comes to a stage and the message is taken
// there. Discard and quarantine take it only for show.
func accepted(stages []Stage, at int) bool {
	return at < len(stages) && stages[at].Verdict.Action == policy.Accept
}

// resolveClient looks up the client's name and records the questions.
func resolveClient(ctx context.Context, cfg policy.Config, c *policy.Conn) []policy.Answer {
	rec := &recorder{resolver: cfg.Resolver}
	name := dns.ResolveClient(ctx, rec, cfg.Hosts, c.Addr)
	c.Name, c.Ptr, c.Resolve = name.Name, name.Ptr, policy.ParseResolve(name.Resolve)
	return rec.asked
}
