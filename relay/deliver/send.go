package deliver

import (
	"context"
	"time"

	"gatepost/internal/smtp"
)

// maxSessions is how many servers are asked when they put a transaction off (Postfix's
// smtp_mx_session_limit).
const maxSessions = 2

// Deliver sends m with as few transactions as the next hop lets it; destination is in the
// form of ParseDestination. All recipients of one transaction share the reply to the
// message, except in LMTP.
func (s *SMTP) Deliver(ctx context.Context, destination string, m Message, recipients []int) []Result {
	env := m.Envelope()
	t := transaction{message: m, env: &env, to: recipients, results: make([]Result, len(recipients))}
	todo := t.addressable()
	hops, err := ParseDestination(destination)
	if err != nil {
		p := &problem{status: statusNoLookup, text: cut("no next hop: " + Sanitise([]byte(err.Error())))}
		p.fill(t.results, todo, via{})
		return t.results
	}
	for len(todo) > 0 {
		t.begin(todo[:min(len(todo), s.config.MaxRecipients)])
		p, v := s.transact(ctx, hops, &t)
		if p != nil {
			p.fill(t.results, todo, v)
			break
		}
		if todo = t.untried(todo); len(todo) > 0 {
			t.settle()
		}
	}
	return t.results
}

// addressable are those whose addresses can be sent; the others have their result.
func (t *transaction) addressable() (todo []int) {
	n := len(t.to)
	room := make([]int, 3*n)
	todo, t.accepted, t.answered = room[0:0:n], room[n:n:2*n], room[2*n:2*n]
	sender := checkPath(t.env.Sender, t.env.UTF8, statusBadSender)
	for i, r := range t.to {
		p := sender
		if p == nil {
			p = checkPath(t.env.Recipients[r].Address, t.env.UTF8, statusBadMailbox)
		}
		if p != nil {
			t.results[i] = p.result(via{})
			continue
		}
		todo = append(todo, i)
	}
	return todo
}

// checkPath looks for what would make another command of an address. The way in lets
// none of it pass.
func checkPath(path string, utf8 bool, status smtp.EnhancedCode) *problem {
	ascii := true
	for i := range len(path) {
		if path[i] < ' ' || path[i] == 0x7f {
			return &problem{outcome: Failed, status: status, text: "the address has a control character"}
		}
		ascii = ascii && path[i] < 0x80
	}
	switch {
	case len(path) > smtp.MaxPath || smtp.IndexUnquoted(path, " <>") >= 0:
		return &problem{outcome: Failed, status: status, text: "the address cannot be sent"}
	case !ascii && !utf8:
		return &problem{outcome: Failed, status: statusNonASCII, text: "the address is not ASCII, and the message does not ask for SMTPUTF8"}
	}
	return nil
}

// transact makes one transaction, on the first server that can be made ready for it; and,
// for those whom that server has put off before it had the message, another on the next
// one. Everybody who was asked for gets a result, unless there is a problem, which is
// then that of all the rest too: no other transaction can be made.
func (s *SMTP) transact(ctx context.Context, hops []Hop, t *transaction) (*problem, via) {
	f := search{s: s, ctx: ctx, hops: hops, begun: time.Now(), left: maxAddresses}
	var o outcome
	sessions := 0
	for sessions < maxSessions {
		host := f.next()
		if host == nil {
			break
		}
		now, met := s.visit(ctx, &f, host, t)
		if !met {
			continue
		}
		sessions, o = sessions+1, now
		if o.problem != nil {
			t.ended(o.problem, o.via)
		}
		rest := t.putOff(o.problem)
		if len(rest) == 0 || ctx.Err() != nil {
			break
		}
		t.settle()
		t.begin(rest)
	}
	switch {
	case sessions == 0:
		return f.verdict(), via{relay: f.relay}
	case !o.usable:
		return o.problem, o.via
	}
	return nil, via{}
}

// outcome is what a session has come to.
type outcome struct {
	via
	problem *problem
	usable  bool // another transaction may be made
}

// visit makes the transaction on one server: on a kept connection, or on a fresh one to the
// first address that can be made ready. A kept one that turns out to have been closed counts
// for nothing. met says that there was a server to make it with.
func (s *SMTP) visit(ctx context.Context, f *search, host *target, t *transaction) (o outcome, met bool) {
	if c := s.kept(ctx, host); c != nil {
		if o := s.run(ctx, c, t); o.problem == nil || !o.problem.stale {
			return o, true
		}
		s.pool.drop(c.place) // it is not alone
	}
	for _, addr := range host.addrs {
		if f.left--; f.left < 0 || ctx.Err() != nil || !f.inTime() {
			break
		}
		peer := host.peer(addr)
		c, p := s.connect(ctx, &peer)
		if p != nil {
			f.note(p, &peer)
			continue
		}
		return s.run(ctx, c, t), true
	}
	return outcome{}, false
}

// run makes a transaction on a connection, which it keeps if it is of further use.
func (s *SMTP) run(ctx context.Context, c *conn, t *transaction) outcome {
	c.timeouts = s.timeouts(ctx)
	p := c.run(ctx, t, s.config.LMTP)
	o := outcome{via: c.via, problem: p, usable: !c.broken}
	s.pool.put(c)
	return o
}

// kept takes a connection to one of the addresses of a server that waits for another
// message, and is secured and logged in as is demanded now.
func (s *SMTP) kept(ctx context.Context, host *target) *conn {
	for _, addr := range host.addrs {
		peer := host.peer(addr)
		at := peer.place()
		if !s.pool.has(at) {
			continue
		}
		d, p := s.demand(ctx, &peer)
		if p != nil {
			continue // connect will have the same to say
		}
		if c := s.pool.get(at, d.id); c != nil {
			return c
		}
	}
	return nil
}
