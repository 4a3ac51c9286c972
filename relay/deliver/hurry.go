package deliver

import (
	"context"
	"time"
)

type hurryKey struct{}

// Hurry is a context with which a transport waits for no more than half a minute for any
// reply before the message is sent, and looks for a server for a minute: so that servers
// that hang, when there are many, do not keep all who deliver busy. What comes after the
// message has the time that it always has, since to give up then may make two of it.
func Hurry(ctx context.Context) context.Context {
	return context.WithValue(ctx, hurryKey{}, true)
}

// timeouts are those for a delivery.
func (s *SMTP) timeouts(ctx context.Context) *Timeouts {
	if ctx.Value(hurryKey{}) != nil {
		return &s.hasty
	}
	return &s.config.Timeouts
}

func (t Timeouts) hasty() Timeouts {
	const reply = 30 * time.Second
	for _, at := range []*time.Duration{&t.Connect, &t.Greeting, &t.Hello, &t.TLS, &t.Auth, &t.Mail, &t.Rcpt, &t.Data} {
		*at = min(*at, reply)
	}
	t.Search, t.Transaction = min(t.Search, 2*reply), min(t.Transaction, 15*time.Minute)
	return t
}
