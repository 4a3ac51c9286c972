package explain

import (
	"context"
	"errors"
	"sync"

	"gatepost/internal/dns"
	"gatepost/maps"
	"gatepost/policy"
)

// memo is a resolver that gives the same answer to the same question, failures
// too: a verdict that changes is then due to an edit and not to the DNS. It is
// safe for concurrent use.
type memo struct {
	resolver dns.Resolver
	mu       sync.Mutex
	known    map[question]result
}

type question struct {
	name string
	t    dns.Type
}

type result struct {
	answer dns.Answer
	err    error
}

// newMemo wraps a resolver; one that remembers already is taken as it is.
func newMemo(r dns.Resolver) *memo {
	if m, ok := r.(*memo); ok {
		return m
	}
	return &memo{resolver: r, known: map[question]result{}}
}

// Lookup implements dns.Resolver.
func (m *memo) Lookup(ctx context.Context, name string, t dns.Type) (dns.Answer, error) {
	q := question{name, t}
	m.mu.Lock()
	r, ok := m.known[q]
	m.mu.Unlock()
	if ok {
		return r.answer, r.err
	}
	r.answer, r.err = m.resolver.Lookup(ctx, name, t)
	if r.err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return r.answer, r.err // nobody wanted to know any more; that is no answer
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known[q] = r
	return r.answer, r.err
}

// recorder is a resolver that writes down what is asked, as a policy does.
type recorder struct {
	resolver dns.Resolver
	asked    []policy.Answer
}

// Lookup implements dns.Resolver.
func (r *recorder) Lookup(ctx context.Context, name string, t dns.Type) (dns.Answer, error) {
	a, err := r.resolver.Lookup(ctx, name, t)
	r.asked = append(r.asked, policy.Answer{
		Table:  "dns " + t.String(),
		Key:    name,
		Found:  err == nil && !a.Empty(),
		Value:  a.String(),
		Source: maps.Source{File: a.Server},
		TTL:    a.TTL,
		Err:    err,
	})
	return a, err
}
