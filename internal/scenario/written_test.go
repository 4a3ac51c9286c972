package scenario

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// written1 has every key of the written form.
const written1 = `# a comment
title: one of each
host: mx.example.com

== access
Connect:198.51.100.66	REJECT
From:spam.example	ERROR:5.7.1:"550 No spam, please"
From:watch.example	QUARANTINE:look at it
To:branch.example	RELAY
ClientRate:198.51.100	5

== relay-domains
partner.example

== local-host-names
example.com

== gatepost.toml
[features]
relay_entire_domain = true
trust_auth_mech = ["PLAIN"]
ratecontrol = true

[[dnsbl]]
zone = "bl.example.net"

== dns
# the outside
example.com		MX	10 mx.example.com
friend.example		MX	10 mx.friend.example
mail.friend.example.	3600 IN A	198.51.100.7
198.51.100.7		PTR	mail.friend.example
v6.friend.example	AAAA	2001:db8::7
2001:db8::7		ptr	v6.friend.example.
slow.example		A	SERVFAIL
slow.example		AAAA	SERVFAIL
slow.example		MX	TIMEOUT
198.51.100.9		SERVFAIL
spam.example		A	198.51.100.66
spam.example		TXT	"some text"
alias.example		CNAME	friend.example
watch.example		MX	0 .
2.100.51.198.bl.example.net	A	127.0.0.2

== session the name comes from the facts
client: 198.51.100.7
helo: mail.friend.example
from: <a@friend.example>
to: <u@example.com>
expect: accept
to: v@third.example
expect: 550 5.7.1 Relaying denied. Proper authentication required.
by: relaying denied

== session by IPv6
client: 2001:db8::7
from: a@alias.example
to: u@partner.example
expect: accept
by: recipient domain

== session refused at once
client: 198.51.100.66
expect: 550 5.7.1
by: client access
at: connect:198.51.100.66

== session senders
client: 198.51.100.7
from: x@spam.example
expect: 550 5.7.1 No spam, please
from: x@slow.example
expect: tempfail
from: <>
to: u@branch.example
expect: accept
from: x@watch.example
expect: quarantine look at it
to: u@example.com
expect: accept

== session the name cannot be asked for
client: 198.51.100.9
from: <>
to: v@third.example
expect: 450
by: client name verified

== session the name is given
client: 198.51.100.8
name: host.example.com
from: <>
to: v@third.example
expect: accept
by: client name

== session a forged name
client: 198.51.100.8
name: host.example.com
resolve: FORGED
from: <>
to: v@third.example
expect: reject

== session logged in
client: 198.51.100.8
resolve: FAIL
auth: PLAIN joe
from: <>
to: v@third.example
expect: accept
by: trust_auth_mech

== session too fast
client: 198.51.100.7
rate: 6
connections: 1
expect: 452 4.3.2

== session listed
client: 198.51.100.2
expect: 550 5.7.1
at: 2.100.51.198.bl.example.net

== session this host itself
client: local
from: root
expect: reject
by: unqualified sender
from: root@example.com
to: v@third.example
expect: accept
by: local client
`

func TestWritten(t *testing.T) {
	r, got, faults := runText(t, "w.txt", written1)
	if r.Passed != 11 || r.Failed != 0 || faults != "" {
		t.Errorf("%d passed, %d failed, errors %q, mismatches\n%s\nwant 11 passed", r.Passed, r.Failed, faults, got)
	}
}

// other is written1 with one text in place of another.
func other(t *testing.T, old, text string) string {
	t.Helper()
	if strings.Count(written1, old) == 0 {
		t.Fatalf("the test has no %q", old)
	}
	return strings.Replace(written1, old, text, 1)
}

func TestWrittenMismatches(t *testing.T) {
	for _, tc := range []struct {
		name, old, text, want string
	}{
		{"accept", "expect: 550 5.7.1 Relaying denied. Proper authentication required.", "expect: accept",
			"F:51: the name comes from the facts: RCPT v@third.example: expected accept by relaying denied, got 550 5.7.1 Relaying denied. Proper authentication required., by relaying denied"},
		{"nothing said of the connection", "\nexpect: 550 5.7.1\nby: client access\nat: connect:198.51.100.66", "\nfrom: <>\nexpect: accept",
			"F:63: refused at once: connection: expected accept, got 550 5.7.1 Access denied, by client access, Connect:198.51.100.66 (F:6)"},
		{"another rule", "by: recipient domain", "by: recipient access",
			"F:58: by IPv6: RCPT u@partner.example: expected accept by recipient access, got accept, by recipient domain, partner.example (F:13)"},
		{"another entry", "at: connect:198.51.100.66", "at: Connect:198.51.100",
			"F:63: refused at once: connection: expected 550 5.7.1 by client access at Connect:198.51.100, got 550 5.7.1 Access denied, by client access, Connect:198.51.100.66 (F:6)"},
		{"quarantine", "expect: quarantine look at it", "expect: quarantine look at me",
			"F:77: senders: MAIL x@watch.example: expected quarantine look at me, got quarantine look at it, by sender access, From:watch.example (F:8)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, got, faults := runText(t, "w.txt", other(t, tc.old, tc.text))
			if got != tc.want || r.Failed != 1 || faults != "" {
				t.Errorf("%d failed, errors %q, mismatches\n%s\nwant\n%s", r.Failed, faults, got, tc.want)
			}
		})
	}
}

// TestEntryPlaces: an entry may be named by its key or by its place.
func TestEntryPlaces(t *testing.T) {
	for _, at := range []string{"Connect:198.51.100.66", "w.txt:6"} {
		r, got, faults := runText(t, "w.txt", other(t, "at: connect:198.51.100.66", "at: "+at))
		if r.Failed != 0 || faults != "" {
			t.Errorf("at: %s gave %q %q, want agreement", at, got, faults)
		}
	}
}

func TestWrittenMistakes(t *testing.T) {
	const (
		ask = "\nexpect: accept\n"
		end = "== session s\nclient: 198.51.100.7" + ask
	)
	for _, tc := range []struct {
		name, text, want string
	}{
		{"head", "hst: x\n", `F:1: "hst: x", expected title:, host:, config: or a section such as "== session NAME"`},
		{"head without a value", "host:\n", "F:1: host: nothing after the colon"},
		{"head twice", "host: a.b\nhost: a.b\n", "F:2: host: stands twice"},
		{"title twice", "title: a\ntitle: b\n", "F:2: title: stands twice"},
		{"no host name", "\n== session s\nclient: 198.51.100.7" + ask, `F:1: the name of the mail server is missing, expected a line such as "host: mx.example.com"`},
		{"no session", "host: a.b\n== dns\n", `F:3: no session, expected a line "== session NAME" and what happens in it`},
		{"unknown section", "== acess\n", `F:1: unknown section "acess", expected "session NAME", access, relay-domains, local-host-names, trusted, spammers, virtual-hosts, gatepost.toml or dns`},
		{"section twice", "== access\n== access\n", `F:2: section "access" stands twice`},
		{"section and config", "config: x\n== access\n", `F:2: section "access" beside config:, expected one of the two`},
		{"config is not there", "config: nowhere.toml\n" + small, "F:1: cannot read the configuration: open "},
		{"session without name", "== session\n", `F:1: unknown section "session", expected`},
		{"session name twice", small + "== session s\n", `F:5: session "s" stands at line 2 already, expected another name`},
		{"TOML", "host: a.b\n\n== gatepost.toml\n[features]\nnocanonfy = true\n" + end, "F:5: unknown key features.nocanonfy"},
		{"TOML syntax", "host: a.b\n\n== gatepost.toml\n[features\n" + end, "F:4: not TOML"},
		{"table on disk", "host: a.b\n== gatepost.toml\n[tables]\naccess = \"x\"\n" + end, "F:4: a table on disk, expected a section for it, or config: instead of all sections"},
		{"access without access_db", "host: a.b\n== gatepost.toml\nfeatures.access_db = false\n== access\n" + end, "F:4: section access, but access_db = false, expected one of the two"},
		{"access key twice", "host: a.b\n== access\na OK\nA REJECT\n" + end, `F:4: key "A" stands in line 3 already`},
		{"access value", "host: a.b\n== access\n\nFrom:a ERROR:\n" + end, `F:4: value "ERROR:"`},
		{"trusted key", "host: a.b\n== trusted\n123.45.* accept\n" + end, `F:3: key 123.45.*: 3 parts, expected four`},
		{"trusted value", "host: a.b\n== trusted\n\na.b reject\n" + end, `F:4: value "reject" of a.b, expected accept`},
		{"trusted key without a value", "host: a.b\n== trusted\na.b\n" + end, `F:3: key "a.b" has no value`},
		{"spammers value", "host: a.b\n== spammers\na.b ERROR:\n" + end, `F:3: value "ERROR:"`},
		{"virtual hosts of nobody", "host: a.b\n== virtual-hosts\nb.c\n" + end, `F:2: section virtual-hosts, expected check_rcpt = "unixware" in the section gatepost.toml`},
		{"spammers on disk", "host: a.b\n== gatepost.toml\n[tables]\nspammers = \"x\"\n" + end, "F:4: a table on disk"},
		{"NUL", "host: a.b\n== access\na OK\n\x00\n" + end, "F:4: NUL byte"},
		{"fact", "host: a.b\n== dns\na.example\n", `F:3: "a.example", expected "NAME TYPE DATA" such as`},
		{"fact without data", "host: a.b\n== dns\na.example MX\n", `F:3: nothing after the type, expected "NAME TYPE DATA" such as`},
		{"a long line", "host: a.b\n" + strings.Repeat("x", 5000) + "\n", `F:2: "` + strings.Repeat("x", 80) + `"... (5000 bytes), expected title:`},
		{"a long line in a session", "host: a.b\n== session s\n" + strings.Repeat("x", 5000) + "\n", `F:3: "` + strings.Repeat("x", 80) + `"... (5000 bytes), expected client:`},
		{"a long fact", "host: a.b\n== dns\n" + strings.Repeat("x", 5000) + "\n", `F:3: "` + strings.Repeat("x", 80) + `"... (5000 bytes), expected "NAME`},
		{"fact of no type", "host: a.b\n== dns\na.example SRV 1 2 3\n", `F:3: type "SRV", expected A, AAAA, MX, PTR, TXT, CNAME, NXDOMAIN or SERVFAIL, REFUSED, TIMEOUT`},
		{"A", "host: a.b\n== dns\na.example A 2001:db8::1\n", `F:3: "2001:db8::1", expected an IPv4 address or one of SERVFAIL, REFUSED, TIMEOUT`},
		{"AAAA", "host: a.b\n== dns\na.example AAAA 192.0.2.1\n", `F:3: "192.0.2.1", expected an IPv6 address or`},
		{"MX", "host: a.b\n== dns\na.example MX mx.a.example\n", `F:3: MX "mx.a.example", expected a preference and a host such as "10 mx.example.org", or "0 ." for no mail`},
		{"MX too large", "host: a.b\n== dns\na.example MX 65536 mx\n", `F:3: MX "65536 mx", expected a preference`},
		{"PTR", "host: a.b\n== dns\n192.0.2.1 PTR two names\n", `F:3: PTR "two names", expected one name`},
		{"CNAME", "host: a.b\n== dns\na CNAME b\na CNAME c\n", `F:4: a second CNAME, expected one`},
		{"key", small + "clent: x\n", `F:5: unknown key "clent", expected client:, name:,`},
		{"no key", small + "accept\n", `F:5: "accept", expected client:, name:,`},
		{"key without value", small + "from:\n", "F:5: from: nothing after the colon"},
		{"from before client", "== session s\nfrom: <>\n", "F:2: from: before client:, expected the client's address first"},
		{"name before client", "== session s\nname: a\n", "F:2: name: expected between the lines client: and from: of a session"},
		{"helo after from", small + "from: <>\nhelo: a\n", "F:6: helo: expected between the lines client: and from: of a session"},
		{"key twice", "== session s\nclient: 198.51.100.7\nhelo: a\nhelo: b\n", "F:4: helo: stands twice"},
		{"second client", small + "client: 198.51.100.8\n", "F:5: a second client:, expected a session for each client"},
		{"client", "host: a.b\n== session s\n\nclient: mx" + ask, `F:4: client address "mx", expected an IPv4 or IPv6 address, or local`},
		{"resolve", "host: a.b\n== session s\nclient: 198.51.100.7\nresolve: YES" + ask, `F:3: resolve state "YES", expected OK, FAIL, FORGED or TEMP`},
		{"OK without name", "host: a.b\n== session s\nclient: 198.51.100.7\nresolve: OK" + ask, `F:3: a client whose state is OK has a name, expected it`},
		{"auth", "== session s\nclient: 198.51.100.7\nauth: PLAIN\n", `F:3: auth: "PLAIN", expected a mechanism and a user such as "PLAIN joe"`},
		{"rate", "== session s\nclient: 198.51.100.7\nrate: many\n", `F:3: "many", expected a number`},
		{"to before from", small + "to: a\n", "F:5: to: before from:, expected the sender first"},
		{"to after a refused connection", "== session s\nclient: 198.51.100.7\nexpect: reject\nfrom: a\n", "F:4: from: after a connection that must be refused, expected nothing more"},
		{"to after a refused sender", small + "from: a\nexpect: 450\nto: b\n", "F:7: to: after a sender that must be refused, expected nothing more"},
		{"recipient unanswered", small + "from: a\nto: b\nto: c\n", `F:7: to: at line 6 has no expect:, expected a line such as "expect: accept"`},
		{"recipient unanswered before another message", small + "from: a\nto: b\nfrom: c\n", `F:7: to: at line 6 has no expect:`},
		{"recipient unanswered at the end", small + "from: a\nto: b\n\n== dns\n", `F:6: to: at line 6 has no expect:`},
		{"no client", "\n== session s\n# nothing\n", `F:2: session "s" has no client, expected a line such as "client: 192.0.2.1"`},
		{"nothing expected", "\n== session s\nclient: 198.51.100.7\nfrom: a\n", `F:2: session "s" expects nothing, expected a line such as "expect: accept"`},
		{"expect twice", small + "expect: accept\n", "F:5: a second expect:, expected one for each client:, from: or to: line"},
		{"verdict", small + "from: a\nexpect: acept\n", `F:6: "acept", expected accept, reject, tempfail, discard, quarantine, or a reply such as "550 5.7.1 Relaying denied"`},
		{"verdict 250", small + "from: a\nexpect: 250\n", `F:6: "250", expected accept,`},
		{"accept and more", small + "from: a\nexpect: accept it\n", `F:6: "it" after accept, expected nothing`},
		{"no enhanced code", small + "from: a\nexpect: 550 Relaying denied\n", `F:6: "Relaying" after 550, expected an enhanced code such as 5.7.1`},
		{"by without expect", small + "from: a\nby: x\n", "F:6: by: expected after an expect: line"},
		{"at twice", small + "at: x\nat: y\n", "F:6: a second at:, expected one for each expect: line"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, got := runText(t, "w.txt", tc.text)
			if !strings.HasPrefix(got, tc.want) {
				t.Errorf("the file\n%s\ngave %q, want %q", tc.text, got, tc.want)
			}
		})
	}
}

// TestConfigOnDisk: the policy of a configuration, whose tables are files, meets
// the facts of the test.
func TestConfigOnDisk(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"site/gatepost.toml": "host_name = \"mx.example.com\"\n[tables]\naccess = \"access\"\nrelay_domains = \"relay\"\nlocal_host_names = \"local\"\n",
		"site/access":        "# entries\nTo:branch.example\tRELAY\n",
		"site/relay":         "partner.example\n",
		"site/local":         "example.com\n",
		"t.txt": "config: site/gatepost.toml\n== dns\nmx.example.com A 198.51.100.25\n== session s\nclient: 198.51.100.7\nname: c.example\nfrom: <>\n" +
			"to: u@branch.example\nexpect: accept\nby: recipient access\nat: access:2\nto: u@[198.51.100.25]\nexpect: accept\nto: u@third.example\nexpect: accept\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "t.txt")
	run := func() (string, error) {
		var lines []string
		_, err := RunFiles(t.Context(), []string{file}, func(m Mismatch) { lines = append(lines, m.String()) })
		return strings.Join(lines, "\n"), err
	}
	got, err := run()
	want := file + ":14: s: RCPT u@third.example: expected accept, got 550 5.7.1 Relaying denied, by relaying denied"
	if err != nil || got != want {
		t.Errorf("mismatches %q, error %v, want %q", got, err, want)
	}

	for name, want := range map[string]string{
		"site/gatepost.toml": "site/gatepost.toml:1: not TOML",
		"site/access":        "t.txt:1: ",
	} {
		path := filepath.Join(dir, name)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("\x01[\nFrom:x ERROR:\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := run(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("with a broken %s: error %v, want in it %q", name, err, want)
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
