package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gatepost/internal/dns/dnsfake"
	"gatepost/internal/dns/dnstest"
)

// office is the configuration of explain's tests: the example policy, asking
// server, with other lines in place of some.
func office(t *testing.T, server string, changes ...string) (file string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "mail"), os.DirFS("../../examples/mail")); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../examples/gatepost.toml")
	if err != nil {
		t.Fatal(err)
	}
	conf := string(text)
	changes = append([]string{
		"# dont_probe_interfaces = false", "dont_probe_interfaces = true",
		`# servers     = ["127.0.0.1:53"]`, `servers = ["` + server + `"]`,
	}, changes...)
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(conf, changes[i]) {
			t.Fatalf("the example configuration has no line %q", changes[i])
		}
		conf = strings.Replace(conf, changes[i], changes[i+1], 1)
	}
	file = filepath.Join(dir, "gatepost.toml")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func officeZone() dnsfake.Zone {
	return dnsfake.Zone{
		"friend.example":              {MX: []dnsfake.MX{{Preference: 10, Host: "mail.friend.example"}}},
		"mail.friend.example":         {A: []string{"198.51.100.7"}},
		"alias.example":               {CNAME: "friend.example"},
		"list.example":                {A: []string{"198.51.100.30"}},
		"elsewhere.example":           {A: []string{"198.51.100.40"}},
		"broken.example":              {Fail: "SERVFAIL"},
		"7.100.51.198.in-addr.arpa":   {PTR: []string{"mail.friend.example"}},
		"8.100.51.198.in-addr.arpa":   {PTR: []string{"mail.friend.example"}},
		"9.100.51.198.in-addr.arpa":   {Fail: "SERVFAIL"},
		"7.100.51.198.bl.example.net": {A: []string{"127.0.0.2"}},
	}
}

// explainCase is one call of gatepost explain and where its output is kept.
type explainCase struct {
	golden  string
	args    string
	code    int
	changes []string // of the example's configuration
	access  string   // lines put before those of the access table
}

func explainCases() []explainCase {
	delayed := []string{"blocklist_recipients = true ", "blocklist_recipients = true\ndelay_checks = \"friend\"\ntrust_auth_mech = [\"PLAIN\"]"}
	return []explainCase{
		{golden: "denied", args: "--client 198.51.100.7 --helo pc.example --from <ann@friend.example> --to <bob@elsewhere.example>"},
		{golden: "relayed", args: "--client 192.0.2.17 --resolve FAIL --from ann@alias.example --to bob@elsewhere.example"},
		{golden: "refused-client", args: "--client 198.51.100.66 --name x.badhost.example --from ann@friend.example --to bob@example.com"},
		{golden: "refused-sender", args: "--client 198.51.100.7 --name mail.friend.example --from x@a.spam.example --to bob@example.com"},
		{golden: "dropped", args: "--client 198.51.100.7 --name mail.friend.example --from trap@friend.example --to bob@example.com"},
		{golden: "held", args: "--client 198.51.100.7 --name mail.friend.example --from u@doubtful.example --to bob@example.com"},
		{golden: "recipients", args: "--client 198.51.100.8 --from <> --to ann@example.com --to blocked@example.com retired%example.com@mail.example.com <@x>"},
		{golden: "no-such-sender", args: "--client 198.51.100.7 --name mail.friend.example --from u@nowhere.invalid --to bob@example.com"},
		{golden: "failed-lookup", code: 75, args: "--client 198.51.100.9 --from u@broken.example --to bob@elsewhere.example"},
		{golden: "delayed", changes: delayed, args: "--client 198.51.100.66 --resolve FAIL --from u@list.example --to bob@elsewhere.example --to bob@example.com"},
		{golden: "logged-in", changes: delayed, args: "--client 198.51.100.66 --resolve FAIL --auth PLAIN:fred --from u@spam.example --to bob@elsewhere.example"},
		{golden: "listed", args: "--client 198.51.100.7 --name mail.friend.example --from u@list.example --to bob@example.com",
			changes: []string{"[features]", "[[dnsbl]]\nzone = \"bl.example.net\"\n\n[features]"}},
		{golden: "classes-of-codes", access: "To:ann@example.com\tERROR:4.7.1:\"550 Not today\"\n",
			args: "--client 198.51.100.7 --name mail.friend.example --from u@list.example --to ann@example.com"},
		{golden: "second-line", access: "Connect:198.51.100.66\tDISCARD\n",
			args: "--client 198.51.100.66 --resolve FAIL --from u@list.example --to bob@example.com"},
	}
}

// tame makes output the same on each run: folders and ports are new ones each time.
func tame(text, file, server string) string {
	text = strings.ReplaceAll(text, filepath.Dir(file)+"/mail", "/etc/mail")
	return strings.ReplaceAll(text, server, "198.18.0.53:53")
}

// golden compares with a file under testdata; with UPDATE=1 it writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "explain", name)
	if os.Getenv("UPDATE") == "1" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

func TestExplain(t *testing.T) {
	server := dnstest.Serve(t, officeZone())
	for _, tc := range explainCases() {
		t.Run(tc.golden, func(t *testing.T) {
			file := office(t, server, tc.changes...)
			prepend(t, filepath.Join(filepath.Dir(file), "mail/access"), tc.access)
			args := append([]string{"explain", "--config", file}, strings.Fields(tc.args)...)
			got := call(t, args...)
			if got.code != tc.code {
				t.Errorf("gatepost %q ended with %d, want %d; stderr %q", args, got.code, tc.code, got.stderr)
			}
			golden(t, tc.golden+".txt", "$ gatepost explain "+tc.args+"\n"+tame(got.out, file, server))

			asJSON := call(t, append([]string{"explain", "--json", "--config", file}, strings.Fields(tc.args)...)...)
			if asJSON.code != tc.code || !json.Valid([]byte(asJSON.out)) {
				t.Errorf("with --json it ended with %d, want %d, and printed %s", asJSON.code, tc.code, asJSON.out)
			}
			if tc.golden == "denied" || tc.golden == "failed-lookup" {
				golden(t, tc.golden+".json", tame(asJSON.out, file, server))
			}
		})
	}
}

func prepend(t *testing.T, path, lines string) {
	t.Helper()
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append([]byte(lines), old...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestExplainEscapes: nothing that a stranger or a table's author wrote reaches
// the terminal as a control character.
func TestExplainEscapes(t *testing.T) {
	server := dnstest.Serve(t, officeZone())
	file := office(t, server)
	nasty := "a\x1b[31mb\u009b2Jc\u202ed\x7fe"
	prepend(t, filepath.Join(filepath.Dir(file), "mail/access"), "Connect:198.51.100.21\tQUARANTINE:"+nasty+"\n")
	control := regexp.MustCompile("[^\n\\P{C}]") // any control or format character but the line end
	for _, extra := range [][]string{nil, {"--json"}} {
		for _, client := range []string{"198.51.100.21", "198.51.100.22"} {
			args := append([]string{"explain", "--config", file, "--client", client, "--name", nasty + ".example", "--helo", nasty,
				"--auth", nasty + ":" + nasty, "--cert-issuer", nasty, "--cert-subject", nasty, "--from", nasty, "--to", nasty + "@friend.example",
				"--to", "ok@" + nasty + ".example"}, extra...)
			got := call(t, args...)
			if bad := control.FindString(got.out + got.stderr); bad != "" {
				t.Errorf("gatepost %q printed %q in\n%s%s", args, bad, got.out, got.stderr)
			}
			if !strings.Contains(got.out, `\x1b[31m`) && !strings.Contains(got.out, `\u001b[31m`) {
				t.Errorf("gatepost %q printed no escaped character:\n%s%s", args, got.out, got.stderr)
			}
		}
	}
	var report map[string]any
	got := call(t, "explain", "--json", "--config", file, "--client", "198.51.100.22", "--name", "x.example", "--helo", nasty, "--from", "", "--to", "u@example.com")
	if err := json.Unmarshal([]byte(got.out), &report); err != nil {
		t.Fatalf("%v in %s", err, got.out)
	}
	if helo := report["session"].(map[string]any)["helo"]; helo != nasty {
		t.Errorf("the helo comes back as %q, want %q", helo, nasty)
	}
}

func TestExplainCommandLine(t *testing.T) {
	server := dnstest.Serve(t, officeZone())
	file := office(t, server)
	broken := filepath.Join(t.TempDir(), "gatepost.toml")
	if err := os.WriteFile(broken, []byte("x = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	mail := []string{"--from", "a@friend.example", "--to", "b@example.com"}
	with := func(args ...string) []string { return append(args, mail...) }
	for _, tc := range []struct {
		name   string
		args   []string
		stderr string
	}{
		{"no client", mail, "gatepost: --client is missing, see explain --help"},
		{"no sender", []string{"--client", "198.51.100.7", "--to", "b@example.com"}, "gatepost: --from is missing, see explain --help"},
		{"no recipient", []string{"--client", "198.51.100.7", "--from", "a@friend.example"}, "gatepost: --to is missing, see explain --help"},
		{"client by name", with("--client", "mail.friend.example"), `--client "mail.friend.example", expected an IPv4 or IPv6 address`},
		{"client with zone", with("--client", "fe80::1%eth0"), `--client "fe80::1%eth0", expected an IPv4 or IPv6 address`},
		{"resolve", with("--client", "198.51.100.7", "--resolve", "YES"), "--resolve: expected OK, FAIL, FORGED or TEMP"},
		{"verified without name", with("--client", "198.51.100.7", "--resolve", "OK"), "--resolve OK needs --name, the name that was verified"},
		{"name of a nameless", with("--client", "198.51.100.7", "--resolve", "FAIL", "--name", "x"), "--resolve FAIL means that there is no name, expected no --name"},
		{"name in brackets", with("--client", "198.51.100.7", "--name", "[198.51.100.7]"), `--name "[198.51.100.7]", expected a host name; a client without one has --resolve FAIL`},
		{"fact", with("--client", "198.51.100.7", "--dns", "a.example MX"), "gatepost: --dns: nothing after the type, expected \"NAME TYPE DATA\""},
		{"auth", with("--client", "198.51.100.7", "--auth", "fred"), `--auth "fred", expected MECHANISM:USER such as PLAIN:fred`},
		{"late flag", append(with("--client", "198.51.100.7"), "b@example.com", "--json"), `"--json" stands after the arguments, expected flags before them`},
		{"unknown flag", with("--clint", "198.51.100.7"), "flag provided but not defined: -clint, did you mean --client?, see --help"},
		{"configuration", append([]string{"--config", broken, "--client", "198.51.100.7"}, mail...), broken + ":1: unknown key x"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := append([]string{"explain", "--config", file}, tc.args...)
			got := call(t, args...)
			if got.code != 2 || !strings.Contains(got.stderr, tc.stderr) || got.out != "" {
				t.Errorf("gatepost %q gave %d, out %q, stderr %q; want 2 and %q", args, got.code, got.out, got.stderr, tc.stderr)
			}
		})
	}
}

// TestExplainForms: the same client and addresses in other spellings.
func TestExplainForms(t *testing.T) {
	server := dnstest.Serve(t, officeZone())
	file := office(t, server)
	for _, tc := range []struct{ name, args, same string }{
		{"brackets or none", "--client 198.51.100.7 --from a@list.example --to b@example.com", "--client 198.51.100.7 --from <a@list.example> --to <b@example.com>"},
		{"name looked up or given", "--client 198.51.100.66 --from a@list.example --to b@example.com", "--client 198.51.100.66 --resolve FAIL --from a@list.example --to b@example.com"},
		{"IPv6", "--client 2001:db8:1::7 --resolve FAIL --from a@list.example --to b@x.example", "--client [IPv6:2001:db8:1:0:0:0:0:7] --resolve FAIL --from a@list.example --to b@x.example"},
		{"mapped", "--client ::ffff:198.51.100.7 --resolve FAIL --from a@list.example --to b@x.example", "--client 198.51.100.7 --resolve FAIL --from a@list.example --to b@x.example"},
		{"final dot", "--client 198.51.100.7 --name mail.friend.example. --from a@list.example --to b@x.example", "--client 198.51.100.7 --name mail.friend.example --resolve OK --from a@list.example --to b@x.example"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tail := func(args string) string {
				got := call(t, append([]string{"explain", "--config", file}, strings.Fields(args)...)...)
				_, rest, _ := strings.Cut(got.out, "\n\nCONNECT")
				if got.code != 0 || rest == "" {
					t.Fatalf("gatepost explain %s gave %+v", args, got)
				}
				// A remembered answer comes from the cache.
				return strings.ReplaceAll(rest, "cache of ", "")
			}
			if got, want := tail(tc.args), tail(tc.same); got != want {
				t.Errorf("%s gave\n%s\nand %s\n%s", tc.args, got, tc.same, want)
			}
		})
	}
}

// TestExplainFacts: what --dns says takes the place of the DNS, for the name alone.
func TestExplainFacts(t *testing.T) {
	file := office(t, dnstest.Serve(t, officeZone()))
	got := call(t, "explain", "--config", file, "--client", "198.51.100.7", "--dns", "198.51.100.7 PTR office.friend.example", "--dns", "office.friend.example A 198.51.100.7",
		"--dns", "broken.example A 198.51.100.30", "--from", "u@broken.example", "--to", "bob@elsewhere.example")
	plain := strings.Join(strings.Fields(got.out), " ")
	for _, want := range []string{
		"client 198.51.100.7, name office.friend.example (OK)", "dns A broken.example 198.51.100.30 given",
		"dns A elsewhere.example 198.51.100.40 127.0.0.1:", "RCPT TO:<bob@elsewhere.example> => reject 550 5.7.1 Relaying denied",
	} {
		if got.code != 0 || !strings.Contains(plain, want) {
			t.Errorf("gatepost explain --dns ended with %d and printed\n%s%swant 0 and %q", got.code, got.out, got.stderr, want)
		}
	}
}

// TestExplainRelay: with a section [relay] the session is judged as in gatepost-relay, which
// may refuse whom the rules accept.
func TestExplainRelay(t *testing.T) {
	server := dnstest.Serve(t, officeZone())
	features := "[features]\nnopercenthack = \"nospecial\""
	milter := office(t, server, "[features]", features)
	relay := office(t, server, "[features]", "[relay]\nspool = \"/x\"\n\n"+features)
	for _, tc := range []struct{ file, to, want string }{
		{milter, "a%b@example.com", "=> accept, by: recipient domain"},
		{relay, "a%b@example.com", "=> reject, by: client name verified"},
		{milter, "ann@example.com", "=> accept, by: recipient domain"},
		{relay, "ann@example.com", "gatepost-relay refuses it all the same: 550 5.1.1 <ann@example.com>... This host takes no mail for local users"},
		{relay, `ann@far.example!elsewhere.example`, "=> reject, by: client name verified"},
	} {
		args := []string{"explain", "--config", tc.file, "--client", "198.51.100.44", "--resolve", "FAIL", "--from", "u@list.example", "--to", tc.to}
		got := call(t, args...)
		plain := strings.Join(strings.Fields(got.out), " ")
		if got.code != 0 || !strings.Contains(plain, tc.want) {
			t.Errorf("gatepost %q ended with %d and printed\n%s%swant 0 and %q", args, got.code, got.out, got.stderr, tc.want)
		}
		if refuses := strings.Contains(plain, "gatepost-relay"); refuses != strings.Contains(tc.want, "gatepost-relay") {
			t.Errorf("gatepost %q printed\n%s", args, got.out)
		}
	}
	got := call(t, "explain", "--json", "--config", relay, "--client", "198.51.100.44", "--resolve", "FAIL", "--from", "u@list.example", "--to", "ann@example.com")
	if !strings.Contains(got.out, `"This host takes no mail for local users"`) {
		t.Errorf("as JSON: %s", got.out)
	}
}
