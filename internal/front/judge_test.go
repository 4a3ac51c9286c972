package front

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"gatepost/policy"
)

type decider func(ctx context.Context) policy.Decision

func (d decider) Decide(ctx context.Context, _ policy.Stage, _ *policy.Facts) policy.Decision {
	return d(ctx)
}

func says(v policy.Verdict) decider {
	return func(context.Context) policy.Decision { return policy.Decision{Verdict: v} }
}

func TestJudge(t *testing.T) {
	no := mustReply(t, "550 5.7.1 No")
	cause := errors.New("no answer")
	waits := decider(func(ctx context.Context) policy.Decision {
		<-ctx.Done()
		return policy.Decision{
			Verdict: policy.Verdict{Action: policy.Accept},
			Steps:   []policy.Step{{Asked: []policy.Answer{{Table: "dns A", Key: "x", Err: cause}}}, {}},
		}
	})
	tests := []struct {
		name   string
		policy Decider
		hold   bool
		want   Outcome
		err    []error // in the step that the observer is told of
		late   uint64
	}{
		{"accepted", says(policy.Verdict{Action: policy.Accept}), false, Outcome{}, nil, 0},
		{"refused", says(policy.Verdict{Action: policy.Reject, Reply: no}), false, Outcome{Refuse: no}, nil, 0},
		{"held", says(policy.Verdict{Action: policy.Quarantine, Reason: "r"}), true, Outcome{Quarantine: "r"}, nil, 0},
		{"cannot be held", says(policy.Verdict{Action: policy.Quarantine, Reason: "r"}), false, Outcome{Refuse: InternalFault()}, []error{errUnsound}, 0},
		{"refused without a reply", says(policy.Verdict{Action: policy.Reject}), true, Outcome{Refuse: InternalFault()}, []error{errUnsound}, 0},
		{"undecided", says(policy.Verdict{}), true, Outcome{Refuse: InternalFault()}, []error{errUnsound}, 0},
		{"no policy", nil, true, Outcome{Refuse: InternalFault()}, []error{errNoDecider}, 0},
		{"late: what it says is not heeded", waits, true, Outcome{Refuse: InternalFault()}, []error{errLate, cause}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told policy.Step
				j := Judge{Name: "test", Base: context.Background(), Timeout: time.Second,
					Observe: func(_ *policy.Facts, d *policy.Decision, _ time.Duration) { told = d.By() }}
				got := j.Ask(tt.policy, policy.StageMail, &policy.Facts{}, time.Now(), tt.hold)
				if got != tt.want || j.Late() != tt.late {
					t.Errorf("got %+v, late %d; want %+v, %d", got, j.Late(), tt.want, tt.late)
				}
				for _, err := range tt.err {
					if told.Rule != "test" || !errors.Is(told.Err, err) {
						t.Errorf("told of rule %q, %v; want %v", told.Rule, told.Err, err)
					}
				}
				if tt.err == nil && told.Err != nil {
					t.Errorf("told of %v", told.Err)
				}
			})
		})
	}
}
