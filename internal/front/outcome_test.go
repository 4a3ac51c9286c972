package front

import (
	"strconv"
	"strings"
	"testing"

	"gatepost/internal/smtp"
	"gatepost/policy"
)

func mustReply(t *testing.T, line string) smtp.Reply {
	t.Helper()
	if line == "" {
		return smtp.Reply{}
	}
	f := strings.SplitN(line, " ", 3)
	code, err := strconv.Atoi(f[0])
	if err != nil {
		t.Fatal(err)
	}
	return smtp.MustReply(code, f[1], f[2])
}

func TestTransaction(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"421 4.7.0 Bye", "451 4.7.0 Bye"},
		{"450 4.7.1 Later", "450 4.7.1 Later"},
		{"550 5.7.1 No", "550 5.7.1 No"},
		{"", ""},
	} {
		if got := Transaction(mustReply(t, tt.in)).String(); got != tt.want {
			t.Errorf("Transaction(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

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
