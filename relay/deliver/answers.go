package deliver

import (
	"context"

	"gatepost/internal/smtp"
)

// Discard is the transport that takes all mail and loses it: sendmail's discard mailer.
type Discard struct{}

func (Discard) String() string { return "discard" }

// Deliver says that it is delivered.
func (Discard) Deliver(_ context.Context, _ string, _ Message, recipients []int) []Result {
	return same(Result{Outcome: Delivered, Status: statusOK, Reply: "discarded"}, len(recipients))
}

// Refuse is the transport that takes no mail, with a word about it: sendmail's error
// mailer. It is comparable.
type Refuse struct {
	Status smtp.EnhancedCode // its class says whether the mail waits (4) or fails
	Text   string
}

func (r Refuse) String() string { return "error" }

// Deliver refuses it.
func (r Refuse) Deliver(_ context.Context, _ string, _ Message, recipients []int) []Result {
	result := Result{Outcome: Failed, Status: r.Status, Reply: Sanitise([]byte(r.Text))}
	switch {
	case r.Status.Class == 4:
		result.Outcome = Deferred
	case r.Status.Class != 5:
		result.Status = smtp.EnhancedCode{Class: 5}
	}
	if result.Reply == "" {
		result.Reply = "refused"
	}
	return same(result, len(recipients))
}

func same(r Result, n int) []Result {
	results := make([]Result, n)
	for i := range results {
		results[i] = r
	}
	return results
}
