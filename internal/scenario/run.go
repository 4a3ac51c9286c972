package scenario

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"gatepost/policy"
)

// Mismatch is one step that came out otherwise than it must.
type Mismatch struct {
	File    string
	Line    int
	Session string // its name
	Step    string // "RCPT <u@example.com>"
	Want    string // as in the file
	Got     string
	By      string // the rule that decided, with the entry and its place; "" at Pause
}

// String is the mismatch as one line.
func (m Mismatch) String() string {
	s := fmt.Sprintf("%s:%d: %s: %s: expected %s, got %s", m.File, m.Line, m.Session, m.Step, m.Want, m.Got)
	if m.By != "" {
		s += ", by " + m.By
	}
	return s
}

// Result counts what was run.
type Result struct {
	Passed, Failed int // sessions
	Verdicts       int // steps compared
	Mismatches     []Mismatch
}

// Run plays the sessions. An error is one of the policy, which cannot be made.
func (s *Scenario) Run(ctx context.Context) (Result, error) {
	p, err := policy.New(s.Policy)
	if err != nil {
		return Result{}, &Error{s.File, s.Line, err}
	}
	var r Result
	for i := range s.Sessions {
		wrong := s.play(ctx, p, &s.Sessions[i])
		if err := ctx.Err(); err != nil {
			return Result{}, fmt.Errorf("%s: interrupted: %w", s.File, err)
		}
		if len(wrong) > 0 {
			r.Failed++
		} else {
			r.Passed++
		}
		r.Verdicts += s.Sessions[i].asks()
		r.Mismatches = append(r.Mismatches, wrong...)
	}
	return r, nil
}

// play goes through one session to its end, also after a mismatch.
func (s *Scenario) play(ctx context.Context, p *policy.Policy, session *Session) (wrong []Mismatch) {
	facts := session.Facts
	for i := range session.Steps {
		step := &session.Steps[i]
		if !step.asked() {
			facts.Mail.Sender = step.Path
			continue
		}
		m := Mismatch{File: s.File, Line: step.Line, Session: session.Name, Step: step.title(), Want: step.Want.String()}
		if step.Kind == Pause {
			if got := p.GreetPause(ctx, &facts); got != step.Want.Pause {
				m.Want, m.Got = step.Want.Pause.String(), got.String()
				wrong = append(wrong, m)
			}
			continue
		}
		d := step.ask(ctx, p, &facts)
		if !step.Want.agrees(&d) {
			m.Got, m.By = verdictText(d.Verdict), decidedBy(d.By())
			wrong = append(wrong, m)
		}
		d.Release()
	}
	return wrong
}

// ask puts the step's question, and lets facts know what the step makes known.
func (s *Step) ask(ctx context.Context, p *policy.Policy, facts *policy.Facts) policy.Decision {
	switch s.Kind {
	case Sender:
		facts.Mail.Sender = s.Path
		return p.Decide(ctx, policy.StageMail, facts)
	case Recipient:
		facts.Rcpt.Recipient = s.Path
		return p.Decide(ctx, policy.StageRcpt, facts)
	case Compat:
		facts.Rcpt.Recipient = s.Path
		return p.CheckCompat(ctx, facts)
	}
	return p.Decide(ctx, policy.StageConnect, facts)
}

func (s *Step) title() string {
	if s.Path.Raw() == "" {
		return s.Kind.String()
	}
	return s.Kind.String() + " " + s.Path.Raw()
}

// agrees compares what was decided with what must be.
func (w *Want) agrees(d *policy.Decision) bool {
	v := &d.Verdict
	if w.Action != v.Action {
		return false
	}
	reply := v.Reply
	if w.Code != reply.Code() && (w.Exact || w.Code != 0) ||
		w.Enhanced != reply.Enhanced().String() && (w.Exact || w.Enhanced != "") ||
		w.Text != text(v) && (w.Exact || w.Text != "") {
		return false
	}
	by := d.By()
	return (w.Rule == "" || strings.EqualFold(w.Rule, by.Rule)) && w.standsAt(by)
}

// standsAt compares the entry that decided: its key, or its place with or without folders.
func (w *Want) standsAt(by policy.Step) bool {
	if w.Source == "" {
		return true
	}
	hit, found := decidingEntry(by)
	if !found {
		return false
	}
	source := hit.Source.String()
	return strings.EqualFold(w.Source, hit.Key) || w.Source == source || w.Source == filepath.Base(source)
}

// text is that of a reply, or the reason of a quarantine.
func text(v *policy.Verdict) string {
	if v.Action == policy.Quarantine {
		return v.Reason
	}
	return v.Reply.Text()
}

// verdictText is a verdict as the written form has it.
func verdictText(v policy.Verdict) string {
	w := Want{Action: v.Action, Code: v.Reply.Code(), Enhanced: v.Reply.Enhanced().String(), Text: text(&v)}
	return w.verdict()
}

// decidedBy names the rule of a step, and the entry with its place or the lookup
// that failed.
func decidedBy(by policy.Step) string {
	if by.Err != nil {
		return by.Rule + ": " + by.Err.Error()
	}
	hit, found := decidingEntry(by)
	switch {
	case !found:
		return by.Rule
	case strings.HasPrefix(hit.Table, "dns "):
		return fmt.Sprintf("%s, %s (%s)", by.Rule, hit.Key, hit.Table)
	}
	return fmt.Sprintf("%s, %s (%s)", by.Rule, hit.Key, hit.Source)
}

// decidingEntry is the last thing that was found on the way to a verdict.
func decidingEntry(by policy.Step) (policy.Answer, bool) {
	for i := len(by.Asked) - 1; i >= 0; i-- {
		if by.Asked[i].Found {
			return by.Asked[i], true
		}
	}
	return policy.Answer{}, false
}
