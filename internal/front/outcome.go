package front

import (
	"gatepost/internal/smtp"
	"gatepost/policy"
)

// Outcome is what a decision leaves behind. The zero Outcome lets pass.
type Outcome struct {
	Refuse     smtp.Reply // not zero: refused
	Discard    bool
	Quarantine string // the reason; "" none

	// Recipient is whom a recipient that passed is for, see policy.Decision.
	Recipient smtp.Mailbox
}

// Merge adds what a later decision says. The first reason stays.
func (o *Outcome) Merge(later Outcome) {
	o.Discard = o.Discard || later.Discard
	if o.Quarantine == "" {
		o.Quarantine = later.Quarantine
	}
}

// InternalFault is all that a client learns of a fault of ours.
func InternalFault() smtp.Reply {
	return smtp.MustReply(451, "4.3.0", "Temporary failure, please try again later")
}

// sound makes a verdict that can be answered of one that cannot. hold tells
// whether a message can be held.
func sound(v policy.Verdict, hold bool) policy.Verdict {
	switch v.Action {
	case policy.Accept, policy.Discard:
		return v
	case policy.Reject, policy.Tempfail:
		if !v.Reply.IsZero() {
			return v
		}
	case policy.Quarantine:
		if hold {
			return v
		}
	}
	return policy.Verdict{Action: policy.Tempfail, Reply: InternalFault()}
}

// settle turns a sound verdict into its outcome.
func settle(v policy.Verdict) Outcome {
	switch v.Action {
	case policy.Accept:
		return Outcome{}
	case policy.Discard:
		return Outcome{Discard: true}
	case policy.Quarantine:
		if v.Reason == "" {
			v.Reason = "quarantined by policy"
		}
		return Outcome{Quarantine: v.Reason[:min(len(v.Reason), smtp.MaxReplyLine)]}
	}
	if v.Reply.IsZero() {
		v.Reply = InternalFault()
	}
	return Outcome{Refuse: v.Reply}
}
