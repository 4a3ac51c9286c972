//go:build integration

package bounce

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// script has Python's email package say what it makes of a message, and what it does not
// like about it.
const script = `
import email, email.policy, json, sys
m = email.message_from_binary_file(open(sys.argv[1], "rb"), policy=email.policy.default)
defects = []
def walk(p):
    defects.extend(repr(d) for d in p.defects)
    for h in p.values():
        defects.extend(repr(d) for d in getattr(h, "defects", []))
    if p.is_multipart():
        for q in p.get_payload():
            walk(q)
walk(m)
parts = m.get_payload()
status = parts[1]
fields = [dict(g.items()) for g in status.get_payload()] if status.get_content_type() == "message/delivery-status" else []
returned = parts[2].get_payload()
print(json.dumps({
    "type": m.get_content_type(), "report": m.get_param("report-type"), "to": str(m["to"]), "from": m["from"].addresses[0].addr_spec,
    "types": [p.get_content_type() for p in parts], "fields": fields, "text": parts[0].get_content(),
    "subject": str(returned[0]["subject"]) if isinstance(returned, list) else returned, "defects": defects,
}))
`

// TestPython: the email package of Python reads reports as they are meant.
func TestPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Fatal(err)
	}
	s := openSpool(t)
	for _, test := range []struct {
		name, ret string
		kind      Kind
		utf8      bool
		types     string
		action    string
	}{
		{"failure", "", Failure, false, "text/plain message/delivery-status message/rfc822", "failed"},
		{"failure, header", "HDRS", Failure, false, "text/plain message/delivery-status text/rfc822-headers", "failed"},
		{"delay", "", Delay, false, "text/plain message/delivery-status text/rfc822-headers", "delayed"},
		{"success", "", Success, false, "text/plain message/delivery-status text/rfc822-headers", "relayed"},
		{"UTF-8", "", Failure, true, "text/plain message/global-delivery-status message/global", ""},
	} {
		e := envelope()
		e.Ret, e.UTF8 = test.ret, test.utf8
		m, env := queued(t, s, e, data)
		written, err := writer(s, nil).Write(t.Context(), &Report{Kind: test.kind, Envelope: env, Message: m, Recipients: []int{0, 1}, RetryUntil: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "report")
		if err := os.WriteFile(path, []byte(bytesOf(t, written[0])), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(python, "-c", script, path).Output()
		if err != nil {
			t.Fatalf("%s: %v: %s", test.name, err, err.(*exec.ExitError).Stderr)
		}
		var got struct {
			Type, Report, To, From, Text, Subject string
			Types, Defects                        []string
			Fields                                []map[string]string
		}
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatal(err)
		}
		if got.Type != "multipart/report" || strings.Join(got.Types, " ") != test.types || len(got.Defects) > 0 || got.To != "<alice@example.com>" && got.To != "alice@example.com" || got.From != "MAILER-DAEMON@relay.example.com" {
			t.Errorf("%s: %s", test.name, out)
		}
		if test.utf8 {
			continue
		}
		if got.Report != "delivery-status" || len(got.Fields) != 3 || got.Fields[1]["Action"] != test.action || got.Fields[1]["Original-Recipient"] != "rfc822; robert+x@example.net" || got.Fields[0]["Original-Envelope-Id"] != "QQ314+159" || got.Fields[2]["Final-Recipient"] != "rfc822; carol@example.org" {
			t.Errorf("%s: %s", test.name, out)
		}
		if !strings.HasPrefix(strings.TrimPrefix(got.Subject, "From: alice@example.com\nSubject: "), "a") {
			t.Errorf("%s: what was returned is %q", test.name, got.Subject)
		}
	}
}
