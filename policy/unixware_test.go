package policy_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatepost/internal/dns"
	"gatepost/maps"
	"gatepost/policy"
)

// unixware changes the policy of engine to the six steps, with these lines in the
// trusted table and the virtual host shop.example.
func unixware(t testing.TB, trusted ...string) func(*policy.Config) {
	return func(c *policy.Config) {
		c.Features.CheckRcpt = policy.CheckRcptUnixWare
		c.Trusted = parse(t, "trusted", maps.FormatAccess, trusted...)
		c.VirtualHosts = []maps.Map{parse(t, "virtual-hosts", maps.FormatClass, "shop.example")}
	}
}

func rcpt(p *policy.Policy, f *policy.Facts) string {
	return describe(p.Decide(context.Background(), policy.StageRcpt, f))
}

func relayMail(from, to string) string {
	return "reject 550 5.7.1 Relay mail from " + from + " to " + to + " denied by relay mail denied"
}

func TestUnixWareSteps(t *testing.T) {
	p := engine(t, unixware(t, "mail.friend.net accept", "*.office.net ACCEPT", "192.0.2.9 accept", "123.45.*.* accept", "2001:db8::7 accept", "ipv6:2001:db8:0:0:0:0:0:9 accept"),
		"To:partner.net RELAY", "Connect:203.0.113.8 RELAY", "From:boss@isp.net RELAY")
	stranger := func(to string) *policy.Facts { return facts("203.0.113.9", "", "<>", to) }
	client := func(addr, name string) *policy.Facts { return facts(addr, name, "<>", "<u@ISP.net>") }
	const here = "accept by recipient at this host"
	cases := []struct {
		name  string
		facts *policy.Facts
		want  string
	}{
		{"local", stranger("<joe>"), "accept by local recipient"},
		{"local, escaped route", stranger(`<isp.net\!u>`), relayMail("[203.0.113.9]", "isp.net")},
		{"host name", stranger("<u@MX.example.com>"), here},
		{"class w", stranger("<u@localhost>"), here},
		{"class m", stranger("<u@example.com>"), here},
		{"below class m", stranger("<u@a.b.example.com>"), here},
		{"not below class m", stranger("<u@notexample.com>"), relayMail("[203.0.113.9]", "notexample.com")},
		{"route through class m", stranger("<u%isp.net@a.example.com>"), relayMail("[203.0.113.9]", "isp.net")},
		{"quoted route", stranger(`<"u@isp.net"@example.com>`), relayMail("[203.0.113.9]", "isp.net")},
		{"hidden route", stranger(`<"a b@isp.net"@example.com>`), relayMail("[203.0.113.9]", "example.com")},
		{"hidden route to a virtual host", stranger(`<u\@isp.net@shop.example>`), relayMail("[203.0.113.9]", "mx.example.com")},
		{"hidden route, trusted client", facts("192.0.2.9", "", "<>", `<"a b@isp.net"@example.com>`), "accept by trusted address"},
		{"source route", stranger("<@example.com:u@isp.net>"), relayMail("[203.0.113.9]", "isp.net")},
		{"virtual host", stranger("<u@shop.example>"), "accept by recipient at a virtual host"},
		{"below a virtual host", stranger("<u@a.shop.example>"), relayMail("[203.0.113.9]", "a.shop.example")},
		{"trusted name", client("203.0.113.9", "Mail.Friend.NET"), "accept by trusted name"},
		{"another name", client("203.0.113.9", "mail2.friend.net"), relayMail("mail2.friend.net", "ISP.net")},
		{"below a domain", client("203.0.113.9", "a.b.office.net"), "accept by trusted name"},
		{"the domain itself", client("203.0.113.9", "office.net"), relayMail("office.net", "ISP.net")},
		{"trusted address", client("192.0.2.9", ""), "accept by trusted address"},
		{"trusted network", client("123.45.6.7", ""), "accept by trusted address"},
		{"another network", client("123.46.6.7", ""), relayMail("[123.46.6.7]", "ISP.net")},
		{"IPv6, short", client("2001:db8::7", ""), "accept by trusted address"},
		{"IPv6, in full", client("2001:db8::9", ""), "accept by trusted address"},
		{"IPv6, another", client("2001:db8::8", ""), relayMail("[IPv6:2001:db8:0:0:0:0:0:8]", "ISP.net")},
		{"IPv4 in IPv6", client("::ffff:192.0.2.9", ""), "accept by trusted address"},
		{"name that reads as a trusted address", client("203.0.113.9", "192.0.2.9"), relayMail("192.0.2.9", "ISP.net")},
		{"loopback", client("127.0.0.1", "localhost"), relayMail("localhost", "ISP.net")},
		{"IPv6 loopback", client("::1", ""), relayMail("[IPv6:0:0:0:0:0:0:0:1]", "ISP.net")},
		{"class R counts for nothing", facts("192.168.5.7", "", "<>", "<u@friend.org>"), relayMail("[192.168.5.7]", "friend.org")},
		{"nor does RELAY for a recipient", stranger("<u@partner.net>"), relayMail("[203.0.113.9]", "partner.net")},
		{"nor for a client", client("203.0.113.8", ""), relayMail("[203.0.113.8]", "ISP.net")},
		{"empty recipient", stranger("<>"), "reject 553 5.0.0 User address required by recipient syntax"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := rcpt(p, c.facts); got != c.want {
				t.Errorf("%s\ngot  %s\nwant %s", c.name, got, c.want)
			}
		})
	}
}

// TestUnixWareThisHost: a session without a network is asked for as this host.
func TestUnixWareThisHost(t *testing.T) {
	f := facts("", "", "<>", "<u@isp.net>")
	f.Conn.Local = true
	for _, c := range []struct {
		trusted string
		want    string
	}{
		{"localhost accept", "accept by trusted name"},
		{"127.0.0.1 accept", "accept by trusted address"},
		{"127.0.0.2 accept", relayMail("localhost", "isp.net")},
	} {
		if got := rcpt(engine(t, unixware(t, c.trusted)), f); got != c.want {
			t.Errorf("local session with %q: %s, want %s", c.trusted, got, c.want)
		}
	}
}

// TestUnixWareOptions: what else the configuration can say about the check.
// TestUnixWareShortDomain: a domain of one label is everybody's.
func TestUnixWareShortDomain(t *testing.T) {
	p := engine(t, func(c *policy.Config) {
		unixware(t)(c)
		c.HostName, c.Domain = "example.com", "com"
		c.OwnDomains = []maps.Map{maps.NewClass("this host", []string{"com"})}
	})
	if got, want := rcpt(p, facts("203.0.113.9", "", "<>", "<u@shop.com>")), relayMail("[203.0.113.9]", "shop.com"); got != want {
		t.Errorf("a recipient below the own domain com: %s, want %s", got, want)
	}
}

func TestUnixWareOptions(t *testing.T) {
	const stranger = "203.0.113.9"
	with := func(change func(*policy.Config)) *policy.Policy {
		return engine(t, func(c *policy.Config) { unixware(t, "192.0.2.9 accept")(c); change(c) }, "To:u@example.com REJECT", "Connect:192.0.2.9 REJECT", "Spam:friend@example.com FRIEND")
	}
	friend := func(c *policy.Config) { c.Features.DelayChecks = policy.DelayFriend }
	authenticated := facts(stranger, "", "<>", "<u@isp.net>")
	authenticated.Auth = policy.Auth{Type: "PLAIN", Authen: "joe"}
	authenticated.TLS = policy.TLS{Verify: "OK", CertIssuer: "/CN=us"}
	for _, c := range []struct {
		name   string
		change func(*policy.Config)
		facts  *policy.Facts
		want   string
	}{
		{"blocklist_recipients goes first", func(*policy.Config) {}, facts("192.0.2.9", "", "<>", "<u@example.com>"), "reject 550 5.2.1 Mailbox disabled for this recipient by blocklist_recipients"},
		{"a login does not relay", func(c *policy.Config) { c.Features.TrustAuthMech = []string{"PLAIN"} }, authenticated, relayMail("[203.0.113.9]", "isp.net")},
		{"confRELAY_MSG is another check's", func(c *policy.Config) { c.Messages.Relay = `"550 No"` }, facts(stranger, "", "<>", "<u@isp.net>"), relayMail("[203.0.113.9]", "isp.net")},
		{"no tables at all", func(c *policy.Config) { c.Trusted, c.VirtualHosts = nil, nil }, facts(stranger, "", "<>", "<u@shop.example>"), relayMail("[203.0.113.9]", "shop.example")},
		{"delay_checks: relaying first", friend, facts(stranger, "", "<>", "<u@isp.net>"), relayMail("[203.0.113.9]", "isp.net")},
		{"delay_checks: then the connection", friend, facts("192.0.2.9", "", "<>", "<u@isp.net>"), "reject 550 5.7.1 Access denied by client access"},
		{"delay_checks: friends of spam", friend, facts("192.0.2.9", "", "<>", "<friend@example.com>"), "accept by delay_checks"},
		{"delay_checks: nobody objects", friend, facts(stranger, "", "<>", "<v@example.com>"), "accept by check_relay"},
		{"nopercenthack reject", func(c *policy.Config) { c.Features.NoPercentHack = policy.SpecialReject }, facts(stranger, "", "<>", "<a%b@example.com>"), relayMail("[203.0.113.9]", "example.com")},
		{"nopercenthack nospecial", func(c *policy.Config) { c.Features.NoPercentHack = policy.SpecialOrdinary }, facts(stranger, "", "<>", "<a%b@example.com>"), "accept by recipient at this host"},
		{"loose_relay_check leaves no route through our domain", func(c *policy.Config) { c.Features.LooseRelayCheck = true }, facts(stranger, "", "<>", "<a%isp.net@sub.example.com>"), relayMail("[203.0.113.9]", "isp.net")},
		{"loose_relay_check, hidden route", func(c *policy.Config) { c.Features.LooseRelayCheck = true }, facts(stranger, "", "<>", `<"a b%isp.net"@shop.example>`), relayMail("[203.0.113.9]", "shop.example")},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := rcpt(with(c.change), c.facts); got != c.want {
				t.Errorf("%s\ngot  %s\nwant %s", c.name, got, c.want)
			}
		})
	}
}

// TestUnixWareAlias: a name is compared as it was verified, not as the DNS goes on
// from it, and recipients are compared under the name that an alias stands for.
func TestUnixWareAlias(t *testing.T) {
	p := engine(t, func(c *policy.Config) {
		unixware(t, "mail.friend.net accept")(c)
		c.Features.NoCanonify, c.Resolver = false, aliasDNS{"alias.net": "mail.friend.net", "www.shop.example": "shop.example"}
	})
	if got, want := rcpt(p, facts("203.0.113.9", "alias.net", "<>", "<u@isp.net>")), relayMail("alias.net", "isp.net"); got != want {
		t.Errorf("client named by an alias: %s, want %s", got, want)
	}
	if got, want := rcpt(p, facts("203.0.113.9", "", "<>", "<u@www.shop.example>")), "accept by recipient at a virtual host"; got != want {
		t.Errorf("alias of a virtual host: %s, want %s", got, want)
	}
}

// aliasDNS has names that are aliases, and any other name has an address.
type aliasDNS map[string]string

func (d aliasDNS) Lookup(_ context.Context, name string, t dns.Type) (dns.Answer, error) {
	a := dns.Answer{Name: name}
	if target, ok := d[name]; ok {
		a.Name = target
	}
	if t == dns.TypeA {
		a.Addrs = []netip.Addr{netip.MustParseAddr("203.0.113.9")}
	}
	return a, nil
}

// TestUnixWareFaults: what could not be asked is a temporary failure at each step,
// unless a later step permits.
func TestUnixWareFaults(t *testing.T) {
	const later = "tempfail 451 4.3.0 Temporary system failure. Please try again later. by "
	broken := func(at func(*policy.Config)) *policy.Policy {
		return engine(t, func(c *policy.Config) { unixware(t, "192.0.2.9 accept")(c); at(c) })
	}
	unresolved := facts("203.0.113.9", "", "<>", "<u@isp.net>")
	unresolved.Conn.Resolve = policy.ResolveTemp
	trusted := facts("192.0.2.9", "", "<>", "<u@isp.net>")
	trusted.Conn.Resolve = policy.ResolveTemp
	stranger := facts("203.0.113.9", "", "<a@spam.test>", "<u@isp.net>")
	for _, c := range []struct {
		name   string
		damage func(*policy.Config)
		at     policy.Stage
		facts  *policy.Facts
		want   string
	}{
		{"class w", func(c *policy.Config) { c.LocalHostNames = []maps.Map{brokenMap{}} }, policy.StageRcpt, stranger, later + "recipient address"},
		{"class m", func(c *policy.Config) { c.OwnDomains = []maps.Map{brokenMap{}} }, policy.StageRcpt, stranger, later + "recipient at this host"},
		{"virtual hosts", func(c *policy.Config) { c.VirtualHosts = []maps.Map{brokenMap{}} }, policy.StageRcpt, stranger, later + "recipient at a virtual host"},
		{"trusted table", func(c *policy.Config) { c.Trusted = brokenMap{} }, policy.StageRcpt, stranger, later + "trusted address"},
		{"trusted table, client with a name", func(c *policy.Config) { c.Trusted = brokenMap{} }, policy.StageRcpt, facts("203.0.113.9", "h.isp.net", "<>", "<u@isp.net>"), later + "trusted address"},
		{"name not looked up", func(*policy.Config) {}, policy.StageRcpt, unresolved, later + "relay mail denied"},
		{"name not looked up, trusted address", func(*policy.Config) {}, policy.StageRcpt, trusted, "accept by trusted address"},
		{"spammers", func(c *policy.Config) { c.Spammers = brokenMap{} }, policy.StageMail, stranger, later + "spammers"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := describe(broken(c.damage).Decide(context.Background(), c.at, c.facts)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestCheckRcptOff makes no relay check, and keeps all others.
func TestCheckRcptOff(t *testing.T) {
	p := engine(t, func(c *policy.Config) { c.Features.CheckRcpt = policy.CheckRcptOff }, "To:u@isp.net REJECT")
	for to, want := range map[string]string{
		"<v@isp.net>": "accept by check_rcpt",
		"<u@isp.net>": "reject 550 5.2.1 Mailbox disabled for this recipient by blocklist_recipients",
		"<>":          "reject 553 5.0.0 User address required by recipient syntax",
	} {
		if got := rcpt(p, facts("203.0.113.9", "", "<>", to)); got != want {
			t.Errorf("RCPT %s: %s, want %s", to, got, want)
		}
	}
	_, err := policy.New(policy.Config{HostName: "a.b", Resolver: noDNS{}, Features: policy.Features{PromiscuousRelay: true, CheckRcpt: policy.CheckRcptUnixWare}})
	if err == nil || !strings.Contains(err.Error(), "promiscuous_relay") {
		t.Errorf("promiscuous_relay with the UnixWare check gave %v, want an error", err)
	}
}

// TestTrustedInSendmailsPlan: one more permission, at its places.
func TestTrustedInSendmailsPlan(t *testing.T) {
	with := func(change func(*policy.Config)) *policy.Policy {
		return engine(t, func(c *policy.Config) {
			c.Trusted = parse(t, "trusted", maps.FormatAccess, "*.friend.net accept", "192.0.2.* accept")
			change(c)
		}, "Connect:198.51.100 RELAY")
	}
	plain := with(func(*policy.Config) {})
	aliased := with(func(c *policy.Config) {
		c.Features.NoCanonify, c.Resolver = false, aliasDNS{"alias.net": "mail.friend.net", "mail2.friend.net": "other.net"}
	})
	down := with(func(c *policy.Config) { c.Trusted = brokenMap{} })
	const (
		denied = "reject 550 5.7.1 Relaying denied by relaying denied"
		later  = "tempfail 451 4.3.0 Temporary system failure. Please try again later. by "
	)
	forged := facts("203.0.113.9", "", "<>", "<u@isp.net>")
	forged.Conn.Resolve, forged.Conn.Ptr = policy.ResolveForged, "mail.friend.net"
	for _, c := range []struct {
		name   string
		policy *policy.Policy
		facts  *policy.Facts
		want   string
	}{
		{"address", plain, facts("192.0.2.77", "", "<>", "<u@isp.net>"), "accept by trusted address"},
		{"name", plain, facts("203.0.113.9", "mail.friend.net", "<>", "<u@isp.net>"), "accept by trusted name"},
		{"neither", plain, facts("203.0.113.9", "mail.isp.net", "<>", "<u@isp.net>"), denied},
		{"domain itself", plain, facts("203.0.113.9", "friend.net", "<>", "<u@isp.net>"), denied},
		{"forged name", plain, forged, "reject 550 5.7.1 Relaying denied. IP name possibly forged [203.0.113.9] by client name verified"},
		{"alias of a trusted name", aliased, facts("203.0.113.9", "alias.net", "<>", "<u@isp.net>"), "accept by trusted name"},
		{"trusted name that is an alias", aliased, facts("203.0.113.9", "mail2.friend.net", "<>", "<u@isp.net>"), denied},
		{"other permissions are asked before", down, facts("198.51.100.7", "", "<>", "<u@isp.net>"), "accept by client address access"},
		{"local recipients do not come to it", down, facts("203.0.113.9", "", "<>", "<u@example.com>"), "accept by recipient domain"},
		{"table down", down, facts("203.0.113.9", "", "<>", "<u@isp.net>"), later + "trusted address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := rcpt(c.policy, c.facts); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestSpammers(t *testing.T) {
	p := engine(t, func(c *policy.Config) {
		c.Spammers = parse(t, "spammers", maps.FormatAccess,
			"spam.test\tREJECT", "friend@spam.test\tOK", "a.spam.test\tRELAY", "joe@isp.net\tERROR:5.7.1:\"550 Not you, Joe\"",
			"drop.test\tDISCARD", "hold.test\tQUARANTINE:odd", "plain.test\tno more of this", "later.test\t450 4.7.1 later", "org\tREJECT")
	}, "From:spam.test OK", "From:joe@isp.net OK", "From:other.test REJECT")
	for from, want := range map[string]string{
		"<x@spam.test>":        "reject 550 5.7.1 Access denied by spammers",
		"<x@b.spam.test>":      "reject 550 5.7.1 Access denied by spammers",
		"<x@nospam.test>":      "accept by check_mail",
		"<friend@spam.test>":   "accept by sender access",
		"<x@b.a.spam.test>":    "accept by sender access",
		"<joe@isp.net>":        "reject 550 5.7.1 Not you, Joe by spammers",
		`<"joe"@isp.net>`:      "reject 550 5.7.1 Not you, Joe by spammers",
		"<jane@isp.net>":       "accept by check_mail",
		"<x@drop.test>":        "discard by spammers",
		"<x@hold.test>":        "quarantine odd by spammers",
		"<x@plain.test>":       "reject 553 5.3.0 no more of this by spammers",
		"<x@later.test>":       "tempfail 450 4.7.1 later by spammers",
		"<x@list.example.org>": "reject 550 5.7.1 Access denied by spammers",
		"<org>":                "reject 553 5.5.4 Domain name required for sender address org by unqualified sender",
		"<>":                   "accept by null sender",
		"<x@other.test>":       "reject 550 5.7.1 Access denied by sender access",
	} {
		if got := describe(p.Decide(context.Background(), policy.StageMail, facts("203.0.113.9", "", from, ""))); got != want {
			t.Errorf("MAIL %s: %s, want %s", from, got, want)
		}
	}
}

// TestUnixWareKeys: which keys are asked for, in which order.
func TestUnixWareKeys(t *testing.T) {
	p := engine(t, func(c *policy.Config) {
		unixware(t, "nobody.net accept")(c)
		c.Spammers = parse(t, "spammers", maps.FormatAccess, "nobody.net REJECT")
	})
	for _, c := range []struct {
		table, key string
		want       string
	}{
		{"trusted", "a.b.domain.com", "a.b.domain.com *.b.domain.com *.domain.com *.com"},
		{"trusted", "localhost", "localhost"},
		{"trusted", "1.2.3.4", "1.2.3.4 1.2.3.* 1.2.*.* 1.*.*.* *.*.*.*"},
		{"trusted", "[1.2.3.4]", "1.2.3.4 1.2.3.* 1.2.*.* 1.*.*.* *.*.*.*"},
		{"trusted", "IPv6:2001:DB8:0:0:0:0:0:7", "IPv6:2001:db8:0:0:0:0:0:7 2001:db8::7 IPv6:2001:db8::7"},
		{"trusted", "nobody.net", "nobody.net=accept(trusted:1)"},
		{"spammers", "joe+x@a.domain.com", "joe+x@a.domain.com a.domain.com domain.com com"},
		{"spammers", "a.nobody.net", "a.nobody.net nobody.net=REJECT(spammers:1)"},
		{"virtual_hosts", "a.shop.example", "a.shop.example"},
		{"virtual_hosts", "Shop.example", "Shop.example=(virtual-hosts:1)"},
	} {
		answers, err := p.Lookup(t.Context(), c.table, c.key)
		if got := tried(answers); got != c.want || err != nil {
			t.Errorf("Lookup(%s, %s) tried\n%s\nerror %v, want\n%s", c.table, c.key, got, err, c.want)
		}
	}
	for _, table := range []string{"trusted", "spammers", "virtual_hosts"} {
		want := "no " + table + " table: [tables] does not name one"
		if _, err := engine(t, nil).Lookup(t.Context(), table, "a"); err == nil || err.Error() != want {
			t.Errorf("Lookup(%s) without the table gave error %v, want %q", table, err, want)
		}
	}
}

// TestTrustedRefusal: a .db can have any value; only accept permits, and a narrower
// entry with another one hides a wider one.
func TestTrustedRefusal(t *testing.T) {
	p := engine(t, unixware(t, "bad.office.net reject", "*.office.net accept"))
	if got, want := rcpt(p, facts("203.0.113.9", "bad.office.net", "<>", "<u@isp.net>")), relayMail("bad.office.net", "isp.net"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestCheckTrusted(t *testing.T) {
	for _, key := range []string{
		"localhost", "mail.domain.com", "*.domain.com", "*.com", "a_b.x-1.domain.com", "123.45.67.89", "123.45.67.*", "123.45.*.*", "123.*.*.*", "*.*.*.*",
		"0.0.0.0", "2001:db8::7", "ipv6:2001:db8::7", "ipv6:2001:db8:0:0:0:0:0:7", "::1", "9to5.com",
	} {
		for _, value := range []string{"accept", "ACCEPT", "Accept \t"} {
			if err := policy.CheckTrusted(key, value); err != nil {
				t.Errorf("CheckTrusted(%s, %q): %v, want none", key, value, err)
			}
		}
	}
	const (
		parts = " parts, expected four: one asterisk for each octet that is left out, such as 123.45.*.*"
		name  = ": no host name, expected one such as mail.domain.com, *.domain.com for the names below domain.com, or an address"
		mixed = ": neither a name nor an address, expected four octets such as 123.45.67.89, or 123.45.*.*"
		none  = ": no IPv6 address, expected one such as 2001:db8::7 (there are no wildcards for these)"
	)
	for key, want := range map[string]string{
		"123.45.*":             "key 123.45.*: 3" + parts,
		"123.45.67":            "key 123.45.67: 3" + parts,
		"123.45.67.89.*":       "key 123.45.67.89.*: 5" + parts,
		"*":                    "key *: 1" + parts,
		"123.456.789.*":        `key 123.456.789.*: "456" is no octet, expected a number from 0 to 255 or an asterisk`,
		"123.45.67.":           `key 123.45.67.: "" is no octet, expected a number from 0 to 255 or an asterisk`,
		"123.045.67.89":        `key 123.045.67.89: "045" is no octet, expected a number from 0 to 255 or an asterisk`,
		"123.45.67.8*":         `key 123.45.67.8*: "8*" is no octet, expected a number from 0 to 255 or an asterisk`,
		"123.*.67.89":          "key 123.*.67.89: a number behind an asterisk, expected asterisks at the end alone, such as 123.45.*.*",
		"123.45.67.89x":        "key 123.45.67.89x" + mixed,
		"10.1.x.x":             "key 10.1.x.x" + mixed,
		"123.45.67.0/24":       "key 123.45.67.0/24" + name,
		"*domain.com":          "key *domain.com" + name,
		"a.*.domain.com":       "key a.*.domain.com" + name,
		".domain.com":          "key .domain.com" + name,
		"domain.com.":          "key domain.com." + name,
		"joe@domain.com":       "key joe@domain.com" + name,
		"[123.45.67.89]":       "key [123.45.67.89]" + name,
		"m\u00fcller.example":  "key m\u00fcller.example" + name,
		"connect:123.45.67.89": "key connect:123.45.67.89" + name,
		"2001:db8::*":          "key 2001:db8::*" + none,
		"ipv6:2001:db8":        "key ipv6:2001:db8" + none,
		"ipv6:":                "key ipv6:" + none,
		"fe80::1%eth0":         "key fe80::1%eth0" + none,
		"2001:0db8::7":         "key 2001:0db8::7: this spelling is not looked up, expected 2001:db8::7 or IPv6:2001:db8:0:0:0:0:0:7",
		"2001:db8:0:0:0:0:0:7": "key 2001:db8:0:0:0:0:0:7: this spelling is not looked up, expected 2001:db8::7 or IPv6:2001:db8:0:0:0:0:0:7",
		"::ffff:192.0.2.9":     "key ::ffff:192.0.2.9: expected the IPv4 address, 192.0.2.9",
	} {
		if err := policy.CheckTrusted(key, "accept"); err == nil || err.Error() != want {
			t.Errorf("CheckTrusted(%s) gave\n%v, want\n%s", key, err, want)
		}
	}
	for _, value := range []string{"", "ok", "accept # the office", "RELAY"} {
		if err := policy.CheckTrusted("a.b", value); err == nil || !strings.HasSuffix(err.Error(), " of a.b, expected accept") {
			t.Errorf("CheckTrusted(a.b, %q) gave %v, want that accept is expected", value, err)
		}
	}
	if err := policy.CheckSpammers("a.b", "ERROR:5.7.1:250 fine"); err == nil {
		t.Error("CheckSpammers takes a reply of success")
	}
}

// FuzzTrusted: a key that CheckTrusted takes is one that some client is asked for
// under, and no other client is let in by it than the search says.
func FuzzTrusted(f *testing.F) {
	for _, s := range []string{"mail.domain.com", "*.domain.com", "123.45.67.89", "123.45.*.*", "*.*.*.*", "2001:db8::7", "ipv6:2001:db8:0:0:0:0:0:7", "123.45.*", "*", ":::", "1.2.3.4x", "a..b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, key string) {
		key = strings.ToLower(key)
		if policy.CheckTrusted(key, "accept") != nil {
			return
		}
		text, problems, err := maps.Parse("trusted", maps.FormatAccess, []byte(key+"\taccept\n"))
		if err != nil || len(problems) > 0 || text.Len() != 1 {
			t.Fatalf("key %q is taken, but cannot stand in a table: %v %v", key, err, problems)
		}
		p := engine(t, func(c *policy.Config) {
			c.Features.CheckRcpt, c.Trusted = policy.CheckRcptUnixWare, text
		})
		who := strings.ReplaceAll(key, "*.*.*.*", "9.9.9.9")
		if strings.Trim(key, "0123456789.*") == "" {
			who = strings.ReplaceAll(who, "*", "9")
		} else {
			who = strings.Replace(who, "*", "host", 1)
		}
		answers, err := p.Lookup(t.Context(), "trusted", who)
		if err != nil || len(answers) == 0 || !answers[len(answers)-1].Found {
			t.Errorf("key %q is taken, but %s does not find it: %s %v", key, who, tried(answers), err)
		}
	})
}

// TestUnixWareRecord: the last step is written down with its name.
func TestUnixWareRecord(t *testing.T) {
	d := engine(t, unixware(t)).Decide(context.Background(), policy.StageRcpt, facts("203.0.113.9", "h.isp.net", "<>", "<u@isp.net>"))
	var rules []string
	for _, s := range d.Steps {
		rules = append(rules, s.Rule)
	}
	want := []string{"recipient syntax", "recipient address", "blocklist_recipients", "hidden route",
		"local recipient", "recipient at this host", "recipient at a virtual host", "trusted name", "trusted address", "relay mail denied"}
	if diff := cmp.Diff(want, rules); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
}
