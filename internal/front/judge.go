package front

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"gatepost/policy"
)

// Decider is what a front asks. Decide must return soon after ctx is done; what
// it then says is not heeded. Facts belong to the session: they must not be kept
// after the return.
type Decider interface {
	Decide(ctx context.Context, at policy.Stage, f *policy.Facts) policy.Decision
}

// Judge has the policy decide within the time there is. It is safe for
// concurrent use once its fields are set.
type Judge struct {
	Name    string          // of the front: the rule of the step that says why it decided itself
	Base    context.Context // of all decisions
	Timeout time.Duration   // for one decision

	// Observe, if set, is told each decision as it is answered, and how long it
	// took. It must not keep its arguments.
	Observe func(*policy.Facts, *policy.Decision, time.Duration)

	late atomic.Uint64
}

var (
	errLate      = errors.New("no decision in time")
	errUnsound   = errors.New("a verdict that cannot be answered")
	errNoDecider = errors.New("no policy in force")
)

// Late is how many decisions were not there in time.
func (j *Judge) Late() uint64 { return j.late.Load() }

// Ask has the policy decide and tells the observer what will be answered. start
// is when the time for it began to run; hold tells whether a message can be held.
// There may be no policy (nil).
func (j *Judge) Ask(p Decider, at policy.Stage, f *policy.Facts, start time.Time, hold bool) Outcome {
	d := j.decide(p, at, f, start, hold)
	if j.Observe != nil {
		j.Observe(f, &d, time.Since(start))
	}
	o := settle(d.Verdict)
	if o.Refuse.IsZero() {
		o.Recipient = d.Recipient
	}
	d.Release()
	return o
}

// Until returns a context for what is done towards a decision, ending at a time.
// done must be called.
func (j *Judge) Until(at time.Time) (ctx context.Context, done func()) {
	d := newDeadline(j.Base, at)
	return d, d.end
}

func (j *Judge) decide(p Decider, at policy.Stage, f *policy.Facts, start time.Time, hold bool) policy.Decision {
	if p == nil {
		return j.failed(policy.Decision{Stage: at}, errNoDecider)
	}
	ctx := newDeadline(j.Base, start.Add(j.Timeout))
	defer ctx.end()
	d := p.Decide(ctx, at, f)
	if ctx.Err() != nil {
		j.late.Add(1)
		return j.failed(d, late(&d))
	}
	if v := sound(d.Verdict, hold); v.Action != d.Verdict.Action {
		return j.failed(d, errUnsound)
	}
	return d
}

// late says what was being waited for.
func late(d *policy.Decision) error {
	for i := len(d.Steps) - 1; i >= 0; i-- {
		for _, a := range d.Steps[i].Asked {
			if a.Err != nil {
				return fmt.Errorf("%w: %s %s: %w", errLate, a.Table, a.Key, a.Err)
			}
		}
	}
	return errLate
}

// failed makes a decision a temporary failure, with a last step that says why.
func (j *Judge) failed(d policy.Decision, err error) policy.Decision {
	d.Verdict = policy.Verdict{Action: policy.Tempfail, Reply: InternalFault()}
	d.Steps = append(d.Steps, policy.Step{Rule: j.Name, Verdict: d.Verdict, Err: err})
	return d
}
