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

// report counts and tells the results of a part.
func (q *Queue) report(j *job, env *spool.Envelope, results []deliver.Result, took time.Duration, now time.Time) {
	number := j.round.number
	for i := range results {
		switch results[i].Outcome {
		case deliver.Delivered:
			q.delivered.Add(1)
		case deliver.Failed:
			q.failed.Add(1)
		default:
			q.deferred.Add(1)
		}
		a := Attempt{
			ID: env.ID, From: env.Sender, To: env.Recipients[j.to[i]].Address, Number: number,
			Result: results[i], Delay: now.Sub(env.Arrived), Took: took,
		}
		q.log(&a)
		if q.config.Observe != nil {
			q.config.Observe(a)
		}
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
