package main

import (
	"context"
	"maps"
	"slices"
	"strings"

	"gatepost/internal/dns/dnsfake"
)

// maxTries is how many smaller policies are tried for one case.
const maxTries = 300

// reduce leaves out of a policy with one session what does not matter: with
// every part that stays out sendmail still decides the same, and Gatepost still
// does not.
func (o *options) reduce(ctx context.Context, p Policy) (Policy, error) {
	code, _, err := o.judge(ctx, []Policy{p})
	if err != nil {
		return p, err
	}
	r := &reducer{best: p, want: p.Sessions[0].Expected.summary()}
	r.decide = func(p Policy) (Policy, bool) {
		results, failed := recordAll(ctx, o.root, 1, []job{{Policy: p, SMTP: p.Sessions[0].OverSMTP}})
		if failed != nil {
			err = failed
			return p, false
		}
		if results[0].Error != "" {
			return p, false // not a policy that sendmail can have
		}
		p = results[0].Policy
		now, _, failed := o.judge(ctx, []Policy{p})
		if failed != nil {
			err = failed
		}
		return p, now == code
	}
	r.shrinkAll()
	return r.best, err
}

// reducer makes a policy with one session small.
type reducer struct {
	best  Policy
	want  string // of sendmail
	tries int
	// decide has both decide: the policy with sendmail's verdicts, and whether
	// Gatepost still fails on it as it did.
	decide func(Policy) (Policy, bool)
}

func (r *reducer) shrinkAll() {
	r.recipients()
	for range 2 {
		shrink(r, strings.SplitAfter(r.best.Access, "\n"), func(p *Policy, keep []string) { p.Access = strings.Join(keep, "") })
		shrink(r, r.best.Features, func(p *Policy, keep []Feature) { p.Features = keep })
		shrink(r, r.best.Relay, func(p *Policy, keep []string) { p.Relay = keep })
		shrink(r, r.best.LocalHosts, func(p *Policy, keep []string) { p.LocalHosts = keep })
		shrink(r, r.best.TrustAuth, func(p *Policy, keep []string) { p.TrustAuth = keep })
		shrink(r, slices.Sorted(maps.Keys(r.best.DNS)), func(p *Policy, keep []string) {
			zone := dnsfake.Zone{}
			for _, name := range keep {
				zone[name] = p.DNS[name]
			}
			p.DNS = zone
		})
	}
}

// recipients leaves the one that differs, if it is one of several.
func (r *reducer) recipients() {
	s := r.best.Sessions[0]
	if len(s.RcptTo) < 2 || len(s.Expected.Rcpt) != len(s.RcptTo) {
		return
	}
	for i := range s.RcptTo {
		one := s
		one.RcptTo, one.Expected.Rcpt = s.RcptTo[i:i+1], s.Expected.Rcpt[i:i+1]
		if len(s.Expected.Compat) > 0 {
			one.Expected.Compat = s.Expected.Compat[i : i+1]
		}
		p := r.best
		p.Sessions = []Session{one}
		want := r.want
		if r.want = one.Expected.summary(); r.try(p) {
			return
		}
		r.want = want
	}
}

// shrink leaves out parts of a list, long ones first.
func shrink[T any](r *reducer, list []T, set func(*Policy, []T)) {
	for size := max(len(list)/2, 1); size > 0; size /= 2 {
		for from := 0; from < len(list); {
			keep := slices.Concat(list[:from], list[min(from+size, len(list)):])
			p := r.best
			if set(&p, append([]T{}, keep...)); r.try(p) {
				list = keep
			} else {
				from += size
			}
		}
	}
}

// try takes the policy as the best one if it still shows the difference.
func (r *reducer) try(p Policy) bool {
	if r.tries >= maxTries {
		return false
	}
	r.tries++
	p.Sessions = slices.Clone(p.Sessions)
	p, differs := r.decide(p)
	if !differs || p.Sessions[0].Expected.summary() != r.want {
		return false
	}
	r.best = p
	return true
}
