package queue

import (
	"context"
	"errors"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"gatepost/relay/deliver"
	"gatepost/relay/spool"
)

// dispatch begins a round: each part goes to its lane.
func (q *Queue) dispatch(ctx context.Context, e *entry) {
	if e.has(owing) && !q.settleDebt(e) {
		return
	}
	r := q.begin(e)
	if r == nil {
		return
	}
	routes, jobs, lost := q.plan(ctx, r)
	r.parts, r.left = len(jobs), len(jobs)
	end := len(lost) > 0 || len(jobs) == 0 // a part ends here, with nobody asked
	if end {
		r.parts, r.left = r.parts+1, r.left+1
	}
	env := r.env
	for i, j := range jobs {
		q.push(routes[i], j)
	}
	if end {
		q.unrouted(r, env, lost)
	}
}

// begin reads what is to be done for a message. It returns nil when that is nothing.
func (q *Queue) begin(e *entry) *round {
	e.take(again) // what is read now is as the operator wants it
	env, err := e.m.Envelope()
	switch {
	case errors.Is(err, spool.ErrRemoved):
		e.set(gone)
		q.drop(e)
		return nil
	case err != nil:
		q.unreadable(e, err)
		return nil
	case env.Hold != "":
		q.drop(e)
		return nil
	}
	r := &round{entry: e, env: &env, number: e.m.Attempts() + 1}
	for i := range env.Recipients {
		r.tally(&env.Recipients[i])
	}
	return r
}

// whole is the job of a message all of whose recipients have the same route.
func (q *Queue) whole(e *entry) *job {
	r := q.begin(e)
	if r == nil {
		return nil
	}
	r.parts, r.left = 1, 1
	j := &job{round: r, to: make([]int, 0, r.pending)}
	for i := range r.env.Recipients {
		if r.env.Recipients[i].State == spool.Pending {
			j.to = append(j.to, i)
		}
	}
	return j
}

// unreadable has a message wait whose envelope cannot be read just now. One that is
// damaged is held: nothing can be written down of it, but the spool knows.
func (q *Queue) unreadable(e *entry, err error) {
	if errors.Is(err, spool.ErrDamaged) {
		q.drop(e)
		q.config.Log.Error("message is held", "queue", e.m.ID(), "reason", "the envelope cannot be read: "+err.Error())
		return
	}
	q.config.Log.Error("cannot read an envelope", "queue", e.m.ID(), "error", err)
	q.defers(e, time.Now().Add(q.config.Schedule(e.m.Attempts()+1)))
}

// unroutable is a recipient whose route could not be found.
type unroutable struct {
	recipient int
	err       error
}

// plan makes a job of the pending recipients for each route.
func (q *Queue) plan(ctx context.Context, r *round) (routes []Route, jobs []*job, lost []unroutable) {
	for i := range r.env.Recipients {
		to := &r.env.Recipients[i]
		if to.State != spool.Pending {
			continue
		}
		route, err := q.route(q.patience.of(ctx, q.config.RouteWait), r.env.Sender, to.Address)
		if err != nil {
			lost = append(lost, unroutable{i, err})
			continue
		}
		routes, jobs = assign(routes, jobs, route, i)
	}
	for _, j := range jobs {
		j.round = r
	}
	return routes, jobs, lost
}

// assign adds a recipient to the job of its route.
func assign(routes []Route, jobs []*job, route Route, recipient int) ([]Route, []*job) {
	for n := range routes {
		if routes[n] == route {
			jobs[n].to = append(jobs[n].to, recipient)
			return routes, jobs
		}
	}
	return append(routes, route), append(jobs, &job{to: []int{recipient}})
}

// slowRoutes are the domains whose route could lately not be found in time: each would
// keep all others waiting again.
type slowRoutes struct {
	mu  sync.Mutex
	all map[string]slowRoute
}

type slowRoute struct {
	err   error
	until time.Time
}

const (
	slowPart = 4 // a failure that took this part of RouteWait is remembered
	slowKeep = 10 * time.Second
	slowMost = 10_000
)

// route asks for a route, for as long as it may take.
func (q *Queue) route(ctx context.Context, sender, recipient string) (Route, error) {
	domain := strings.ToLower(recipient[strings.LastIndexByte(recipient, '@')+1:])
	begun := time.Now()
	if err := q.slow.find(domain, begun); err != nil {
		return Route{}, err
	}
	r, err := q.ask(ctx, sender, recipient)
	if err == nil {
		return r, nil
	}
	if now := time.Now(); now.Sub(begun) >= q.config.RouteWait/slowPart {
		q.slow.add(domain, slowRoute{err, now.Add(slowKeep)})
	}
	return r, err
}

// ask is Config.Route, whose panic puts a recipient off.
func (q *Queue) ask(ctx context.Context, sender, recipient string) (r Route, err error) {
	defer func() {
		if p := recover(); p != nil {
			q.config.Log.Error("panic while looking up a route", "to", recipient, "panic", p, "stack", string(debug.Stack()))
			r, err = Route{}, errors.New("internal error")
		}
	}()
	return q.config.Route(ctx, sender, recipient)
}

// patience is a context for the lookups of routes. Most take no time at all, so that one
// does for many of them in a row.
type patience struct {
	ctx    context.Context
	cancel context.CancelFunc
	begun  time.Time
}

// of returns a context that has at least half of the wait to go.
func (p *patience) of(parent context.Context, wait time.Duration) context.Context {
	if now := time.Now(); p.ctx == nil || now.Sub(p.begun) > wait/2 {
		p.end()
		p.begun = now
		p.ctx, p.cancel = context.WithTimeout(parent, wait)
	}
	return p.ctx
}

func (p *patience) end() {
	if p.cancel != nil {
		p.cancel()
		p.ctx, p.cancel = nil, nil
	}
}

func (s *slowRoutes) find(domain string, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.all[domain]
	if ok && now.After(r.until) {
		delete(s.all, domain)
		return nil
	}
	return r.err
}

func (s *slowRoutes) add(domain string, r slowRoute) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil || len(s.all) >= slowMost {
		s.all = map[string]slowRoute{}
	}
	s.all[domain] = r
}

// settleDebt writes down what could not be before; until then nothing may be tried, or it
// would be delivered twice.
func (q *Queue) settleDebt(e *entry) (further bool) {
	q.mu.Lock()
	n := q.owed[e]
	q.mu.Unlock()
	if n == nil {
		e.take(owing)
		return true
	}
	if !q.write(e, n) {
		return false
	}
	q.mu.Lock()
	delete(q.owed, e)
	q.mu.Unlock()
	e.take(owing)
	if n.over {
		q.drop(e)
	}
	return !n.over
}

// unrouted ends a part that nobody can be asked to deliver.
func (q *Queue) unrouted(r *round, env *spool.Envelope, lost []unroutable) {
	j := &job{round: r}
	var results []deliver.Result
	for _, u := range lost {
		j.to = append(j.to, u.recipient)
		results = append(results, deliver.Result{Status: statusNoRoute, Reply: deliver.Sanitise([]byte("no route: " + u.err.Error()))})
	}
	q.ended(j, env, results, 0)
}
