package explain_test

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"gatepost/internal/dns"
	"gatepost/internal/dns/dnsfake"
	"gatepost/internal/explain"
	"gatepost/internal/smtp"
	"gatepost/maps"
	"gatepost/policy"
)

// site is a policy given by the texts of its tables.
type site struct {
	access, relay, local string
	noAccess             bool
	features             policy.Features

	trusted, spammers, virtual string // no such table when empty
}

func (c site) config(t *testing.T) policy.Config {
	t.Helper()
	parse := func(file string, format maps.Format, text string) *maps.Text {
		m, _, err := maps.Parse(file, format, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	cfg := policy.Config{
		HostName:       "mx.example.com",
		Domain:         "example.com",
		RelayDomains:   []maps.Map{parse("relay", maps.FormatClass, c.relay)},
		LocalHostNames: []maps.Map{parse("local", maps.FormatClass, c.local), maps.NewClass("this host", []string{"localhost", "mx.example.com"})},
		OwnDomains:     []maps.Map{maps.NewClass("this host", []string{"example.com"})},
		Features:       c.features,
		Resolver:       dnsfake.NewFake(zone()),
		Hosts:          dns.ParseHosts([]byte("127.0.0.1 localhost\n")),
	}
	if !c.noAccess {
		cfg.Access = parse("access", maps.FormatAccess, c.access)
	}
	if c.trusted != "" {
		cfg.Trusted = parse("trusted", maps.FormatAccess, c.trusted)
	}
	if c.spammers != "" {
		cfg.Spammers = parse("spammers", maps.FormatAccess, c.spammers)
	}
	if c.virtual != "" {
		cfg.VirtualHosts = []maps.Map{parse("virtual", maps.FormatClass, c.virtual)}
	}
	return cfg
}

func zone() dnsfake.Zone {
	return dnsfake.Zone{
		"friend.org":                  {A: []string{"198.51.100.30"}},
		"alias.org":                   {CNAME: "friend.org"},
		"isp.net":                     {A: []string{"198.51.100.40"}},
		"broken.org":                  {Fail: "SERVFAIL"},
		"mail.friend.org":             {A: []string{"198.51.100.7"}},
		"7.100.51.198.in-addr.arpa":   {PTR: []string{"mail.friend.org"}},
		"8.100.51.198.in-addr.arpa":   {PTR: []string{"mail.friend.org"}},
		"9.100.51.198.in-addr.arpa":   {Fail: "SERVFAIL"},
		"7.100.51.198.bl.example.net": {A: []string{"127.0.0.2"}},
	}
}

// visit is a session in words: client, sender, recipients.
func visit(client, from string, to ...string) explain.Session {
	s := explain.Session{From: smtp.ParsePath(from)}
	s.Facts.Conn = policy.Conn{Addr: netip.MustParseAddr(client), Rate: 1, Open: 1}
	for _, one := range to {
		s.To = append(s.To, smtp.ParsePath(one))
	}
	return s
}

// flipCase is a session and the edit that is proposed for its last verdict that
// matters, or why there is none.
type flipCase struct {
	name    string
	site    site
	session explain.Session
	want    string
}

func refusedCases() []flipCase {
	block := policy.Features{BlocklistRecipients: true}
	delay := policy.Features{DelayChecks: policy.DelayAll}
	local := "example.com"
	return []flipCase{
		{"denied", site{}, visit("198.51.100.7", "<a@friend.org>", "<b@isp.net>"), "add to access:  Connect:198.51.100.7  RELAY"},
		{"denied, IPv6", site{}, visit("2001:db8::7", "<a@friend.org>", "<b@isp.net>"), "add to access:  Connect:IPv6:2001:db8:0:0:0:0:0:7  RELAY"},
		{"denied, an entry that does not relay", site{access: "Connect:198.51.100.7 OK\n"}, visit("198.51.100.7", "<a@friend.org>", "<b@isp.net>"),
			"change access:1 to:  Connect:198.51.100.7  RELAY  (it is OK now)"},
		{"denied, full addresses relay", site{features: policy.Features{RelayToFullAddress: true}}, visit("198.51.100.7", "<a@friend.org>", "<b@isp.net>"),
			"add to access:  Connect:198.51.100.7  RELAY"},
		{"denied, no access table", site{noAccess: true, relay: "friend.com\n"}, visit("198.51.100.7", "<a@friend.org>", "<b@isp.net>"), "add to relay:  198.51.100.7"},
		{"client refused by its address", site{access: "Connect:198.51.100.7 REJECT\n"}, visit("198.51.100.7", "<a@friend.org>", "<b@isp.net>"),
			"remove access:1 (Connect:198.51.100.7 REJECT)"},
		{"client refused, untagged", site{access: "198.51.100.7 REJECT\n"}, visit("198.51.100.7", "<a@friend.org>", "<b@isp.net>"), "remove access:1 (198.51.100.7 REJECT)"},
		{"client refused twice", site{access: "Connect:198.51.100.7 REJECT\nConnect:198.51.100.7 DISCARD\n"}, visit("198.51.100.7", "<a@friend.org>", "<b@isp.net>"),
			"change access:1 to:  Connect:198.51.100.7  OK  (it is REJECT now)"},
		{"client refused, then let in", site{access: "Connect:198.51.100.7 REJECT\nConnect:198.51.100.7 OK\n"}, visit("198.51.100.7", "<a@friend.org>", "<b@isp.net>"),
			"remove access:1 (Connect:198.51.100.7 REJECT)"},
		{"net refused", site{access: "# x\nConnect:198.51.100 REJECT\n"}, visit("198.51.100.7", "<a@friend.org>", "<b@isp.net>"), "add to access:  Connect:198.51.100.7  OK"},
		{"domain of the client refused", site{access: "Connect:friend.org REJECT\n"}, visit("198.51.100.7", "<a@friend.org>", "<b@isp.net>"),
			"add to access:  Connect:mail.friend.org  OK"},
		{"dropped", site{access: "From:friend.org DISCARD\n"}, visit("198.51.100.7", "<a@friend.org>", "<b@isp.net>"), "add to access:  From:a@friend.org  OK"},
		{"held", site{access: "From:a@friend.org QUARANTINE:look\n"}, visit("198.51.100.7", "<a@friend.org>", "<b@isp.net>"), "remove access:1 (From:a@friend.org QUARANTINE:look)"},
		{"alias: the key is the target", site{access: "From:friend.org REJECT\n"}, visit("198.51.100.7", "<a@alias.org>", "<b@isp.net>"), "add to access:  From:a@friend.org  OK"},
		{"a sender that no key can name", site{access: "From:friend.org REJECT\n"}, visit("198.51.100.7", `<"a b"@friend.org>`, "<b@isp.net>"),
			"remove access:1 (From:friend.org REJECT)"},
		{"sender's domain unknown", site{}, visit("198.51.100.7", "<a@nowhere.org>", "<b@isp.net>"), "add to access:  From:a@nowhere.org  OK"},
		{"sender's domain, DNS down", site{}, visit("198.51.100.7", "<a@broken.org>", "<b@isp.net>"), "add to access:  From:a@broken.org  OK"},
		{"unqualified sender", site{}, visit("198.51.100.7", "<a>", "<b@isp.net>"), "add to access:  From:a@  OK"},
		{"listed", site{features: policy.Features{DNSLists: []policy.DNSList{{Zone: "bl.example.net"}}}}, visit("198.51.100.7", "<a@friend.org>", "<b@isp.net>"),
			"add to access:  Connect:198.51.100.7  OK"},
		{"too many connections", site{access: "ClientConn: 0x\n", features: policy.Features{ConnControl: policy.Control{On: true}}}, visit("198.51.100.7", "<a@friend.org>", "<b@isp.net>"),
			"add to access:  ClientConn:198.51.100.7  0"},
		{"recipient blocked", site{local: local, access: "To:b@example.com REJECT\n", features: block}, visit("198.51.100.7", "<a@friend.org>", "<b@example.com>"),
			"remove access:1 (To:b@example.com REJECT)"},
		{"recipient's domain blocked", site{local: local, access: "To:example.com REJECT\n", features: block}, visit("198.51.100.7", "<a@friend.org>", "<b@example.com>"),
			"add to access:  To:b@example.com  OK"},
		{"recipient's domain blocked, and not ours", site{access: "To:isp.net REJECT\n", features: block}, visit("198.51.100.7", "<a@friend.org>", "<b@isp.net>"),
			"change access:1 to:  To:isp.net  RELAY  (it is REJECT now)"},
		{"the same with a public suffix", site{access: "To:co.uk REJECT\n", features: block}, visit("198.51.100.7", "<a@friend.org>", "<b@co.uk>"),
			"add to access:  To:b@co.uk  OK; add to access:  Connect:198.51.100.7  RELAY"},
		{"the same with one label", site{access: "To:isp REJECT\n", features: block}, visit("198.51.100.7", "<a@friend.org>", "<b@isp>"),
			"add to access:  To:b@isp  OK; add to access:  Connect:198.51.100.7  RELAY"},
		{"syntax", site{}, visit("198.51.100.7", "<a@friend.org>", "<@x>"), "the address itself is refused, no table is asked about it"},
		{"delayed: two edits", site{features: delay}, visit("198.51.100.7", "<a@nowhere.org>", "<b@isp.net>"),
			"add to access:  Connect:198.51.100.7  RELAY; add to access:  From:a@nowhere.org  OK"},
	}
}

func acceptedCases() []flipCase {
	block := policy.Features{BlocklistRecipients: true}
	local := "example.com"
	return []flipCase{
		{"local", site{local: local, features: block}, visit("198.51.100.7", "<a@friend.org>", "<b@example.com>"), "add to access:  To:b@example.com  REJECT"},
		{"local, recipients are not blocked", site{local: local}, visit("198.51.100.7", "<a@friend.org>", "<b@example.com>"), "add to access:  From:a@friend.org  REJECT"},
		{"local, null sender", site{local: local}, visit("198.51.100.7", "<>", "<b@example.com>"), "add to access:  Connect:198.51.100.7  REJECT"},
		{"local, no access table", site{noAccess: true, local: "example.com # us\nexample.com\n"}, visit("198.51.100.7", "<a@friend.org>", "<b@example.com>"),
			"remove the word example.com from local:1 and local:2"},
		{"relayed for a client", site{access: "Connect:198.51.100.7 RELAY\n"}, visit("198.51.100.7", "<a@friend.org>", "<b@isp.net>"), "remove access:1 (Connect:198.51.100.7 RELAY)"},
		{"relayed for a net", site{access: "Connect:198.51.100 RELAY\n"}, visit("198.51.100.7", "<a@friend.org>", "<b@isp.net>"), "add to access:  Connect:198.51.100.7  OK"},
		{"relayed for a word", site{relay: "198.51.100.7"}, visit("198.51.100.7", "<a@friend.org>", "<b@isp.net>"), "remove the word 198.51.100.7 from relay:1"},
		{"relayed to a domain", site{access: "To:isp.net RELAY\n"}, visit("198.51.100.7", "<a@friend.org>", "<b@isp.net>"), "remove access:1 (To:isp.net RELAY)"},
		{"relayed twice", site{access: "To:isp.net RELAY\nTo:isp.net OK\n"}, visit("198.51.100.7", "<a@friend.org>", "<b@isp.net>"), "remove access:1 (To:isp.net RELAY)"},
		{"relayed twice, both lines alike", site{access: "To:isp.net RELAY\nTo:isp.net RELAY\n"}, visit("198.51.100.7", "<a@friend.org>", "<b@isp.net>"),
			"change access:1 to:  To:isp.net  REJECT  (it is RELAY now)"},
		{"this host", site{noAccess: true}, visit("127.0.0.1", "<a@friend.org>", "<b@isp.net>"), "this host itself may always relay"},
		{"unqualified", site{noAccess: true}, visit("198.51.100.7", "<a@friend.org>", "<b>"), "a recipient without a domain is local"},
		{"everyone", site{noAccess: true, features: policy.Features{PromiscuousRelay: true}}, visit("198.51.100.7", "<a@friend.org>", "<b@isp.net>"),
			"features.promiscuous_relay accepts every recipient"},
	}
}

func unixwareCases() []flipCase {
	six := policy.Features{CheckRcpt: policy.CheckRcptUnixWare}
	stranger := func(from, to string) explain.Session { return visit("198.51.100.8", from, to) }
	named := visit("198.51.100.7", "<a@friend.org>", "<b@isp.net>")
	return []flipCase{
		{"denied", site{features: six, trusted: "# nobody\n"}, named, "add to trusted:  198.51.100.7  accept"},
		{"denied, IPv6", site{features: six, trusted: "# nobody\n"}, visit("2001:db8::7", "<a@friend.org>", "<b@isp.net>"), "add to trusted:  IPv6:2001:db8:0:0:0:0:0:7  accept"},
		{"denied, no trusted table", site{features: six, virtual: "shop.org\n"}, named, "add to virtual:  isp.net"},
		{"denied, no tables", site{features: six, noAccess: true}, named, "add to local:  isp.net"},
		{"denied, sendmail's check has its own", site{trusted: "# nobody\n"}, named, "add to access:  Connect:198.51.100.7  RELAY"},
		{"denied, sendmail's check without access", site{trusted: "# nobody\n", noAccess: true}, named, "add to trusted:  198.51.100.7  accept"},
		{"trusted name", site{features: six, noAccess: true, trusted: "mail.friend.org accept\n"}, named, "remove trusted:1 (mail.friend.org accept)"},
		{"trusted network", site{features: six, noAccess: true, trusted: "198.51.*.* accept\n"}, stranger("<>", "<b@isp.net>"), "remove trusted:1 (198.51.*.* accept)"},
		{"virtual host", site{features: six, noAccess: true, virtual: "isp.net\n"}, stranger("<>", "<b@isp.net>"), "remove the word isp.net from virtual:1"},
		{"own domain", site{features: six, noAccess: true}, stranger("<>", "<b@sub.example.com>"), `the rule "recipient at this host" decides, and no edit of one or two lines changes that`},
		{"local", site{features: six, noAccess: true}, stranger("<>", "<b>"), "a recipient without a domain is local"},
		{"off", site{features: policy.Features{CheckRcpt: policy.CheckRcptOff}, noAccess: true}, named, `features.check_rcpt is "off", which accepts every recipient`},
		{"spammer", site{local: "example.com", spammers: "a@friend.org REJECT\n"}, stranger("<a@friend.org>", "<b@example.com>"), "remove spammers:1 (a@friend.org REJECT)"},
		{"spammer's domain", site{local: "example.com", spammers: "friend.org REJECT\n"}, stranger("<a@friend.org>", "<b@example.com>"), "add to spammers:  a@friend.org  OK"},
		{"spammer twice", site{local: "example.com", spammers: "a@friend.org REJECT\na@friend.org DISCARD\n"}, stranger("<a@friend.org>", "<b@example.com>"), "change spammers:1 to:  a@friend.org  OK  (it is REJECT now)"},
	}
}

func TestFlipEdits(t *testing.T) {
	for _, tc := range slices.Concat(refusedCases(), acceptedCases(), unixwareCases()) {
		t.Run(tc.name, func(t *testing.T) {
			r, err := explain.Explain(t.Context(), tc.site.config(t), tc.session)
			if err != nil {
				t.Fatal(err)
			}
			last := &r.Stages[len(r.Stages)-1]
			for i := range r.Stages {
				if r.Stages[i].Decisive {
					last = &r.Stages[i]
				}
			}
			got := last.NoFlip
			if last.Flip != nil {
				var words []string
				for _, e := range last.Flip.Edits {
					words = append(words, e.String())
				}
				got = strings.Join(words, "; ")
			}
			if got != tc.want {
				t.Errorf("access %q, verdict %s %s by %q: got %q, want %q", tc.site.access, last.Verdict.Action, last.Verdict.Reply, last.By().Rule, got, tc.want)
			}
		})
	}
}

// TestUnknownClient: a client without address is not judged, and no edit changes that.
func TestUnknownClient(t *testing.T) {
	session := visit("198.51.100.7", "<a@friend.org>", "<b@isp.net>")
	session.Facts.Conn = policy.Conn{Resolve: policy.ResolveFail}
	cfg := site{relay: "x.org"}.config(t)
	for at := range 3 {
		if flip, found, err := explain.FindFlip(t.Context(), cfg, session, at); err != nil || found {
			t.Errorf("FindFlip at stage %d = %v, %v, %v, want none", at, flip, found, err)
		}
	}
}

func TestSessionCourse(t *testing.T) {
	for _, tc := range []struct {
		name, access string
		session      explain.Session
		stages       string // action at each, * where decisive
		lookups      int
	}{
		{"refused at once", "Connect:198.51.100.7 REJECT\n", visit("198.51.100.7", "<a@friend.org>", "<b@isp.net>", "<c@isp.net>"), "reject*", 2},
		{"dropped at once", "Connect:198.51.100.7 DISCARD\n", visit("198.51.100.7", "<a@friend.org>", "<b@isp.net>", "<c@x.com>"), "discard* accept reject reject", 2},
		{"held at once", "Connect:198.51.100.7 QUARANTINE:x\nTo:isp.net RELAY\n", visit("198.51.100.7", "<a@friend.org>", "<b@isp.net>", "<c@x.com>"), "quarantine* accept accept reject", 2},
		{"sender refused", "From:friend.org 450 4.7.1 later\n", visit("198.51.100.7", "<a@friend.org>", "<b@isp.net>"), "accept tempfail*", 2},
		{"recipients", "To:isp.net RELAY\n", visit("198.51.100.8", "<a@friend.org>", "<b@isp.net>", "<c@x.com>"), "accept accept accept* reject*", 2},
		{"no reverse name", "", visit("198.51.100.77", "<>", "<b@isp.net>"), "accept accept reject*", 1},
		{"no recipient", "", visit("198.51.100.77", "<>"), "accept accept", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := explain.Explain(t.Context(), site{access: tc.access}.config(t), tc.session)
			if err != nil {
				t.Fatal(err)
			}
			var words []string
			for i := range r.Stages {
				w := r.Stages[i].Verdict.Action.String()
				if r.Stages[i].Decisive {
					w += "*"
				}
				words = append(words, w)
			}
			if got := strings.Join(words, " "); got != tc.stages || len(r.Lookups) != tc.lookups || r.Failed() {
				t.Errorf("stages %q, %d lookups, failed %v; want %q, %d and false", got, len(r.Lookups), r.Failed(), tc.stages, tc.lookups)
			}
		})
	}
}

func TestClientLookup(t *testing.T) {
	for _, tc := range []struct {
		client    string
		name, ptr string
		resolve   policy.Resolve
		failed    bool
	}{
		{"198.51.100.7", "mail.friend.org", "mail.friend.org", policy.ResolveOK, false},
		{"198.51.100.8", "", "mail.friend.org", policy.ResolveForged, false},
		{"198.51.100.9", "", "", policy.ResolveTemp, true},
		{"198.51.100.77", "", "", policy.ResolveFail, false},
		{"127.0.0.1", "localhost", "localhost", policy.ResolveOK, false},
	} {
		r, err := explain.Explain(t.Context(), site{}.config(t), visit(tc.client, "<>", "<b@isp.net>"))
		if err != nil {
			t.Fatal(err)
		}
		c := r.Session.Facts.Conn
		if c.Name != tc.name || c.Ptr != tc.ptr || c.Resolve != tc.resolve || r.Failed() != tc.failed {
			t.Errorf("%s: got %q, %q, %v, failed %v; want %+v", tc.client, c.Name, c.Ptr, c.Resolve, r.Failed(), tc)
		}
	}
	given := visit("198.51.100.7", "<>", "<b@isp.net>")
	given.Facts.Conn.Resolve = policy.ResolveFail
	r, err := explain.Explain(t.Context(), site{}.config(t), given)
	if err != nil || r.Lookups != nil || r.Session.Facts.Conn.Resolve != policy.ResolveFail {
		t.Errorf("a client of which all is told was looked up: %v, %+v", err, r)
	}
}

// fickle answers every second question differently.
type fickle struct {
	*dnsfake.Fake
	calls map[string]int
}

func (f fickle) Lookup(ctx context.Context, name string, t dns.Type) (dns.Answer, error) {
	if f.calls[name+t.String()]++; f.calls[name+t.String()] > 1 {
		return dns.Answer{}, context.DeadlineExceeded
	}
	return f.Fake.Lookup(ctx, name, t)
}

// TestSameAnswers: a question goes to the DNS once, so that an edit is not
// credited with what the DNS did.
func TestSameAnswers(t *testing.T) {
	cfg := site{access: "To:isp.net RELAY\n"}.config(t)
	resolver := fickle{dnsfake.NewFake(zone()), map[string]int{}}
	cfg.Resolver = resolver
	r, err := explain.Explain(t.Context(), cfg, visit("198.51.100.7", "<a@friend.org>", "<b@isp.net>"))
	if err != nil || r.Failed() || len(r.Stages) != 3 {
		t.Fatalf("Explain: %v, %+v", err, r)
	}
	for q, n := range resolver.calls {
		if n > 1 {
			t.Errorf("%s was asked %d times", q, n)
		}
	}
}

func TestImpossiblePolicy(t *testing.T) {
	cfg := site{features: policy.Features{DNSLists: []policy.DNSList{{}}}}.config(t)
	if r, err := explain.Explain(t.Context(), cfg, visit("198.51.100.7", "<>", "<b@isp.net>")); err == nil {
		t.Errorf("Explain with a DNS list without zone = %+v, want an error", r)
	}
	if _, _, err := explain.FindFlip(t.Context(), cfg, visit("198.51.100.7", "<>", "<b@isp.net>"), 0); err == nil {
		t.Error("FindFlip with a DNS list without zone: want an error")
	}
}

func TestReplies(t *testing.T) {
	for _, tc := range []struct {
		reply             smtp.Reply
		argument          string
		sendmail, postfix string
	}{
		{smtp.MustReply(550, "5.7.1", "Relaying denied"), "<u@x>", "550 5.7.1 <u@x>... Relaying denied", "550 5.7.1 Relaying denied"},
		{smtp.MustReply(450, "4.7.1", "later"), "<u@x>", "450 4.7.1 <u@x>... later", "450 4.7.1 later"},
		{smtp.MustReply(553, "5.1.3", "no"), "<>", "553 5.1.3 <>... no", "553 5.1.3 no"},
		{smtp.MustReply(550, "5.7.1", "Access denied"), "", "550 5.7.1 Access denied", "550 5.7.1 Access denied"},
		{smtp.MustReply(451, "4.3.0", "later"), "<u@x>", "451 4.3.0 later", "451 4.3.0 later"},
		{smtp.MustReply(554, "4.7.1", "Go away"), "<u@x>", "554 4.7.1 Go away", "554 5.7.1 Go away"},
		{smtp.MustReply(550, "5.7.1", "one\ntwo"), "<u@x>", "550-5.7.1 <u@x>... one|550 5.7.1 <u@x>... two", "550-5.7.1 one|550 5.7.1 two"},
	} {
		if got := strings.Join(explain.SendmailReply(tc.reply, tc.argument), "|"); got != tc.sendmail {
			t.Errorf("sendmail: %s after %q is %q, want %q", tc.reply, tc.argument, got, tc.sendmail)
		}
		if got := strings.Join(explain.PostfixReply(tc.reply), "|"); got != tc.postfix {
			t.Errorf("Postfix: %s is %q, want %q", tc.reply, got, tc.postfix)
		}
	}
}

// TestJSONFields holds --json to the fields of docs/explain.md.
func TestJSONFields(t *testing.T) {
	r, err := explain.Explain(t.Context(), site{access: "From:a@friend.org OK\nConnect:198.51.100 OK\n"}.config(t), visit("198.51.100.7", "<a@friend.org>", "<\u009bb@isp.net>", "<b@isp.net>"))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := r.WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsRune(out.String(), 0x9b) || !strings.Contains(out.String(), `"<\u009bb@isp.net>"`) {
		t.Errorf("a control character is not escaped in %s", out.String())
	}
	compareWithPage(t, out.String())
}
