package policy_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"gatepost/internal/dns/dnsfake"
	"gatepost/maps"
	"gatepost/policy"
)

const lookupAccess = `Connect:192.0.2	REJECT
192.0.2.7	OK
Connect:IPv6:2001:db8	RELAY
From:spam.example	REJECT
To:u@example.com	REJECT
To:partner.example	RELAY
From:joe+*@list.example	OK
Spam:u@example.com	FRIEND
ClientRate:	10
GreetPause:192.0.2.7	0
CertIssuer:/C=US/O=Example	RELAY
Compat:a@b.example<@>c@d.example	DISCARD
skip.example	SKIP
AuthInfo:isp.example	"U:joe" "P:secret"
`

func lookupPolicy(t *testing.T, change func(*policy.Config)) *policy.Policy {
	t.Helper()
	parse := func(name string, format maps.Format, text string) maps.Map {
		m, _, err := maps.Parse(name, format, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	c := policy.Config{
		HostName:       "mx.example.com",
		Access:         parse("access", maps.FormatAccess, lookupAccess),
		RelayDomains:   []maps.Map{parse("relay-domains", maps.FormatClass, "partner.example\n198.51.100\n")},
		LocalHostNames: []maps.Map{parse("local-host-names", maps.FormatClass, "example.com\n"), maps.NewClass("this host", []string{"mx.example.com"})},
		Features:       policy.Features{BlocklistRecipients: true},
		Resolver:       dnsfake.NewFake(nil),
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

// tried writes answers as words: the keys, and of a hit its value and place.
func tried(answers []policy.Answer) string {
	var b strings.Builder
	for _, a := range answers {
		switch {
		case a.Err != nil:
			fmt.Fprintf(&b, "%s!%v ", a.Key, a.Err)
		case a.Found:
			fmt.Fprintf(&b, "%s=%s(%s) ", a.Key, a.Value, a.Source)
		default:
			b.WriteString(a.Key + " ")
		}
	}
	return strings.TrimSpace(b.String())
}

func TestLookup(t *testing.T) {
	hostsOnly := func(c *policy.Config) { c.Features.RelayHostsOnly = true }
	relayOnly := func(c *policy.Config) { c.Features.BlocklistRecipients = false }
	for _, tc := range []struct {
		name       string
		change     func(*policy.Config)
		table, key string
		want       string
	}{
		{"client address", nil, "access", "Connect:192.0.2.7", "Connect:192.0.2.7 192.0.2.7=OK(access:2)"},
		{"client network", nil, "access", "192.0.2.8", "Connect:192.0.2.8 192.0.2.8 Connect:192.0.2=REJECT(access:1)"},
		{"tag in other letters", nil, "access", "connect:192.0.2.8", "Connect:192.0.2.8 192.0.2.8 Connect:192.0.2=REJECT(access:1)"},
		{"IPv6, short", nil, "access", "2001:db8::7", "Connect:IPv6:2001:db8:0:0:0:0:0:7 IPv6:2001:db8:0:0:0:0:0:7 " +
			"Connect:IPv6:2001:db8:0:0:0:0:0 IPv6:2001:db8:0:0:0:0:0 Connect:IPv6:2001:db8:0:0:0:0 IPv6:2001:db8:0:0:0:0 " +
			"Connect:IPv6:2001:db8:0:0:0 IPv6:2001:db8:0:0:0 Connect:IPv6:2001:db8:0:0 IPv6:2001:db8:0:0 " +
			"Connect:IPv6:2001:db8:0 IPv6:2001:db8:0 Connect:IPv6:2001:db8=RELAY(access:3)"},
		{"client name", nil, "access", "Connect:a.skip.example", "Connect:a.skip.example a.skip.example Connect:skip.example skip.example=SKIP(access:13)"},
		{"sender", nil, "access", "From:x@spam.example", "From:x@spam.example x@spam.example From:x@ x@ From:spam.example=REJECT(access:4)"},
		{"sender with detail", nil, "access", "From:joe+x@list.example", "From:joe+x@list.example joe+x@list.example From:joe+*@list.example=OK(access:7)"},
		{"sender domain", nil, "access", "From:a.spam.example", "From:a.spam.example a.spam.example From:spam.example=REJECT(access:4)"},
		{"recipient", nil, "access", "To:u@example.com", "To:u@example.com=REJECT(access:5)"},
		{"recipient without blocklist_recipients", relayOnly, "access", "To:u@partner.example", "To:partner.example=RELAY(access:6)"},
		{"recipient domain without blocklist_recipients", relayOnly, "access", "To:a.partner.example", "To:a.partner.example a.partner.example To:partner.example=RELAY(access:6)"},
		{"local recipient", nil, "access", "To:v@example.com", "To:v@example.com v@example.com To:v@ v@ To:example.com example.com To:com com"},
		{"mail address of no tag", nil, "access", "u@example.com", "From:u@example.com u@example.com From:u@ u@ From:example.com example.com From:com com To:u@example.com=REJECT(access:5)"},
		{"name of no tag", nil, "access", "skip.example", "Connect:skip.example skip.example=SKIP(access:13) From:skip.example skip.example=SKIP(access:13) To:skip.example skip.example=SKIP(access:13)"},
		{"angle brackets", nil, "access", "To:<u@example.com>", "To:u@example.com=REJECT(access:5)"},
		{"rate of everybody", nil, "access", "ClientRate:", "ClientRate:=10(access:9)"},
		{"spam", nil, "access", "Spam:u@example.com", "Spam:u@example.com=FRIEND(access:8)"},
		{"spam, domain", nil, "access", "Spam:v@b.example", "Spam:v@b.example Spam:b.example Spam:example"},
		{"rate", nil, "access", "ClientRate:198.51.100.7", "ClientRate:198.51.100.7 ClientRate:198.51.100 ClientRate:198.51 ClientRate:198 ClientRate:=10(access:9)"},
		{"pause", nil, "access", "GreetPause:192.0.2.7", "GreetPause:192.0.2.7=0(access:10)"},
		{"certificate", nil, "access", "CertIssuer:/C=US/O=Example", "CertIssuer:/C=US/O=Example=RELAY(access:11)"},
		{"compat", nil, "access", "Compat:a@b.example<@>c@d.example", "Compat:a@b.example<@>c@d.example=DISCARD(access:12)"},
		{"map that fails", func(c *policy.Config) { c.Access = brokenMap{} }, "access", "From:a.b", "From:a.b!map is down"},
		{"relay domain", nil, "relay_domains", "a.partner.example", "a.partner.example .partner.example partner.example=(relay-domains:1)"},
		{"relay network", nil, "relay_domains", "198.51.100.7", "198.51.100.7 198.51.100. 198.51.100=(relay-domains:2)"},
		{"no relay domain", nil, "relay_domains", "b.example", "b.example .example example"},
		{"relay hosts only", hostsOnly, "relay_domains", "a.partner.example", "a.partner.example"},
		{"local name", nil, "local_host_names", "Example.COM", "Example.COM=(local-host-names:1)"},
		{"local name of the host", nil, "local_host_names", "mx.example.com", "mx.example.com=(this host)"},
		{"local address", nil, "local_host_names", "2001:db8::7", "[IPv6:2001:db8:0:0:0:0:0:7]"},
		{"local address in brackets", nil, "local_host_names", "[192.0.2.7]", "[192.0.2.7]"},
		{"no local name", nil, "local_host_names", "a.example.com", "a.example.com"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			answers, err := lookupPolicy(t, tc.change).Lookup(t.Context(), tc.table, tc.key)
			if got := tried(answers); got != tc.want || err != nil {
				t.Errorf("Lookup(%s, %s) tried\n%s\nerror %v, want\n%s", tc.table, tc.key, got, err, tc.want)
			}
		})
	}
}

func TestLookupRefuses(t *testing.T) {
	for _, tc := range []struct {
		name       string
		change     func(*policy.Config)
		table, key string
		want       string
	}{
		{"table", nil, "acess", "a", `unknown table "acess", expected access, relay_domains, local_host_names, trusted, spammers, virtual_hosts or dnsbl`},
		{"no key", nil, "access", "", "empty key, expected an address, a host name or a mail address"},
		{"tag alone", nil, "access", "Connect:", "empty key, expected an address, a host name or a mail address"},
		{"null sender", nil, "access", "From:<>", "empty key, expected an address, a host name or a mail address"},
		{"long key", nil, "access", strings.Repeat("a", 1025), "a key of 1025 bytes, expected at most 1024"},
		{"no access table", func(c *policy.Config) { c.Access = nil }, "access", "a", "no access table: features.access_db is off"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if answers, err := lookupPolicy(t, tc.change).Lookup(t.Context(), tc.table, tc.key); err == nil || err.Error() != tc.want {
				t.Errorf("Lookup(%s, %.20s) gave %v and error %v, want %q", tc.table, tc.key, answers, err, tc.want)
			}
		})
	}
}

// TestAuthInfoIsSecret: no name that a client brings along finds an entry with a password.
func TestAuthInfoIsSecret(t *testing.T) {
	p := lookupPolicy(t, nil)
	for _, name := range []string{"AuthInfo:isp.example", "authinfo:isp.example", `auth"info:isp.example`, "x.AuthInfo:isp.example"} {
		facts := &policy.Facts{Conn: policy.Conn{Addr: netip.MustParseAddr("203.0.113.9"), Name: name, Resolve: policy.ResolveOK}}
		if d := p.Decide(t.Context(), policy.StageConnect, facts); strings.Contains(fmt.Sprintf("%+v", d), "secret") {
			t.Errorf("a client named %s is told %+v", name, d)
		}
		answers, err := p.Lookup(t.Context(), "access", name)
		if strings.Contains(tried(answers), "secret") {
			t.Errorf("lookup %s: %s, %v", name, tried(answers), err)
		}
	}
}
