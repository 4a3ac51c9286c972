package main

import (
	"context"
	"time"

	"gatepost/internal/control"
	"gatepost/internal/smtp"
	"gatepost/relay/queue"
	"gatepost/relay/spool"
)

// place is where in the queue a message is.
type place struct {
	state control.State
	next  time.Time // the next attempt
}

// spoolCommands are commands that are written into the spool; the queue learns of them
// when it next looks at the message.
type spoolCommands struct {
	spool *spool.Spool
	queue *queue.Queue
}

func newCommands(s *spool.Spool, q *queue.Queue) commands { return &spoolCommands{s, q} }

// find finds a message.
func find(s *spool.Spool, id string) (*spool.Message, bool) {
	for _, m := range s.Messages() {
		if m.ID() == id {
			return m, true
		}
	}
	return nil, false
}

func (c *spoolCommands) Flush(...string) int         { return 0 }
func (c *spoolCommands) FlushDestination(string) int { return 0 }

func (c *spoolCommands) update(id string, u spool.Update) error {
	m, ok := find(c.spool, id)
	if !ok {
		return control.ErrGone
	}
	return m.Update(u)
}

func (c *spoolCommands) Hold(id, reason string) error {
	return c.update(id, spool.Update{Hold: &reason})
}

func (c *spoolCommands) Release(id string) error {
	m, ok := find(c.spool, id)
	if !ok {
		return control.ErrGone
	}
	none := ""
	if err := m.Update(spool.Update{Hold: &none}); err != nil {
		return err
	}
	c.queue.Add(m)
	return nil
}

func (c *spoolCommands) Delete(id string) error {
	m, ok := find(c.spool, id)
	if !ok {
		return control.ErrGone
	}
	return m.Remove()
}

func (c *spoolCommands) Requeue(id string) error {
	none, now := 0, time.Time{}
	return c.update(id, spool.Update{Attempts: &none, NextTry: &now})
}

func (c *spoolCommands) Where(id string) (place, bool) {
	m, ok := find(c.spool, id)
	switch {
	case !ok:
		return place{}, false
	case m.Held():
		return place{state: control.Held}, true
	case m.NextTry().After(time.Now()):
		return place{control.Deferred, m.NextTry()}, true
	}
	return place{state: control.Ready}, true
}

// explain says which way a recipient's mail goes, and why.
func (r *routes) explain(_ context.Context, _, recipient string) (wayOut, error) {
	to, err := r.route(recipient)
	if err != nil {
		return wayOut{}, err
	}
	way := wayOut{nextHop: to.Destination, source: "relay.smart_host"}
	if way.nextHop == "" {
		way.nextHop = to.Transport.String()
	}
	if local, err := r.engine.IsLocal(context.Background(), smtp.ParseMailbox(recipient, smtp.Syntax{NoUUCP: true, NoPercentHack: true}).Domain); err == nil && local {
		way.source = "relay.local_mail"
	}
	return way, nil
}
