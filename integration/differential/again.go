package main

import (
	"context"
	"fmt"
	"io"
	"reflect"
	"slices"
)

// recordAgain records the policies of a file anew and compares sendmail's
// verdicts then and now: the proof that this recorder sees what the file's did.
// Policies whose access map fails cannot be had with a plain file and are left out.
func (o *options) recordAgain(ctx context.Context, out io.Writer) (bool, error) {
	policies, err := readPolicies(o.again)
	if err != nil {
		return false, err
	}
	var jobs []job
	var before []Policy
	for i, p := range policies {
		if p.AccessFails != "" {
			continue
		}
		before = append(before, p)
		again := p
		again.Sessions = slices.Clone(p.Sessions)
		jobs = append(jobs, job{Policy: again, SMTP: o.smtp > 0 && i%o.smtp == 0})
	}
	after, notes, err := o.record(ctx, jobs, out)
	if err != nil {
		return false, err
	}
	same, all := 0, 0
	for i := range before {
		for j := range before[i].Sessions {
			all++
			was, is := &before[i].Sessions[j], &after[i].Sessions[j]
			if was.OverSMTP && !is.OverSMTP {
				all-- // not held by SMTP this time
			} else if reflect.DeepEqual(was.Expected, is.Expected) {
				same++
			} else {
				fmt.Fprintf(out, "%s session %d from %s, %s to %v:\n  before %s\n  now    %s\n", before[i].ID, j,
					was.Client.Address, was.MailFrom, was.RcptTo, was.Expected.summary(), is.Expected.summary())
			}
		}
	}
	fmt.Fprintf(out, "%s: %d policies left out; %d of %d sessions have the same verdicts; test mode and SMTP differ in %d\n",
		o.again, len(policies)-len(before), same, all, notes)
	return same == all && notes == 0, nil
}

// summary is all of it on one line.
func (e Expected) summary() string {
	s := fmt.Sprintf("connect %s; MAIL %s", e.Connect, e.Mail)
	for i := range e.Rcpt {
		s += fmt.Sprintf("; RCPT %s", &e.Rcpt[i])
	}
	if e.GreetPause != nil {
		s += fmt.Sprintf("; pause %d", *e.GreetPause)
	}
	for i := range e.Compat {
		s += fmt.Sprintf("; compat %s", &e.Compat[i])
	}
	return s
}
