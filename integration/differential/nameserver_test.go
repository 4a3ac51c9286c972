package main

import (
	"net"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"gatepost/internal/dns/dnsfake"
)

func testZone() dnsfake.Zone {
	return dnsfake.Zone{
		"Friend.org":                {A: []string{"198.51.100.40"}, MX: []dnsfake.MX{{Preference: 10, Host: "mx.friend.org"}}},
		"v6.org":                    {AAAA: []string{"2001:db8::1"}, TXT: []string{"text"}},
		"alias.org":                 {CNAME: "next.org"},
		"next.org":                  {CNAME: "friend.org"},
		"loop.org":                  {CNAME: "loop.org"},
		"bad.org":                   {Fail: "SERVFAIL"},
		"half.org":                  {A: []string{"198.51.100.41"}, Fail: "MX:SERVFAIL,AAAA:REFUSED"},
		"toBad.org":                 {CNAME: "bad.org"},
		"7.100.51.198.in-addr.arpa": {PTR: []string{"c7.isp.net"}},
		"null.org":                  {MX: []dnsfake.MX{{}}},
	}
}

func TestReply(t *testing.T) {
	f := newFacts(testZone())
	for _, c := range []struct {
		name  string
		qtype uint16
		rcode int
		want  []string // record data, in order
	}{
		{"friend.org.", dns.TypeA, dns.RcodeSuccess, []string{"198.51.100.40"}},
		{"FRIEND.ORG.", dns.TypeMX, dns.RcodeSuccess, []string{"10 mx.friend.org."}},
		{"friend.org.", dns.TypeAAAA, dns.RcodeSuccess, nil},
		{"v6.org.", dns.TypeAAAA, dns.RcodeSuccess, []string{"2001:db8::1"}},
		{"v6.org.", dns.TypeTXT, dns.RcodeSuccess, []string{`"text"`}},
		{"alias.org.", dns.TypeA, dns.RcodeSuccess, []string{"next.org.", "friend.org.", "198.51.100.40"}},
		{"nowhere.org.", dns.TypeA, dns.RcodeNameError, nil},
		{"100.51.198.in-addr.arpa.", dns.TypePTR, dns.RcodeSuccess, nil},
		{"7.100.51.198.in-addr.arpa.", dns.TypePTR, dns.RcodeSuccess, []string{"c7.isp.net."}},
		{"bad.org.", dns.TypeA, dns.RcodeServerFailure, nil},
		{"tobad.org.", dns.TypeA, dns.RcodeServerFailure, nil},
		{"half.org.", dns.TypeA, dns.RcodeSuccess, []string{"198.51.100.41"}},
		{"half.org.", dns.TypeMX, dns.RcodeServerFailure, nil},
		{"half.org.", dns.TypeAAAA, dns.RcodeRefused, nil},
		{"null.org.", dns.TypeMX, dns.RcodeSuccess, []string{"0 ."}},
	} {
		t.Run(c.name+dns.TypeToString[c.qtype], func(t *testing.T) {
			m := f.reply(new(dns.Msg).SetQuestion(c.name, c.qtype))
			var got []string
			for _, rr := range m.Answer {
				got = append(got, strings.TrimPrefix(rr.String(), rr.Header().String()))
			}
			if m.Rcode != c.rcode || strings.Join(got, "|") != strings.Join(c.want, "|") {
				t.Errorf("code %d, answer %q; want %d, %q", m.Rcode, got, c.rcode, c.want)
			}
		})
	}
}

func TestReplyEndsLoops(t *testing.T) {
	m := newFacts(testZone()).reply(new(dns.Msg).SetQuestion("loop.org.", dns.TypeA))
	if len(m.Answer) != maxAliases {
		t.Errorf("a circle of aliases gives %d records, want %d", len(m.Answer), maxAliases)
	}
}

func TestNameServerByUDPAndTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	n := &nameServer{}
	if err := n.listen(addr); err != nil {
		t.Fatal(err)
	}
	n.facts.Store(newFacts(testZone()))
	for _, network := range []string{"udp", "tcp"} {
		c := dns.Client{Net: network}
		m, _, err := c.Exchange(new(dns.Msg).SetQuestion("friend.org.", dns.TypeA), addr)
		if err != nil || len(m.Answer) != 1 {
			t.Errorf("%s: %v, %v; want one record", network, m, err)
		}
	}
	if err := (&nameServer{}).listen(addr); err == nil {
		t.Errorf("a second server on %s: no error", addr)
	}
}
