package setup

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"gatepost/policy"
)

// maxLogged bounds what a client wrote when it is logged, in bytes; no address is longer (RFC 5321, 4.5.3.1).
const maxLogged = 320

// Observe counts a decision, unless no rule stands at that stage, and logs it as one line at level info, with the
// message "decision" and these keys, those without a value left out:
//
//	stage   connect, mail or rcpt
//	action  accept, reject, tempfail, discard, quarantine
//	reply   what the client is told: code, enhanced code, text
//	reason  why a message is held, for quarantine
//	rule    the rule that decided
//	source  the table entry that the rule found: file:line
//	error   what could not be looked up, and why
//	client  address of the client
//	name    its verified name
//	helo    its greeting
//	from    the sender as written
//	to      the recipient as written
//	queue   the MTA's queue identifier
//	took    time that the decision took
//
// Control characters in values are escaped, long values are cut.
func (e *Engine) Observe(f *policy.Facts, d *policy.Decision, took time.Duration) {
	if len(d.Steps) == 0 {
		return // there was nothing to decide
	}
	e.metrics.count(d, took)
	if !e.log.Enabled(context.Background(), slog.LevelInfo) {
		return
	}
	by := d.By()
	line, _ := e.lines.Get().(*attrs)
	if line == nil {
		line = new(attrs)
	}
	line.add("stage", d.Stage.String())
	line.add("action", d.Verdict.Action.String())
	line.add("reply", d.Verdict.Reply.String())
	line.add("reason", d.Verdict.Reason)
	line.add("rule", by.Rule)
	line.add("source", by.Source())
	if by.Err != nil {
		line.add("error", by.Err.Error())
	}
	line.facts(d.Stage, f)
	*line = append(*line, slog.Duration("took", took))
	// As one group without a name, they are logged as they stand and not copied.
	e.log.LogAttrs(context.Background(), slog.LevelInfo, "decision", slog.Attr{Value: slog.GroupValue(*line...)})
	clear(*line)
	*line = (*line)[:0]
	e.lines.Put(line)
}

type attrs []slog.Attr

func (a *attrs) add(key, value string) {
	if value == "" {
		return
	}
	if len(value) > maxLogged {
		value = strings.ToValidUTF8(value[:maxLogged], "?") + "..."
	}
	*a = append(*a, slog.String(key, value))
}

// facts adds what is known at the stage; what is left from an earlier message is not of this decision.
func (a *attrs) facts(at policy.Stage, f *policy.Facts) {
	switch {
	case f.Conn.Addr.IsValid():
		a.add("client", f.Conn.Addr.String())
	case f.Conn.Local:
		a.add("client", "local")
	}
	a.add("name", f.Conn.Name)
	if at >= policy.StageHelo {
		a.add("helo", f.Helo.Name)
	}
	if at >= policy.StageMail {
		a.add("from", f.Mail.Sender.Raw())
	}
	if at >= policy.StageRcpt {
		a.add("to", f.Rcpt.Recipient.Raw())
	}
	if at >= policy.StageMail {
		a.add("queue", f.Mail.QueueID)
	}
}
