package dnsbl

import (
	"cmp"
	"slices"
	"time"
)

// Set is the zones of one configuration with what is known of each. It does not
// change; the States in it do.
type Set struct {
	wake    chan struct{}
	members []member
}

type member struct {
	zone  Zone
	state *State
}

// NewSet takes the zones of a configuration; one that is used more than once is
// one. What old, which may be nil, knows of a zone is kept.
func NewSet(zones []Zone, old *Set) *Set {
	s := &Set{wake: make(chan struct{}, 1)}
	if old != nil {
		s.wake = old.wake
	}
	for _, z := range merge(zones) {
		state := old.State(&z)
		if state == nil {
			state = &State{wake: s.wake}
		}
		s.members = append(s.members, member{z, state})
	}
	return s
}

// State is that of a zone; nil when the set does not have it. A nil Set has none.
func (s *Set) State(z *Zone) *State {
	if s == nil {
		return nil
	}
	id := z.identity()
	i := slices.IndexFunc(s.members, func(m member) bool { return m.zone.identity() == id })
	if i < 0 {
		return nil
	}
	return s.members[i].state
}

// Merged is a zone with all its uses in the set; a nil Set knows of no others.
func (s *Set) Merged(z Zone) Zone {
	if s == nil {
		return z
	}
	for _, m := range s.members {
		if m.zone.identity() == z.identity() {
			return m.zone
		}
	}
	return z
}

// Status is the state of a zone at one moment.
type Status struct {
	Zone    string
	Lookup  string    // what it lists: address or domain
	Parked  string    // why it is not asked; "" when it is
	Since   time.Time // when it was parked
	Probed  time.Time // when it was last looked at; zero for never
	Warning string    // what is odd about it, but no reason not to ask
	Counts
}

// Status lists the zones, sorted by name.
func (s *Set) Status() []Status {
	if s == nil {
		return nil
	}
	out := make([]Status, len(s.members))
	for i, m := range s.members {
		out[i] = m.status()
	}
	slices.SortStableFunc(out, func(a, b Status) int { return cmp.Or(cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.Lookup, b.Lookup)) })
	return out
}

func (m *member) status() Status {
	out := Status{Zone: m.zone.Name, Lookup: m.zone.lookup(), Counts: m.state.counts.read()}
	if p := m.state.Parked(); p != nil {
		out.Parked, out.Since = p.Reason, p.Since
	}
	m.state.mu.Lock()
	defer m.state.mu.Unlock()
	out.Probed, out.Warning = m.state.health.probed, m.state.health.warning
	return out
}
