package dnsfake

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"time"

	"gatepost/internal/dns"
)

// TTL is how long all answers from a Zone are good for.
const TTL = 5 * time.Minute

// Fake is a dns.Resolver that answers from a Zone and writes down what it is
// asked. Make it with NewFake. It is safe for concurrent use.
type Fake struct {
	// Hang, if set, picks the questions that are not answered until ctx is
	// done: time-outs. Set it before the first Lookup.
	Hang func(name string, t dns.Type) bool

	index Index
	mu    sync.Mutex
	asked []string
}

// NewFake makes a Fake of the zone. Later changes of the zone are not seen.
func NewFake(zone Zone) *Fake { return &Fake{index: NewIndex(zone)} }

// Asked lists the questions so far as "MX example.com", in lower case and in their order.
func (f *Fake) Asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.asked...)
}

// Calls counts the questions so far.
func (f *Fake) Calls() int { return len(f.Asked()) }

// Lookup implements dns.Resolver.
func (f *Fake) Lookup(ctx context.Context, name string, t dns.Type) (dns.Answer, error) {
	f.mu.Lock()
	f.asked = append(f.asked, t.String()+" "+Plain(name))
	f.mu.Unlock()
	if f.Hang != nil && f.Hang(name, t) {
		<-ctx.Done()
	}
	if err := ctx.Err(); err != nil {
		return dns.Answer{}, f.fault(name, t, "no answer in time", err)
	}
	o := f.index.Follow(name, t.String())
	switch {
	case o.Fail != "":
		return dns.Answer{}, f.fault(name, t, o.Fail, nil)
	case o.Loop:
		return dns.Answer{}, f.fault(name, t, "CNAME loop", nil)
	}
	ans := answer(o.Records, t)
	ans.Name, ans.TTL, ans.Server, ans.Authentic = strings.TrimSuffix(name, "."), TTL, "fake", o.Authentic
	if n := len(o.Aliases); n > 0 {
		ans.Name = strings.TrimSuffix(o.Aliases[n-1], ".")
	}
	return ans, nil
}

func (f *Fake) fault(name string, t dns.Type, reason string, err error) error {
	return &dns.Error{Name: name, Type: t, Server: "fake", Reason: reason, Err: err}
}

func answer(r Records, t dns.Type) dns.Answer {
	var ans dns.Answer
	switch t {
	case dns.TypeA:
		ans.Addrs = addrs(r.A)
	case dns.TypeAAAA:
		ans.Addrs = addrs(r.AAAA)
	case dns.TypeMX:
		for _, mx := range r.MX {
			ans.MX = append(ans.MX, dns.MX{Preference: mx.Preference, Host: strings.TrimSuffix(mx.Host, ".")})
		}
	case dns.TypePTR:
		for _, name := range r.PTR {
			ans.Names = append(ans.Names, strings.TrimSuffix(name, "."))
		}
	case dns.TypeTXT:
		ans.Texts = append(ans.Texts, r.TXT...)
	case dns.TypeTLSA:
		for _, text := range r.TLSA {
			one, err := ParseTLSA(text)
			if err != nil {
				panic(err)
			}
			ans.TLSA = append(ans.TLSA, one)
		}
	}
	return ans
}

func addrs(texts []string) []netip.Addr {
	var list []netip.Addr
	for _, s := range texts {
		list = append(list, netip.MustParseAddr(s))
	}
	return list
}
