package deliver

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"
)

// Bounds of a search. A domain with more exchangers, or an exchanger with more addresses,
// has them in vain.
const (
	maxAddresses = 20 // that are tried
	maxHosts     = 50 // of one domain
)

// search goes through the servers of a destination: hop after hop, the exchangers of a
// domain in their order. Those that did not answer lately come after all others.
type search struct {
	s     *SMTP
	ctx   context.Context
	hops  []Hop // to come
	begun time.Time
	left  int // addresses that may still be tried

	domain    Hop      // whose exchangers these are:
	hosts     []string // to come
	authentic bool

	target target           // what next has returned
	later  []target         // addresses that are believed dead
	deaf   []netip.AddrPort // addresses that did not answer in this search

	relay    string   // where the problem is
	problem  *problem // the last one that may pass
	hopeless *problem // the first one that will not
}

// target is a server with the addresses by which it may be reached.
type target struct {
	hop       Hop
	host      string
	port      uint16
	addrs     []netip.Addr // one zero address for a socket
	authentic bool
}

func (t *target) peer(addr netip.Addr) Peer {
	return Peer{Hop: t.hop, Host: t.host, Port: t.port, Addr: addr, Authentic: t.authentic}
}

// next is the next server that may be tried; nil when there is none, or no time. It is
// valid until the next call.
func (f *search) next() *target {
	for f.ctx.Err() == nil && f.left > 0 && f.inTime() {
		switch {
		case len(f.hosts) > 0:
			host := f.hosts[0]
			f.hosts = f.hosts[1:]
			f.locate(f.domain, host, f.authentic)
		case len(f.hops) > 0:
			hop := f.hops[0]
			f.hops = f.hops[1:]
			f.expand(hop)
		case len(f.later) > 0:
			f.target = f.later[0]
			f.later = f.later[1:]
			f.target.addrs = slices.DeleteFunc(f.target.addrs, f.isDeaf)
		default:
			return nil
		}
		if len(f.target.addrs) > 0 {
			return &f.target
		}
	}
	return nil
}

// inTime tells whether there is time to try another server. The first one is always
// tried.
func (f *search) inTime() bool {
	return f.problem == nil && f.hopeless == nil || time.Since(f.begun) < f.s.timeouts(f.ctx).Search
}

// expand finds the hosts of a hop.
func (f *search) expand(hop Hop) {
	f.target.addrs = nil
	if !hop.MX || f.s.config.LMTP {
		f.locate(hop, hop.Host, true)
		return
	}
	if f.s.config.Exchangers == nil {
		f.fail(&problem{status: statusNoLookup, text: "MX records are not looked up here: " + hop.Host})
		return
	}
	x, err := f.s.config.Exchangers(f.ctx, hop.Host)
	switch {
	case err != nil:
		f.fail(lookupProblem(err, "the mail exchangers of "+hop.Host))
	case len(x.Hosts) == 0:
		f.fail(&problem{status: statusNoLookup, text: hop.Host + " has no mail exchanger"})
	default:
		f.domain, f.hosts, f.authentic = hop, x.Hosts[:min(len(x.Hosts), maxHosts)], x.Authentic
	}
}

// locate makes a target of a host and of its addresses that may be alive.
func (f *search) locate(hop Hop, host string, authentic bool) {
	f.target = target{hop: hop, host: host, port: hop.Port}
	if f.target.port == 0 {
		f.target.port = f.s.port
	}
	addr, literal := parseLiteral(host)
	switch {
	case hop.socket() != "" && !f.s.config.LMTP:
		f.fail(&problem{status: statusNoLookup, text: "SMTP goes to a host; a socket is for LMTP"})
	case hop.socket() != "" || literal:
		f.target.addrs = []netip.Addr{addr}
		f.putDeadOff()
	case f.s.config.Resolve == nil:
		f.fail(&problem{status: statusNoLookup, text: "names are not looked up here: " + host})
	default:
		f.resolve(host, authentic)
	}
}

func (f *search) resolve(host string, authentic bool) {
	a, err := f.s.config.Resolve(f.ctx, host)
	switch {
	case err != nil:
		f.fail(lookupProblem(err, host))
	case len(a.Addrs) == 0:
		f.fail(&problem{status: statusNoLookup, text: host + " has no address"})
	default:
		f.target.addrs = a.Addrs[:min(len(a.Addrs), maxAddresses)]
		f.target.authentic = authentic && a.Authentic
		f.putDeadOff()
	}
}

// isDeaf tells whether an address has not answered in this search, under whatever name.
func (f *search) isDeaf(addr netip.Addr) bool {
	return slices.Contains(f.deaf, netip.AddrPortFrom(addr, f.target.port))
}

// putDeadOff leaves those addresses of the target for later that did not answer lately,
// and those out that did not answer in this search.
func (f *search) putDeadOff() {
	idle := func(a netip.Addr) bool { return f.isDeaf(a) || f.s.believedDead(a, f.target.port) }
	if !slices.ContainsFunc(f.target.addrs, idle) {
		return
	}
	alive, dead := []netip.Addr(nil), f.target
	dead.addrs = nil
	for _, a := range f.target.addrs {
		switch {
		case !idle(a):
			alive = append(alive, a)
		case !f.isDeaf(a):
			dead.addrs = append(dead.addrs, a)
		}
	}
	f.target.addrs = alive
	f.later = append(f.later, dead)
}

// lookupProblem is that of a name, or of a domain, that could not be looked up.
func lookupProblem(err error, what string) *problem {
	if word, ok := errors.AsType[NoRoute](err); ok {
		return &problem{outcome: word.Outcome, status: word.Status, text: Sanitise([]byte(word.Text))}
	}
	return &problem{status: statusNoLookup, text: cut("cannot look up " + what + ": " + Sanitise([]byte(err.Error())))}
}

// fail takes a lookup's problem down.
func (f *search) fail(p *problem) {
	if p.outcome != Failed {
		f.problem, f.relay = p, ""
	} else if f.hopeless == nil {
		f.hopeless = p
	}
}

// note takes down what kept a server from being used. Even a 5xx greeting is about the
// host, not about the message (RFC 5321, 3.1), and somebody has to set it right.
func (f *search) note(p *problem, peer *Peer) {
	p.outcome = Deferred
	if p.status.Class == 5 {
		p.status.Class = 4
	}
	f.problem, f.relay = p, peer.String()
	if !p.deaf || !peer.Addr.IsValid() || f.ctx.Err() != nil {
		return
	}
	f.deaf = append(f.deaf, netip.AddrPortFrom(peer.Addr, peer.Port))
	f.s.markDead(peer.Addr, peer.Port)
}

// verdict is what a search has come to that has found no server. It is for good only when
// all who were asked said so.
func (f *search) verdict() *problem {
	switch {
	case f.problem != nil:
		f.problem.down = f.ctx.Err() == nil
		return f.problem
	case f.ctx.Err() != nil:
		return &problem{status: statusConnection, text: "given up before a server was asked"}
	case f.hopeless != nil && len(f.hosts)+len(f.hops)+len(f.later) == 0:
		return f.hopeless
	}
	return &problem{status: statusNoLookup, text: "no server was found in time", down: true}
}
