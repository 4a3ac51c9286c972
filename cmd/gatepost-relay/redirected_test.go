package main

import (
	"context"
	"slices"
	"testing"

	"gatepost/internal/smtp"
	"gatepost/relay/deliver"
	"gatepost/relay/spool"
)

// heard is a transport that notes whom it was to deliver to.
type heard struct{ to []string }

func (h *heard) String() string { return "heard" }

func (h *heard) Deliver(_ context.Context, _ string, m deliver.Message, recipients []int) []deliver.Result {
	for _, r := range recipients {
		h.to = append(h.to, m.Envelope().Recipients[r].Address)
	}
	return slices.Repeat([]deliver.Result{{Outcome: deliver.Delivered, Status: smtp.EnhancedCode{Class: 2}}}, len(recipients))
}

type envelope struct {
	deliver.Message
	env spool.Envelope
}

func (e envelope) Envelope() spool.Envelope { return e.env }

// TestRedirected: who has another address by the mailertable gets a message once, and all
// whom it was for have the result. The envelope is the others' too, and stays.
func TestRedirected(t *testing.T) {
	to, m := &heard{}, envelope{env: spool.Envelope{Recipients: []spool.Recipient{{Address: "a@x"}, {Address: "b@x"}, {Address: "c@x"}}}}
	results := redirected{to, "joe@host"}.Deliver(t.Context(), "", m, []int{1, 2})
	if !slices.Equal(to.to, []string{"joe@host"}) || len(results) != 2 || results[1].Outcome != deliver.Delivered {
		t.Errorf("delivered to %q with %v", to.to, results)
	}
	if got := m.env.Recipients[1].Address; got != "b@x" {
		t.Errorf("the envelope has %q now", got)
	}
}
