package policy

import (
	"context"
	"errors"

	"gatepost/internal/smtp"
)

// A rule has an opinion on the facts, or none. Its name is its heading in
// docs/rules.md.
type rule struct {
	name    string
	apply   func(context.Context, *inquiry) (outcome, error)
	onFault func(error) outcome // what a lookup that could not be made becomes; nil: temporary failure at once
}

// fault is what a rule says that could not be asked.
func (r *rule) fault(err error) outcome {
	var address addressFault
	switch {
	case errors.As(err, &address):
		return stop(refuse(address.reply))
	case r.onFault != nil:
		return r.onFault(err)
	}
	return temporaryFailure(err)
}

// A check is one of sendmail's rule sets: parts of rules that are asked in
// order, and what holds when none has an opinion.
type check struct {
	name      string
	parts     [][]rule
	otherwise func(*inquiry) Verdict // nil: accept
}

// outcome is what a rule says: a verdict, and how much of the questioning it ends.
type outcome struct {
	verdict Verdict
	ends    scope
}

// scope is how far a rule's opinion reaches.
type scope uint8

const (
	endNothing scope = iota // no opinion: the next rule is asked
	endPart                 // the rest of the part is skipped; a verdict is remembered in place of the check's "otherwise"
	endCheck                // the check is over; what else is planned for the stage goes on
	endStage                // nothing more is asked
)

var (
	noOpinion = outcome{}
	leavePart = outcome{ends: endPart}
	permit    = outcome{verdict: Verdict{Action: Accept}, ends: endCheck}
	permitAll = outcome{verdict: Verdict{Action: Accept}, ends: endStage}
)

// stop ends the stage with a verdict.
func stop(v Verdict) outcome { return outcome{verdict: v, ends: endStage} }

// remember holds a temporary failure back, for the case that nothing later permits.
func remember(v Verdict) outcome { return outcome{verdict: v, ends: endPart} }

// refuse is the verdict that a reply stands for.
func refuse(r smtp.Reply) Verdict {
	if r.Code() < 500 {
		return Verdict{Action: Tempfail, Reply: r}
	}
	return Verdict{Action: Reject, Reply: r}
}

// The replies of the rule sets that do not depend on the session.
var (
	replyTemporary    = smtp.MustReply(451, "4.3.0", "Temporary system failure. Please try again later.")
	replyAccessDenied = smtp.MustReply(550, "5.7.1", "Access denied")
	replyMailboxOff   = smtp.MustReply(550, "5.2.1", "Mailbox disabled for this recipient")
	replyDenied       = smtp.MustReply(550, "5.7.1", "Relaying denied")
	replyDeniedAuth   = smtp.MustReply(550, "5.7.1", "Relaying denied. Proper authentication required.")
	replyRelayMail    = smtp.MustReply(550, "5.7.1", "Relay mail denied")
	replyNoRecipient  = smtp.MustReply(553, "5.0.0", "User address required")
	replyRealDomain   = smtp.MustReply(553, "5.5.4", "Real domain name required for sender address")
)

// reply builds a reply whose text has a part from outside; what that would make
// unsendable becomes the bare reply.
func reply(code int, enhanced, text string, bare smtp.Reply) smtp.Reply {
	e, _ := smtp.ParseEnhancedCode(enhanced)
	r, err := smtp.NewReply(code, e, text)
	if err != nil {
		return bare
	}
	return r
}
