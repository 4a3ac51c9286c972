package dnstest

import (
	"sync/atomic"
	"time"

	mdns "github.com/miekg/dns"
)

const idle = 2 * time.Second // a TCP client that says nothing is left

// A Hook sees each exchange before the reply goes out. It runs in the server's goroutines.
type Hook func(*Exchange)

// Count adds one to n for each question.
func Count(n *atomic.Int64) Hook { return func(*Exchange) { n.Add(1) } }

// Late answers after a while.
func Late(d time.Duration) Hook { return func(*Exchange) { time.Sleep(d) } }

// While runs the hook as long as the switch is on.
func While(on *atomic.Bool, hook Hook) Hook {
	return func(e *Exchange) {
		if on.Load() {
			hook(e)
		}
	}
}

// Silent never answers.
func Silent() Hook { return func(e *Exchange) { e.Reply = nil } }

// Rcode answers with a code such as mdns.RcodeServerFailure and nothing else.
func Rcode(code int) Hook {
	return func(e *Exchange) {
		e.Reply = new(mdns.Msg)
		e.Reply.SetRcode(e.Query, code)
	}
}

// Truncated answers by UDP that the answer did not fit.
func Truncated() Hook {
	return OnUDP(func(e *Exchange) {
		e.Reply.Truncated = true
		e.Reply.Answer, e.Reply.Ns = nil, nil
	})
}

// WrongID answers with another id.
func WrongID() Hook { return func(e *Exchange) { e.Reply.Id++ } }

// WrongQuestion answers a question about another name, with the right id.
func WrongQuestion(name string) Hook {
	return func(e *Exchange) {
		e.Reply.Question[0].Name = mdns.Fqdn(name)
		for _, rr := range e.Reply.Answer {
			rr.Header().Name = mdns.Fqdn(name)
		}
	}
}

// WrongType answers a question for another type, with the right id.
func WrongType(t uint16) Hook { return func(e *Exchange) { e.Reply.Question[0].Qtype = t } }

// Echo sends the question back, without the response bit.
func Echo() Hook {
	return func(e *Exchange) { e.Reply = e.Query.Copy() }
}

// Junk sends bytes before the answer.
func Junk(b []byte) Hook { return func(e *Exchange) { e.Send(b) } }

// Cut sends only the first n bytes of the answer, the counts in its header as they were.
func Cut(n int) Hook {
	return func(e *Exchange) {
		b, err := e.Reply.Pack()
		if err != nil {
			panic(err)
		}
		e.Reply = nil
		e.Send(b[:min(n, len(b))])
	}
}

// FirstCNAMEOnly leaves all after the first CNAME for the client to ask, as a
// server does that knows only one of the zones.
func FirstCNAMEOnly() Hook {
	return func(e *Exchange) {
		if len(e.Reply.Answer) == 0 {
			return
		}
		if cname, ok := e.Reply.Answer[0].(*mdns.CNAME); ok {
			e.Reply.Answer, e.Reply.Ns, e.Reply.Rcode = []mdns.RR{cname}, nil, mdns.RcodeSuccess
		}
	}
}

// Before sends the message that the hook makes, and then the one there was without it.
func Before(hook Hook) Hook {
	return func(e *Exchange) {
		bad := *e
		bad.Reply = e.Reply.Copy()
		hook(&bad)
		if bad.Reply == nil {
			return
		}
		b, err := bad.Reply.Pack()
		if err != nil {
			panic(err)
		}
		e.Send(b)
	}
}

// First runs the hook for the first n questions only.
func First(n int64, hook Hook) Hook {
	var seen atomic.Int64
	return func(e *Exchange) {
		if seen.Add(1) <= n {
			hook(e)
		}
	}
}

// Named runs the hook for questions about names only, not for those about the root
// with which the client finds out whether a server lives.
func Named(hook Hook) Hook {
	return func(e *Exchange) {
		if e.Name() != "" {
			hook(e)
		}
	}
}

// OnUDP runs the hook for questions by UDP only.
func OnUDP(hook Hook) Hook {
	return func(e *Exchange) {
		if e.Network == "udp" {
			hook(e)
		}
	}
}
