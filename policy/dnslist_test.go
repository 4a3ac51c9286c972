package policy_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatepost/internal/dns"
	"gatepost/internal/dns/dnsfake"
	"gatepost/policy"
	"gatepost/policy/dnsbl"
)

// table is a list as a table [[dnsbl]] makes it.
func table(zone string, change func(*policy.ListTable)) policy.DNSList {
	l := policy.DNSList{Zone: zone, Table: &policy.ListTable{Filters: []dnsbl.Filter{dnsbl.Everything(0)}}}
	if change != nil {
		change(l.Table)
	}
	return l
}

// weight makes a list count; the weights of answers are by their last octet.
func weight(usual int, answers map[byte]int) func(*policy.ListTable) {
	return func(t *policy.ListTable) {
		t.Scored, t.Filters = true, nil
		for octet, w := range answers {
			a := netip.AddrFrom4([4]byte{127, 0, 0, octet})
			t.Filters = append(t.Filters, dnsbl.Filter{First: a, Last: a, Weight: w})
		}
		if answers == nil {
			t.Filters = []dnsbl.Filter{dnsbl.Everything(usual)}
		}
	}
}

func allow(t *policy.ListTable) { t.Allow = true }
func of(l policy.ListLookup) func(*policy.ListTable) {
	return func(t *policy.ListTable) { t.Lookup = l }
}

func listed(answer ...string) dnsfake.Records { return dnsfake.Records{A: answer} }

const client = "192.0.2.99"

// TestDNSLists has what lists make of their answers. The client is 192.0.2.99.
func TestDNSLists(t *testing.T) {
	message := func(l policy.DNSList, text string) policy.DNSList { l.Message = text; return l }
	fails := dnsfake.Records{Fail: "SERVFAIL"}
	cases := []struct {
		name  string
		lists []policy.DNSList
		most  int
		zone  dnsfake.Zone
		at    policy.Stage
		want  string
	}{
		{"sendmail's text", []policy.DNSList{{Zone: "bl"}}, 0, dnsfake.Zone{"99.2.0.192.bl": listed("127.0.0.2")}, policy.StageConnect,
			"reject 550 5.7.1 Rejected: 192.0.2.99 listed at bl by dnsbl"},
		{"not listed", []policy.DNSList{{Zone: "bl"}}, 0, nil, policy.StageConnect, "accept by check_relay"},
		{"an error of the list", []policy.DNSList{{Zone: "bl"}}, 0, dnsfake.Zone{"99.2.0.192.bl": listed("127.255.255.254")}, policy.StageConnect, "accept by check_relay"},
		{"an address of a domain for sale", []policy.DNSList{{Zone: "bl"}}, 0, dnsfake.Zone{"99.2.0.192.bl": listed("203.0.113.80")}, policy.StageConnect, "accept by check_relay"},
		{"an error of the list is no answer", []policy.DNSList{{Zone: "bl", Temporary: "t"}}, 0, dnsfake.Zone{"99.2.0.192.bl": listed("127.255.255.254")}, policy.StageConnect,
			"tempfail 451 4.4.3 Temporary lookup failure of 192.0.2.99 at bl by dnsbl"},
		{"enhdnsbl looks at the first answer", []policy.DNSList{{Zone: "bl", Enhanced: true, Results: []string{"127.0.0.2."}}}, 0,
			dnsfake.Zone{"99.2.0.192.bl": listed("127.0.0.4", "127.0.0.2")}, policy.StageConnect, "accept by check_relay"},
		{"enhdnsbl names an answer that is else an error", []policy.DNSList{{Zone: "bl", Enhanced: true, Results: []string{"127.0.0.1."}}}, 0,
			dnsfake.Zone{"99.2.0.192.bl": listed("127.0.0.1")}, policy.StageConnect, "reject 550 5.7.1 Rejected: 192.0.2.99 listed at bl by enhdnsbl"},
		{"a table looks at all answers", []policy.DNSList{table("bl", func(t *policy.ListTable) {
			two := netip.MustParseAddr("127.0.0.2")
			t.Filters = []dnsbl.Filter{{First: two, Last: two}}
		})}, 0, dnsfake.Zone{"99.2.0.192.bl": listed("127.0.0.4", "127.0.0.2")}, policy.StageConnect, "reject 550 5.7.1 Rejected: 192.0.2.99 listed at bl by dnsbl"},
		{"quarantine", []policy.DNSList{message(table("bl", nil), "quarantine")}, 0, dnsfake.Zone{"99.2.0.192.bl": listed("127.0.0.2")}, policy.StageConnect, "quarantine bl by dnsbl"},

		{"below the threshold", []policy.DNSList{table("a", weight(2, nil)), table("b", weight(2, nil))}, 4, dnsfake.Zone{"99.2.0.192.a": listed("127.0.0.2")}, policy.StageConnect, "accept by check_relay"},
		{"two lists reach it", []policy.DNSList{table("a", weight(2, nil)), table("b", weight(2, nil))}, 4,
			dnsfake.Zone{"99.2.0.192.a": listed("127.0.0.2"), "99.2.0.192.b": listed("127.0.0.9")}, policy.StageConnect,
			"reject 550 5.7.1 Rejected: 192.0.2.99 listed at a, b by dnsbl_threshold"},
		{"weights by answer", []policy.DNSList{table("a", weight(0, map[byte]int{2: 4, 3: 1}))}, 4, dnsfake.Zone{"99.2.0.192.a": listed("127.0.0.3")}, policy.StageConnect, "accept by check_relay"},
		{"weights by answer reach it", []policy.DNSList{table("a", weight(0, map[byte]int{2: 4, 3: 1}))}, 4, dnsfake.Zone{"99.2.0.192.a": listed("127.0.0.2")}, policy.StageConnect,
			"reject 550 5.7.1 Rejected: 192.0.2.99 listed at a by dnsbl_threshold"},
		{"a good list outweighs", []policy.DNSList{table("a", weight(4, nil)), table("wl", weight(-2, nil))}, 4,
			dnsfake.Zone{"99.2.0.192.a": listed("127.0.0.2"), "99.2.0.192.wl": listed("127.0.5.1")}, policy.StageConnect, "accept by check_relay"},
		{"a list that cannot be asked weighs nothing", []policy.DNSList{table("a", weight(4, nil)), table("b", weight(4, nil))}, 4,
			dnsfake.Zone{"99.2.0.192.a": fails}, policy.StageConnect, "accept by check_relay"},
		{"a good list that cannot be asked", []policy.DNSList{table("a", weight(4, nil)), table("wl", weight(-2, nil))}, 4,
			dnsfake.Zone{"99.2.0.192.a": listed("127.0.0.2"), "99.2.0.192.wl": fails}, policy.StageConnect,
			"tempfail 451 4.4.3 Temporary lookup failure of 192.0.2.99 at wl by dnsbl_threshold"},
		{"a good list that would not have been enough", []policy.DNSList{table("a", weight(9, nil)), table("wl", weight(-2, nil))}, 4,
			dnsfake.Zone{"99.2.0.192.a": listed("127.0.0.2"), "99.2.0.192.wl": fails}, policy.StageConnect,
			"reject 550 5.7.1 Rejected: 192.0.2.99 listed at a by dnsbl_threshold"},

		{"allowed", []policy.DNSList{{Zone: "bl"}, table("a", weight(4, nil)), table("wl", allow)}, 4,
			dnsfake.Zone{"99.2.0.192.bl": listed("127.0.0.2"), "99.2.0.192.a": listed("127.0.0.2"), "99.2.0.192.wl": listed("127.0.5.1")}, policy.StageConnect, "accept by check_relay"},
		{"allowing cannot be asked", []policy.DNSList{{Zone: "bl"}, table("wl", allow)}, 0,
			dnsfake.Zone{"99.2.0.192.bl": listed("127.0.0.2"), "99.2.0.192.wl": fails}, policy.StageConnect,
			"tempfail 451 4.4.3 Temporary lookup failure of 192.0.2.99 at wl by dnsbl"},
		{"allowing cannot be asked, and no list refuses", []policy.DNSList{{Zone: "bl"}, table("wl", allow)}, 0, dnsfake.Zone{"99.2.0.192.wl": fails}, policy.StageConnect, "accept by check_relay"},

		{"client name", []policy.DNSList{table("dbl", of(policy.LookupClientName))}, 0, dnsfake.Zone{"host.bad.example.dbl": listed("127.0.1.2")}, policy.StageConnect,
			"reject 550 5.7.1 Rejected: host.bad.example listed at dbl by dnsbl"},
		{"sender", []policy.DNSList{table("dbl", of(policy.LookupSender))}, 0, dnsfake.Zone{"from.example.dbl": listed("127.0.1.2")}, policy.StageMail,
			"reject 550 5.7.1 Rejected: from.example listed at dbl by dnsbl"},
		{"sender at connection", []policy.DNSList{table("dbl", of(policy.LookupSender))}, 0, dnsfake.Zone{"from.example.dbl": listed("127.0.1.2")}, policy.StageConnect, "accept by check_relay"},
		{"helo", []policy.DNSList{table("dbl", of(policy.LookupHelo))}, 0, dnsfake.Zone{"helo.example.dbl": listed("127.0.1.2")}, policy.StageMail,
			"reject 550 5.7.1 Rejected: helo.example listed at dbl by dnsbl"},
		{"address and sender together", []policy.DNSList{table("a", weight(2, nil)), table("dbl", func(t *policy.ListTable) { weight(2, nil)(t); t.Lookup = policy.LookupSender })}, 4,
			dnsfake.Zone{"99.2.0.192.a": listed("127.0.0.2"), "from.example.dbl": listed("127.0.1.2")}, policy.StageMail,
			"reject 550 5.7.1 Rejected: 192.0.2.99 listed at a; from.example listed at dbl by dnsbl_threshold"},
		{"allowed address, listed sender", []policy.DNSList{table("wl", allow), table("dbl", of(policy.LookupSender))}, 0,
			dnsfake.Zone{"99.2.0.192.wl": listed("127.0.5.1"), "from.example.dbl": listed("127.0.1.2")}, policy.StageMail, "accept by check_dnsbl"},
	}
	for _, tc := range cases {
		for _, timeout := range []time.Duration{0, time.Second} {
			t.Run(fmt.Sprintf("%s/%v", tc.name, timeout), func(t *testing.T) {
				p := engine(t, func(c *policy.Config) {
					c.Features.DNSLists, c.Features.DNSListThreshold, c.Features.DNSListTimeout = tc.lists, tc.most, timeout
					c.Resolver = dnsfake.NewFake(tc.zone)
				})
				f := facts(client, "host.bad.example", "<u@From.Example>", "<u@example.com>")
				f.Helo = policy.Helo{Given: true, Name: "helo.example"}
				for _, f.Memory = range []*policy.Memory{nil, {}} {
					for range 2 { // the second time out of the memory
						if got := describe(p.Decide(t.Context(), tc.at, f)); got != tc.want {
							t.Errorf("got  %s\nwant %s", got, tc.want)
						}
					}
				}
			})
		}
	}
}

// TestExemptFromSenderLists: some clients are asked nothing about their senders.
func TestExemptFromSenderLists(t *testing.T) {
	for _, delayed := range []policy.DelayChecks{policy.DelayNone, policy.DelayAll} {
		p := engine(t, func(c *policy.Config) {
			c.Features.DNSLists = []policy.DNSList{table("dbl", of(policy.LookupSender)), table("hbl", of(policy.LookupHelo))}
			c.Features.DelayChecks = delayed
			c.Features.TrustAuthMech = []string{"PLAIN"}
			c.Resolver = dnsfake.NewFake(dnsfake.Zone{"bad.example.dbl": listed("127.0.1.2"), "ok.bad.example.dbl": listed("127.0.1.2"), "bad.helo.hbl": listed("127.0.1.2")})
		}, "Connect:198.51.100 OK", "From:ok.bad.example OK")
		at := policy.StageMail
		if delayed != policy.DelayNone {
			at = policy.StageRcpt
		}
		for _, tc := range []struct {
			name, addr, from, auth, helo string
			want                         string
		}{
			{"stranger", client, "<u@bad.example>", "", "h.example", "reject"},
			{"Connect: OK", "198.51.100.7", "<u@bad.example>", "", "h.example", "accept"},
			{"From: OK", client, "<u@ok.bad.example>", "", "h.example", "accept"},
			{"logged in", client, "<u@bad.example>", "PLAIN", "h.example", "accept"},
			{"logged in otherwise", client, "<u@bad.example>", "LOGIN", "h.example", "reject"},
			{"this host", "127.0.0.1", "<u@bad.example>", "", "h.example", "accept"},
			{"null sender", client, "<>", "", "h.example", "accept"},
			{"null sender, listed greeting", client, "<>", "", "bad.helo", "reject"},
		} {
			f := facts(tc.addr, "", tc.from, "<u@example.com>")
			f.Auth.Type, f.Helo.Name = tc.auth, tc.helo
			if got := p.Decide(t.Context(), at, f).Verdict.Action.String(); got != tc.want {
				t.Errorf("delay_checks %v, %s: %s, want %s", delayed, tc.name, got, tc.want)
			}
		}
	}
}

// TestListsOfIPv6 asks tables about IPv6 clients, and sendmail's features not.
func TestListsOfIPv6(t *testing.T) {
	const name = "9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2."
	for _, tc := range []struct {
		list policy.DNSList
		want string
	}{
		{policy.DNSList{Zone: "bl"}, "accept by check_relay"},
		{table("bl", nil), "reject 550 5.7.1 Rejected: IPv6:2001:db8:0:0:0:0:0:9 listed at bl by dnsbl"},
		{table("bl", func(t *policy.ListTable) { t.IPv4Only = true }), "accept by check_relay"},
	} {
		p := engine(t, func(c *policy.Config) {
			c.Features.DNSLists = []policy.DNSList{tc.list}
			c.Resolver = dnsfake.NewFake(dnsfake.Zone{name + "bl": listed("127.0.0.2")})
		})
		if got := describe(p.Decide(t.Context(), policy.StageConnect, facts("2001:db8::9", "", "", ""))); got != tc.want {
			t.Errorf("got %s, want %s", got, tc.want)
		}
	}
}

// TestListReason puts what a list says into the reply, whatever it says.
func TestListReason(t *testing.T) {
	const usual = "Rejected: 192.0.2.99 listed at bl"
	for _, tc := range []struct {
		name    string
		records dnsfake.Records
		want    string
	}{
		{"text", dnsfake.Records{TXT: []string{"see https://bl.example/?192.0.2.99"}}, usual + "; see https://bl.example/?192.0.2.99"},
		{"no text", dnsfake.Records{}, usual},
		{"cannot be asked", dnsfake.Records{Fail: "TXT:SERVFAIL"}, usual},
		{"a forged reply", dnsfake.Records{TXT: []string{"x\r\n250 2.0.0 OK\x00 %s %"}}, usual + "; x 250 2.0.0 OK %s %"},
		{"far too long", dnsfake.Records{TXT: []string{strings.Repeat("y", 60000)}}, usual + "; " + strings.Repeat("y", 197) + "..."},
		{"the key in it", dnsfake.Records{TXT: []string{"https://bl.example/?key=sesame"}}, usual + "; https://bl.example/?key=(key)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.records.A = []string{"127.0.0.2"}
			p := engine(t, func(c *policy.Config) {
				c.Features.DNSLists = []policy.DNSList{table("bl", func(t *policy.ListTable) { t.Reason, t.Key = true, "sesame" })}
				c.Features.DNSListTimeout = time.Second
				c.Resolver = dnsfake.NewFake(dnsfake.Zone{"99.2.0.192.sesame.bl": tc.records})
			})
			d := p.Decide(t.Context(), policy.StageConnect, facts(client, "", "", ""))
			if got := d.Verdict.Reply.Text(); got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
			if all := fmt.Sprintf("%+v", d.Steps); strings.Contains(all, "sesame") {
				t.Errorf("the key is in the record: %s", all)
			}
		})
	}
}

// TestListRecord has the lists in their order, whichever answers first.
func TestListRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := engine(t, func(c *policy.Config) {
			c.Features.DNSLists = []policy.DNSList{{Zone: "slow.bl"}, table("fast.bl", nil), table("a.bl", weight(2, nil)), table("wl", allow), table("b.bl", weight(1, nil))}
			c.Features.DNSListThreshold, c.Features.DNSListTimeout = 9, 3*time.Second
			c.Resolver = paced{dnsfake.NewFake(dnsfake.Zone{"99.2.0.192.a.bl": listed("127.0.0.2")}), "slow", 2 * time.Second}
		})
		start := time.Now()
		d := p.Decide(t.Context(), policy.StageConnect, facts(client, "", "", ""))
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("it took %v, want as long as the slowest list, 2 s", took)
		}
		var got []string
		for _, s := range d.Steps {
			for _, a := range s.Asked {
				if strings.HasPrefix(a.Table, "dns") {
					got = append(got, strings.TrimSpace(s.Rule+": "+strings.TrimPrefix(a.Key, "99.2.0.192.")+" "+a.Value+" "+a.TTL.String()))
				}
			}
		}
		want := []string{"dnsbl_allow: wl  5m0s", "dnsbl: slow.bl  5m0s", "dnsbl: fast.bl  5m0s", "dnsbl_threshold: a.bl 127.0.0.2 (weight 2) 5m0s", "dnsbl_threshold: b.bl  5m0s"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("record (-want +got):\n%s", diff)
		}
	})
}

// paced answers names with a word in them late.
type paced struct {
	dns.Resolver
	word string
	by   time.Duration
}

func (p paced) Lookup(ctx context.Context, name string, t dns.Type) (dns.Answer, error) {
	if strings.Contains(name, p.word) {
		select {
		case <-time.After(p.by):
		case <-ctx.Done():
			return dns.Answer{}, ctx.Err()
		}
	}
	return p.Resolver.Lookup(ctx, name, t)
}

// TestFirstHitDoesNotWait: what a later list would say is of no interest any more.
func TestFirstHitDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := engine(t, func(c *policy.Config) {
			c.Features.DNSLists = []policy.DNSList{{Zone: "bl"}, {Zone: "slow.bl"}, {Zone: "slow.too"}}
			c.Features.DNSListTimeout = 3 * time.Second
			c.Resolver = paced{dnsfake.NewFake(dnsfake.Zone{"99.2.0.192.bl": listed("127.0.0.2")}), "slow", time.Hour}
		})
		start := time.Now()
		d := p.Decide(t.Context(), policy.StageConnect, facts(client, "", "", ""))
		if took := time.Since(start); took != 0 || d.Verdict.Action != policy.Reject {
			t.Errorf("%s after %v, want a rejection at once", describe(d), took)
		}
		synctest.Wait() // no lookup is left behind: the bubble would not end
	})
}

// TestBudget: lists that are silent cost the budget once in a session, not once
// for each list or recipient.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := dnsfake.NewFake(nil)
		silent.Hang = func(name string, _ dns.Type) bool { return strings.HasSuffix(name, ".bl") }
		p := engine(t, func(c *policy.Config) {
			c.Features.DelayChecks = policy.DelayAll
			c.Features.DNSLists = []policy.DNSList{{Zone: "a.bl"}, table("b.bl", nil), table("c.bl", weight(3, nil)), table("d.bl", allow),
				table("e.bl", of(policy.LookupSender)), table("f.bl", of(policy.LookupHelo))}
			c.Features.DNSListThreshold, c.Features.DNSListTimeout = 3, 3*time.Second
			c.Resolver = silent
		})
		f := facts(client, "", "<u@from.example>", "<u@example.com>")
		f.Helo.Name, f.Memory = "helo.example", &policy.Memory{}
		start := time.Now()
		for range 50 {
			if d := p.Decide(t.Context(), policy.StageRcpt, f); d.Verdict.Action != policy.Accept {
				t.Fatalf("silent lists: %s", describe(d))
			}
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("fifty recipients took %v, want the budget once, 3 s", took)
		}
	})
}

// TestParkedList is not asked, says so in the record, and is no failed lookup.
func TestParkedList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := policy.DNSList{Zone: "bl", Temporary: "t"}
		set := dnsbl.NewSet([]dnsbl.Zone{list.DNSZone()}, nil)
		everybody := wildcard{netip.MustParseAddr("127.0.0.2")}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go set.Run(ctx, everybody, slog.New(slog.DiscardHandler))
		synctest.Wait()
		p := engine(t, func(c *policy.Config) {
			c.Features.DNSLists, c.Features.DNSListTimeout, c.Lists, c.Resolver = []policy.DNSList{list}, time.Second, set, everybody
		})
		d := p.Decide(t.Context(), policy.StageConnect, facts(client, "", "", ""))
		if d.Verdict.Action != policy.Accept {
			t.Errorf("a list of everybody: %s", describe(d))
		}
		for _, s := range d.Steps {
			if s.Rule == "dnsbl" && (s.Err != nil || len(s.Asked) != 1 || s.Asked[0].Err == nil || !strings.HasPrefix(s.Asked[0].Err.Error(), "parked: it lists 127.0.0.1")) {
				t.Errorf("the record says %+v", s)
			}
		}
	})
}

// wildcard has the same address for every name.
type wildcard struct{ addr netip.Addr }

func (w wildcard) Lookup(_ context.Context, name string, _ dns.Type) (dns.Answer, error) {
	return dns.Answer{Name: name, Addrs: []netip.Addr{w.addr}}, nil
}

// counting counts the questions.
type counting struct {
	dns.Resolver
	n *atomic.Int64
}

func (c counting) Lookup(ctx context.Context, name string, t dns.Type) (dns.Answer, error) {
	c.n.Add(1)
	return c.Resolver.Lookup(ctx, name, t)
}

// TestOneQuestion: a zone that is used twice is asked once, and counted once.
func TestOneQuestion(t *testing.T) {
	for _, timeout := range []time.Duration{0, time.Second} {
		lists := []policy.DNSList{table("bl", weight(0, map[byte]int{2: 1})), table("bl", weight(0, map[byte]int{3: 1}))}
		set := dnsbl.NewSet([]dnsbl.Zone{lists[0].DNSZone(), lists[1].DNSZone()}, nil)
		var n atomic.Int64
		p := engine(t, func(c *policy.Config) {
			c.Features.DNSLists, c.Features.DNSListThreshold, c.Features.DNSListTimeout, c.Lists = lists, 9, timeout, set
			c.Resolver = counting{dnsfake.NewFake(dnsfake.Zone{"99.2.0.192.bl": listed("127.0.0.3")}), &n}
		})
		p.Decide(t.Context(), policy.StageConnect, facts(client, "", "", ""))
		if s := set.Status()[0]; n.Load() != 1 || s.Queries != 1 || s.Hits != 1 {
			t.Errorf("with budget %v: %d questions, %d counted, %d hits, want one each", timeout, n.Load(), s.Queries, s.Hits)
		}
	}
}

// TestLookupLists is gatepost lookup dnsbl.
func TestLookupLists(t *testing.T) {
	p := engine(t, func(c *policy.Config) {
		c.Features.DNSLists = []policy.DNSList{{Zone: "a"}, table("b", nil), table("dbl", of(policy.LookupSender))}
		c.Features.DNSListTimeout = time.Second
		c.Resolver = dnsfake.NewFake(dnsfake.Zone{
			"99.2.0.192.a": {A: []string{"127.0.0.2"}, TXT: []string{"why"}}, "99.2.0.192.b": listed("127.255.255.254"), "x.example.dbl": listed("127.0.1.2")})
	})
	for key, want := range map[string]string{
		client:        "99.2.0.192.a true 127.0.0.2, 99.2.0.192.a true why, 99.2.0.192.b false 127.255.255.254",
		"u@x.example": "x.example.dbl true 127.0.1.2, x.example.dbl false ",
		"x.example":   "x.example.dbl true 127.0.1.2, x.example.dbl false ",
		"other.org":   "other.org.dbl false ",
	} {
		answers, err := p.Lookup(t.Context(), "dnsbl", key)
		var got []string
		for _, a := range answers {
			got = append(got, fmt.Sprintf("%s %v %s", a.Key, a.Found, a.Value))
		}
		if all := strings.Join(got, ", "); all != want || err != nil {
			t.Errorf("%s: %s, %v, want %s", key, all, err, want)
		}
	}
	for key, want := range map[string]string{"localhost": "no DNS list is asked about localhost"} {
		if _, err := p.Lookup(t.Context(), "dnsbl", key); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", key, err, want)
		}
	}
	if _, err := engine(t, nil).Lookup(t.Context(), "dnsbl", client); err == nil {
		t.Error("a lookup without lists is no error")
	}
}
