package policy

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"gatepost/internal/dns"
	"gatepost/maps"
)

// inquiry is one stage's questioning: the facts, what was derived from them, and
// the record of what was asked. Every question goes through it.
type inquiry struct {
	policy *Policy
	stage  Stage
	facts  *Facts

	asked []Answer // of all rules; steps hold parts of it
	steps []Step

	clientAddr  string // as sendmail writes it; "" when unknown
	clientName  string // verified name, or [address]
	clientCanon string // clientName as the DNS has it; "" until it is asked for
	sender      *address
	recipient   *address
	lists       listAsking
}

func (p *Policy) newInquiry(at Stage, f *Facts) *inquiry {
	q, ok := p.inquiries.Get().(*inquiry)
	if !ok {
		q = &inquiry{policy: p, asked: make([]Answer, 0, 16), steps: make([]Step, 0, 16)}
	}
	q.stage, q.facts = at, f
	q.clientAddr = AddrText(f.Conn.Addr)
	if f.Conn.Resolve == ResolveOK && f.Conn.Name != "" {
		q.clientName = f.Conn.Name
	} else {
		q.clientName = "[" + q.clientAddr + "]"
	}
	return q
}

// release forgets the questioning and keeps its memory for the next one.
func (q *inquiry) release() {
	clear(q.asked)
	clear(q.steps)
	*q = inquiry{policy: q.policy, asked: q.asked[:0], steps: q.steps[:0]}
	q.policy.inquiries.Put(q)
}

// AddrText is an address as sendmail writes {client_addr}: IPv6 in full, eight
// groups in lower case without leading zeros, after "IPv6:". "" for no address.
func AddrText(a netip.Addr) string {
	a = a.Unmap()
	if !a.IsValid() || a.Is4() {
		if a.IsValid() {
			return a.String()
		}
		return ""
	}
	var b strings.Builder
	b.WriteString("IPv6")
	raw := a.As16()
	for i := 0; i < len(raw); i += 2 {
		fmt.Fprintf(&b, ":%x", uint16(raw[i])<<8|uint16(raw[i+1]))
	}
	return b.String()
}

// check asks a rule set, part by part.
func (q *inquiry) check(ctx context.Context, c *check) outcome {
	var remembered Verdict
	for _, part := range c.parts {
		for i := range part {
			out := q.run(ctx, &part[i])
			if out.ends >= endCheck {
				return out
			}
			if out.ends == endPart {
				if out.verdict.Action != Undecided {
					remembered = out.verdict
				}
				break
			}
		}
	}
	if remembered.Action == Undecided {
		remembered = Verdict{Action: Accept}
		if c.otherwise != nil {
			remembered = c.otherwise(q)
		}
	}
	q.steps = append(q.steps, Step{Rule: c.name, Verdict: remembered})
	if remembered.Action == Accept {
		return outcome{verdict: remembered, ends: endCheck}
	}
	return stop(remembered)
}

// run asks one rule and writes down what it asked and said. Here, and only here,
// a lookup that could not be made becomes a verdict.
func (q *inquiry) run(ctx context.Context, r *rule) outcome {
	from := len(q.asked)
	out, err := r.apply(ctx, q)
	if err != nil {
		out = r.fault(err)
	}
	q.steps = append(q.steps, Step{
		Rule:    r.name,
		Asked:   q.asked[from:len(q.asked):len(q.asked)],
		Verdict: out.verdict,
		Err:     err,
	})
	return out
}

// access asks the access map for one key. Entries AuthInfo: have passwords and are none of
// the policy's: a name that a stranger chooses, such as that of a PTR record, must not find
// one, which would be told to him as the text of a refusal.
func (q *inquiry) access(ctx context.Context, key string) (maps.Entry, bool, error) {
	if q.policy.access == nil || isAuthInfo(key) {
		return maps.Entry{}, false, nil
	}
	return q.lookup(ctx, "access", q.policy.access, key)
}

func isAuthInfo(key string) bool {
	const prefix = "authinfo:"
	key = strings.ReplaceAll(key, `"`, "") // as lookup does
	return len(key) >= len(prefix) && strings.EqualFold(key[:len(prefix)], prefix)
}

// lookup asks a table for one key and writes it down. Like sendmail's lookups it
// drops double quotes from the key. name is the table's.
func (q *inquiry) lookup(ctx context.Context, name string, m maps.Map, key string) (maps.Entry, bool, error) {
	if strings.IndexByte(key, '"') >= 0 {
		key = strings.ReplaceAll(key, `"`, "")
	}
	e, found, err := m.Lookup(ctx, key)
	q.asked = append(q.asked, Answer{Table: name, Key: key, Found: found, Value: e.Value, Source: e.Source, Err: err})
	if err != nil {
		return maps.Entry{}, false, fmt.Errorf("%s map, key %s: %w", name, key, err)
	}
	return e, found, nil
}

// Lookup asks the DNS. It makes an inquiry a dns.Resolver that records.
func (q *inquiry) Lookup(ctx context.Context, name string, t dns.Type) (dns.Answer, error) {
	a, err := q.policy.resolver.Lookup(ctx, name, t)
	q.asked = append(q.asked, Answer{
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
