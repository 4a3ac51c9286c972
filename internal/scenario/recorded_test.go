package scenario

import (
	"strings"
	"testing"
)

// record1 is a small recorded policy that agrees.
const record1 = `{"policy_id":"p1","host_name":"mx.example.com","features":[{"name":"access_db","arguments":[]}],` +
	`"access":"Connect:198.51.100.66 REJECT\nTo:branch.example RELAY\n","local_host_names":["example.com"],` +
	`"dns":{"friend.example":{"MX":[[10,"mx.friend.example"]]}},` +
	`"sessions":[{"client":{"address":"198.51.100.7","client_name":"c.example","client_ptr":"c.example","client_resolve":"OK"},"mail_from":"<a@friend.example>","rcpt_to":["<u@example.com>","<v@third.example>"],` +
	`"expected":{"connect":{"action":"accept"},"mail":{"action":"accept"},"rcpt":[{"action":"accept"},` +
	`{"action":"reject","code":550,"enhanced_code":"5.7.1","text":"Relaying denied"}]}}]}`

// changed is record1 with one text in place of another.
func changed(t *testing.T, old, text string) string {
	t.Helper()
	if !strings.Contains(record1, old) {
		t.Fatalf("the record has no %q", old)
	}
	return strings.Replace(record1, old, text, 1)
}

func TestRecordedMistakes(t *testing.T) {
	for _, tc := range []struct {
		name, old, text, want string
	}{
		{"not JSON", `"policy_id"`, `policy_id`, "expected a recorded policy as one JSON object: invalid character 'p'"},
		{"wrong type", `"p1"`, `7`, "expected a recorded policy as one JSON object: json: cannot unmarshal number"},
		{"two on a line", `]}}]}`, `]}}]} {}`, "expected a recorded policy as one JSON object: something follows it on the line"},
		{"no host name", `"host_name":"mx.example.com",`, ``, `no host name, expected "host_name"`},
		{"unknown feature", `"access_db"`, `"acces_db"`, `unknown feature "acces_db", expected one of sendmail's cf/README`},
		{"wrong argument", `"arguments":[]`, `"arguments":["skp"]`, `feature access_db: argument "skp", expected skip or lookupdotdomain or relaytofulladdress`},
		{"delay_checks", `"access_db","arguments":[]`, `"delay_checks","arguments":["x"]`, `feature delay_checks: argument "x", expected friend or hater`},
		{"list without zone", `"access_db","arguments":[]`, `"dnsbl","arguments":[]`, "feature dnsbl: no zone, expected it as the first argument"},
		{"nodelay alone", `"access_db","arguments":[]`, `"ratecontrol","arguments":["nodelay"]`, "need delay_checks"},
		{"NUL in access", `REJECT\n`, `REJECT\u0000\n`, "NUL byte"},
		{"bad pattern", `"access":`, `"access_fails_for_keys_matching":"(","access":`, "access_fails_for_keys_matching: error parsing regexp"},
		{"bad address in the DNS", `"MX":[[10,"mx.friend.example"]]`, `"A":["mx"]`, `dns: friend.example: A "mx", expected an IPv4 address`},
		{"no session", `"sessions":[{`, `"sessions":[],"other":[{`, `no sessions, expected "sessions" with at least one`},
		{"client without address", `"address":"198.51.100.7"`, `"address":""`, `session 0: client address "", expected an IPv4 or IPv6 address, or local`},
		{"client with a zone", `"address":"198.51.100.7"`, `"address":"fe80::1%eth0"`, `session 0: client address "fe80::1%eth0", expected`},
		{"unknown state", `"client_resolve":"OK"`, `"client_resolve":"MAYBE"`, `session 0: resolve state "MAYBE", expected OK, FAIL, FORGED or TEMP`},
		{"OK without a name", `"client_name":"c.example",`, ``, `session 0: a client whose state is OK has a name, expected it`},
		{"unknown action", `"connect":{"action":"accept"}`, `"connect":{"action":"acept"}`, `session 0: connection: action "acept", expected accept, reject, tempfail, discard or quarantine`},
		{"more verdicts than recipients", `,"<v@third.example>"]`, `]`, "session 0: 1 recipients, expected as many verdicts at most"},
		{"nothing expected", `"expected":`, `"expectd":`, `session 0: nothing is expected of it, expected a verdict in "expected"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, got := runText(t, "f", "\n"+changed(t, tc.old, tc.text))
			if !strings.HasPrefix(got, "F:2: ") || !strings.Contains(got, tc.want) {
				t.Errorf("error %q, want F:2: and %q", got, tc.want)
			}
		})
	}
}

func TestRecordedMismatches(t *testing.T) {
	const denied = `F:1: p1 session 0: RCPT <v@third.example>: expected `
	for _, tc := range []struct {
		name, old, text, want string
	}{
		{"agrees", "", "", ""},
		{"another action", `"reject","code":550,"enhanced_code":"5.7.1","text":"Relaying denied"`, `"accept"`,
			denied + "accept, got 550 5.7.1 Relaying denied, by relaying denied"},
		{"another code", `550`, `554`, denied + "554 5.7.1 Relaying denied, got 550 5.7.1 Relaying denied, by "},
		{"another enhanced code", `5.7.1`, `5.7.0`, denied + "550 5.7.0 Relaying denied, got 550 5.7.1 Relaying denied, by "},
		{"no enhanced code", `"enhanced_code":"5.7.1",`, ``, denied + "550 Relaying denied, got 550 5.7.1 Relaying denied, by "},
		{"another text", `Relaying denied`, `No`, denied + "550 5.7.1 No, got 550 5.7.1 Relaying denied, by "},
		{"an entry decides", `198.51.100.7`, `198.51.100.66`,
			"F:1: p1 session 0: connection: expected accept, got 550 5.7.1 Access denied, by client access, Connect:198.51.100.66 (access:1)"},
		{"a lookup fails", `"access":`, `"access_fails_for_keys_matching":"^from:friend","access":`,
			"F:1: p1 session 0: MAIL <a@friend.example>: expected accept, got 451 4.3.0 Temporary system failure. Please try again later., by sender access: " +
				"access map, key From:friend.example: the test has this lookup fail"},
		{"pause", `"rcpt":`, `"greet_pause_ms":5000,"rcpt":`, "F:1: p1 session 0: greet_pause: expected 5s, got 0s"},
		{"compat", `"rcpt":`, `"check_compat":[{"action":"discard"}],"rcpt":`, "F:1: p1 session 0: compat_check <u@example.com>: expected discard, got accept, by check_compat"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text := record1
			if tc.old != "" {
				text = changed(t, tc.old, tc.text)
			}
			r, got, faults := runText(t, "f", text)
			first, _, _ := strings.Cut(got, "\n")
			if faults != "" || !strings.HasPrefix(first, tc.want) || (tc.want == "") != (got == "") || (r.Failed == 0) != (tc.want == "") {
				t.Errorf("%d failed, mismatches\n%s\nerrors %q, want\n%s", r.Failed, got, faults, tc.want)
			}
		})
	}
}

// TestAddressSyntax: what an engine need not meet is compared on the action only.
func TestAddressSyntax(t *testing.T) {
	text := changed(t, `"code":550,"enhanced_code":"5.7.1","text":"Relaying denied"`, `"code":501,"text":"Something","address_syntax":true`)
	if r, got, faults := runText(t, "f", text); r.Passed != 1 || got != "" || faults != "" {
		t.Errorf("%d passed, mismatches %q, errors %q, want 1 passed", r.Passed, got, faults)
	}
}

// TestSenderUnasked: where MAIL has no verdict its sender is known all the same.
func TestSenderUnasked(t *testing.T) {
	text := changed(t, `"mail":{"action":"accept"}`, `"mail":null`)
	text = strings.Replace(text, `{"name":"access_db","arguments":[]}`, `{"name":"access_db","arguments":[]},{"name":"relay_mail_from","arguments":[]}`, 1)
	text = strings.Replace(text, `To:branch.example RELAY`, `From:a@friend.example RELAY`, 1)
	r, got, faults := runText(t, "f", text)
	if r.Failed != 1 || r.Verdicts != 3 || faults != "" || !strings.Contains(got, "got accept, by ") {
		t.Errorf("%d failed of %d verdicts, mismatches %q, errors %q, want the stranger's recipient accepted by relay_mail_from", r.Failed, r.Verdicts, got, faults)
	}
}
