package policy_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatepost/internal/dns"
	"gatepost/internal/smtp"
	"gatepost/maps"
	"gatepost/policy"
)

// noDNS knows no name at all.
type noDNS struct{}

func (noDNS) Lookup(context.Context, string, dns.Type) (dns.Answer, error) { return dns.Answer{}, nil }

// brokenDNS answers nothing.
type brokenDNS struct{}

func (brokenDNS) Lookup(context.Context, string, dns.Type) (dns.Answer, error) {
	return dns.Answer{}, errors.New("no server answered")
}

func parse(t testing.TB, name string, format maps.Format, lines ...string) maps.Map {
	t.Helper()
	text, problems, err := maps.Parse(name, format, []byte(strings.Join(lines, "\n")+"\n"))
	if err != nil || len(problems) > 0 {
		t.Fatalf("%s: %v %v", name, err, problems)
	}
	return text
}

// engine builds a policy of host mx.example.com, local domain example.com.
func engine(t testing.TB, change func(*policy.Config), access ...string) *policy.Policy {
	t.Helper()
	c := policy.Config{
		HostName:       "mx.example.com",
		Domain:         "example.com",
		Access:         parse(t, "access", maps.FormatAccess, access...),
		RelayDomains:   []maps.Map{parse(t, "relay-domains", maps.FormatClass, "friend.org", "192.168.5")},
		LocalHostNames: []maps.Map{parse(t, "local-host-names", maps.FormatClass, "example.com"), maps.NewClass("host", []string{"localhost", "mx.example.com"})},
		OwnDomains:     []maps.Map{maps.NewClass("domain", []string{"example.com"})},
		Features:       policy.Features{NoCanonify: true, AcceptUnresolvableDomains: true, BlocklistRecipients: true},
		Resolver:       noDNS{},
	}
	if change != nil {
		change(&c)
	}
	p, err := policy.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func facts(addr, name, from, to string) *policy.Facts {
	f := &policy.Facts{}
	f.Conn.Addr, _ = netip.ParseAddr(addr)
	f.Conn.Resolve = policy.ResolveFail
	if name != "" {
		f.Conn.Resolve, f.Conn.Name = policy.ResolveOK, name
	}
	f.Mail.Sender, f.Rcpt.Recipient = smtp.ParsePath(from), smtp.ParsePath(to)
	return f
}

func describe(d policy.Decision) string {
	s := d.Verdict.Action.String()
	if !d.Verdict.Reply.IsZero() {
		s += " " + d.Verdict.Reply.String()
	}
	if d.Verdict.Reason != "" {
		s += " " + d.Verdict.Reason
	}
	return s + " by " + d.By().Rule
}

func accessKeys(d policy.Decision) (keys []string) {
	for _, s := range d.Steps {
		for _, a := range s.Asked {
			if a.Table == "access" {
				keys = append(keys, a.Key)
			}
		}
	}
	return keys
}

// TestKeysTried pins the order of keys (sendmail's rule sets D, A, F, U).
func TestKeysTried(t *testing.T) {
	dotted := func(c *policy.Config) { c.Features.LookupDotDomain = true }
	cases := []struct {
		name   string
		change func(*policy.Config)
		at     policy.Stage
		facts  *policy.Facts
		want   []string
	}{
		{"connect, verified name then address", nil, policy.StageConnect, facts("10.1.2.3", "a.b.org", "", ""), []string{
			"Connect:a.b.org", "a.b.org", "Connect:b.org", "b.org", "Connect:org", "org",
			"Connect:10.1.2.3", "10.1.2.3", "Connect:10.1.2", "10.1.2", "Connect:10.1", "10.1", "Connect:10", "10"}},
		{"connect, no name", nil, policy.StageConnect, facts("10.1.2.3", "", "", ""), []string{
			"Connect:[10.1.2.3]", "[10.1.2.3]", "Connect:[10.1.2]", "[10.1.2]", "Connect:[10.1]", "[10.1]", "Connect:[10]", "[10]",
			"Connect:10.1.2.3", "10.1.2.3", "Connect:10.1.2", "10.1.2", "Connect:10.1", "10.1", "Connect:10", "10"}},
		{"connect, IPv6 in full, cut at colons", nil, policy.StageConnect, facts("2001:db8::7", "h.org", "", ""), []string{
			"Connect:h.org", "h.org", "Connect:org", "org",
			"Connect:IPv6:2001:db8:0:0:0:0:0:7", "IPv6:2001:db8:0:0:0:0:0:7", "Connect:IPv6:2001:db8:0:0:0:0:0", "IPv6:2001:db8:0:0:0:0:0",
			"Connect:IPv6:2001:db8:0:0:0:0", "IPv6:2001:db8:0:0:0:0", "Connect:IPv6:2001:db8:0:0:0", "IPv6:2001:db8:0:0:0",
			"Connect:IPv6:2001:db8:0:0", "IPv6:2001:db8:0:0", "Connect:IPv6:2001:db8:0", "IPv6:2001:db8:0",
			"Connect:IPv6:2001:db8", "IPv6:2001:db8", "Connect:IPv6:2001", "IPv6:2001", "Connect:IPv6", "IPv6"}},
		{"mail, + within quotes is no detail", nil, policy.StageMail, facts("10.1.2.3", "", `<"joe+x"@b.org>`, ""), []string{
			"From:joe+x@b.org", "joe+x@b.org", "From:joe+x@", "joe+x@", "From:b.org", "b.org", "From:org", "org"}},
		{"mail, +detail", nil, policy.StageMail, facts("10.1.2.3", "", `<joe+x@b.org>`, ""), []string{
			"From:joe+x@b.org", "joe+x@b.org", "From:joe+*@b.org", "joe+*@b.org", "From:joe@b.org", "joe@b.org",
			"From:joe+x@", "joe+x@", "From:joe+*@", "joe+*@", "From:joe@", "joe@", "From:b.org", "b.org", "From:org", "org"}},
		{"mail, unqualified", nil, policy.StageMail, facts("10.1.2.3", "", "<joe>", ""), []string{"From:joe@", "joe@"}},
		{"lookupdotdomain", dotted, policy.StageMail, facts("10.1.2.3", "", "<j@a.b.org>", ""), []string{
			"From:j@a.b.org", "j@a.b.org", "From:j@", "j@", "From:a.b.org", "a.b.org", "From:.b.org", ".b.org",
			"From:b.org", "b.org", "From:.org", ".org", "From:org", "org"}},
		{"rcpt, user@ for a local domain only", nil, policy.StageRcpt, facts("10.1.2.3", "", "<>", "<u@example.com>"), []string{
			"To:u@example.com", "u@example.com", "To:u@", "u@", "To:example.com", "example.com", "To:com", "com"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := engine(t, c.change).Decide(context.Background(), c.at, c.facts)
			if diff := cmp.Diff(c.want, accessKeys(d)); diff != "" {
				t.Errorf("keys tried (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecide(t *testing.T) {
	access := []string{
		"Connect:198.51.100.7\tRELAY", "Connect:192.0.2\tREJECT", "Connect:192.0.2.9\tDISCARD",
		"Connect:192.0.2.10 QUARANTINE:from a bad net", "Connect:192.0.2.11\tERROR:4.7.1:450 Come back later",
		"From:spam.test\tERROR:5.7.1:550 No spam here", "To:nobody@example.com\tREJECT", "To:held@ QUARANTINE:looked at",
		"To:partner.net\tRELAY", "To:ok.net OK", "To:drop@example.com DISCARD", `To:shop@example.com ERROR:5.7.1:"550 Closed, sorry; 100% sure"`,
	}
	const denied = "reject 550 5.7.1 Relaying denied. IP name lookup failed [203.0.113.9] by client name verified"
	cases := []struct {
		name  string
		at    policy.Stage
		facts *policy.Facts
		want  string
	}{
		{"nothing known of the client", policy.StageConnect, facts("203.0.113.9", "", "", ""), "accept by check_relay"},
		{"net rejected", policy.StageConnect, facts("192.0.2.1", "", "", ""), "reject 550 5.7.1 Access denied by client access"},
		{"client discarded", policy.StageConnect, facts("192.0.2.9", "", "", ""), "discard by client access"},
		{"client quarantined", policy.StageConnect, facts("192.0.2.10", "", "", ""), "quarantine from a bad net by client access"},
		{"client deferred", policy.StageConnect, facts("192.0.2.11", "", "", ""), "tempfail 450 4.7.1 Come back later by client access"},
		{"address unknown", policy.StageConnect, &policy.Facts{}, "tempfail 451 4.3.0 Temporary system failure. Please try again later. by client address"},
		{"sender domain refused", policy.StageMail, facts("203.0.113.9", "", "<a@sub.spam.test>", ""), "reject 550 5.7.1 No spam here by sender access"},
		{"null sender", policy.StageMail, facts("203.0.113.9", "", "<>", ""), "accept by null sender"},
		{"unqualified sender", policy.StageMail, facts("203.0.113.9", "", "<joe>", ""), "reject 553 5.5.4 Domain name required for sender address joe by unqualified sender"},
		{"unparsable sender", policy.StageMail, facts("203.0.113.9", "", "<a@b@c>", ""), "reject 553 5.1.3 Invalid route address by sender syntax"},
		{"outsider to third party", policy.StageRcpt, facts("203.0.113.9", "", "<>", "<u@isp.net>"), denied},
		{"named outsider", policy.StageRcpt, facts("203.0.113.9", "h.isp.net", "<>", "<u@isp.net>"), "reject 550 5.7.1 Relaying denied by relaying denied"},
		{"percent hack", policy.StageRcpt, facts("203.0.113.9", "", "<>", "<u%isp.net@example.com>"), denied},
		{"bang path", policy.StageRcpt, facts("203.0.113.9", "", "<>", "<isp.net!u@example.com>"), denied},
		{"quoted address", policy.StageRcpt, facts("203.0.113.9", "", "<>", `<"u@isp.net"@example.com>`), denied},
		{"source route", policy.StageRcpt, facts("203.0.113.9", "", "<>", "<@example.com:u@isp.net>"), denied},
		{"percent hack by a relayed domain", policy.StageRcpt, facts("203.0.113.9", "", "<>", "<u%isp.net@friend.org>"), denied},
		{"escaped mark", policy.StageRcpt, facts("203.0.113.9", "", "<>", `<isp.net\!u@example.com>`), denied},
		{"escaped mark alone", policy.StageRcpt, facts("203.0.113.9", "", "<>", `<isp.net\!u>`), denied},
		{"escaped mark in quotes", policy.StageRcpt, facts("203.0.113.9", "", "<>", `<"isp.net\!u">`), denied},
		{"escaped letter before a percent sign", policy.StageRcpt, facts("203.0.113.9", "", "<>", `<"u\x%isp.net"@example.com>`), denied},
		{"escaped quote before a percent sign", policy.StageRcpt, facts("203.0.113.9", "", "<>", `<"a\"b%isp.net"@example.com>`), denied},
		{"escaped at sign", policy.StageRcpt, facts("203.0.113.9", "", "<>", `<u\@isp.net@example.com>`), denied},
		{"escaped percent sign", policy.StageRcpt, facts("203.0.113.9", "", "<>", `<u\%isp.net>`), denied},
		{"percent sign behind a blank", policy.StageRcpt, facts("203.0.113.9", "", "<>", `<"a b%isp.net"@example.com>`), denied},
		{"percent sign behind a parenthesis", policy.StageRcpt, facts("203.0.113.9", "", "<>", `<"u(%isp.net"@example.com>`), denied},
		{"percent sign behind an angle bracket", policy.StageRcpt, facts("203.0.113.9", "", "<>", `<"u<%isp.net"@example.com>`), denied},
		{"bang path without user", policy.StageRcpt, facts("203.0.113.9", "", "<>", "<isp.net!@example.com>"), denied},
		{"hidden route by a relayed domain", policy.StageRcpt, facts("203.0.113.9", "", "<>", `<"a b@isp.net"@friend.org>`), denied},
		{"hidden route, client that may relay", policy.StageRcpt, facts("127.0.0.1", "", "<>", `<"a b@isp.net"@example.com>`), "accept by local client"},
		{"nobody, in quotes", policy.StageRcpt, facts("203.0.113.9", "", "<>", `<""@example.com>`), "reject 553 5.1.3 User address required by recipient address"},
		{"local recipient", policy.StageRcpt, facts("203.0.113.9", "", "<>", "<u@example.com>"), "accept by recipient domain"},
		{"relay-domains, subdomain", policy.StageRcpt, facts("203.0.113.9", "", "<>", "<u@a.friend.org>"), "accept by recipient domain"},
		{"not a subdomain", policy.StageRcpt, facts("203.0.113.9", "", "<>", "<u@notfriend.org>"), denied},
		{"To: RELAY", policy.StageRcpt, facts("203.0.113.9", "", "<>", "<u@x.partner.net>"), "accept by recipient access"},
		{"OK does not relay", policy.StageRcpt, facts("203.0.113.9", "", "<>", "<u@ok.net>"), denied},
		{"client with RELAY", policy.StageRcpt, facts("198.51.100.7", "", "<>", "<u@isp.net>"), "accept by client address access"},
		{"client in relay-domains", policy.StageRcpt, facts("192.168.5.77", "", "<>", "<u@isp.net>"), "accept by client relay_domains"},
		{"not in relay-domains", policy.StageRcpt, facts("192.168.50.7", "n.isp.net", "<>", "<u@isp.net>"), "reject 550 5.7.1 Relaying denied by relaying denied"},
		{"client name in relay-domains", policy.StageRcpt, facts("203.0.113.9", "h.friend.org", "<>", "<u@isp.net>"), "accept by client name"},
		{"loopback", policy.StageRcpt, facts("127.0.0.1", "", "<>", "<u@isp.net>"), "accept by local client"},
		{"blocked recipient", policy.StageRcpt, facts("127.0.0.1", "", "<>", "<nobody@example.com>"), "reject 550 5.2.1 Mailbox disabled for this recipient by blocklist_recipients"},
		{"quarantined recipient", policy.StageRcpt, facts("203.0.113.9", "", "<>", "<held@example.com>"), "quarantine looked at by blocklist_recipients"},
		{"discarded recipient", policy.StageRcpt, facts("203.0.113.9", "", "<>", "<drop@example.com>"), "discard by blocklist_recipients"},
		{"quoted text is kept", policy.StageRcpt, facts("203.0.113.9", "", "<>", "<shop@example.com>"), "reject 550 5.7.1 Closed, sorry; 100% sure by blocklist_recipients"},
		{"empty recipient", policy.StageRcpt, facts("203.0.113.9", "", "<>", "<>"), "reject 553 5.0.0 User address required by recipient syntax"},
		{"unqualified recipient", policy.StageRcpt, facts("203.0.113.9", "", "<>", "<joe>"), "accept by unqualified recipient"},
	}
	p := engine(t, nil, access...)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := describe(p.Decide(context.Background(), c.at, c.facts)); got != c.want {
				t.Errorf("%s\ngot  %s\nwant %s", c.name, got, c.want)
			}
		})
	}
}

// TestRoutesAnyway: a server that follows % and ! on its own makes nospecial void.
func TestRoutesAnyway(t *testing.T) {
	p := engine(t, func(c *policy.Config) {
		c.Features.NoUUCP, c.Features.NoPercentHack = policy.SpecialOrdinary, policy.SpecialOrdinary
	})
	for _, to := range []string{"<u%isp.net@example.com>", "<isp.net!u@example.com>", "<u%isp.net>", "<isp.net!u>"} {
		f := facts("203.0.113.9", "h.isp.net", "<>", to)
		if got := describe(p.Decide(context.Background(), policy.StageRcpt, f)); !strings.HasPrefix(got, "accept") {
			t.Errorf("%s behind sendmail: %s, want accept", to, got)
		}
		f.Conn.Routes = true
		if got, want := describe(p.Decide(context.Background(), policy.StageRcpt, f)), "reject 550 5.7.1 Relaying denied by relaying denied"; got != want {
			t.Errorf("%s behind Postfix: %s, want %s", to, got, want)
		}
	}
}

// brokenMap cannot be asked.
type brokenMap struct{}

func (brokenMap) Lookup(context.Context, string) (maps.Entry, bool, error) {
	return maps.Entry{}, false, errors.New("map is down")
}

// TestFaults: what could not be asked is never taken for absent.
func TestFaults(t *testing.T) {
	const later = "tempfail 451 4.3.0 Temporary system failure. Please try again later."
	noMap := func(c *policy.Config) { c.Access = brokenMap{} }
	noClass := func(c *policy.Config) { c.RelayDomains = []maps.Map{brokenMap{}} }
	noDNS := func(c *policy.Config) { c.Resolver, c.Features = brokenDNS{}, policy.Features{} }
	mx := func(c *policy.Config) {
		c.Resolver, c.Features = brokenDNS{}, policy.Features{RelayBasedOnMX: true, NoCanonify: true}
	}
	outsider := facts("203.0.113.9", "h.isp.net", "<a@b.org>", "<u@isp.net>")
	cases := []struct {
		name   string
		change func(*policy.Config)
		at     policy.Stage
		facts  *policy.Facts
		want   string
	}{
		{"access map at connect", noMap, policy.StageConnect, outsider, later + " by client access"},
		{"access map at MAIL", noMap, policy.StageMail, outsider, later + " by sender access"},
		{"access map at RCPT", noMap, policy.StageRcpt, outsider, later + " by blocklist_recipients"},
		{"relay-domains", noClass, policy.StageRcpt, outsider, later + " by recipient domain"},
		{"sender domain", noDNS, policy.StageMail, outsider, "tempfail 451 4.1.8 Domain of sender address a@b.org does not resolve by sender domain"},
		{"MX of recipient", mx, policy.StageRcpt, outsider, "tempfail 450 4.4.0 Can not check MX records for recipient host isp.net by relaying denied"},
		{"MX of recipient, client that may relay", mx, policy.StageRcpt, facts("127.0.0.1", "", "<>", "<u@isp.net>"), "accept by local client"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := engine(t, c.change).Decide(context.Background(), c.at, c.facts)
			if got := describe(d); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestRecordedSource: a decision names the line that made it.
func TestRecordedSource(t *testing.T) {
	p := engine(t, nil, "# a comment", "Connect:10.9 RELAY", "From:spam.test REJECT")
	d := p.Decide(context.Background(), policy.StageMail, facts("203.0.113.9", "", "<a@spam.test>", ""))
	if got, want := d.By().Source(), "access:3"; got != want {
		t.Errorf("source %q, want %q", got, want)
	}
}

// TestRelease: memory given back does not show in another decision.
func TestRelease(t *testing.T) {
	p := engine(t, nil, "From:spam.test REJECT")
	refused := facts("203.0.113.9", "", "<a@spam.test>", "<u%isp.net@example.com>")
	plain := facts("203.0.113.9", "h.isp.net", "<a@b.org>", "<u@example.com>")
	for range 3 {
		for _, at := range []policy.Stage{policy.StageMail, policy.StageRcpt} {
			fresh := engine(t, nil, "From:spam.test REJECT").Decide(context.Background(), at, plain)
			d := p.Decide(context.Background(), at, refused)
			d.Release()
			if d.Steps != nil {
				t.Errorf("%d steps after Release", len(d.Steps))
			}
			d = p.Decide(context.Background(), at, plain)
			if diff := cmp.Diff(fresh.Steps, d.Steps, cmp.AllowUnexported(smtp.Reply{}, smtp.EnhancedCode{})); diff != "" {
				t.Errorf("%s: steps differ from those of a fresh policy (-fresh +reused):\n%s", at, diff)
			}
			d.Release()
		}
	}
}

// FuzzDecide: no address makes the engine panic, loop, or let a stranger relay
// to a domain that is not ours.
func FuzzDecide(f *testing.F) {
	for _, s := range []string{"<u@isp.net>", "<u%isp.net@example.com>", `<"u@isp.net"@example.com>`, "<@example.com:u@isp.net>", "<a!b!c@example.com>", "<u@example.com.>", `<"a\"b"@x>`, "<%@example.com>", "<!%@>"} {
		f.Add(s, s)
	}
	p := engine(f, nil, "To:partner.net RELAY", "From:spam.test REJECT")
	u := engine(f, unixware(f, "192.0.2.9 accept"), "To:isp.net RELAY", "From:spam.test REJECT")
	f.Fuzz(func(t *testing.T, from, to string) {
		q := facts("203.0.113.9", "", from, to)
		checkStranger(t, p, q, to)
		checkStranger(t, u, q, to)
	})
}

func checkStranger(t *testing.T, p *policy.Policy, q *policy.Facts, to string) {
	t.Helper()
	for _, at := range []policy.Stage{policy.StageConnect, policy.StageMail, policy.StageRcpt} {
		d := p.Decide(context.Background(), at, q)
		if d.Verdict.Action == policy.Undecided {
			t.Errorf("%s undecided for %q %q", at, q.Mail.Sender.Raw(), to)
		}
		ours := false
		for _, domain := range []string{"example.com", "friend.org", "partner.net", "localhost", "shop.example"} {
			ours = ours || strings.Contains(strings.ToLower(to), domain)
		}
		rule := d.By().Rule
		if at == policy.StageRcpt && d.Verdict.Action == policy.Accept && !ours && rule != "unqualified recipient" && rule != "local recipient" {
			t.Errorf("stranger may send to %q by %s", to, rule)
		}
	}
}
