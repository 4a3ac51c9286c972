package dns_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"gatepost/internal/dns"
	"gatepost/internal/dns/dnstest"
)

func zone() dnstest.Zone {
	return dnstest.Zone{
		"example.com":     {MX: []dnstest.MX{{Preference: 10, Host: "mx.example.com"}, {Preference: 20, Host: "MX2.example.com"}}},
		"mx.example.com":  {A: []string{"192.0.2.1", "192.0.2.2"}, AAAA: []string{"2001:db8::1"}},
		"www.example.com": {CNAME: "Web.example.net"},
		"web.example.net": {A: []string{"192.0.2.80"}},
		"dangling.org":    {CNAME: "nowhere.invalid"},
		"mxonly.org":      {CNAME: "example.com"},
		"null.org":        {MX: []dnstest.MX{{}}},
		"text.org":        {TXT: []string{"v=spf1 -all", strings.Repeat("x", 600)}},
		"loop.org":        {CNAME: "loop2.org"},
		"loop2.org":       {CNAME: "loop.org"},
		"broken.org":      {Fail: "SERVFAIL"},
		"private.org":     {Fail: "REFUSED"},
		"toserv.org":      {CNAME: "broken.org"},
		"mxfail.org":      {A: []string{"192.0.2.3"}, Fail: "MX:SERVFAIL"},
		"a.deep.org":      {A: []string{"192.0.2.4"}},

		"1.2.0.192.in-addr.arpa": {PTR: []string{"mx.example.com", "other.example.com"}},
	}
}

// client makes a Client that does not wait long.
func client(t *testing.T, servers ...string) *dns.Client {
	t.Helper()
	c, err := dns.NewClient(dns.Config{Servers: servers, Timeout: 300 * time.Millisecond, Attempts: 1})
	if err != nil {
		t.Fatalf("NewClient(%q): %v", servers, err)
	}
	return c
}

func lookup(c dns.Resolver, name string, t dns.Type) (dns.Answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return c.Lookup(ctx, name, t)
}

func addrs(list ...string) []netip.Addr {
	var a []netip.Addr
	for _, s := range list {
		a = append(a, netip.MustParseAddr(s))
	}
	return a
}

func TestLookup(t *testing.T) {
	server := dnstest.Serve(t, zone())
	const ttl = dnstest.TTL
	for _, tc := range []struct {
		name string
		ask  string
		t    dns.Type
		want dns.Answer // Server is set below
	}{
		{"A", "mx.example.com", dns.TypeA, dns.Answer{Name: "mx.example.com", Addrs: addrs("192.0.2.1", "192.0.2.2"), TTL: ttl}},
		{"final dot", "mx.example.com.", dns.TypeAAAA, dns.Answer{Name: "mx.example.com", Addrs: addrs("2001:db8::1"), TTL: ttl}},
		{"letters of the asker", "MX.Example.com", dns.TypeA, dns.Answer{Name: "MX.Example.com", Addrs: addrs("192.0.2.1", "192.0.2.2"), TTL: ttl}},
		{"MX", "example.com", dns.TypeMX, dns.Answer{Name: "example.com", MX: []dns.MX{{10, "mx.example.com"}, {20, "MX2.example.com"}}, TTL: ttl}},
		{"null MX", "null.org", dns.TypeMX, dns.Answer{Name: "null.org", MX: []dns.MX{{0, ""}}, TTL: ttl}},
		{"PTR", dns.ReverseName(netip.MustParseAddr("192.0.2.1")), dns.TypePTR, dns.Answer{Name: "1.2.0.192.in-addr.arpa", Names: []string{"mx.example.com", "other.example.com"}, TTL: ttl}},
		{"TXT", "text.org", dns.TypeTXT, dns.Answer{Name: "text.org", Texts: []string{"v=spf1 -all", strings.Repeat("x", 600)}, TTL: ttl}},
		{"CNAME", "www.example.com", dns.TypeA, dns.Answer{Name: "Web.example.net", Addrs: addrs("192.0.2.80"), TTL: ttl}},
		{"CNAME to no data", "www.example.com", dns.TypeMX, dns.Answer{Name: "Web.example.net", TTL: ttl}},
		{"CNAME to no name", "dangling.org", dns.TypeA, dns.Answer{Name: "nowhere.invalid", TTL: ttl}},
		{"no data", "mx.example.com", dns.TypeMX, dns.Answer{Name: "mx.example.com", TTL: ttl}},
		{"empty non-terminal", "deep.org", dns.TypeA, dns.Answer{Name: "deep.org", TTL: ttl}},
		{"no name", "nosuch.example", dns.TypeA, dns.Answer{Name: "nosuch.example", TTL: ttl}},
		{"bytes over 127", "b\xfccher.example", dns.TypeA, dns.Answer{Name: "b\xfccher.example", TTL: ttl}},
		{"control bytes", "a\x00b c.example", dns.TypeA, dns.Answer{Name: "a\x00b c.example", TTL: ttl}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := client(t, server)
			tc.want.Server = server
			got, err := lookup(c, tc.ask, tc.t)
			if err != nil || !reflect.DeepEqual(got, tc.want) {
				t.Errorf("Lookup(%q, %v) = %+v, %v, want %+v", tc.ask, tc.t, got, err, tc.want)
			}
			if n := c.Stats().Queries; n != 1 {
				t.Errorf("Lookup(%q, %v) sent %d questions, want 1", tc.ask, tc.t, n)
			}
		})
	}
}

func TestImpossibleNames(t *testing.T) {
	var asked atomic.Int64
	c := client(t, dnstest.Serve(t, zone(), dnstest.Count(&asked)))
	long := strings.Repeat("a.", 127) // 254 bytes of text, 255 on the wire: the longest name
	for _, name := range []string{
		"", ".", "..", ".example.com", "a..example.com", "example.com..",
		strings.Repeat("a", 64) + ".com", long + "b.", long + "bb", strings.Repeat("x", 100000),
		`a\`, `\`,
	} {
		got, err := lookup(c, name, dns.TypeA)
		if err != nil || !got.Empty() {
			t.Errorf("Lookup(%.40q) = %+v, %v, want an empty answer", name, got, err)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("impossible names: %d questions sent, want none", n)
	}
	for _, name := range []string{strings.Repeat("a", 63) + ".com", long, `a\.b.com`, `a\.`} {
		before := asked.Load()
		if got, err := lookup(c, name, dns.TypeA); err != nil || !got.Empty() || asked.Load() != before+1 {
			t.Errorf("Lookup(%q) = %+v, %v with %d questions, want an empty answer and one", name, got, err, asked.Load()-before)
		}
	}
}

// Each kind of misbehaviour, with a right answer behind it or none.
func TestMisbehaviour(t *testing.T) {
	right := addrs("192.0.2.1", "192.0.2.2")
	for _, tc := range []struct {
		name  string
		ask   string
		hooks []dnstest.Hook
		want  []netip.Addr
		err   string // in the error, if no answer is wanted
	}{
		{"truncated", "mx.example.com", []dnstest.Hook{dnstest.Truncated()}, right, ""},
		{"truncated, TCP silent", "mx.example.com", []dnstest.Hook{dnstest.Truncated(), onTCP(dnstest.Silent())}, nil, "EOF|time-out"},
		{"truncated, TCP about something else", "mx.example.com", []dnstest.Hook{dnstest.Truncated(), onTCP(dnstest.WrongQuestion("other.org"))}, nil, "does not fit"},
		{"truncated by TCP too", "mx.example.com", []dnstest.Hook{func(e *dnstest.Exchange) { e.Reply.Truncated = true }}, nil, "does not fit"},
		{"wrong id first", "mx.example.com", []dnstest.Hook{dnstest.Before(dnstest.WrongID())}, right, ""},
		{"wrong id", "mx.example.com", []dnstest.Hook{dnstest.WrongID()}, nil, "time-out"},
		{"wrong question first", "mx.example.com", []dnstest.Hook{dnstest.Before(dnstest.WrongQuestion("web.example.net"))}, right, ""},
		{"wrong question", "mx.example.com", []dnstest.Hook{dnstest.WrongQuestion("web.example.net")}, nil, "time-out"},
		{"wrong type", "mx.example.com", []dnstest.Hook{dnstest.WrongType(mdns.TypeAAAA)}, nil, "time-out"},
		{"echo first", "mx.example.com", []dnstest.Hook{dnstest.Before(dnstest.Echo())}, right, ""},
		{"echo", "mx.example.com", []dnstest.Hook{dnstest.Echo()}, nil, "time-out"},
		{"junk first", "mx.example.com", []dnstest.Hook{dnstest.OnUDP(dnstest.Junk([]byte("junk"))), dnstest.OnUDP(dnstest.Junk(nil)), dnstest.OnUDP(dnstest.Junk(make([]byte, 9000)))}, right, ""},
		{"silence", "mx.example.com", []dnstest.Hook{dnstest.Silent()}, nil, "time-out"},
		{"SERVFAIL", "mx.example.com", []dnstest.Hook{dnstest.Rcode(mdns.RcodeServerFailure)}, nil, "SERVFAIL"},
		{"REFUSED", "mx.example.com", []dnstest.Hook{dnstest.Rcode(mdns.RcodeRefused)}, nil, "REFUSED"},
		{"no EDNS", "mx.example.com", []dnstest.Hook{withEDNS(dnstest.Rcode(mdns.RcodeFormatError))}, right, ""},
		{"FORMERR", "mx.example.com", []dnstest.Hook{dnstest.Rcode(mdns.RcodeFormatError)}, nil, "FORMERR"},
		{"question in capitals", "mx.example.com", []dnstest.Hook{dnstest.WrongQuestion("MX.EXAMPLE.COM")}, right, ""},
		{"cut in the question", "mx.example.com", []dnstest.Hook{dnstest.Cut(20)}, nil, "time-out"},
		{"cut behind the question", "mx.example.com", []dnstest.Hook{dnstest.Cut(32)}, nil, "broken"},
		{"cut behind a record", "mx.example.com", []dnstest.Hook{dnstest.Cut(32 + 30)}, nil, "broken"},
		{"cut inside a record", "mx.example.com", []dnstest.Hook{dnstest.Cut(32 + 35)}, nil, "broken"},
		{"referral", "mx.example.com", []dnstest.Hook{referral}, nil, "referral"},
		{"record without data", "mx.example.com", []dnstest.Hook{emptyRecord}, nil, "broken"},
		{"records of another name", "mx.example.com", []dnstest.Hook{func(e *dnstest.Exchange) {
			for _, rr := range e.Reply.Answer {
				rr.Header().Name = "other.org."
			}
		}}, nil, ""},
		{"CNAME loop", "loop.org", nil, nil, "loop"},
		{"CNAME loop, one by one", "loop.org", []dnstest.Hook{dnstest.FirstCNAMEOnly()}, nil, "loop"},
		{"CNAME target asked for", "www.example.com", []dnstest.Hook{dnstest.FirstCNAMEOnly()}, addrs("192.0.2.80"), ""},
		{"CNAME target fails", "toserv.org", []dnstest.Hook{dnstest.FirstCNAMEOnly()}, nil, "SERVFAIL"},
		{"CNAME target fails inside", "toserv.org", nil, nil, "SERVFAIL"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := client(t, dnstest.Serve(t, zone(), tc.hooks...))
			got, err := lookup(c, tc.ask, dns.TypeA)
			if tc.err == "" && (err != nil || !reflect.DeepEqual(got.Addrs, tc.want)) {
				t.Errorf("Lookup(%q, A) = %v, %v, want %v", tc.ask, got.Addrs, err, tc.want)
			}
			if tc.err != "" {
				checkError(t, err, tc.err)
			}
		})
	}
}

// checkError wants an *Error that has one of the texts, separated by "|".
func checkError(t *testing.T, err error, want string) {
	t.Helper()
	var e *dns.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v (%T), want a *dns.Error with %q", err, err, want)
	}
	for text := range strings.SplitSeq(want, "|") {
		if strings.Contains(e.Error(), text) {
			return
		}
	}
	t.Errorf("error %q, want one with %q", e, want)
}

func onTCP(hook dnstest.Hook) dnstest.Hook {
	return func(e *dnstest.Exchange) {
		if e.Network == "tcp" {
			hook(e)
		}
	}
}

func withEDNS(hook dnstest.Hook) dnstest.Hook {
	return func(e *dnstest.Exchange) {
		if e.Query.IsEdns0() != nil {
			hook(e)
		}
	}
}

func referral(e *dnstest.Exchange) {
	e.Reply.Answer = nil
	e.Reply.Ns = []mdns.RR{&mdns.NS{Hdr: mdns.RR_Header{Name: "com.", Rrtype: mdns.TypeNS, Class: mdns.ClassINET, Ttl: 60}, Ns: "ns.example."}}
}

func emptyRecord(e *dnstest.Exchange) {
	e.Reply.Answer = []mdns.RR{&mdns.A{Hdr: mdns.RR_Header{Name: e.Query.Question[0].Name, Rrtype: mdns.TypeA, Class: mdns.ClassINET, Ttl: 60}}}
}

func TestAliasBound(t *testing.T) {
	for _, tc := range []struct {
		aliases int
		hooks   []dnstest.Hook
		ok      bool
	}{
		{dns.MaxAliases, nil, true},
		{dns.MaxAliases + 1, nil, false},
		{7, []dnstest.Hook{dnstest.FirstCNAMEOnly()}, true},
		{8, []dnstest.Hook{dnstest.FirstCNAMEOnly()}, false},
	} {
		z := dnstest.Zone{fmt.Sprintf("n%d.org", tc.aliases): {A: []string{"192.0.2.9"}}}
		for i := range tc.aliases {
			z[fmt.Sprintf("n%d.org", i)] = dnstest.Records{CNAME: fmt.Sprintf("n%d.org", i+1)}
		}
		c := client(t, dnstest.Serve(t, z, tc.hooks...))
		got, err := lookup(c, "n0.org", dns.TypeA)
		if ok := err == nil && len(got.Addrs) == 1; ok != tc.ok {
			t.Errorf("%d CNAMEs, %d hooks: %+v, %v, want found %v", tc.aliases, len(tc.hooks), got, err, tc.ok)
		}
	}
}

func TestFailover(t *testing.T) {
	closed := closedPort(t)
	for _, tc := range []struct {
		name string
		hook dnstest.Hook
	}{
		{"SERVFAIL", dnstest.Rcode(mdns.RcodeServerFailure)},
		{"REFUSED", dnstest.Rcode(mdns.RcodeRefused)},
		{"silence", dnstest.Silent()},
		{"broken message", dnstest.Cut(40)},
		{"referral", referral},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			good := dnstest.Serve(t, zone())
			c := client(t, closed, dnstest.Serve(t, zone(), tc.hook), good)
			got, err := lookup(c, "mx.example.com", dns.TypeA)
			if err != nil || len(got.Addrs) != 2 || got.Server != good {
				t.Errorf("Lookup = %+v, %v, want 2 addresses from %s", got, err, good)
			}
		})
	}
}

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().String()
}

func TestAttempts(t *testing.T) {
	for _, tc := range []struct {
		name  string
		hook  dnstest.Hook
		ok    bool
		asked int64
	}{
		{"lost twice", dnstest.First(2, dnstest.Silent()), true, 3},
		{"lost always", dnstest.Silent(), false, 3},
		{"a refusal is not repeated", dnstest.Rcode(mdns.RcodeRefused), false, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			server := dnstest.Serve(t, zone(), dnstest.Named(dnstest.Count(&asked)), dnstest.Named(tc.hook))
			c, err := dns.NewClient(dns.Config{Servers: []string{server}, Timeout: 100 * time.Millisecond, Attempts: 3})
			if err != nil {
				t.Fatal(err)
			}
			_, err = lookup(c, "mx.example.com", dns.TypeA)
			if (err == nil) != tc.ok || asked.Load() != tc.asked {
				t.Errorf("Lookup: error %v after %d questions, want success %v after %d", err, asked.Load(), tc.ok, tc.asked)
			}
		})
	}
}

func TestContext(t *testing.T) {
	c, err := dns.NewClient(dns.Config{Servers: []string{dnstest.Serve(t, zone(), dnstest.Silent())}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err = c.Lookup(ctx, "mx.example.com", dns.TypeA)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) > 2*time.Second {
		t.Errorf("Lookup ended with %v after %v, want the deadline after 50ms", err, time.Since(begin))
	}
	checkError(t, err, "no answer in time")
	if _, err = c.Lookup(ctx, "example.com", dns.TypeMX); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Lookup with a dead context: %v, want its error", err)
	}
}

func TestUnreadableType(t *testing.T) {
	c := client(t, dnstest.Serve(t, zone()))
	if ans, err := lookup(c, "example.com", dns.Type(6)); err == nil {
		t.Errorf("Lookup of an SOA = %+v, want an error", ans)
	}
}

// One flight for all who ask the same; one who leaves does not end it.
func TestFlight(t *testing.T) {
	gate := make(chan struct{})
	var asked atomic.Int64
	hold := func(*dnstest.Exchange) { <-gate }
	c, err := dns.NewClient(dns.Config{Servers: []string{dnstest.Serve(t, zone(), dnstest.Count(&asked), hold)}})
	if err != nil {
		t.Fatal(err)
	}
	leaver, leave := context.WithCancel(context.Background())
	left := make(chan error, 1)
	go func() {
		_, err := c.Lookup(leaver, "mx.example.com", dns.TypeA)
		left <- err
	}()
	waitFor(t, func() bool { return asked.Load() == 1 })

	var stayed sync.WaitGroup
	for _, name := range []string{"mx.example.com", "MX.example.com.", "mx.EXAMPLE.com", "mx.example.com"} {
		stayed.Go(func() {
			got, err := lookup(c, name, dns.TypeA)
			if err != nil || len(got.Addrs) != 2 || got.Name != strings.TrimSuffix(name, ".") {
				t.Errorf("Lookup(%q) = %+v, %v, want 2 addresses under that name", name, got, err)
			}
		})
	}
	waitFor(t, func() bool { return c.Stats().Lookups == 5 })
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the one who left got %v, want %v", err, context.Canceled)
	}
	close(gate)
	stayed.Wait()
	if n := asked.Load(); n != 2 {
		t.Errorf("%d questions for one name, want 2: that of the one who left and one more", n)
	}
}

// waitFor polls until the condition holds.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come to that within 5 s")
		}
	}
}

func TestNewClient(t *testing.T) {
	for _, tc := range []struct {
		name string
		cfg  dns.Config
		ok   bool
	}{
		{"IPv4", dns.Config{Servers: []string{"192.0.2.53"}}, true},
		{"IPv4 and port", dns.Config{Servers: []string{"192.0.2.53:5353"}}, true},
		{"IPv6", dns.Config{Servers: []string{"2001:db8::53", "[2001:db8::53]", "[2001:db8::53]:53", "fe80::1%eth0"}}, true},
		{"none", dns.Config{}, false},
		{"name", dns.Config{Servers: []string{"ns.example.com"}}, false},
		{"bad port", dns.Config{Servers: []string{"192.0.2.53:99999"}}, false},
		{"empty", dns.Config{Servers: []string{""}}, false},
		{"negative timeout", dns.Config{Servers: []string{"192.0.2.53"}, Timeout: -1}, false},
		{"negative attempts", dns.Config{Servers: []string{"192.0.2.53"}, Attempts: -1}, false},
		{"negative cache", dns.Config{Servers: []string{"192.0.2.53"}, CacheSize: -1}, false},
	} {
		if _, err := dns.NewClient(tc.cfg); (err == nil) != tc.ok {
			t.Errorf("%s: NewClient(%+v): error %v, want success %v", tc.name, tc.cfg, err, tc.ok)
		}
	}
}
