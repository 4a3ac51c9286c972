package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"gatepost/internal/dns/dnstest"
	"gatepost/internal/setup"
	"gatepost/milter/miltertest"
)

// below runs a hook for names in a zone.
func below(zone string, hook dnstest.Hook) dnstest.Hook {
	return func(e *dnstest.Exchange) {
		if strings.HasSuffix(e.Name(), "."+zone) {
			hook(e)
		}
	}
}

// everybody answers each question for an address with one.
func everybody(addr string) dnstest.Hook {
	return func(e *dnstest.Exchange) {
		e.Reply = new(mdns.Msg)
		e.Reply.SetReply(e.Query)
		if e.Type() == "A" {
			h := mdns.RR_Header{Name: e.Query.Question[0].Name, Rrtype: mdns.TypeA, Class: mdns.ClassINET, Ttl: 1}
			e.Reply.Answer = []mdns.RR{&mdns.A{Hdr: h, A: net.ParseIP(addr).To4()}}
		}
	}
}

// withLists is a site that asks a DNS server with hooks.
func withLists(t *testing.T, features, lists string, zone dnstest.Zone, hooks ...dnstest.Hook) *site {
	t.Helper()
	s := newSite(t)
	text := strings.Replace(siteConfig, "127.0.0.1:9", dnstest.Serve(t, zone, hooks...), 1)
	text = strings.Replace(text, "timeout = \"100ms\"", "timeout = \"5s\"", 1)
	text = strings.Replace(text, "[features]", "[features]\n"+features, 1)
	s.write("gatepost.toml", text+"[log]\nlevel = \"debug\"\n"+lists)
	return s
}

// status is what the daemon says of its first list.
func (s *site) list() setup.ListStatus {
	s.t.Helper()
	_, body := s.get("/status")
	var status setup.Status
	if err := json.Unmarshal([]byte(body), &status); err != nil || len(status.Lists) == 0 {
		s.t.Fatalf("/status gave %v, %s", err, body)
	}
	return status.Lists[0]
}

// stranger begins a session of the client 192.0.2.99.
func (s *site) stranger() *miltertest.Client {
	s.t.Helper()
	c, err := miltertest.Dial("unix", s.path("m.sock"), miltertest.Sendmail, miltertest.Full())
	if err != nil {
		s.t.Fatalf("milter session: %v; log:\n%s", err, s.stderr.String())
	}
	s.t.Cleanup(func() { c.Close() })
	if _, err := c.Connect(miltertest.Peer{Addr: netip.MustParseAddr("192.0.2.99"), Resolve: "FAIL"}); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// TestListsGoneBad: whatever becomes of a list, mail flows, and status says why.
func TestListsGoneBad(t *testing.T) {
	for _, tc := range []struct {
		name string
		hook dnstest.Hook
		want string
	}{
		{"closed to us", everybody("127.255.255.254"), "it answered 127.255.255.254: the list refuses queries by way of a public or open resolver"},
		{"lists everybody", everybody("127.0.0.2"), "it lists 127.0.0.1, as a list that lists everything does"},
		{"domain for sale", everybody("203.0.113.80"), "it answered 203.0.113.80: no list does"},
		{"SERVFAIL", dnstest.Rcode(mdns.RcodeServerFailure), "it gives no answer: dns: A of "},
		{"REFUSED", dnstest.Rcode(mdns.RcodeRefused), "it gives no answer: dns: A of "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := withLists(t, "dnsbl = \"bl.example\"", "", nil, below("bl.example", tc.hook))
			s.start()
			s.eventually("the list is parked", func() bool { return s.list().Parked != "" })
			if got := s.list().Parked; !strings.HasPrefix(got, tc.want) {
				t.Errorf("parked because %q, want %q", got, tc.want)
			}
			c := s.stranger()
			s.answer("HELO", "c")(c.Helo("client.example"))
			s.answer("MAIL", "c")(c.Mail("<me@stranger.example>"))
			s.answer("RCPT", "c")(c.Rcpt("<joe@example.com>"))
			if _, body := s.get("/metrics"); !strings.Contains(body, `gatepost_dnsbl_parked{lookup="address",zone="bl.example"} 1`) {
				t.Errorf("metrics do not say that the list is parked:\n%s", body)
			}
			if _, body := s.get("/metrics"); !strings.Contains(body, `gatepost_dnsbl_seconds_bucket{lookup="address",zone="bl.example",le="+Inf"} 0`) {
				t.Errorf("metrics have no latency, or a parked list was asked:\n%s", body)
			}
			if n := strings.Count(s.stderr.String(), "a DNS list is parked"); n != 1 {
				t.Errorf("said %d times in the log, want once:\n%s", n, s.stderr.String())
			}
		})
	}
}

// TestErrorAnswersBeforeParking: an error answer is no listing from the first client on.
func TestErrorAnswersBeforeParking(t *testing.T) {
	s := withLists(t, "", "[[dnsbl]]\nzone = \"bl.example\"\nhealth = false\n", nil, below("bl.example", everybody("127.255.255.254")))
	s.start()
	c := s.stranger()
	s.answer("HELO", "c")(c.Helo("client.example"))
	s.answer("MAIL", "c")(c.Mail("<me@stranger.example>"))
	s.answer("RCPT", "c")(c.Rcpt("<joe@example.com>"))
	if l := s.list(); l.Queries != 1 || l.Errors != 1 || l.Hits != 0 {
		t.Errorf("counted %+v, want one question and one error", l)
	}
}

// TestSilentLists: the time for silent lists is spent once in a session.
func TestSilentLists(t *testing.T) {
	const budget = 600 * time.Millisecond
	lists := ""
	for i := range 5 {
		lists += fmt.Sprintf("[[dnsbl]]\nzone = \"l%d.bl.example\"\nhealth = false\n", i)
	}
	s := withLists(t, "delay_checks = true\ndnsbl_timeout = \"600ms\"", lists+"[[dnsbl]]\nzone = \"d.bl.example\"\nlookup = \"sender\"\nhealth = false\n", nil,
		below("bl.example", dnstest.Silent()))
	s.start()
	c := s.stranger()
	s.answer("HELO", "c")(c.Helo("client.example"))
	start := time.Now()
	s.answer("MAIL", "c")(c.Mail("<me@stranger.example>"))
	for i := range 20 {
		s.answer("RCPT", "c")(c.Rcpt(fmt.Sprintf("<u%d@example.com>", i)))
	}
	if took := time.Since(start); took < budget || took > 2*budget {
		t.Errorf("with six silent lists twenty recipients took %v, want %v", took, budget)
	}
}

// TestListKeyIsSecret looks for the key wherever Gatepost says something.
func TestListKeyIsSecret(t *testing.T) {
	const key = "sesame4711"
	bad := dnstest.Records{A: []string{"127.0.0.2"}, TXT: []string{"\r\n250 OK " + key + "\x00\x1b[2J" + strings.Repeat("x", 5000)}}
	s := withLists(t, "", "[[dnsbl]]\nzone = \"bl.example\"\nreason = true\nkey = \""+key+"\"\n[[dnsbl]]\nzone = \"broken.example\"\nkey_file = \"key\"\n",
		dnstest.Zone{"99.2.0.192." + key + ".bl.example": bad}, below("broken.example", dnstest.Rcode(mdns.RcodeServerFailure)))
	s.write("key", key+"\n")
	s.start()
	s.eventually("the broken list is parked", func() bool { return strings.Contains(s.stderr.String(), "a DNS list is parked") })
	c := s.stranger()
	a, err := c.Helo("client.example")
	said := a.String()
	if err != nil || !strings.HasPrefix(said, "y 550 5.7.1 Rejected: 192.0.2.99 listed at bl.example; ") || !strings.Contains(said, "250 OK (key)") ||
		len(said) > 350 || strings.ContainsFunc(said, func(r rune) bool { return r < ' ' || r > '~' }) {
		t.Errorf("HELO was answered %q (%v), want one line of printable text without the key", said, err)
	}
	s.eventually("the decision is logged", func() bool { return strings.Contains(s.stderr.String(), "action=reject") })
	_, status := s.get("/status")
	_, metrics := s.get("/metrics")
	for what, text := range map[string]string{"log": s.stderr.String(), "status": status, "metrics": metrics} {
		if strings.Contains(text, key) {
			t.Errorf("the key is in the %s:\n%s", what, text)
		}
	}
	if !strings.Contains(s.stderr.String(), "dns server gave no answer") {
		t.Error("the resolver logged nothing, so that nothing was proved")
	}
}

// TestListsKeptOverReload: what is known of a list outlives a reload.
func TestListsKeptOverReload(t *testing.T) {
	s := withLists(t, "dnsbl = \"bl.example\"", "", nil, below("bl.example", everybody("127.0.0.2")))
	s.start()
	s.eventually("the list is parked", func() bool { return s.list().Parked != "" })
	before := s.list()
	s.signals <- syscall.SIGHUP
	s.eventually("it has reloaded", func() bool { return strings.Contains(s.stderr.String(), "msg=reloaded") })
	after := s.list()
	if after.Parked != before.Parked || !after.ParkedAt.Equal(before.ParkedAt) {
		t.Errorf("after a reload %+v, before %+v", after, before)
	}
	if n := strings.Count(s.stderr.String(), "a DNS list is parked"); n != 1 {
		t.Errorf("said %d times in the log, want once", n)
	}
}
