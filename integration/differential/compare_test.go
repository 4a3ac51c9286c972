package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// judging is a program that stands where gatepost stands: it fails on sessions
// whose sender is <bad@x>, and is otherwise as the shell lines say.
func judging(t *testing.T, lines string) *options {
	t.Helper()
	file := filepath.Join(t.TempDir(), "gatepost")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+lines), 0o700); err != nil {
		t.Fatal(err)
	}
	return &options{gatepost: file, out: t.TempDir()}
}

const failsOnBad = `
bad=$(grep -o '"mail_from":"<bad@x>"' "$2" | wc -l); all=$(grep -o '"mail_from"' "$2" | wc -l)
echo "$((all - bad)) passed, $((bad)) failed"; [ "$((bad))" = 0 ]
`

func policiesOf(senders ...string) []Policy {
	var list []Policy
	for i, line := range senders {
		p := Policy{ID: fmt.Sprintf("p%d", i)}
		for s := range strings.FieldsSeq(line) {
			p.Sessions = append(p.Sessions, Session{MailFrom: "<" + s + "@x>"})
		}
		list = append(list, p)
	}
	return list
}

func TestFailing(t *testing.T) {
	for _, c := range []struct {
		name    string
		senders []string
		want    string
	}{
		{"none", []string{"a b c", "d"}, ""},
		{"one", []string{"a b c", "d bad e"}, "p1 session 1"},
		{"several", []string{"bad a b bad", "c", "bad"}, "p0 session 0|p0 session 3|p2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			found, err := judging(t, failsOnBad).failing(context.Background(), policiesOf(c.senders...))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range found {
				if len(p.Sessions) != 1 || p.Sessions[0].MailFrom != "<bad@x>" {
					t.Errorf("found %+v", p.Sessions)
				}
				got = append(got, strings.TrimSpace(p.Title+strings.Repeat(p.ID, 1-min(len(p.Title), 1))))
			}
			if strings.Join(got, "|") != c.want {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}

func TestJudgeIsNotTakenIn(t *testing.T) {
	for name, lines := range map[string]string{
		"says nothing": "exit 0", "counts fewer": "echo '1 passed, 0 failed'", "dies": "kill -9 $$",
	} {
		t.Run(name, func(t *testing.T) {
			if code, _, err := judging(t, lines).judge(context.Background(), policiesOf("a b")); err == nil {
				t.Errorf("exit code %d and no error", code)
			}
		})
	}
	if _, _, err := (&options{gatepost: "/nowhere/gatepost"}).judge(context.Background(), policiesOf("a")); err == nil {
		t.Error("a program that is not there: no error")
	}
}

// TestShrink: what matters here is the line "To:bad@ REJECT", two features, and
// one of three recipients.
func TestShrink(t *testing.T) {
	matters := func(p Policy) bool {
		return strings.Contains(p.Access, "To:bad@ REJECT\n") && p.has("access_db") && p.has("blocklist_recipients") && p.Sessions[0].RcptTo[0] == "<bad@x>"
	}
	p := generate(1, 0)
	p.Features = []Feature{{"badmx", nil}, {"access_db", nil}, {"require_rdns", nil}, {"blocklist_recipients", nil}}
	p.Access = "a OK\nb OK\nTo:bad@ REJECT\nc OK\n"
	ok := Verdict{Action: "accept"}
	p.Sessions = []Session{{RcptTo: []string{"<a@x>", "<bad@x>", "<c@x>"}, Expected: Expected{Connect: &ok, Mail: &ok, Rcpt: []Verdict{ok, ok, ok}}}}
	r := &reducer{best: p, want: p.Sessions[0].Expected.summary(), decide: func(p Policy) (Policy, bool) { return p, matters(p) }}
	r.shrinkAll()
	if got := r.best; got.Access != "To:bad@ REJECT\n" || len(got.Features) != 2 || len(got.Relay)+len(got.LocalHosts)+len(got.DNS) != 0 || len(got.Sessions[0].RcptTo) != 1 {
		t.Errorf("left: access %q, features %v, class R %q, class w %q, DNS %v, to %q", got.Access, got.Features, got.Relay, got.LocalHosts, got.DNS, got.Sessions[0].RcptTo)
	}
	if r.tries > maxTries || !matters(r.best) {
		t.Errorf("%d tries; still shows it: %v", r.tries, matters(r.best))
	}
	if p.Access == r.best.Access || len(p.DNS) == 0 {
		t.Error("the policy given was changed")
	}
}

func TestShrinkKeepsSendmailsVerdict(t *testing.T) {
	ok := Verdict{Action: "accept"}
	p := Policy{Access: "a OK\nb OK\n", Sessions: []Session{{RcptTo: []string{"<a@x>"}, Expected: Expected{Connect: &ok, Mail: &ok}}}}
	r := &reducer{best: p, want: p.Sessions[0].Expected.summary(), decide: func(p Policy) (Policy, bool) {
		if !strings.Contains(p.Access, "b OK") {
			p.Sessions[0].Expected.Mail = &Verdict{Action: "discard"} // sendmail decides otherwise
		}
		return p, true
	}}
	if r.shrinkAll(); r.best.Access != "b OK\n" {
		t.Errorf("left %q, want the line that sendmail's verdict needs", r.best.Access)
	}
}
