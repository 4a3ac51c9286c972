package integration

import (
	"net/netip"
	"slices"
)

// Dialogue is one file: a policy and the sessions that are held under it.
type Dialogue struct {
	File  string
	Title string
	Why   string // why the dialogue exists, for whoever sees it fail
	// Policy has the text of the policy files by section name: those of
	// PolicySections, of which "gatepost.toml" is added to the harness's own
	// configuration.
	Policy   map[string]string
	Sessions []Session
}

// Session is one SMTP connection.
type Session struct {
	Name   string
	Line   int
	Client netip.Addr // the address that the client connects from
	Steps  []Step
	Ends   []Outcome // what has become of its messages
}

// Kind says what a Step is.
type Kind int

// The kinds of Step.
const (
	Send   Kind = iota + 1 // one line to send; neighbours go in one write
	Expect                 // one reply, of one or more lines
	Closed                 // the server closes the connection
)

// Step is one thing that happens in a session.
type Step struct {
	Line  int
	Kind  Kind
	Lines []string // Send: one line; Expect: the lines of the reply
	Tags  []string // the drivers that it is for; all when empty
}

// Place is where messages can end up.
type Place string

// The places that a dialogue can ask about.
const (
	Sink       Place = "SINK"       // relayed: the receiver behind the server has it
	Quarantine Place = "QUARANTINE" // held in the server's queue
)

// Outcome says how many messages of a session are at a place in the end, and
// for how many recipients in all (any number when Recipients is negative).
type Outcome struct {
	Line       int
	Place      Place
	Messages   int
	Recipients int
	Tags       []string
}

// For returns the session as the driver with this tag must play it: only the
// steps and outcomes that are for all or for it.
func (s Session) For(tag string) Session {
	mine := s
	mine.Steps, mine.Ends = nil, nil
	for _, step := range s.Steps {
		if concerns(step.Tags, tag) {
			mine.Steps = append(mine.Steps, step)
		}
	}
	for _, end := range s.Ends {
		if concerns(end.Tags, tag) {
			mine.Ends = append(mine.Ends, end)
		}
	}
	return mine
}

// Want is what must be at a place in the end. What a session does not mention is
// none: a message that nobody expected is a failure.
func (s Session) Want(p Place) Outcome {
	for _, end := range s.Ends {
		if end.Place == p {
			return end
		}
	}
	return Outcome{Line: s.Line, Place: p, Recipients: -1}
}

func concerns(tags []string, tag string) bool {
	return len(tags) == 0 || slices.Contains(tags, tag)
}
