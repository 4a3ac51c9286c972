package queue

import (
	"context"
	"log/slog"
	"time"

	"gatepost/internal/smtp"
	"gatepost/relay/deliver"
	"gatepost/relay/spool"
)

var (
	statusInternal = smtp.EnhancedCode{Class: 4, Subject: 3}
	statusExpired  = smtp.EnhancedCode{Class: 4, Subject: 4, Detail: 7}
	statusNoRoute  = smtp.EnhancedCode{Class: 4, Subject: 4, Detail: 4}
)

// Attempt is what one attempt has come to for one recipient.
type Attempt struct {
	ID       string
	From, To string // without <>
	Number   int    // which attempt for the message, from 1
	deliver.Result
	Delay time.Duration // since the message has arrived
	Took  time.Duration // the attempt
}

// DSN is the enhanced status code, made up where the peer gave none.
func (a *Attempt) DSN() smtp.EnhancedCode {
	switch {
	case !a.Status.IsZero():
		return a.Status
	case a.Outcome == deliver.Delivered:
		return smtp.EnhancedCode{Class: 2}
	case a.Outcome == deliver.Failed:
		return smtp.EnhancedCode{Class: 5}
	}
	return smtp.EnhancedCode{Class: 4}
}

// attemptOf is the n-th result of a part.
func attemptOf(j *job, env *spool.Envelope, results []deliver.Result, n int, took time.Duration, now time.Time) Attempt {
	return Attempt{
		ID: env.ID, From: env.Sender, To: env.Recipients[j.to[n]].Address, Number: j.round.number,
		Result: results[n], Delay: now.Sub(env.Arrived), Took: took,
	}
}

// account counts an attempt, and tells of it.
func (q *Queue) account(a *Attempt) {
	switch a.Outcome {
	case deliver.Delivered:
		q.delivered.Add(1)
	case deliver.Failed:
		q.failed.Add(1)
	default:
		q.deferred.Add(1)
	}
	if q.config.Observe != nil {
		q.config.Observe(*a)
	}
}

// log has the line that sendmail and Postfix have for each recipient, with its words.
func (q *Queue) log(a *Attempt) {
	level := slog.LevelInfo
	if a.Outcome == deliver.Failed {
		level = slog.LevelWarn
	}
	if !q.config.Log.Enabled(context.Background(), level) {
		return
	}
	q.config.Log.LogAttrs(context.Background(), level, "delivery",
		slog.String("queue", a.ID),
		slog.String("from", a.From),
		slog.String("to", a.To),
		slog.String("relay", a.Relay),
		slog.Int("attempt", a.Number),
		slog.Duration("delay", a.Delay.Round(time.Millisecond)),
		slog.Duration("xdelay", a.Took.Round(time.Millisecond)),
		slog.String("dsn", a.DSN().String()),
		slog.String("stat", a.Outcome.String()),
		slog.String("reply", a.Reply),
	)
}
