// Package scenario reads policy tests and runs them: a policy, the facts of the
// DNS, sessions, and the verdict that each of their commands must get.
//
// There are two forms, which docs/policy-tests.md describes. The recorded one is
// JSON Lines, one policy a line, as the verdicts of real sendmail are kept in
// integration/testdata/oracle. The written one is for administrators. A file may
// be gzipped; which form it has is told from its first byte.
//
// Nothing but the named files is read, and the network is never asked: a name
// that the test does not list does not exist.
package scenario

import (
	"fmt"
	"time"

	"gatepost/internal/dns"
	"gatepost/internal/dns/dnsfake"
	"gatepost/internal/smtp"
	"gatepost/policy"
)

// Scenario is one policy and the sessions that meet it.
type Scenario struct {
	File     string
	Line     int    // of File, where it begins
	Name     string // "" where the file has only one
	Policy   policy.Config
	Zone     dnsfake.Zone // of the recorded form: what Policy.Resolver answers from
	Sessions []Session
}

// Session is one connection of a client.
type Session struct {
	Line  int    // of the Scenario's File
	Name  string // as in "named-001 session 3"
	Facts policy.Facts
	Steps []Step
}

// Step is something that happens in a session, and what must come of it.
type Step struct {
	Line int // of the Scenario's File
	Kind Kind
	Path smtp.Path // of Sender, Recipient and Compat
	Want Want
}

// asked tells whether something must come of the step.
func (s *Step) asked() bool { return s.Kind == Pause || s.Want.Action != policy.Undecided }

// asks counts the steps that something must come of.
func (s *Session) asks() (n int) {
	for i := range s.Steps {
		if s.Steps[i].asked() {
			n++
		}
	}
	return n
}

// Kind is what happens.
type Kind uint8

// The kinds of steps. Sender and Recipient are remembered by those that follow.
const (
	Connect   Kind = iota // the client has connected
	Pause                 // how long the greeting is held back (greet_pause)
	Sender                // MAIL
	Recipient             // RCPT
	Compat                // the recipient at delivery (compat_check)
)

func (k Kind) String() string {
	return [...]string{"connection", "greet_pause", "MAIL", "RCPT", "compat_check"}[k]
}

// Want is what must come of a step. Parts that are not set are not compared,
// but for the action and, at Pause, the time.
type Want struct {
	Action   policy.Action // Undecided: nothing is asked; what the step makes known is remembered
	Code     int           // 0: any
	Enhanced string        // "5.7.1"; "" any unless Exact
	Text     string        // of the reply, or the reason of a quarantine; "" any unless Exact
	Exact    bool          // Code, Enhanced and Text are compared even when they are zero
	Rule     string        // that decides; "" any
	Source   string        // key of the entry that decides, or its FILE:LINE; "" any
	Pause    time.Duration
}

// String is the expectation as the written form has it.
func (w Want) String() string {
	s := w.verdict()
	if w.Rule != "" {
		s += " by " + w.Rule
	}
	if w.Source != "" {
		s += " at " + w.Source
	}
	return s
}

func (w Want) verdict() string {
	switch {
	case w.Action == policy.Quarantine && w.Text != "":
		return "quarantine " + w.Text
	case w.Code == 0:
		return w.Action.String()
	}
	s := fmt.Sprint(w.Code)
	if w.Enhanced != "" {
		s += " " + w.Enhanced
	}
	if w.Text != "" {
		s += " " + w.Text
	}
	return s
}

// Error is a mistake in a test file.
type Error struct {
	File string
	Line int // from 1; 0 when it concerns the file as a whole
	Err  error
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Err.Error()
	}
	return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// localhost is the hosts file that every test has, and all there is of one.
func localhost() *dns.Hosts {
	return dns.ParseHosts([]byte("127.0.0.1 localhost\n::1 localhost\n"))
}
