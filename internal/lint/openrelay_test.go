package lint

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"gatepost/internal/config"
	"gatepost/internal/dns"
	"gatepost/internal/smtp"
	"gatepost/maps"
	"gatepost/policy"
)

// site is a policy of mx.example.com as text.
type site struct {
	features policy.Features
	access   []string
	relay    []string
	local    []string
	host     string // "" for mx.example.com
	trusted  []string
	spammers []string
	virtual  []string
}

func (s *site) config(t *testing.T) policy.Config {
	t.Helper()
	host := s.host
	if host == "" {
		host = "mx.example.com"
	}
	_, domain, _ := strings.Cut(host, ".")
	c := policy.Config{
		HostName: host, Domain: domain,
		Access:         accessOf(t, s.access...),
		RelayDomains:   []maps.Map{classOf(t, "relay-domains", s.relay...)},
		LocalHostNames: []maps.Map{classOf(t, "local-host-names", s.local...), maps.NewClass("this host", []string{"localhost", host, "[192.0.2.25]"})},
		OwnDomains:     []maps.Map{maps.NewClass("this host", []string{domain})},
		Features:       s.features,
		Hosts:          dns.ParseHosts([]byte("127.0.0.1 localhost\n::1 localhost\n")),
	}
	if s.trusted != nil {
		c.Trusted = tableOf(t, "trusted", policy.CheckTrusted, s.trusted...)
	}
	if s.spammers != nil {
		c.Spammers = tableOf(t, "spammers", policy.CheckSpammers, s.spammers...)
	}
	if s.virtual != nil {
		c.VirtualHosts = []maps.Map{classOf(t, "virtual-hosts", s.virtual...)}
	}
	return c
}

// tableOf is a table whose lines are as good as those of a file must be.
func tableOf(t *testing.T, name string, check func(key, value string) error, lines ...string) *maps.Text {
	t.Helper()
	text, _, err := maps.Parse(name, maps.FormatAccess, []byte(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	for key, e := range text.All() {
		if err := check(key, e.Value); err != nil {
			t.Fatal(err)
		}
	}
	return text
}

func searched(t *testing.T, c policy.Config) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	result, err := OpenRelay(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	if !result.Complete {
		t.Fatalf("the search was not complete after %d sessions", result.Sessions)
	}
	return result
}

// TestOpenRelays has an open relay of each kind: the rule that lets the stranger
// in, the entry, and what the witness must show.
func TestOpenRelays(t *testing.T) {
	for _, tc := range []struct {
		name string
		site site
		rule string // by which it is open
		at   string // the entry
		show string // a part of the command
	}{
		{"an octet in the access table", site{access: []string{"From:a.org OK", "Connect:11 RELAY"}}, "client address access", "access:2", "--client 11."},
		{"an octet without tag", site{access: []string{"193 RELAY"}}, "client address access", "access:1", "--client 193."},
		{"all of IPv6", site{access: []string{"Connect:IPv6 RELAY"}}, "client address access", "access:1", ":"},
		{"a /16 of IPv6", site{access: []string{"Connect:IPv6:2a00 RELAY"}}, "client address access", "access:1", "--client 2a00:"},
		{"a /32 of IPv6", site{access: []string{"Connect:IPv6:2a00:1 RELAY", "Connect:IPv6:2a00:1:2 REJECT"}}, "client address access", "access:1", "--client 2a00:1:"},
		{"an octet in relay-domains", site{relay: []string{"example.net", "11."}}, "client relay_domains", "relay-domains:2", "--client 11."},
		{"a /32 in relay-domains", site{relay: []string{"IPv6:2001:db8"}}, "client relay_domains", "relay-domains:1", "--client 2001:db8:"},
		{"a suffix in relay-domains, clients", site{relay: []string{"co.uk"}}, "client name", "relay-domains:1", "--name stranger.co.uk --resolve OK"},
		{"a suffix in relay-domains, recipients", site{relay: []string{"com"}}, "recipient domain", "relay-domains:1", "--to '<someone@stranger.com>'"},
		{"a suffix with a dot", site{relay: []string{".com"}}, "recipient domain", "relay-domains:1", "--to '<someone@stranger.com>'"},
		{"a suffix that sells names of three labels", site{relay: []string{"ck"}}, "client name", "relay-domains:1", "--name stranger.x.ck"},
		{"a suffix of somebody's", site{access: []string{"Connect:github.io RELAY"}}, "client name", "access:1", "--name stranger.github.io"},
		{"a suffix for clients", site{access: []string{"Connect:org RELAY"}}, "client name", "access:1", "--name stranger.org"},
		{"a suffix for recipients", site{access: []string{"To:org RELAY"}}, "recipient access", "access:1", "--to '<someone@stranger.org>'"},
		{"a suffix without tag", site{access: []string{"org RELAY"}}, "recipient access", "access:1", "--to '<someone@stranger.org>'"},
		{"lookupdotdomain", site{features: policy.Features{LookupDotDomain: true}, access: []string{"Connect:.org RELAY"}}, "client name", "access:1", "--name stranger.org"},
		{"an own domain that is a suffix", site{features: policy.Features{RelayEntireDomain: true}, host: "example.com"}, "client name", "this host", "--name stranger.com"},
		{"recipients at addresses", site{access: []string{"To:[11] RELAY"}}, "recipient access", "access:1", "--to '<someone@[11."},
		{"relaytofulladdress", site{features: policy.Features{RelayToFullAddress: true}, access: []string{"To:abuse@ RELAY"}}, "recipient access", "access:1", "--to '<abuse@stranger."},
		{"promiscuous_relay", site{features: policy.Features{PromiscuousRelay: true}}, "promiscuous_relay", "", "--from '<>' --to '<someone@stranger.example>'"},
		{"relay_local_from", site{features: policy.Features{RelayLocalFrom: true}}, "relay_local_from", "this host", "--from '<someone@mx.example.com>'"},
		{"relay_local_from, own name refused", site{features: policy.Features{RelayLocalFrom: true}, local: []string{"example.com"}, access: []string{"From:mx.example.com REJECT"}},
			"relay_local_from", "local-host-names:1", "--from '<someone@example.com>'"},
		{"relay_local_from, all refused but one user", site{features: policy.Features{RelayLocalFrom: true}, access: []string{"From:mx.example.com REJECT", "From:boss@ OK"}},
			"relay_local_from", "this host", "--from '<boss@mx.example.com>'"},
		{"relay_mail_from", site{features: policy.Features{RelayMailFrom: true}, access: []string{"From:boss@friend.org RELAY"}}, "relay_mail_from", "access:1", "--from '<boss@friend.org>'"},
		{"relay_mail_from domain", site{features: policy.Features{RelayMailFrom: true, RelayMailFromDomain: true}, access: []string{"From:friend.org RELAY"}},
			"relay_mail_from", "access:1", "--from '<someone@friend.org>'"},
		{"relay_based_on_MX", site{features: policy.Features{RelayBasedOnMX: true}}, "relay_based_on_MX", "this host", "--to '<someone@stranger.example>'"},
		{"refused by address, let in by name", site{relay: []string{"11"}, access: []string{"Connect:11 REJECT", "Connect:org OK"}},
			"client relay_domains", "relay-domains:1", "--client 11.78.114.26 --name stranger.org"},
		{"refused by address, let in without a name", site{relay: []string{"11"}, access: []string{"Connect:11 REJECT", "Connect:[11] OK"}},
			"client relay_domains", "relay-domains:1", "--client 11.78.114.26 --resolve FAIL"},
		{"refused by name, let in by an alias", site{relay: []string{"net"}, access: []string{"Connect:net REJECT", "To:net REJECT"}, features: policy.Features{BlocklistRecipients: true}},
			"client name", "relay-domains:1", "--name alias.stranger.example"},
		{"a friend behind a relayed domain", site{
			features: policy.Features{RelayLocalFrom: true, DelayChecks: policy.DelayFriend},
			relay:    []string{"friend.org"}, access: []string{"From:mx.example.com REJECT", "From:localhost REJECT", "Spam:friend.org FRIEND"},
		}, "relay_local_from", "this host", "--to '<someone%stranger.example@friend.org>'"},
		{"delay_checks, a sender that is OK", site{
			features: policy.Features{DelayChecks: policy.DelayAll},
			relay:    []string{"11"}, access: []string{"Connect:11 REJECT", "From:friend.org OK"},
		}, "client relay_domains", "relay-domains:1", "--from '<someone@friend.org>'"},
		{"a forged name", site{
			features: policy.Features{UseClientPtr: true},
			relay:    []string{"11"}, access: []string{"Connect:11 REJECT", "Connect:friend.org OK"},
		}, "client relay_domains", "relay-domains:1", "--name friend.org --resolve FORGED"},
		{"skip", site{features: policy.Features{AccessSkip: true}, relay: []string{"IPv6:2a00:1"}, access: []string{"Connect:IPv6:2a00:1 SKIP", "Connect:IPv6:2a00 REJECT"}},
			"client relay_domains", "relay-domains:1", "--client 2a00:1:"},
		{"relay_mail_from, a key with a dot", site{
			features: policy.Features{RelayMailFrom: true, RelayMailFromDomain: true, LookupDotDomain: true},
			access:   []string{"From:.friend.org RELAY", "From:stranger.friend.org REJECT"},
		}, "relay_mail_from", "access:1", "--from '<someone@stranger2.friend.org>'"},
		{"relay_mail_from, a domain that is no host name", site{features: policy.Features{RelayMailFrom: true, RelayMailFromDomain: true}, access: []string{"From:a+b.org RELAY"}},
			"relay_mail_from", "access:1", "--from '<someone@a+b.org>'"},
		{"relay_mail_from, a suffix", site{features: policy.Features{RelayMailFrom: true, RelayMailFromDomain: true}, access: []string{"From:org RELAY"}},
			"relay_mail_from", "access:1", "--from '<someone@stranger.org>'"},
		{"delay_checks, a sender below a domain that is OK", site{
			features: policy.Features{DelayChecks: policy.DelayAll, LookupDotDomain: true},
			relay:    []string{"11"}, access: []string{"Connect:11 REJECT", "From:.friend.org OK"},
		}, "client relay_domains", "relay-domains:1", "--from '<someone@stranger.friend.org>'"},
		{"a forged name below a domain", site{
			features: policy.Features{UseClientPtr: true, LookupDotDomain: true},
			relay:    []string{"11"}, access: []string{"Connect:11 REJECT", "Connect:.friend.org OK"},
		}, "client relay_domains", "relay-domains:1", "--name stranger.friend.org --resolve FORGED"},
		{"the last of many forged names", site{
			features: policy.Features{UseClientPtr: true},
			relay:    []string{"11"}, access: append(skipped(100), "Connect:11 REJECT", "Connect:friend.org OK"),
		}, "client relay_domains", "relay-domains:1", "--name friend.org --resolve FORGED"},
		{"an octet of which one network is not named", site{access: append(slices.Delete(octet("11"), 250, 251), "Connect:11 RELAY")},
			"client address access", "access:256", "--client 11.250."},
		{"and of that one network", site{access: slices.Concat(slices.Delete(octet("11"), 0, 1), slices.Delete(octet("11.0"), 251, 252), []string{"Connect:11 RELAY"})},
			"client address access", "access:511", "--client 11.0.251."},
		{"lists do not have him", site{relay: []string{"11"}, features: policy.Features{DNSLists: []policy.DNSList{{Zone: "bl.example.net", Temporary: "t"}}}},
			"client relay_domains", "relay-domains:1", "--dns '26.114.78.11.bl.example.net NXDOMAIN'"},
		{"an alias, shown by --dns", site{relay: []string{"net", "com"}, access: []string{"Connect:com REJECT", "To:com REJECT"}, features: policy.Features{BlocklistRecipients: true}},
			"client name", "relay-domains:2", "CNAME stranger.com'"},
		{"a value with a comment", site{access: []string{"Connect:11 RELAY (for now)"}}, "client address access", "access:1", "--client 11."},
		{"trusted octet", site{trusted: []string{"a.org accept", "11.*.*.* accept"}}, "trusted address", "trusted:2", "--client 11."},
		{"trusted octet, UnixWare", site{features: unixware(), trusted: []string{"11.*.*.* accept", "11.78.*.* accept"}}, "trusted address", "trusted:1", "--client 11."},
		{"everybody trusted", site{features: unixware(), trusted: []string{"*.*.*.* accept"}}, "trusted address", "trusted:1", "--to '<someone@stranger.example>'"},
		{"trusted suffix", site{trusted: []string{"*.com accept"}}, "trusted name", "trusted:1", "--name stranger.com --resolve OK"},
		{"trusted suffix, UnixWare", site{features: unixware(), trusted: []string{"*.co.uk accept"}}, "trusted name", "trusted:1", "--name stranger.co.uk --resolve OK"},
		{"trusted suffix, some of it in vain", site{features: unixware(), trusted: []string{"*.com accept", "stranger.com accept"}, spammers: []string{"org REJECT"}}, "trusted name", "trusted:1", "--name stranger2.com"},
		{"UnixWare, an own domain that is a suffix", site{features: unixware(), host: "example.co.uk"}, "recipient at this host", "this host", "--to '<someone@stranger.co.uk>'"},
		{"check_rcpt off", site{features: policy.Features{CheckRcpt: policy.CheckRcptOff}}, "check_rcpt", "", "--from '<>' --to '<someone@stranger.example>'"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := tc.site.config(t)
			result := searched(t, c)
			var all []string
			for i := range result.Witnesses {
				w := &result.Witnesses[i]
				replay(t, c, w)
				if w.Rule == tc.rule && w.Source.String() == tc.at && strings.Contains(w.Command(""), tc.show) {
					return
				}
				all = append(all, fmt.Sprintf("by %s, %s: %s", w.Rule, w.Source, w.Command("")))
			}
			t.Errorf("found %q, want one by %s, %s with %q", all, tc.rule, tc.at, tc.show)
		})
	}
}

// TestNoOpenRelay has policies that let nobody in who is not named.
func TestNoOpenRelay(t *testing.T) {
	for _, tc := range []struct {
		name string
		site site
	}{
		{"nothing", site{}},
		{"usual", site{relay: []string{"example.net", "192.168", "10", "198.51.100"}, local: []string{"example.com"}, access: []string{"Connect:127 RELAY", "Connect:10 RELAY", "To:partner.org RELAY"}}},
		{"a /48 of IPv6", site{access: []string{"Connect:IPv6:2001:db8:1 RELAY"}, relay: []string{"IPv6:2001:db8:2"}}},
		{"words for use inside", site{relay: []string{"lan", "localdomain", "internal", "fritz.box.local"}, access: []string{"Connect:home RELAY"}}},
		{"refused at connection", site{relay: []string{"11"}, access: []string{"Connect:11 REJECT"}, features: policy.Features{RequireRDNS: true}}},
		{"no pass is no relay", site{access: []string{"Connect:11 OK", "Connect:com OK", "To:com OK", "From:com RELAY", "From:boss@friend.org RELAY"}}},
		{"hosts only", site{relay: []string{"com"}, access: []string{"To:org RELAY", "Connect:org RELAY"}, features: policy.Features{RelayHostsOnly: true}}},
		{"relay_entire_domain", site{features: policy.Features{RelayEntireDomain: true}}},
		{"full addresses", site{features: policy.Features{RelayToFullAddress: true}, access: []string{"To:you@friend.org RELAY"}}},
		{"users without relaytofulladdress", site{access: []string{"To:abuse@ RELAY"}}},
		{"local senders refused", site{features: policy.Features{RelayLocalFrom: true}, access: []string{"From:mx.example.com REJECT", "From:localhost REJECT"}}},
		{"loose_relay_check", site{features: policy.Features{LooseRelayCheck: true}, relay: []string{"friend.org"}, local: []string{"example.com"}}},
		{"ordinary characters", site{features: policy.Features{NoUUCP: policy.SpecialOrdinary, NoPercentHack: policy.SpecialOrdinary}, relay: []string{"friend.org"}, local: []string{"example.com"}}},
		{"routed through domains of ours", site{relay: []string{"friend.org"}, local: []string{"example.com"}, access: []string{"To:partner.org RELAY"}}},
		{"an octet that is all named", site{access: append(octet("11"), "Connect:11 RELAY")}},
		{"large tables", site{
			local:  many("host%d.example.org"),
			relay:  many("host%d.friend.org"),
			access: slices.Concat(many("From:u%d@friend.org OK"), many("From:h%d.friend.org OK"), many("u%d@ OK"), many("Connect:h%d.friend.org OK"), many("Spam:h%d.friend.org FRIEND"), many("To:h%d.friend.org RELAY")),
		}},
		{"a suffix and its dot", site{access: []string{"Connect:.org RELAY", "To:.org RELAY"}, relay: []string{"com."}}},
		{"keys that never match", site{access: []string{"Connect:IPv6:2600:: RELAY", "Connect:2600::/16 RELAY", "Connect:11. RELAY", "Connect:11/8 RELAY", "Connect:12 RELAY # why", "\"13\" RELAY"}}},
		{"addresses that are not public", site{access: []string{"Connect:IPv6:fd00 RELAY", "Connect:IPv6:fe80 RELAY", "Connect:169.254 RELAY", "Connect:224 RELAY"}}},
		{"held, not relayed", site{relay: []string{"11"}, access: []string{"Connect:11 QUARANTINE:look"}}},
		{"local, not relayed", site{local: []string{"com", "org", "11"}}},
		{"a forged name relays nothing", site{access: []string{"Connect:com OK", "Connect:friend.org RELAY"}, features: policy.Features{UseClientPtr: true}}},
		{"a user at a suffix", site{access: []string{"To:you@com RELAY"}, features: policy.Features{RelayToFullAddress: true}}},
		{"friends", site{access: []string{"Spam:com FRIEND", "From:com OK"}, features: policy.Features{DelayChecks: policy.DelayFriend}}},
		{"special characters are remote", site{features: policy.Features{NoUUCP: policy.SpecialReject, NoPercentHack: policy.SpecialReject}, relay: []string{"friend.org"}, local: []string{"example.com"}}},
		{"relay_mail_from with OK", site{access: []string{"From:friend.org OK", "friend.org RELAY"}, relay: []string{"198.51.100"}, features: policy.Features{RelayMailFrom: true, RelayMailFromDomain: true}}},
		{"UnixWare", site{features: unixware(), trusted: []string{"localhost accept", "*.friend.org accept", "11.12.*.* accept", "10.*.*.* accept", "192.168.7.* accept", "2001:db8::7 accept", "*.lan accept"}, virtual: []string{"shop.example", "com"}, local: []string{"example.com"}}},
		{"UnixWare asks for none of these", site{features: unixware(), relay: []string{"com", "11"}, access: []string{"Connect:12 RELAY", "To:org RELAY", "Connect:net RELAY", "13 RELAY"}}},
		{"UnixWare without features of sendmail's check", site{features: policy.Features{CheckRcpt: policy.CheckRcptUnixWare, RelayLocalFrom: true, RelayBasedOnMX: true, RelayMailFrom: true, RelayMailFromDomain: true}, access: []string{"From:friend.org RELAY"}}},
		{"trusted beside sendmail's check", site{trusted: []string{"*.friend.org accept", "11.12.*.* accept", "10.*.*.* accept"}}},
		{"logins", site{features: policy.Features{TrustAuthMech: []string{"PLAIN"}}, access: []string{"CertIssuer:/CN=us RELAY"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			result := searched(t, tc.site.config(t))
			for _, w := range result.Witnesses {
				t.Errorf("found %s, by %s, %s; want no open relay", w.Command(""), w.Rule, w.Source)
			}
			if result.Sessions == 0 {
				t.Errorf("no session came as far as RCPT")
			}
		})
	}
}

func unixware() policy.Features { return policy.Features{CheckRcpt: policy.CheckRcptUnixWare} }

// octet names all networks that are one octet longer than one.
func octet(net string) []string {
	lines := make([]string, 256)
	for i := range lines {
		lines[i] = fmt.Sprintf("Connect:%s.%d REJECT", net, i)
	}
	return lines
}

// skipped are entries that look as if they let pass, and do not.
func skipped(n int) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = fmt.Sprintf("Connect:h%d.friend.org SKIP", i)
	}
	return lines
}

// many is a line for each number.
func many(format string) []string {
	lines := make([]string, most+1)
	for i := range lines {
		lines[i] = fmt.Sprintf(format, i)
	}
	return lines
}

// TestAgainstSampling makes up policies, and for those without an open relay
// sessions of strangers at random: none of them may be accepted.
func TestAgainstSampling(t *testing.T) {
	open, closed, asked := 0, 0, 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := randomSite(r)
		c := s.config(t)
		if len(searched(t, c).Witnesses) > 0 {
			open++
			continue
		}
		closed++
		asked += sample(t, r, seed, s, c)
	}
	t.Logf("%d policies open, %d closed; of these %d sessions of strangers came as far as RCPT", open, closed, asked)
	if open < 100 || closed < 100 || asked < 10000 {
		t.Errorf("%d policies open, %d closed, %d sessions asked; the sample says too little", open, closed, asked)
	}
}

// What random policies and strangers are made of. No entry longer than a public
// suffix or an octet names a stranger.
func someOf(r *rand.Rand, n int, words ...string) []string {
	list := make([]string, 0, n)
	for range r.IntN(n + 1) {
		list = append(list, words[r.IntN(len(words))])
	}
	return list
}

func pick(r *rand.Rand, words ...string) string { return words[r.IntN(len(words))] }

func randomSite(r *rand.Rand) *site {
	chance := func(percent int) bool { return r.IntN(100) < percent }
	s := &site{local: someOf(r, 2, "example.com", "example.net"), relay: someOf(r, 2, "friend.org", "a.isp.com", "10", "11.2", "192.168")}
	if chance(25) {
		s.relay = append(s.relay, pick(r, "com", "co.uk", "11", "IPv6:2600", ".net"))
	}
	for range r.IntN(8) {
		tag := pick(r, "Connect:", "From:", "To:", "Spam:", "", "Connect:", "ClientRate:")
		key := pick(r, "11", "12", "11.2", "[11]", "ipv6", "ipv6:2600", "ipv6:2600:1", "com", "net", "co.uk", "uk", "friend.org", "isp.com", "mx.example.com", "example.com", "boss@", "boss@friend.org", "boss@example.com", ".com", ".friend.org")
		value := pick(r, "REJECT", "REJECT", "OK", "OK", "SKIP", "DISCARD", "450 later", "FRIEND", "HATER", "0")
		if chance(20) {
			value = "RELAY"
		}
		s.access = append(s.access, tag+key+" "+value)
	}
	f := &s.features
	for _, one := range []struct {
		at      *bool
		percent int
	}{
		{&f.AccessSkip, 30}, {&f.LookupDotDomain, 30}, {&f.RelayToFullAddress, 20}, {&f.BlocklistRecipients, 50}, {&f.RelayHostsOnly, 20},
		{&f.RelayEntireDomain, 20}, {&f.RelayLocalFrom, 15}, {&f.RelayMailFrom, 15}, {&f.RelayMailFromDomain, 10}, {&f.LooseRelayCheck, 20},
		{&f.RequireRDNS, 20}, {&f.UseClientPtr, 20}, {&f.BlockBadHelo, 20}, {&f.BadMX, 20}, {&f.AcceptUnresolvableDomains, 20},
		{&f.AcceptUnqualifiedSenders, 20}, {&f.NoCanonify, 20}, {&f.RelayBasedOnMX, 5}, {&f.RateControl.On, 20},
	} {
		*one.at = chance(one.percent)
	}
	f.DelayChecks = policy.DelayChecks(max(0, r.IntN(6)-2))
	if chance(30) {
		f.CheckRcpt = policy.CheckRcptUnixWare
		s.virtual = someOf(r, 2, "shop.org", "shop.com", "com")
	}
	if chance(40) {
		for _, key := range someOf(r, 3, "*.friend.org", "*.isp.com", "mail.friend.org", "11.2.*.*", "10.*.*.*", "2600:1:9::1") {
			s.trusted = append(s.trusted, key+" accept")
		}
		if chance(40) {
			s.trusted = append(s.trusted, pick(r, "*.com", "*.co.uk", "11.*.*.*", "*.*.*.*")+" accept")
		}
	}
	if chance(20) {
		s.spammers = []string{pick(r, "evil.com", "com", "isp.com", "boss@friend.org") + " " + pick(r, "REJECT", "OK")}
	}
	return s
}

// world answers for sampled sessions: every name exists, one may be an alias.
type world struct{ alias, target string }

func (w *world) Lookup(_ context.Context, name string, t dns.Type) (dns.Answer, error) {
	a := dns.Answer{Name: name}
	if name == w.alias {
		a.Name = w.target
	}
	if t == dns.TypeA || t == dns.TypeAAAA {
		a.Addrs = []netip.Addr{netip.MustParseAddr("12.9.9.9")}
	}
	if t == dns.TypeMX {
		a.MX = []dns.MX{{Preference: 1, Host: "mx.example.com"}}
	}
	return a, nil
}

func sample(t *testing.T, r *rand.Rand, seed uint64, s *site, c policy.Config) (asked int) {
	t.Helper()
	w := &world{}
	c.Resolver = w
	p, err := policy.New(c)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"x.evil.com", "evil.com", "evil.co.uk", "evil.uk", "evil.net", "evil.example", "evil.org"}
	for range 300 {
		f := &policy.Facts{Helo: policy.Helo{Given: true, Name: "evil.example"}}
		f.Conn = policy.Conn{Addr: netip.MustParseAddr(pick(r, "11.9.9.9", "12.9.9.9", "13.9.9.9", "2600:1:9::9", "2600:9::9", "2a00:9::9")), Rate: 1, Open: 1}
		*w = world{}
		switch f.Conn.Resolve = policy.Resolve(1 + r.IntN(4)); f.Conn.Resolve {
		case policy.ResolveOK:
			f.Conn.Name = pick(r, names...)
			f.Conn.Ptr = f.Conn.Name
			if r.IntN(2) == 0 {
				f.Conn.Name, f.Conn.Ptr = "alias.evil.info", "alias.evil.info"
				*w = world{"alias.evil.info", pick(r, names...)}
			}
		case policy.ResolveForged:
			f.Conn.Ptr = pick(r, append(names, "friend.org", "a.friend.org", "isp.com", "mx.example.com")...)
		}
		sender := ""
		if r.IntN(3) > 0 {
			sender = pick(r, "x", "boss") + "@" + pick(r, append(names, "friend.org", "a.friend.org", "example.com", "mx.example.com", "isp.com", "[11.9.9.9]")...)
		}
		f.Mail.Sender = smtp.ParsePath("<" + sender + ">")
		d := pick(r, names...)
		to := pick(r, "x", "boss") + "@" + d
		if r.IntN(2) == 0 { // through a domain that is local, or to an address
			to = pick(r, "x%"+d+"@mx.example.com", d+"!x@mx.example.com", "@mx.example.com:x@"+d, `"x@`+d+`"@mx.example.com`, "x%"+d, "x@[11.9.9.9]", "x%"+d+"%mx.example.com@localhost")
		} else if c.Features.CheckRcpt == policy.CheckRcptUnixWare && r.IntN(2) == 0 {
			to = "x%" + d + pick(r, "@sub.example.com", "@shop.org", "@shop.com")
		}
		f.Rcpt.Recipient = smtp.ParsePath("<" + to + ">")
		passed := true
		for _, at := range []policy.Stage{policy.StageConnect, policy.StageMail, policy.StageRcpt} {
			if at == policy.StageRcpt && passed {
				asked++
			}
			passed = passed && p.Decide(t.Context(), at, f).Verdict.Action == policy.Accept
		}
		if passed {
			t.Errorf("seed %d: client %+v from <%s> to <%s> is accepted, though the search found nothing in %+v", seed, f.Conn, sender, to, *s)
			return asked
		}
	}
	return asked
}

func TestWitnessCommand(t *testing.T) {
	w := Witness{Client: netip.MustParseAddr("2a00::1"), Resolve: policy.ResolveFail, Helo: "a.example", Recipient: `"it's"@b.example`}
	want := `gatepost explain --config '/etc/a b.toml' --client 2a00::1 --resolve FAIL --helo a.example --from '<>' --to '<"it'\''s"@b.example>'`
	if got := w.Command("/etc/a b.toml"); got != want {
		t.Errorf("Command gave\n%s\nwant\n%s", got, want)
	}
	w.Rule, w.DNS = "relay_local_from", []string{"a.example MX 10 b.example"}
	if got := w.Command("/etc/a b.toml"); got != want+" --dns 'a.example MX 10 b.example'" {
		t.Errorf("Command gave\n%s\nwant\n%s and --dns", got, want)
	}
	f := w.Finding(config.Default())
	if f.Source.File != "" || !strings.HasSuffix(f.Text, `by the rule "relay_local_from", with what --dns says in the DNS`) || f.Risk != "open_relay" {
		t.Errorf("Finding gave %+v", f)
	}
}

// TestLargePolicy holds the search to its time: ctx ends it.
func TestLargePolicy(t *testing.T) {
	s := site{features: policy.Features{RelayLocalFrom: true, DelayChecks: policy.DelayAll}}
	for i := range 3000 {
		s.access = append(s.access, fmt.Sprintf("From:user%d@ OK", i), fmt.Sprintf("To:user%d@isp.net RELAY", i))
		s.local = append(s.local, fmt.Sprintf("d%d.example.org", i))
		s.access = append(s.access, fmt.Sprintf("From:d%d.example.org REJECT", i))
	}
	s.access = append(s.access, "From:mx.example.com REJECT", "From:localhost REJECT")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	result, err := OpenRelay(ctx, s.config(t))
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("the search took %v, want it to end soon after its deadline of 200 ms", took)
	}
	if result.Complete {
		t.Error("the result says that the search was complete")
	}
}

// hanging is a DNS that does not answer.
type hanging struct{}

func (hanging) Lookup(ctx context.Context, _ string, _ dns.Type) (dns.Answer, error) {
	<-ctx.Done()
	return dns.Answer{}, ctx.Err()
}
