package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"gatepost/internal/config"
	"gatepost/internal/dns/dnsfake"
	"gatepost/internal/dns/dnstest"
)

// checkZone has every name of the example policy.
func checkZone() dnsfake.Zone {
	zone := officeZone()
	for _, name := range []string{"example.com", "mail.example.com", "example.net", "partner.example", "spam.example", "doubtful.example"} {
		zone[name] = dnsfake.Records{A: []string{"198.51.100.40"}}
	}
	return zone
}

// TestCheckExample: the example policy is no open relay, and nothing is wrong with it.
func TestCheckExample(t *testing.T) {
	file := office(t, dnstest.Serve(t, checkZone()))
	got := call(t, "check", "--config", file)
	if got.code != 0 || !strings.HasPrefix(got.out, "0 errors, 0 warnings; no open relay (") || got.stderr != "" {
		t.Errorf("gatepost check of the example gave %+v, want no findings", got)
	}
}

// TestCheckFindings has one line for each finding, then the summary.
func TestCheckFindings(t *testing.T) {
	file := office(t, dnstest.Serve(t, checkZone()))
	dir := filepath.Dir(file)
	prepend(t, filepath.Join(dir, "mail/access"), "Connect:192.0.2.0/24\tREJECT\nFrom:gone.invalid\tREJECT # why\nTo:gone.invalid\tRELAY\nFrom:gone.invalid\tOK\n")
	got := call(t, "check", "--config", file)
	want := strings.ReplaceAll(`DIR/mail/access:1: warning: key "Connect:192.0.2.0/24" never matches: there is no CIDR notation; write Connect:192.0.2
DIR/mail/access:2: warning: the value "REJECT # why" is not REJECT but an error text, as the value goes to the end of the line; write REJECT alone, or ERROR:5.7.1:"550 text" for a text
DIR/mail/access:4: warning: key "From:gone.invalid" stands in line 2 already, the first one counts; skipped
DIR/mail/access:3: warning: gone.invalid (To:) is not in the DNS: it has neither an address nor a mail exchanger
0 errors, 4 warnings; no open relay (`, "DIR", dir)
	if got.code != 0 || !strings.HasPrefix(got.out, want) {
		t.Errorf("gatepost check gave %+v, want 0 and\n%s", got, want)
	}

	asJSON := call(t, "check", "--json", "--config", file)
	var report struct {
		Findings []struct {
			Severity, File, Check, Text string
			Line                        int
		}
		Errors, Warnings int
	}
	if err := json.Unmarshal([]byte(asJSON.out), &report); err != nil {
		t.Fatalf("--json printed %s: %v", asJSON.out, err)
	}
	if len(report.Findings) != 4 || report.Warnings != 4 || report.Errors != 0 || report.Findings[0].Line != 1 || report.Findings[0].File != dir+"/mail/access" {
		t.Errorf("--json printed %s", asJSON.out)
	}
}

// TestCheckLints has one line of the access table for each finding, and the lines
// that are printed of them.
func TestCheckLints(t *testing.T) {
	file := office(t, dnstest.Serve(t, checkZone()), "# accept_risk = ", "accept_risk = ",
		"# promiscuous_relay = true", "promiscuous_relay = true", "# relay_local_from = true", "relay_local_from = true")
	dir := filepath.Dir(file)
	if err := os.WriteFile(filepath.Join(dir, "mail/access"), []byte(`spam.example REJECT
Connect:IPv6:2001:db8::1 REJECT
From:spam.example REJECT # why
From:doubtful.example RELY
Connect:com RELAY
Connect:co.uk RELAY
Connect:192.168.7 OK
To:partner.example OK
To:a@example.net ERROR:4.7.1:"550 no"
From:SPAM.example OK
Conect:192.0.2 REJECT
Connect: 192.0.2.7 REJECT
`), 0o600); err != nil {
		t.Fatal(err)
	}
	got := call(t, "check", "--config", file)
	var lints []string
	for line := range strings.Lines(got.out) {
		if !strings.HasPrefix(line, "    ") && !strings.Contains(line, "warning: open relay: ") {
			lints = append(lints, line)
		}
	}
	want := `DIR/gatepost.toml:LOCAL: warning: features.relay_local_from relays for whoever writes a local address as the sender, and everybody can
DIR/gatepost.toml:PROMISCUOUS: warning: features.promiscuous_relay relays for everybody; this is right only where the mail server itself checks relaying
DIR/mail/access:1: warning: key "spam.example" has no tag, so it counts for clients, senders and recipients alike; write Connect:spam.example, From:spam.example or To:spam.example
DIR/mail/access:2: warning: key "Connect:IPv6:2001:db8::1" never matches: IPv6 keys are written in full, as IPv6: and groups without leading zeros; write Connect:IPv6:2001:db8:0:0:0:0:0:1
DIR/mail/access:3: warning: the value "REJECT # why" is not REJECT but an error text, as the value goes to the end of the line; write REJECT alone, or ERROR:5.7.1:"550 text" for a text
DIR/mail/access:4: warning: the value "RELY" is not RELAY but an error text; write RELAY alone
DIR/mail/access:5: warning: Connect:com RELAY is for everything below com, where everybody can have a name; write the domains that are yours
DIR/mail/access:6: warning: Connect:co.uk RELAY is for everything below co.uk, where everybody can have a name; write the domains that are yours
DIR/mail/access:7: warning: OK spares a client the checks at connection but does not let it relay; for clients of your own network write Connect:192.168.7 RELAY
DIR/mail/access:8: warning: OK lets no mail through to a recipient, and there is no refusing entry that To:partner.example is an exception to; to relay for it write RELAY
DIR/mail/access:9: warning: the reply code 550 and the enhanced code 4.7.1 say different things: one of them is for now, the other for ever; both should begin with the same digit
DIR/mail/access:10: warning: key "From:SPAM.example" stands in line 3 already, the first one counts; skipped
DIR/mail/access:11: warning: nothing looks for keys with the tag "conect:"; did you mean Connect:?
DIR/mail/access:12: warning: the key is "Connect:" alone, as the key ends at the first blank; write Connect:192.0.2.7 REJECT without a blank after the tag
0 errors, 15 warnings; open relay
`
	line := func(key string) string { return strconv.Itoa(config.KeyLine(file, "features."+key)) }
	want = strings.NewReplacer("DIR", dir, "LOCAL", line("relay_local_from"), "PROMISCUOUS", line("promiscuous_relay")).Replace(want)
	if text := strings.Join(lints, ""); got.code != 0 || text != want {
		t.Errorf("gatepost check ended with %d and printed\n%s\nwant 0 and\n%s", got.code, text, want)
	}
}

// TestCheckLoadErrors: what cannot be loaded ends with 1, and names the line.
func TestCheckLoadErrors(t *testing.T) {
	server := dnstest.Serve(t, checkZone())
	for _, tc := range []struct {
		name  string
		spoil func(file string) error
		want  string
	}{
		{"configuration", func(file string) error { return os.WriteFile(file, []byte("\naccept_risk = \"open\"\nx = 1\n"), 0o600) },
			"error: FILE:2: accept_risk is \"open\", expected \"open_relay\""},
		{"no configuration", os.Remove, "error: cannot read the configuration: open FILE: no such file"},
		{"access table", func(file string) error {
			return os.WriteFile(filepath.Join(filepath.Dir(file), "mail/access"), []byte("From:a.org\tOK\nFrom:b.org\tERROR:\n"), 0o600)
		}, "DIR/mail/access:2: "},
		{"table that is not there", func(file string) error { return os.Remove(filepath.Join(filepath.Dir(file), "mail/access")) }, "error: table access: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file := office(t, server)
			if err := tc.spoil(file); err != nil {
				t.Fatal(err)
			}
			got := call(t, "check", "--config", file)
			want := strings.NewReplacer("FILE", file, "DIR", filepath.Dir(file)).Replace(tc.want)
			if got.code != 1 || !strings.Contains(got.out, want) || !strings.Contains(got.out, ", 0 warnings\n") {
				t.Errorf("gatepost check gave %+v, want 1 and %q", got, want)
			}
		})
	}
	if got := call(t, "check", "what"); got.code != 2 {
		t.Errorf("gatepost check with an argument gave %+v, want 2", got)
	}
}

// TestCheckOpenRelay runs the command lines that are printed for open relays.
func TestCheckOpenRelay(t *testing.T) {
	server := dnstest.Serve(t, checkZone())
	const features = "blocklist_recipients = true "
	for _, tc := range []struct {
		name   string
		change []string
		access string
		at     string // where the finding stands
		relay  string
	}{
		{"an octet", nil, "Connect:11\tRELAY\n", "mail/access:1", ""},
		{"a /32", nil, "Connect:IPv6:2a00:1450\tRELAY\n", "mail/access:1", ""},
		{"clients below a suffix", nil, "Connect:com\tRELAY\n", "mail/access:1", ""},
		{"recipients below a suffix", nil, "To:co.uk\tRELAY\n", "mail/access:1", ""},
		{"promiscuous_relay", []string{features, "promiscuous_relay = true #"}, "", "gatepost.toml", ""},
		{"check_rcpt", []string{features, "check_rcpt = \"off\" #"}, "", "gatepost.toml", ""},
		{"relay_local_from", []string{features, "relay_local_from = true #"}, "", "gatepost.toml", ""},
		{"relay_mail_from", []string{features, "relay_mail_from = [\"domain\"] #"}, "From:friend.example\tRELAY\n", "mail/access:1", ""},
		{"relay_based_on_MX", []string{features, "relay_based_on_MX = true #"}, "", "gatepost.toml", ""},
		{"a DNS list", []string{"[features]", "[[dnsbl]]\nzone = \"bl.example.net\"\ntemporary = \"t\"\n\n[features]"}, "Connect:11\tREJECT\nConnect:com\tRELAY\n", "mail/access:2", ""},
		{"an alias", nil, "Connect:com\tREJECT\nTo:com\tREJECT\n", "mail/relay-domains:2", "net\ncom\n"},
		{"delay_checks", []string{features, "delay_checks = true #"}, "Connect:11\tREJECT\nFrom:friend.example\tOK\nConnect:org\tRELAY\n", "mail/access:3", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file := office(t, server, tc.change...)
			prepend(t, filepath.Join(filepath.Dir(file), "mail/access"), tc.access)
			prepend(t, filepath.Join(filepath.Dir(file), "mail/relay-domains"), tc.relay)
			got := call(t, "check", "--config", file)
			if got.code != 1 || !strings.Contains(got.out, "; open relay\n") {
				t.Fatalf("gatepost check gave %+v, want 1 and an open relay", got)
			}
			at := filepath.Join(filepath.Dir(file), tc.at)
			if at == file {
				at += ":" + strconv.Itoa(config.KeyLine(file, "features."+tc.name))
			}
			at += ": error: open relay: "
			// With a DNS that does not answer, the commands show it all the same.
			conf := strings.Replace(readText(t, file), server, "127.0.0.1:9", 1)
			if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
				t.Fatal(err)
			}
			commands := 0
			for line := range strings.Lines(got.out) {
				if command, ok := strings.CutPrefix(line, "    "); ok {
					commands++
					shows(t, strings.TrimSpace(command))
				}
			}
			if commands == 0 || !strings.Contains(got.out, at) {
				t.Errorf("gatepost check printed %d commands, want one or more, and %q\n%s", commands, at, got.out)
			}

			file = office(t, server, append(tc.change, "# accept_risk = ", "accept_risk = ")...)
			prepend(t, filepath.Join(filepath.Dir(file), "mail/access"), tc.access)
			prepend(t, filepath.Join(filepath.Dir(file), "mail/relay-domains"), tc.relay)
			wanted := call(t, "check", "--config", file)
			if wanted.code != 0 || !strings.Contains(wanted.out, ": warning: open relay: ") {
				t.Errorf("with accept_risk gatepost check gave %+v, want 0 and the finding as a warning", wanted)
			}
		})
	}
}

// TestCheckTrusted: the trusted table is looked at as the daemon reads it, under
// both relay checks.
func TestCheckTrusted(t *testing.T) {
	server := dnstest.Serve(t, checkZone())
	for _, tc := range []struct {
		name, checked, trusted string
		code                   int
		want                   string
	}{
		{"too wide", "unixware", "# us\n*.com\taccept\n", 1, "DIR/trusted:2: error: open relay: a stranger can send to strangers, by the rule \"trusted name\""},
		{"too wide, sendmail", "sendmail", "# us\n*.*.*.*\taccept\n", 1, "DIR/trusted:2: error: open relay: a stranger can send to strangers, by the rule \"trusted address\""},
		{"ours", "unixware", "192.0.2.*\taccept\n*.example.com\taccept\n", 0, "no open relay ("},
		{"three parts", "unixware", "\n123.45.*\taccept\n", 1, "DIR/trusted:2: key 123.45.*: 3 parts, expected four: one asterisk for each octet that is left out, such as 123.45.*.*"},
		{"no octet", "sendmail", "123.456.789.*\taccept\n", 1, `DIR/trusted:1: key 123.456.789.*: "456" is no octet, expected a number from 0 to 255 or an asterisk`},
		{"another value", "unixware", "mail.example.com\tOK\n", 1, `DIR/trusted:1: value "OK" of mail.example.com, expected accept`},
		{"no value", "unixware", "mail.example.com\n", 0, `DIR/trusted:1: warning: key "mail.example.com" has no value; skipped`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file := office(t, server, "blocklist_recipients = true ", "check_rcpt = \""+tc.checked+"\" #", "# trusted  ", "trusted = \"trusted\" #")
			dir := filepath.Dir(file)
			if err := os.WriteFile(filepath.Join(dir, "trusted"), []byte(tc.trusted), 0o600); err != nil {
				t.Fatal(err)
			}
			got := call(t, "check", "--config", file)
			if want := strings.ReplaceAll(tc.want, "DIR", dir); got.code != tc.code || !strings.Contains(got.out, want) {
				t.Errorf("gatepost check gave %+v, want %d and %q", got, tc.code, want)
			}
		})
	}
}

// shows runs a command line as a shell would, and looks for acceptance at each stage.
func shows(t *testing.T, command string) {
	t.Helper()
	words, err := exec.Command("sh", "-c", `for w in `+command+`; do printf '%s\n' "$w"; done`).Output()
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	args := strings.Split(strings.TrimSuffix(string(words), "\n"), "\n")
	if args[0] != programName || args[1] != "explain" {
		t.Fatalf("the command is %q", args)
	}
	got := call(t, append([]string{"explain", "--json"}, args[2:]...)...)
	var report struct {
		Stages []struct{ Stage, Action string }
	}
	if err := json.Unmarshal([]byte(got.out), &report); err != nil {
		t.Fatalf("%s: %v\n%s%s", command, err, got.out, got.stderr)
	}
	last := ""
	for _, s := range report.Stages {
		last = s.Stage
		if s.Action != "accept" {
			t.Errorf("%s: %s at %s, want accept", command, s.Action, s.Stage)
		}
	}
	if last != "rcpt" {
		t.Errorf("%s: the last stage is %q, want rcpt", command, last)
	}
}

// TestCheckListeners: what keeps the relay from starting is an error, what makes logins
// useless a warning.
func TestCheckListeners(t *testing.T) {
	file := office(t, dnstest.Serve(t, checkZone()))
	dir := filepath.Dir(file)
	for name, text := range map[string]string{"cert": "junk\n", "key": "", "users": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	more := "\n[relay]\nserver_cert = \"cert\"\nserver_key = \"key\"\nusers = \"users\"\n[[listener]]\nname = \"MSA\"\nkind = \"submission\"\nlisten = \":587\"\n"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(text, more...), 0o600); err != nil {
		t.Fatal(err)
	}
	got := call(t, "check", "--config", file)
	for _, want := range []string{
		"error: relay.server_cert: " + dir + "/cert: no PEM, expected -----BEGIN CERTIFICATE-----\n",
		": warning: listener MSA lets users log in, but features.trust_auth_mech is empty",
		": warning: " + dir + "/users has no account: nobody can log in; gatepost user add NAME makes one\n",
		"\n1 error, 2 warnings; no open relay (",
	} {
		if got.code != 1 || !strings.Contains(got.out, want) {
			t.Errorf("gatepost check gave %+v, want 1 and %q", got, want)
		}
	}
}
