package main

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"gatepost/internal/dns/dnsfake"
	"gatepost/internal/dns/dnstest"
)

// TestRoutes: mail goes where the mailertable says, and else to the smart host; an edit
// of the table is in force without a restart, and a wrong one is not.
func TestRoutes(t *testing.T) {
	s, lan, mx, lmtp := newSite(t), newSink(t, false), newSink(t, false), newSink(t, true)
	_, mxPort, _ := net.SplitHostPort(mx.addr)
	dns := dnstest.Serve(t, dnsfake.Zone{
		"far.example":      {MX: []dnsfake.MX{{Preference: 10, Host: "dead.far.example"}, {Preference: 20, Host: "live.far.example"}}},
		"dead.far.example": {A: []string{"127.0.0.9"}},
		"live.far.example": {A: []string{"127.0.0.1"}},
	})
	table := strings.NewReplacer("LAN", bracketed(lan.addr), "MX", "far.example:"+mxPort, "LMTP", bracketed(lmtp.addr)).Replace(
		"x.lan\tsmtp:LAN\n.lan\trelay:LAN\nmx.example\tesmtp:MX\nbox.example\tlmtp:LMTP\n" +
			"gone.example\terror:5.1.2:550 No more\nlater.example\terror:4.1.2:450 Not yet\nvoid.example\tdiscard:\nold.example\tlocal:joe\nodd.example\tlocal:nobody\n")
	s.write("mailertable", table)
	s.write("users", "joe\n")
	config := strings.Replace(siteConfig, "127.0.0.1:9", dns, 1)
	s.write("gatepost.toml", strings.Replace(config, "[relay]\n",
		"[relay]\nmailertable = \"mailertable\"\nlocal_mail = \"maildir:DIR/mail/%u\"\nlocal_users = \"users\"\n", 1))
	s.start()
	for to, want := range map[string]*sink{
		"a@x.lan": lan, "a@y.lan": lan, "a@mx.example": mx, "a@box.example": lmtp, "a@elsewhere.example": s.smart,
	} {
		if got := s.from(trusted).message("me@a.example", "<"+to+">"); got[0] != '2' {
			t.Fatalf("mail for %s is answered %q", to, got)
		}
		s.eventually(to+" arrives", func() bool { return len(want.mail(to)) == 1 })
	}
	for to, want := range map[string]string{
		"<a@gone.example>": "550 5.1.2 ", "<a@later.example>": "450 4.1.2 ", "<a@odd.example>": "550 5.1.1 ",
		"<a@void.example>": "250 ", "<a@old.example>": "250 ",
	} {
		if got := s.from(trusted).message("me@a.example", to); !strings.HasPrefix(got, want) {
			t.Errorf("mail for %s is answered %q, want %s", to, got, want)
		}
	}
	s.eventually("the local user has mail", func() bool {
		found, _ := filepath.Glob(s.path("mail/joe/new/*"))
		return len(found) == 1
	})
	s.eventually("dropped mail leaves the queue", func() bool { _, body := s.get("/status"); return strings.Contains(body, `"messages":0`) })

	s.write("mailertable", table+"fresh.example\tsmpt:x\n")
	s.eventually("the wrong line is named", func() bool {
		return strings.Contains(s.stderr.String(), s.path("mailertable")+":10: value \\\"smpt:x\\\": unknown mailer smpt")
	})
	if got := s.from(trusted).message("me@a.example", "<b@x.lan>"); got[0] != '2' {
		t.Errorf("with a wrong line in the table mail is answered %q", got)
	}
	s.eventually("the old table is in force", func() bool { return len(lan.mail("b@x.lan")) == 1 })
	s.write("mailertable", table+fmt.Sprintf("fresh.example\tsmtp:%s\n", bracketed(lan.addr)))
	s.eventually("the new line is in force", func() bool { return strings.Count(s.stderr.String(), "policy renewed") > 0 })
	s.from(trusted).message("me@a.example", "<a@fresh.example>")
	s.eventually("the new way is taken", func() bool { return len(lan.mail("a@fresh.example")) == 1 })
	for _, domain := range []string{"a+b", strings.Repeat("a", 64)} { // else the sender, whoever that is, gets a report
		if got := s.from(stranger).message("me@stranger.example", "<c@"+domain+".example.net>"); !strings.HasPrefix(got, "550 5.1.2 ") {
			t.Errorf("mail for what can be no host is answered %q", got)
		}
	}
	if got := s.from(stranger).message("me@stranger.example", "<c@x.lan>"); !strings.HasPrefix(got, "550 5.7.1 ") {
		t.Errorf("a way for a domain lets strangers relay: %q", got)
	}
}

// TestNoSmartHost: without one mail goes to the mail exchangers of its domain, and what has
// none is refused in the queue at once.
func TestNoSmartHost(t *testing.T) {
	s := newSite(t)
	dns := dnstest.Serve(t, dnsfake.Zone{
		"null.example": {MX: []dnsfake.MX{{Host: ""}}},
		"loop.example": {MX: []dnsfake.MX{{Preference: 10, Host: "mx.example.com"}}},
	})
	s.write("gatepost.toml", strings.NewReplacer("smart_host = \"SMART\"\n", "", "127.0.0.1:9", dns).Replace(siteConfig))
	s.start()
	for _, tc := range []struct{ to, want string }{
		{"a@null.example", "to=a@null.example relay=\"\" attempt=1"},
		{"a@loop.example", "mail for loop.example loops back to this host"},
		{"a@none.example", "Host unknown: none.example has neither MX records nor an address"},
	} {
		if got := s.from(trusted).message("me@a.example", "<"+tc.to+">"); got[0] != '2' {
			t.Fatalf("mail for %s is answered %q", tc.to, got)
		}
		s.eventually(tc.to+" has failed", func() bool {
			return strings.Contains(s.stderr.String(), tc.want) && strings.Contains(s.stderr.String(), "stat=Failed")
		})
	}
}

// TestAgentInClear: where TLS is demanded of other servers, a delivery agent on this host
// still gets its mail, and they do not.
func TestAgentInClear(t *testing.T) {
	s, agent := newSite(t), newSink(t, true)
	s.write("users", "joe\n")
	s.relay("tls_security_level = \"encrypt\"\nlocal_mail = \"lmtp:" + agent.addr + "\"\nlocal_users = \"users\"")
	s.start()
	for _, to := range []string{"joe@example.com", "a@elsewhere.example"} {
		if got := s.from(trusted).message("me@a.example", "<"+to+">"); got[0] != '2' {
			t.Fatalf("mail for %s is answered %q", to, got)
		}
	}
	s.eventually("the local user has mail", func() bool { return len(agent.mail("joe@example.com")) == 1 })
	s.eventually("the other waits", func() bool { return strings.Contains(s.stderr.String(), "dsn=4.7.4 stat=Deferred") })
	if got := s.smart.mail("a@elsewhere.example"); len(got) != 0 {
		t.Error("mail went in clear")
	}
}
