package lint

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatepost/internal/config"
	"gatepost/internal/dns"
	"gatepost/internal/dns/dnsfake"
	"gatepost/maps"
	"gatepost/policy"
	"gatepost/policy/dnsbl"
)

// inputOf is a configuration with tables as text.
func inputOf(t *testing.T, change func(*config.Config), access, relay, local string) *Input {
	t.Helper()
	table := func(name string, format maps.Format, text string) Table {
		parsed, _, err := maps.Parse(name, format, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return Table{parsed}
	}
	c := config.Default()
	if change != nil {
		change(c)
	}
	in := &Input{
		Config:         c,
		Access:         table("access", maps.FormatAccess, access),
		RelayDomains:   table("relay", maps.FormatClass, relay),
		LocalHostNames: table("local", maps.FormatClass, local),
	}
	in.Policy.HostName, in.Policy.Domain = "mx.example.com", "example.com"
	in.Policy.Resolver = nothing{}
	return in
}

// compare holds findings to what they must contain, in their order.
func compare(t *testing.T, found []Finding, want []string) {
	t.Helper()
	for i := range max(len(found), len(want)) {
		switch {
		case i >= len(want):
			t.Errorf("found %q beyond what is wanted", found[i])
		case i >= len(found):
			t.Errorf("did not find %q", want[i])
		case !strings.Contains(found[i].String(), want[i]):
			t.Errorf("found %q, want %q in it", found[i], want[i])
		}
	}
}

// on are features by what they set.
type on = func(*config.Config)

func blocklist(c *config.Config) { c.Features.BlocklistRecipients = true }

// TestAccess has one entry of the access table each, in line 2, and what is said
// about it; "" is nothing.
func TestAccess(t *testing.T) {
	friend := func(c *config.Config) { c.Features.DelayChecks = "friend"; blocklist(c) }
	for _, tc := range []struct {
		entry  string
		change on
		want   string
	}{
		// keys that never match
		{"Connect:192.0.2.\tREJECT", nil, `key "Connect:192.0.2." never matches: networks are whole octets without a final dot or wildcards; write Connect:192.0.2`},
		{"Connect:192.0.2.*\tREJECT", nil, "write Connect:192.0.2"},
		{"Connect:192.0.2.x\tREJECT", nil, "write Connect:192.0.2"},
		{"Connect:192.168.001.7\tREJECT", nil, "write Connect:192.168.1.7"},
		{"Connect:300.1.2\tREJECT", nil, "it is no address: four octets from 0 to 255"},
		{"Connect:192.0.2.0/24\tREJECT", nil, "there is no CIDR notation; write Connect:192.0.2"},
		{"Connect:10/8\tRELAY", nil, "there is no CIDR notation; write Connect:10"},
		{"Connect:10.20.0.0/14\tRELAY", nil, "write 4 entries, from Connect:10.20 to Connect:10.23"},
		{"Connect:0.0.0.0/0\tREJECT", nil, "no key for all addresses"},
		{"Connect:192.0.2.0/x\tREJECT", nil, "there is no CIDR notation; write whole octets"},
		{"Connect:IPv6:2001:db8::/32\tREJECT", nil, "there is no CIDR notation; write Connect:IPv6:2001:db8"},
		{"Connect:IPv6:2001:db8::1\tREJECT", nil, "write Connect:IPv6:2001:db8:0:0:0:0:0:1"},
		{"Connect:IPv6:2001:db8::\tREJECT", nil, "write Connect:IPv6:2001:db8"},
		{"Connect:IPv6:2001:0db8:1\tREJECT", nil, "without leading zeros; write Connect:IPv6:2001:db8:1"},
		{"Connect:2001:db8:1:2\tREJECT", nil, "write Connect:IPv6:2001:db8:1:2"},
		{"2001:db8::1\tREJECT", nil, "write IPv6:2001:db8:0:0:0:0:0:1"},
		{"Connect:IPv6:2001:zz\tREJECT", nil, "such as Connect:IPv6:2001:db8:0:1"},
		{"From:\"joe\"@friend.org\tREJECT", nil, "double quotes are taken out before a lookup"},
		{"From:<>\tREJECT", nil, "the null sender is always accepted"},
		{"From:<joe@friend.org>\tREJECT", nil, "write From:joe@friend.org"},
		{"From:@friend.org\tREJECT", nil, "a domain stands without @; write From:friend.org"},
		{"From:*.friend.org\tREJECT", nil, "there are no wildcards; write From:friend.org, which is for the names below it too"},
		{"From:.friend.org\tREJECT", nil, "a leading dot needs lookupdotdomain"},
		{"From:.friend.org\tREJECT", func(c *config.Config) { c.Features.AccessLookupDotDomain = true }, ""},
		{"From:friend.org.\tREJECT", nil, "without a final dot; write From:friend.org"},
		{"From:friend..org\tREJECT", nil, "no name has an empty label"},
		{"From:joe@.friend.org\tREJECT", nil, "an entry for all of a domain is From:friend.org"},
		{"From:joe@friend.org.\tREJECT", nil, "write From:joe@friend.org"},
		{"From:j*@friend.org\tREJECT", nil, "there are no wildcards but user+*"},
		{"From:joe+*@friend.org\tREJECT", nil, ""},
		{"From:localhost\tOK", nil, "looked up under this host's name; write From:mx.example.com"},
		{"From:joe@localhost\tOK", nil, "looked up under this host's name"},
		{"From:müller.example\tREJECT", nil, "write the xn-- form"},
		{"From:192.0.2.7\tREJECT", nil, "an address after From: is compared with the domains of mail addresses"},
		{"From:[192.0.2.7]\tREJECT", nil, ""},
		{"From:[192.0.2.7\tREJECT", nil, "the bracket is not closed"},
		{"From:[what]\tREJECT", nil, "it is no address"},
		{"Connect:joe@friend.org\tREJECT", nil, "clients have no mail address"},
		// tags
		{"spam.example\tREJECT", nil, `key "spam.example" has no tag, so it counts for clients, senders and recipients alike; write Connect:spam.example, From:spam.example or To:spam.example`},
		{"192.0.2\tREJECT", nil, "write Connect:192.0.2"},
		{"joe@friend.org\tREJECT", nil, "write From:joe@friend.org or To:joe@friend.org"},
		{"Conect:192.0.2\tREJECT", nil, `nothing looks for keys with the tag "conect:"; did you mean Connect:?`},
		{"Sender:friend.org\tREJECT", nil, "known are Connect:, From: and To:"},
		{"TLS_Clt:friend.org\tVERIFY", nil, ""},
		{"CertIssuer:/CN=ca\tRELAY", nil, ""},
		{"Connect: 192.0.2.7 REJECT", nil, `the key is "Connect:" alone, as the key ends at the first blank; write Connect:192.0.2.7 REJECT`},
		{"From:\tjoe@friend.org\tREJECT", nil, "write From:joe@friend.org REJECT"},
		{"Connect:\tREJECT", nil, `the key "Connect:" names nothing`},
		// features
		{"To:friend.org\tREJECT", nil, "To: entries other than RELAY mean nothing without blocklist_recipients"},
		{"To:friend.org\tRELAY", nil, ""},
		{"To:friend.org\tREJECT", blocklist, ""},
		{"Spam:friend.org\tFRIEND", nil, `entries with Spam: mean nothing without delay_checks = "friend" or "hater"`},
		{"Spam:friend.org\tFRIEND", friend, ""},
		{"Spam:friend.org\tHATER", friend, `means nothing with delay_checks = "friend"; the word for it is FRIEND`},
		{"ClientRate:192.0.2\t10", nil, "without ratecontrol"},
		{"ClientConn:\t10", nil, "without conncontrol"},
		{"GreetPause:192.0.2\t5000", nil, "without greet_pause"},
		{"Compat:a@b.org<@>c@d.org\tDISCARD", nil, "without compat_check"},
		{"ClientRate:192.0.2\tten", func(c *config.Config) { c.Features.RateControl.On = true }, `the value "ten" of ClientRate:192.0.2 is no number, which counts as 0`},
		{"ClientRate:\t10", func(c *config.Config) { c.Features.RateControl.On = true }, ""},
		{"ClientRate:friend.org\t10", func(c *config.Config) { c.Features.RateControl.On = true }, "only addresses are looked up for this tag"},
		{"GreetPause:friend.org\t5s", func(c *config.Config) { c.Features.GreetPause = true }, "is no number, which counts as no pause"},
		// values
		{"From:friend.org\tREJECT # why", nil, `the value "REJECT # why" is not REJECT but an error text, as the value goes to the end of the line; write REJECT alone`},
		{"From:friend.org\tREJECT now", nil, "write REJECT alone"},
		{"From:friend.org\tRELY", nil, `the value "RELY" is not RELAY but an error text; write RELAY alone`},
		{"From:friend.org\tREJECTED", nil, "write REJECT alone"},
		{"Connect:192.0.2\t\"REJECT\"", nil, `the value "\"REJECT\"" is not REJECT but an error text; write REJECT alone`},
		{"From:friend.org\tERROR:5.7.1:\"550\"", nil, "does not begin with a reply code and a blank"},
		{"From:friend.org\tDISCARD:x", nil, "write DISCARD alone"},
		{"From:friend.org\tOK.", nil, "write OK alone"},
		{"From:friend.org\tQUARANTINE", nil, "write QUARANTINE:reason"},
		{"From:friend.org\tQUARANTINE later", nil, "as QUARANTINE:reason"},
		{"From:friend.org\tQUARANTINE:later", nil, ""},
		{"From:friend.org\treject", nil, ""},
		{"From:friend.org\tERROR:5.7.1:\"550 Go away\"", nil, ""},
		{"From:friend.org\t550 5.7.1 Go away", nil, ""},
		{"From:friend.org\t450 Go away", nil, ""},
		{"From:friend.org\tERROR:4.7.1:550 Go away", nil, "the reply code 550 and the enhanced code 4.7.1 say different things"},
		{"From:friend.org\t450 5.7.1 Go away", nil, "the reply code 450 and the enhanced code 5.7.1"},
		{"From:friend.org\tERROR:5.7.1:450 4.7.1 Go away", nil, ""},
		{"From:friend.org\tGo away", nil, "does not begin with a reply code and a blank, so it is answered with 553 5.3.0"},
		{"From:friend.org\tERROR:5.7.1:Go away", nil, "does not begin with a reply code"},
		{"From:friend.org\tFRIEND", nil, `FRIEND is answered as an error text here, 553 5.3.0 FRIEND; write Spam:friend.org FRIEND, with delay_checks = "friend"`},
		{"To:friend.org\tHATER", friend, "write Spam:friend.org HATER"},
		{"To:friend.org\tSPAMFRIEND", friend, "write Spam:friend.org FRIEND"},
		{"From:friend.org\tSKIP", nil, `it needs access_db = ["skip"]`},
		{"From:friend.org\tSKIP", func(c *config.Config) { c.Features.AccessSkip = true }, ""},
		{"From:joe@friend.org\tSKIP", func(c *config.Config) { c.Features.AccessSkip = true }, "SKIP works for domains and networks only"},
		// RELAY and OK
		{"Connect:com\tRELAY", nil, "Connect:com RELAY is for everything below com"},
		{"Connect:co.uk\tRELAY", nil, "everything below co.uk"},
		{"To:org\tRELAY", nil, "To:org RELAY is for everything below org"},
		{"Connect:friend.org\tRELAY", nil, ""},
		{"Connect:lan\tRELAY", nil, ""},
		{"Connect:11\tRELAY", nil, "all addresses that begin with 11"},
		{"Connect:10\tRELAY", nil, ""},
		{"Connect:127.0.0.1\tRELAY", nil, ""},
		{"Connect:IPv6:2001:db8\tRELAY", nil, "all addresses that begin with IPv6:2001:db8"},
		{"Connect:IPv6:fd00\tRELAY", nil, ""},
		{"Connect:11\tRELAY", func(c *config.Config) { c.AcceptRisk = []string{"broad_relay"} }, ""},
		{"Connect:[192.0.2.7]\tRELAY", nil, "write Connect:192.0.2.7"},
		{"From:friend.org\tRELAY", nil, "RELAY is no more than OK here"},
		{"From:friend.org\tRELAY", func(c *config.Config) { c.Features.RelayMailFrom, c.AcceptRisk = true, []string{"relay_mail_from"} }, "without the argument domain looks for full addresses only"},
		{"To:joe@friend.org\tRELAY", nil, `without access_db = ["relaytofulladdress"]`},
		{"To:joe@friend.org\tRELAY", func(c *config.Config) { c.Features.RelayToFullAddress = true }, ""},
		{"To:abuse@\tRELAY", func(c *config.Config) { c.Features.RelayToFullAddress = true }, "lets everybody send to that user at every host"},
		{"To:friend.org\tOK", blocklist, "to relay for it write RELAY"},
		{"Connect:192.168.7\tOK", nil, "write Connect:192.168.7 RELAY"},
		{"Connect:192.0.2\tOK", nil, "there are none that Connect:192.0.2 is an exception to"},
		{"Connect:192.0.2\tOK", func(c *config.Config) { c.Features.RequireRDNS = true }, ""},
		{"From:friend.org\tOK", nil, ""},
	} {
		t.Run(strings.ReplaceAll(tc.entry, "\t", " "), func(t *testing.T) {
			var want []string
			if tc.want != "" {
				want = []string{tc.want}
			}
			found := Check(inputOf(t, tc.change, "# first\n"+tc.entry+"\n", "", ""))
			compare(t, found, want)
			for _, f := range found {
				if f.Source != (maps.Source{File: "access", Line: 2}) {
					t.Errorf("%q stands at %v, want access:2", f.Text, f.Source)
				}
			}
		})
	}
}

// TestExceptions has entries OK that are an exception to another entry.
func TestExceptions(t *testing.T) {
	for _, access := range []string{
		"Connect:192.0.2.7 OK\nConnect:192.0 REJECT\n",
		"Connect:good.friend.org OK\nConnect:friend.org REJECT\n",
		"Connect:good.friend.org OK\nConnect:192.0 REJECT\n",
		"To:joe@friend.org OK\nTo:friend.org REJECT\n",
		"To:joe@friend.org OK\nTo:joe@ 550 no\n",
	} {
		compare(t, Check(inputOf(t, blocklist, access, "", "")), nil)
	}
}

// TestClasses has one member of a class each, in line 2.
func TestClasses(t *testing.T) {
	for _, tc := range []struct {
		class, word, want string
	}{
		{"relay", "friend.org", ""},
		{"relay", ".friend.org", ""},
		{"relay", "192.168.5", ""},
		{"relay", "192.168.5.", ""},
		{"relay", "IPv6:2001:db8:1", ""},
		{"relay", "[192.0.2.7]", ""},
		{"relay", "192.168.0.0/16", `"192.168.0.0/16" in relay-domains never matches: there is no CIDR notation; write 192.168`},
		{"relay", "*.friend.org", "there are no wildcards; write friend.org"},
		{"relay", "friend.org.", "without a final dot; write friend.org"},
		{"relay", "@friend.org", "members are domains; write friend.org"},
		{"relay", "joe@friend.org", "members are domains; write friend.org"},
		{"relay", "2001:db8::1", "write IPv6:2001:db8:0:0:0:0:0:1"},
		{"relay", "Connect:192.0.2", "tags belong to the access table; write 192.0.2"},
		{"relay", `"friend.org"`, "it stands in quotes"},
		{"relay", "RELAY", "this file has no values"},
		{"relay", "com", "com in relay-domains is for everything below com"},
		{"relay", "11", "11 in relay-domains is for all addresses that begin with 11"},
		{"relay", "müller.example", "write the xn-- form"},
		{"relay", "friend.org RELAY", "only the first word of a line counts"},
		{"local", "friend.org", ""},
		{"local", "localhost", ""},
		{"local", "[192.0.2.7]", ""},
		{"local", "192.0.2.7", "an address stands in brackets; write [192.0.2.7]"},
		{"local", "192.0.2", "a network is not local"},
		{"local", "192.0.2.0/24", "there is no CIDR notation"},
		{"local", "[192.0.2]", "it is no whole address"},
		{"local", "[2001:db8::1]", "write IPv6:2001:db8:0:0:0:0:0:1"},
		{"local", ".friend.org", "members are whole names"},
		{"local", "*.friend.org", "there are no wildcards; write friend.org"},
		{"local", "From:friend.org", "tags belong to the access table"},
	} {
		t.Run(tc.class+" "+tc.word, func(t *testing.T) {
			texts := map[string]string{tc.class: "# first\n" + tc.word + "\n"}
			found := Check(inputOf(t, nil, "", texts["relay"], texts["local"]))
			var want []string
			if tc.want != "" {
				want = []string{tc.class + ":2: "}
				if len(found) == 1 && !strings.Contains(found[0].Text, tc.want) {
					want[0] += tc.want
				}
			}
			compare(t, found, want)
		})
	}
	hosts := inputOf(t, func(c *config.Config) { c.Features.RelayHostsOnly = true }, "", ".friend.org\n", "")
	compare(t, Check(hosts), []string{"with relay_hosts_only a member is a host"})
}

// TestProblems has what the parser says, and the order of all.
func TestProblems(t *testing.T) {
	in := inputOf(t, nil, "From:a.org REJECT\nfrom:A.org OK\n blank\nTo:\nb.org REJECT\n", "", "x y\n")
	compare(t, Check(in), []string{
		`access:2: key "from:A.org" stands in line 1 already`, "access:3: the line begins with a blank",
		`access:4: key "To:" has no value`, `access:5: key "b.org" has no tag`, "local:1: only the first word",
	})
	many := inputOf(t, nil, strings.Repeat("From:a.org REJECT\n", 150), "", "")
	found := Check(many)
	if n := len(found); n != 101 || !strings.Contains(found[n-1].Text, "and 49 more lines") {
		t.Errorf("149 lines twice give %d findings, the last one %q; want 101, and 49 more", n, found[n-1])
	}
}

func TestFeatures(t *testing.T) {
	risky := func(c *config.Config) {
		f := &c.Features
		f.PromiscuousRelay, f.RelayLocalFrom, f.RelayMailFrom, f.RelayBasedOnMX, f.LooseRelayCheck, f.RelayEntireDomain = true, true, true, true, true, true
	}
	compare(t, Check(inputOf(t, risky, "", "", "")), []string{
		"features.promiscuous_relay relays for everybody", "features.relay_local_from ", "features.relay_mail_from ", "features.relay_based_on_MX ", "features.loose_relay_check ",
	})
	wide := inputOf(t, func(c *config.Config) { c.Features.RelayEntireDomain = true }, "", "", "")
	wide.Policy.Domain = "com"
	compare(t, Check(wide), []string{"features.relay_entire_domain relays for every host below com"})
	for _, risk := range config.Risks() {
		in := inputOf(t, func(c *config.Config) { risky(c); c.AcceptRisk = []string{risk} }, "", "", "")
		if slices.ContainsFunc(Check(in), func(f Finding) bool { return f.Risk == risk }) {
			t.Errorf("accept_risk = [%q] does not silence it", risk)
		}
	}
}

// TestNames asks a DNS about names.
func TestNames(t *testing.T) {
	in := inputOf(t, nil, "To:here.org RELAY\nTo:alias.org RELAY\nFrom:gone.org REJECT\n", "here.org\ngone.org\n10\ncom\n.sub.gone.org\n", "[192.0.2.1]\nlocalhost\nfail.org\n")
	in.VirtualHosts.Text, _, _ = maps.Parse("virtual", maps.FormatClass, []byte("here.org\nalias.org\n"))
	for _, zone := range []string{"good.example", "dead.example", "all.example", "closed.example"} {
		in.Policy.Features.DNSLists = append(in.Policy.Features.DNSLists, policy.DNSList{Zone: zone})
	}
	in.Policy.Features.DNSLists = append(in.Policy.Features.DNSLists, policy.DNSList{Zone: "domains.example",
		Table: &policy.ListTable{Lookup: policy.LookupSender, Key: "secret", Filters: []dnsbl.Filter{dnsbl.Everything(0)}}})
	wild := netip.AddrFrom4([4]byte{127, 255, 255, 254})
	in.Policy.Resolver = wildcard{".closed.example", wild, dnsfake.NewFake(dnsfake.Zone{
		"here.org":                    {A: []string{"192.0.2.1"}},
		"alias.org":                   {CNAME: "here.org"},
		"fail.org":                    {Fail: "SERVFAIL"},
		"test.secret.domains.example": {A: []string{"127.0.0.2"}},
		"2.0.0.127.good.example":      {A: []string{"127.0.0.2"}},
		"2.0.0.127.all.example":       {A: []string{"127.0.0.2"}},
		"1.0.0.127.all.example":       {A: []string{"127.0.0.2"}},
	})}
	compare(t, Names(t.Context(), in), []string{
		"the DNS list dead.example is odd: it does not list 127.0.0.2",
		"the DNS list all.example cannot be believed: it lists 127.0.0.1",
		"the DNS list closed.example cannot be believed: it answered 127.255.255.254: the list refuses queries",
		"access:2: alias.org (To:) is an alias of here.org, and addresses are compared under that name; write here.org",
		"relay:2: gone.org (relay-domains) is not in the DNS",
		"relay:5: sub.gone.org (relay-domains) is not in the DNS",
		"virtual:2: alias.org (virtual-hosts) is an alias of here.org",
		"local:3: fail.org (local-host-names) could not be looked up: ",
	})
}

// wildcard is a resolver to which one name, and all that ends in it, has one address.
type wildcard struct {
	suffix string
	addr   netip.Addr
	dns.Resolver
}

func (w wildcard) Lookup(ctx context.Context, name string, t dns.Type) (dns.Answer, error) {
	if strings.HasSuffix(name, w.suffix) {
		return dns.Answer{Name: name, Addrs: []netip.Addr{w.addr}}, nil
	}
	return w.Resolver.Lookup(ctx, name, t)
}

// TestDeadLists names lists that are gone, wherever they are used.
func TestDeadLists(t *testing.T) {
	in := inputOf(t, func(c *config.Config) {
		c.DNSLists = []config.DNSList{{Zone: "zen.example.net"}, {Zone: "dul.dnsbl.sorbs.net"}, {Zone: "notsorbs.net"}}
		c.Features.DNSBL = []config.DNSList{{Zone: "Relays.ORDB.org"}}
		c.Features.EnhDNSBL = []config.DNSList{{Zone: "njabl.org"}}
	}, "", "", "")
	var got []string
	for _, f := range Check(in) {
		if f.Check == "DNS lists that are gone" {
			got = append(got, f.Text)
		}
	}
	want := []string{
		"the DNS list Relays.ORDB.org was shut down in December 2006, and has listed everybody; take it out",
		"the DNS list njabl.org was shut down in March 2013, and has listed everybody; take it out",
		"the DNS list dul.dnsbl.sorbs.net was decommissioned in June 2024; take it out",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lists that are gone (-want +got):\n%s", diff)
	}
}

// TestNamesAreBounded has more names than are asked about, and no time.
func TestNamesAreBounded(t *testing.T) {
	var relay strings.Builder
	for i := range 500 {
		fmt.Fprintf(&relay, "d%d.example\n", i)
	}
	in := inputOf(t, nil, "", relay.String(), "")
	fake := dnsfake.NewFake(dnsfake.Zone{})
	in.Policy.Resolver = fake
	if n := len(Names(t.Context(), in)); n != maxNames || fake.Calls() > 3*maxNames {
		t.Errorf("500 names give %d findings and %d questions, want %d findings", n, fake.Calls(), maxNames)
	}
	in.Policy.Resolver = hanging{}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if found := Names(ctx, in); len(found) != 0 {
		t.Errorf("without time for an answer %d things are found, the first: %s", len(found), found[0])
	}
	in.Policy.Resolver = dnsfake.NewFake(dnsfake.Zone{"example": {Fail: "SERVFAIL"}, "d1.example": {Fail: "SERVFAIL"}, "d2.example": {Fail: "SERVFAIL"}})
	found := Names(t.Context(), in)
	if last := found[len(found)-1].Text; !strings.Contains(last, "(and 1 more names)") {
		t.Errorf("two names that fail are told as %q, want them as one finding", last)
	}
}

// FuzzCheck: no table makes the checks or the search fail.
func FuzzCheck(f *testing.F) {
	f.Add("Connect:11 RELAY\nTo:.com. REJECT\n", "com\n", "[::1]\n")
	f.Add("Connect:IPv6:: x\nFrom:@ \"\nTo:[ OK\n", ":\n.\n]\n", "@\n")
	f.Add("Connect:1/33 x\nConnect:ipv6:::/200 x\n+*@ OK\n", "1.\nipv6:\n", "%\n")
	f.Fuzz(func(t *testing.T, access, relay, local string) {
		if len(access)+len(relay)+len(local) > 4000 || strings.ContainsRune(access+relay+local, 0) {
			return
		}
		in := inputOf(t, func(c *config.Config) { blocklist(c); c.Features.RelayLocalFrom = true }, access, relay, local)
		for _, x := range Check(in) {
			if x.Text == "" || x.Check == "" {
				t.Errorf("finding without text: %+v", x)
			}
		}
		in.Policy.Access = in.Access.Text
		in.Policy.RelayDomains, in.Policy.LocalHostNames = []maps.Map{in.RelayDomains.Text}, []maps.Map{in.LocalHostNames.Text}
		in.Policy.Features.RelayLocalFrom, in.Policy.Features.RelayToFullAddress = true, true
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		result, err := OpenRelay(ctx, in.Policy)
		if err != nil {
			t.Fatal(err)
		}
		for i := range result.Witnesses {
			if result.Witnesses[i].DNS == nil {
				replay(t, in.Policy, &result.Witnesses[i])
			}
		}
	})
}
