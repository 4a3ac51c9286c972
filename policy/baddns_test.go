package policy_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"gatepost/internal/dns"
	"gatepost/internal/dns/dnstest"
	"gatepost/internal/smtp"
	"gatepost/policy"
)

// TestMisbehavingServer: whatever a name server does, a domain that is there is
// never said not to exist, and no decision hangs.
func TestMisbehavingServer(t *testing.T) {
	zone := dnstest.Zone{
		"sender.org":    {MX: []dnstest.MX{{Preference: 10, Host: "mx.sender.org"}}},
		"mx.sender.org": {A: []string{"192.0.2.1"}},
		"alias.org":     {CNAME: "sender.org"},
		"loop.org":      {CNAME: "loop2.org"},
		"loop2.org":     {CNAME: "loop.org"},
	}
	const accept, temporary = "accept", "tempfail 451 4.1.8 Domain of sender address u@"
	for _, tc := range []struct {
		name, domain string
		hooks        []dnstest.Hook
		want         string // how the verdict begins
	}{
		{"none", "sender.org", nil, accept},
		{"alias", "alias.org", nil, accept},
		{"certain absence", "nosuch.org", nil, "reject 553 5.1.8 "},
		{"SERVFAIL", "sender.org", []dnstest.Hook{dnstest.Rcode(mdns.RcodeServerFailure)}, temporary},
		{"REFUSED", "sender.org", []dnstest.Hook{dnstest.Rcode(mdns.RcodeRefused)}, temporary},
		{"NOTIMP", "sender.org", []dnstest.Hook{dnstest.Rcode(mdns.RcodeNotImplemented)}, temporary},
		{"truncated", "sender.org", []dnstest.Hook{dnstest.Truncated()}, accept},
		{"truncated, nothing by TCP", "sender.org", []dnstest.Hook{dnstest.Truncated(), onTCP(dnstest.Silent())}, temporary},
		{"CNAME loop", "loop.org", nil, temporary},
		{"CNAME loop, one by one", "loop.org", []dnstest.Hook{dnstest.FirstCNAMEOnly()}, temporary},
		{"answers to another question", "sender.org", []dnstest.Hook{dnstest.WrongQuestion("nosuch.org")}, temporary},
		{"an answer to another question first", "sender.org", []dnstest.Hook{dnstest.Before(dnstest.WrongQuestion("nosuch.org"))}, accept},
		{"absence with another id", "sender.org", []dnstest.Hook{absent, dnstest.WrongID()}, temporary},
		{"absence with another id first", "sender.org", []dnstest.Hook{dnstest.Before(func(e *dnstest.Exchange) { absent(e); e.Reply.Id++ })}, accept},
		{"junk first", "sender.org", []dnstest.Hook{dnstest.OnUDP(dnstest.Junk([]byte("\x00\x01junk")))}, accept},
		{"half an answer", "sender.org", []dnstest.Hook{dnstest.OnUDP(dnstest.Cut(40))}, temporary},
		{"five seconds late", "sender.org", []dnstest.Hook{dnstest.Late(5 * time.Second)}, temporary},
		{"silence", "sender.org", []dnstest.Hook{dnstest.Silent()}, temporary},
		{"a referral", "sender.org", []dnstest.Hook{referral}, temporary},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c, err := dns.NewClient(dns.Config{Servers: []string{dnstest.Serve(t, zone, tc.hooks...)}, Timeout: 200 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			p := engine(t, func(c2 *policy.Config) {
				c2.Resolver = c
				c2.Features.AcceptUnresolvableDomains = false
			})
			ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
			defer cancel()
			f := policy.Facts{Conn: policy.Conn{Addr: netip.MustParseAddr("198.51.100.9"), Name: "client.example", Resolve: policy.ResolveOK}}
			f.Mail.Sender = smtp.ParsePath("<u@" + tc.domain + ">")
			begin := time.Now()
			d := p.Decide(ctx, policy.StageMail, &f)
			got := d.Verdict.Action.String()
			if d.Verdict.Action != policy.Accept {
				got += " " + d.Verdict.Reply.String()
			}
			if !strings.HasPrefix(got, tc.want) {
				t.Errorf("MAIL from u@%s: %s, want %s...", tc.domain, got, tc.want)
			}
			if d := time.Since(begin); d > 4*time.Second {
				t.Errorf("the decision took %v", d)
			}
		})
	}
}

// TestSilentServerCostsOnce: a silent server is waited for by the first decision,
// not by each of those that follow.
func TestSilentServerCostsOnce(t *testing.T) {
	const timeout = 200 * time.Millisecond
	c, err := dns.NewClient(dns.Config{Servers: []string{dnstest.Serve(t, dnstest.Zone{}, dnstest.Silent())}, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	p := engine(t, func(c2 *policy.Config) {
		c2.Resolver = c
		c2.Features.AcceptUnresolvableDomains, c2.Features.NoCanonify, c2.Features.RelayBasedOnMX = false, false, true
	})
	f := policy.Facts{Conn: policy.Conn{Addr: netip.MustParseAddr("198.51.100.9"), Name: "client.example", Resolve: policy.ResolveOK}}
	begin := time.Now()
	for i := range 50 {
		f.Rcpt.Recipient = smtp.ParsePath(fmt.Sprintf("<u@n%d.example>", i))
		d := p.Decide(t.Context(), policy.StageRcpt, &f)
		if d.Verdict.Action != policy.Tempfail {
			t.Errorf("RCPT to %s: %v %v, want a temporary failure", f.Rcpt.Recipient.Raw(), d.Verdict.Action, d.Verdict.Reply)
		}
	}
	if d := time.Since(begin); d > 3*time.Second {
		t.Errorf("50 recipients with a silent server took %v", d)
	}
}

func onTCP(hook dnstest.Hook) dnstest.Hook {
	return func(e *dnstest.Exchange) {
		if e.Network == "tcp" {
			hook(e)
		}
	}
}

// absent says that no name exists.
func absent(e *dnstest.Exchange) {
	e.Reply.Rcode, e.Reply.Answer = mdns.RcodeNameError, nil
}

func referral(e *dnstest.Exchange) {
	e.Reply.Answer = nil
	e.Reply.Ns = []mdns.RR{&mdns.NS{Hdr: mdns.RR_Header{Name: "org.", Rrtype: mdns.TypeNS, Class: mdns.ClassINET, Ttl: 60}, Ns: "ns.example."}}
}
