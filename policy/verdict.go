package policy

import (
	"time"

	"gatepost/internal/smtp"
	"gatepost/maps"
)

// Stage is the point of an SMTP session at which a question is asked.
type Stage uint8

// The stages, in the order in which they come.
const (
	StageConnect Stage = iota
	StageHelo
	StageMail
	StageRcpt

	stages = iota
)

func (s Stage) String() string { return [...]string{"connect", "helo", "mail", "rcpt"}[s] }

// Action is what is to happen.
type Action uint8

// The actions. A front that is given Undecided, which is a mistake of ours, answers a temporary failure.
const (
	Undecided  Action = iota
	Accept            // go on
	Reject            // permanent refusal with Reply
	Tempfail          // temporary refusal with Reply
	Discard           // take the message and drop it, for all its recipients
	Quarantine        // take the message and hold it, for Reason
)

func (a Action) String() string {
	return [...]string{"undecided", "accept", "reject", "tempfail", "discard", "quarantine"}[a]
}

// Verdict is the answer to a stage. Reply is set for Reject and Tempfail only
// (and then its code says which), Reason for Quarantine only.
type Verdict struct {
	Action Action
	Reply  smtp.Reply
	Reason string
}

// Decision is a verdict with the record of how it came about.
type Decision struct {
	Stage   Stage
	Verdict Verdict
	Steps   []Step // in order; the last one decided

	// Recipient is whom the recipient that was judged is for: routes through our own
	// domains are followed, the domain is as the DNS has it, and an unqualified one is
	// at this host. Whoever delivers mail has to deliver to this address and no other,
	// since another reading of the same text was not judged. It is zero at other stages,
	// and for an address that has no such reading.
	Recipient smtp.Mailbox

	inquiry *inquiry
}

// Release gives the memory of the record back for another decision. Calling it
// is a matter of speed only; Steps and what they hold must not be used after it.
func (d *Decision) Release() {
	d.Steps = nil
	if d.inquiry != nil {
		d.inquiry.release()
		d.inquiry = nil
	}
}

// By is the step that decided.
func (d *Decision) By() Step {
	if len(d.Steps) == 0 {
		return Step{}
	}
	return d.Steps[len(d.Steps)-1]
}

// Step is one rule that was asked: what it looked up and what it said. A rule
// that had no opinion has an Undecided verdict.
type Step struct {
	Rule    string   // its heading in docs/rules.md
	Asked   []Answer // in order
	Verdict Verdict
	Err     error // a lookup that could not be made
}

// Source is where the step's last hit stands, "/etc/mail/access:17", or "".
func (s Step) Source() string {
	for i := len(s.Asked) - 1; i >= 0; i-- {
		if a := s.Asked[i]; a.Found && a.Source.File != "" {
			return a.Source.String()
		}
	}
	return ""
}

// Answer is one question put to a table or to the DNS, and what came back.
type Answer struct {
	Table  string // "access", "relay_domains", "local_host_names", "dns A", ...
	Key    string
	Found  bool
	Value  string
	Source maps.Source   // of a found table entry; File is the server for DNS
	TTL    time.Duration // of a DNS answer: for how long it will be good
	Err    error         // could not be asked
}
