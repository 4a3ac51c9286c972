package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"gatepost/internal/explain"
	"gatepost/internal/program"
	"gatepost/policy"
)

// maxColumn is how far keys and values are padded for those beside them, in bytes.
const maxColumn = 48

// page collects lines for a terminal.
type page struct{ b strings.Builder }

// line adds one line; what strangers wrote cannot make it two.
func (p *page) line(format string, args ...any) {
	p.b.WriteString(strings.TrimRight(program.Printable(fmt.Sprintf(format, args...)), " "))
	p.b.WriteByte('\n')
}

// printReport writes the report for people: every rule that asked something or
// had an opinion, with its questions; rules that had neither are left out.
func printReport(w io.Writer, r *explain.Report) error {
	p := &page{}
	p.session(r)
	for i := range r.Stages {
		p.stage(&r.Stages[i])
	}
	for i := range r.Stages {
		p.flip(r, &r.Stages[i])
	}
	_, err := io.WriteString(w, p.b.String())
	return err
}

// session tells who the client is.
func (p *page) session(r *explain.Report) {
	f := &r.Session.Facts
	p.line("client %s, %s", policy.AddrText(f.Conn.Addr), nameText(&f.Conn))
	if f.Auth.Type != "" {
		p.line("logged in by %s as %s", f.Auth.Type, f.Auth.Authen)
	}
	if f.TLS.Verify != "" {
		p.line("certificate of %s, issued by %s", f.TLS.CertSubject, f.TLS.CertIssuer)
	}
	p.answers(r.Lookups)
}

func nameText(c *policy.Conn) string {
	switch c.Resolve {
	case policy.ResolveOK:
		return "name " + c.Name + " (OK)"
	case policy.ResolveForged:
		return "name " + c.Ptr + " does not lead back to it (FORGED)"
	case policy.ResolveTemp:
		return "reverse lookup failed (TEMP)"
	}
	return "no reverse name (FAIL)"
}

// stage tells what was asked, and the verdict.
func (p *page) stage(s *explain.Stage) {
	p.line("")
	p.line("%s", title(s))
	if len(s.Steps) == 0 {
		p.line("  nothing is decided here; with delay_checks that is left to RCPT")
		return
	}
	for i := range s.Steps {
		step := &s.Steps[i]
		if len(step.Asked) == 0 && step.Verdict.Action == policy.Undecided && step.Err == nil {
			continue
		}
		p.step(step)
	}
	by := s.By()
	verdict := "=> " + s.Verdict.Action.String() + ", by: " + by.Rule
	if source := by.Source(); source != "" {
		verdict += ", " + source
	}
	p.line("  %s", verdict)
	p.reply("     ", s.Verdict, s.Argument)
	if !s.Relay.IsZero() {
		p.line("  gatepost-relay refuses it all the same:")
		for _, line := range explain.SendmailReply(s.Relay, s.Argument) {
			p.line("     %s", line)
		}
	}
}

func title(s *explain.Stage) string {
	switch s.Stage {
	case policy.StageConnect:
		return "CONNECT"
	case policy.StageMail:
		return "MAIL FROM:" + s.Argument
	}
	return "RCPT TO:" + s.Argument
}

// reply shows what the client gets to see.
func (p *page) reply(indent string, v policy.Verdict, argument string) {
	if v.Reason != "" {
		p.line("%sheld: %s", indent, v.Reason)
	}
	if v.Reply.IsZero() {
		return
	}
	sendmail := explain.SendmailReply(v.Reply, argument)
	for _, line := range sendmail {
		p.line("%s%s", indent, line)
	}
	postfix := explain.PostfixReply(v.Reply)
	switch bare := explain.SendmailReply(v.Reply, ""); {
	case slices.Equal(sendmail, postfix):
	case slices.Equal(bare, postfix):
		p.line("%s(Postfix leaves out %q)", indent, argument+"... ")
	default:
		for _, line := range postfix {
			p.line("%s%s  (from Postfix)", indent, line)
		}
	}
}

// step shows one rule.
func (p *page) step(s *policy.Step) {
	switch {
	case s.Err != nil:
		p.line("  %s: a lookup failed: %v", s.Rule, s.Err)
	case s.Verdict.Action == policy.Undecided:
		p.line("  %s", s.Rule)
	default:
		p.line("  %s: %s", s.Rule, verdictText(s.Verdict))
	}
	p.answers(s.Asked)
}

func verdictText(v policy.Verdict) string {
	return strings.TrimSpace(v.Action.String() + " " + v.Reply.String() + v.Reason)
}

// answers shows questions in columns.
func (p *page) answers(asked []policy.Answer) {
	rows := make([][4]string, len(asked))
	var width [4]int
	for i, a := range asked {
		rows[i] = [4]string{a.Table, a.Key, value(a), source(a)}
		for j, cell := range rows[i] {
			width[j] = max(width[j], min(len(program.Printable(cell)), maxColumn))
		}
	}
	for _, row := range rows {
		text := "   "
		for j, cell := range row {
			cell = program.Printable(cell)
			text += " " + cell + strings.Repeat(" ", 1+max(0, width[j]-len(cell)))
		}
		p.line("%s", text)
	}
}

// value is what an answer says.
func value(a policy.Answer) string {
	switch {
	case a.Err != nil:
		return "failed"
	case !a.Found:
		return "-"
	case a.Value == "":
		return "yes"
	}
	return a.Value
}

// source is where an answer comes from: file and line, or the DNS server and for
// how long the answer is good.
func source(a policy.Answer) string {
	switch {
	case a.Err != nil:
		return a.Err.Error()
	case a.TTL > 0:
		return a.Source.String() + ", TTL " + a.TTL.Truncate(time.Second).String()
	}
	return a.Source.String()
}

// flip tells what would turn a verdict around.
func (p *page) flip(r *explain.Report, s *explain.Stage) {
	if !s.Decisive {
		return
	}
	want := "refuse"
	if s.Verdict.Action != policy.Accept {
		want = "accept"
	}
	p.line("")
	p.line("%s => %s", title(s), verdictText(s.Verdict))
	if s.Flip == nil {
		p.line("  No edit of the tables makes Gatepost %s it: %s.", want, s.NoFlip)
		return
	}
	p.line("  To %s it:", want)
	for _, e := range s.Flip.Edits {
		p.line("    %s", e)
		if want == "refuse" && e.New == "OK" {
			p.line("    (OK does not relay, and is found before wider entries that do)")
		}
	}
	then := &r.Stages[s.Flip.At]
	p.line("    (tried: %s => %s, by: %s)", title(then), verdictText(s.Flip.Verdict), s.Flip.Rule)
}
