package dnsbl

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"gatepost/internal/dns"
)

const (
	usualInterval  = 10 * time.Minute // between probes of a zone
	parkedInterval = time.Minute      // between probes of a parked one
	leastInterval  = 20 * time.Second // however urgent
	probeTime      = 8 * time.Second  // for one round of questions
	probesAtOnce   = 4                // zones
)

// health is what the probes made known. It belongs to whoever runs them.
type health struct {
	next    time.Time // when the zone is to be probed again; zero: at once
	probed  time.Time
	warning string
}

// Run looks after the zones until ctx ends: it probes each at once and then from
// time to time, parks those that cannot be believed and takes them back when they
// can. Each change is said once in the log. The resolver is that of the sessions.
func (s *Set) Run(ctx context.Context, r dns.Resolver, log *slog.Logger) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.wake:
		}
		next := s.round(ctx, r, log, time.Now())
		timer.Reset(max(time.Until(next), 0))
	}
}

// round probes the zones that are due, and tells when the next one will be.
func (s *Set) round(ctx context.Context, r dns.Resolver, log *slog.Logger, now time.Time) time.Time {
	var all sync.WaitGroup
	slots := make(chan struct{}, probesAtOnce)
	for i := range s.members {
		m := &s.members[i]
		if m.zone.Trusted || !m.state.due(now) {
			continue
		}
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			m.look(ctx, r, log, now)
		})
	}
	all.Wait()
	next := now.Add(usualInterval)
	for i := range s.members {
		if m := &s.members[i]; !m.zone.Trusted {
			next = earlier(next, m.state.nextProbe())
		}
	}
	return next
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// due tells whether the zone is to be probed. An urgent one is probed out of
// turn, but not over and over.
func (s *State) due(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.urgent && s.parked.Load() == nil && (s.window.tripped || now.Sub(s.health.probed) >= leastInterval) {
		return true
	}
	return !now.Before(s.health.next)
}

// nextProbe is when the zone is to be probed.
func (s *State) nextProbe() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.urgent && s.parked.Load() == nil {
		return earlier(s.health.next, s.health.probed.Add(leastInterval))
	}
	return s.health.next
}

// look probes one zone and acts on what comes of it.
func (m *member) look(ctx context.Context, r dns.Resolver, log *slog.Logger, now time.Time) {
	if ctx.Err() != nil {
		return
	}
	attrs := []any{"zone", m.zone.Name, "lookup", m.zone.lookup()}
	rest, tripped := m.state.restAfterTrip()
	reason, warning := "", ""
	if tripped {
		reason = fmt.Sprintf("it listed %d or more of the last %d clients; it is asked again in %v", windowMost, windowSize, rest)
	} else {
		reason, warning = m.probe(ctx, r)
		rest = jittered(usualInterval)
		if reason != "" {
			rest = jittered(parkedInterval)
		}
	}
	if ctx.Err() != nil {
		return // the questions were cut short
	}
	was, said := m.state.take(reason, warning, now, rest)
	switch {
	case reason != "" && was == nil:
		log.Warn("a DNS list is parked: it is not asked until it behaves", append(attrs, "reason", reason)...)
	case reason == "" && was != nil:
		log.Info("a DNS list is asked again", append(attrs, "parked_for", now.Sub(was.Since).Round(time.Second))...)
	}
	if warning != "" && warning != said {
		log.Warn("a DNS list is odd, but asked", append(attrs, "reason", warning)...)
	}
}

// restAfterTrip tells whether the zone listed nearly everybody, and how long it is
// left alone for that.
func (s *State) restAfterTrip() (rest time.Duration, tripped bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.window.rest, s.window.tripped
}

// take puts the outcome of a probe in force, and gives what held before.
func (s *State) take(reason, warning string, now time.Time, rest time.Duration) (was *ParkedError, said string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.health.probed, s.health.next = now, now.Add(rest)
	s.urgent, s.fails, s.window.tripped = false, 0, false
	was = s.parked.Load()
	switch {
	case reason == "":
		s.parked.Store(nil)
		said, s.health.warning = s.health.warning, warning
	case was == nil:
		s.parked.Store(&ParkedError{Reason: reason, Since: now})
	case was.Reason != reason:
		s.parked.Store(&ParkedError{Reason: reason, Since: was.Since})
	}
	return was, said
}

// probe asks the zone about its test points.
func (m *member) probe(ctx context.Context, r dns.Resolver) (reason, warning string) {
	reason, warning, err := Probe(ctx, r, &m.zone)
	if err != nil {
		reason = "it gives no answer: " + err.Error()
	}
	return reason, warning
}

func jittered(d time.Duration) time.Duration {
	return d*4/5 + rand.N(d*2/5)
}
