package front

import (
	"strings"
	"testing"

	"gatepost/internal/smtp"
	"gatepost/policy"
)

func TestQuarantineReasonIsBounded(t *testing.T) {
	if got := settle(policy.Verdict{Action: policy.Quarantine}).Quarantine; got == "" {
		t.Error("a quarantine without reason is lost")
	}
	long := policy.Verdict{Action: policy.Quarantine, Reason: strings.Repeat("x", 1<<20)}
	if got := len(settle(long).Quarantine); got > smtp.MaxReplyLine {
		t.Errorf("reason of %d bytes, at most %d wanted", got, smtp.MaxReplyLine)
	}
}

func TestMerge(t *testing.T) {
	var o Outcome
	for _, later := range []Outcome{{}, {Quarantine: "first"}, {Discard: true}, {Quarantine: "second"}, {}} {
		o.Merge(later)
	}
	if want := (Outcome{Discard: true, Quarantine: "first"}); o != want {
		t.Errorf("got %+v, want %+v", o, want)
	}
}
