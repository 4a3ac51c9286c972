package dnsbl

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"sync"

	"gatepost/internal/dns"
)

// point is something that a list is asked about to learn of the list.
type point struct {
	what   string
	name   Name
	listed bool // a list should have it (RFC 5782, 5); the others none may have
}

// points are what a zone is asked about: the test points of RFC 5782, 5, and
// something that nobody can know beforehand and that is nobody's.
func (z *Zone) points() []point {
	var all []point
	add := func(what string, listed bool, n Name, ok bool) {
		if ok {
			all = append(all, point{what, n, listed})
		}
	}
	if z.Domains {
		for i, what := range []string{"test", "invalid", randomLabel() + ".invalid"} {
			n, ok := z.join(what)
			add(what, i == 0, n, ok)
		}
		return all
	}
	addrs := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 2}), netip.AddrFrom4([4]byte{127, 0, 0, 1}), randomTestNet()}
	if !z.IPv4Only {
		addrs = append(addrs, randomDocumentation())
	}
	for i, addr := range addrs {
		n, ok := z.AddrName(addr)
		add(addr.String(), i == 0, n, ok)
	}
	return all
}

// randomTestNet is an address that no host has (RFC 5737).
func randomTestNet() netip.Addr {
	nets := [][3]byte{{192, 0, 2}, {198, 51, 100}, {203, 0, 113}}
	n := nets[rand.IntN(len(nets))]
	return netip.AddrFrom4([4]byte{n[0], n[1], n[2], byte(rand.IntN(256))})
}

// randomDocumentation is an IPv6 address that no host has (RFC 3849).
func randomDocumentation() netip.Addr {
	var b [16]byte
	for i := range b {
		b[i] = byte(rand.IntN(256))
	}
	copy(b[:], []byte{0x20, 0x01, 0x0d, 0xb8})
	return netip.AddrFrom16(b)
}

func randomLabel() string { return "probe-" + strconv.FormatUint(rand.Uint64(), 36) }

// found is what a zone said of a point.
type found struct {
	listed bool
	err    error
}

// Probe asks a zone about things of which it is known what a list says. reason is
// why the zone cannot be believed, warning what else is odd; both begin with "it".
// The error tells that there was no answer at all.
func Probe(ctx context.Context, r dns.Resolver, z *Zone) (reason, warning string, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	points := z.points()
	answers := make([]found, len(points))
	var all sync.WaitGroup
	for i := range points {
		all.Go(func() { answers[i] = z.ask(ctx, r, points[i].name) })
	}
	all.Wait()
	return verdict(points, answers)
}

// verdict judges a zone by what it said of the points.
func verdict(points []point, answers []found) (reason, warning string, err error) {
	var failed []error
	for i, p := range points {
		switch a := answers[i]; {
		case a.err != nil:
			failed = append(failed, a.err)
		case a.listed && !p.listed:
			return "it lists " + p.what + ", as a list that lists everything does (RFC 5782, 5)", "", nil
		case p.listed && !a.listed:
			warning = "it does not list " + p.what + ", as lists do for tests (RFC 5782, 5): a private list, or one that is gone or empty"
		}
	}
	if len(failed) < len(points) {
		return "", warning, nil
	}
	for _, err := range failed {
		var answer *AnswerError
		if errors.As(err, &answer) {
			return "it " + answer.Error(), "", nil
		}
	}
	return "", "", failed[0]
}

// ask asks about one point.
func (z *Zone) ask(ctx context.Context, r dns.Resolver, n Name) found {
	a, err := r.Lookup(ctx, n.Asked, dns.TypeA)
	if err != nil {
		return found{err: z.Key.HideIn(err)}
	}
	codes, err := Codes(a, z.Filters)
	return found{z.Listed(codes), err}
}
