package main

import (
	"fmt"
	"strings"
	"testing"
)

// TestReports goes from what a client asks for at MAIL and RCPT to what its sender gets: a
// receipt for one recipient, a failure of another, nothing of a third, and at last the
// postmaster's word about a report that nobody takes.
func TestReports(t *testing.T) {
	s := newSite(t)
	s.relay("local_mail = \"smart_host\"\ndouble_bounce_address = \"postmaster\"\ncopy_errors_to = \"copies@elsewhere.example\"")
	s.start()
	c := s.from(trusted)
	c.expect("250 ", "MAIL FROM:<me@fine.example> RET=HDRS ENVID=id+2B1")
	c.expect("250 ", "RCPT TO:<a@elsewhere.example> NOTIFY=SUCCESS ORCPT=rfc822;first@elsewhere.example")
	c.expect("250 ", "RCPT TO:<unwanted@elsewhere.example> NOTIFY=FAILURE,DELAY")
	c.expect("250 ", "RCPT TO:<unwanted@far.example> NOTIFY=NEVER")
	c.expect("354 ", "DATA")
	c.expect("250 ", "Subject: test\r\n\r\nsecret\r\n.")
	s.eventually("two reports are there, and a copy", func() bool {
		return len(s.smart.mail("me@fine.example")) == 2 && len(s.smart.mail("copies@elsewhere.example")) == 1 && s.status().Messages == 0
	})
	all := fmt.Sprint(s.smart.mail("me@fine.example"), s.smart.mail("copies@elsewhere.example"))
	for _, want := range []string{
		"Original-Envelope-Id: id+1\r\n", "Original-Recipient: rfc822; first@elsewhere.example\r\nFinal-Recipient: rfc822; a@elsewhere.example\r\nAction: relayed\r\nStatus: 2.",
		"Final-Recipient: rfc822; unwanted@elsewhere.example\r\nAction: failed\r\nStatus: 5.1.1\r\n", "Subject: Return receipt\r\n",
		"Subject: Returned mail: see transcript for details\r\n", "Subject: Postmaster notify: see transcript for details\r\n",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in %s", want, all)
		}
	}
	if strings.Contains(all, "secret") || strings.Contains(all, "far.example") {
		t.Errorf("the reports tell too much: %s", all)
	}
	// A message whose sender is refused as a recipient: its report fails too.
	if got := c.message("unwanted@fine.example", "<unwanted@elsewhere.example>"); got[0] != '2' {
		t.Fatal(got)
	}
	s.eventually("the postmaster has the report's report", func() bool {
		return len(s.smart.mail("postmaster@mx.example.com")) == 1 && s.status().Messages == 0
	})
	_, metrics := s.get("/metrics")
	for _, want := range []string{`gatepost_relay_reports_total{kind="failure"} 5`, `gatepost_relay_reports_total{kind="success"} 1`, `gatepost_relay_reports_total{kind="delay"} 0`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
}

// TestReportToNobody: a report to somebody at this host, which keeps no mail, does not wait
// for days.
func TestReportToNobody(t *testing.T) {
	s := newSite(t)
	s.relay("double_bounce_address = \"errors@elsewhere.example\"")
	s.start()
	if got := s.from(trusted).message("root@example.com", "<unwanted@elsewhere.example>"); got[0] != '2' {
		t.Fatalf("the message is answered %q", got)
	}
	s.eventually("the report is reported, and nothing is left", func() bool {
		return len(s.smart.mail("errors@elsewhere.example")) == 1 && s.status().Messages == 0
	})
}
