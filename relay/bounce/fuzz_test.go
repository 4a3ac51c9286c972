package bounce

import (
	"strings"
	"testing"

	"gatepost/relay/spool"
)

// FuzzReport: whatever addresses, replies and messages are, a report has three parts and
// the fields that it is to have, each once.
func FuzzReport(f *testing.F) {
	f.Add("a@b.example", "c@d.example", "mx[192.0.2.1]:25: 550 no", "5.1.1", "env", "rfc822;c@d", "pc", data, false)
	f.Add("a@b\r\nBcc: x@y.example", "c@d\r\n\r\n--x", "h\r\nX: y: 550 a\r\nStatus: 2.0.0", "2.0.0\r\nX: y", "+0D+0AX: y", "rfc822;+0D+0A\r\nX: y", "h\nX: y", "\r\n\r\n", false)
	f.Add("jörg@example.com", "\xff\u2028@d", "\u0085: \u202e", "9.9.9", "ä", "utf-8;ä", "\x00", "--\r\n----\r\n\xe4", true)
	f.Fuzz(func(t *testing.T, sender, to, answer, status, envID, orcpt, helo, body string, utf8 bool) {
		if sender == "" || len(sender)+len(to)+len(envID)+len(orcpt)+len(helo) > 100 || len(answer) > 512 || len(status) > 16 || len(body) > 10_000 {
			return
		}
		body = strings.NewReplacer("\r", "", "\n", "\r\n").Replace(body)
		env := spool.Envelope{Sender: sender, UTF8: utf8, EnvID: envID, Client: spool.Client{Helo: helo}, Recipients: []spool.Recipient{{
			Address: to, State: spool.Failed, Status: status, Reply: answer, ORcpt: orcpt,
		}}}
		from := strings.NewReader(body)
		l := letter{Report: &Report{Envelope: &env, Recipients: []int{0}}, to: sender, whole: true, id: "1"}
		var out strings.Builder
		if err := l.look(from, true); err != nil {
			t.Fatal(err)
		}
		if err := writer(nil, nil).compose(&out, &l, from); err != nil {
			t.Fatal(err)
		}
		p := parse(t, out.String())
		if len(p.fields) != 2 {
			t.Fatalf("%d groups of fields in %q", len(p.fields), p.bodies[1])
		}
		known := map[string]bool{}
		for _, name := range []string{
			"Original-Envelope-Id", "Reporting-Mta", "Received-From-Mta", "Arrival-Date", "Original-Recipient", "Final-Recipient",
			"Action", "Status", "Remote-Mta", "Diagnostic-Code", "Last-Attempt-Date",
		} {
			known[name] = true
		}
		for _, group := range p.fields {
			for name, values := range group {
				if !known[name] || len(values) != 1 {
					t.Errorf("field %s: %q", name, values)
				}
			}
		}
		if len(p.header) != 9 || p.fields[1].Get("Action") != "failed" || strings.HasPrefix(p.fields[1].Get("Status"), "2") {
			t.Errorf("%v, %v", p.header, p.fields[1])
		}
		if want := strings.TrimSuffix(body, "\r\n"); strings.TrimSuffix(p.bodies[2], "\r\n") != want {
			t.Errorf("returned is %q, want %q", p.bodies[2], want)
		}
	})
}
