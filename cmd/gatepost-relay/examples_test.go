package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatepost/internal/config"
)

const examples = "../../examples"

func example(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(examples, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestExampleComments loads the example with each line that is commented out put into force.
func TestExampleComments(t *testing.T) {
	text := example(t, "relay/gatepost.toml")
	off := regexp.MustCompile(`(?m)^# ([a-zA-Z_]+ *= .*)$`)
	found := off.FindAllStringSubmatchIndex(text, -1)
	if len(found) < 20 {
		t.Errorf("only %d keys are commented out in the example", len(found))
	}
	path := filepath.Join(t.TempDir(), "gatepost.toml")
	for _, m := range found {
		line := text[m[2]:m[3]]
		key, _, _ := strings.Cut(line, " ")
		before, after := text[:m[0]], text[m[3]:]
		section, _, _ := strings.Cut(after, "\n[")
		set := regexp.MustCompile(`(?m)^` + key + ` *= .*\n`) // a default that the example changes
		after = set.ReplaceAllString(section, "") + after[len(section):]
		changed := before + line + after
		if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Load(path); err != nil {
			t.Errorf("with %q in force: %v", line, err)
		}
	}
}

// TestExampleDefaults holds the defaults that the example's comments tell to the real ones.
func TestExampleDefaults(t *testing.T) {
	text := example(t, "relay/gatepost.toml")
	_, relay, _ := strings.Cut(text, "\n[relay]\n")
	relay, _, _ = strings.Cut(relay, "\n[admin]\n")
	var told []string
	for _, m := range regexp.MustCompile(`(?m)^# ((?:listen|spool|relay_mailer_port|inet_protocols|bare_newline|max_[a-z_]+|[a-z]+_timeout|min_free|retry|queue_lifetime|queue_warn|bounce_size|tls_min|auth_mechanisms|users) *= .*)$`).FindAllStringSubmatch(relay, -1) {
		told = append(told, m[1])
	}
	c, err := config.Parse("f", []byte("[relay]\n"+strings.Join(told, "\n")+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.Relay.Given = true
	if diff := cmp.Diff(want.Relay, c.Relay); len(told) < 23 || diff != "" {
		t.Errorf("%d defaults in the example, which differ from the real ones (-want +got):\n%s", len(told), diff)
	}
}

// TestExampleHasEveryKey holds the example, and the page, to the keys that there are.
func TestExampleHasEveryKey(t *testing.T) {
	text := example(t, "relay/gatepost.toml")
	pages := map[string]string{"relay": "docs/relay.md", "listener": "docs/relay.md", "oauth2": "docs/authinfo.md"}
	for _, k := range config.Keys() {
		section, name, _ := strings.Cut(k, ".")
		if pages[section] == "" {
			continue
		}
		page, err := os.ReadFile("../../" + pages[section])
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(`(?m)^(# |#    )?` + name + ` *= `).MatchString(text) {
			t.Errorf("the example does not show %s", k)
		}
		if !strings.Contains(string(page), "\n| `"+name+"` |") {
			t.Errorf("%s has no row for %s", pages[section], k)
		}
	}
}

// TestExampleListeners puts the listeners into force, and what they need.
func TestExampleListeners(t *testing.T) {
	text := regexp.MustCompile(`(?m)^#    `).ReplaceAllString(example(t, "relay/gatepost.toml"), "")
	c, err := config.Parse("/f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range c.AllListeners() {
		got = append(got, l.Name+" "+string(l.Kind)+" "+string(l.TLS)+" "+strings.Join(l.Listen, ","))
	}
	want := []string{"MTA mta may :25", "MSA submission required :587", "MSA-TLS smtps implicit :465", "devices device may 192.0.2.1:2525", "inside mta none 192.0.2.1:26"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the listeners of the example are (-want +got):\n%s", diff)
	}
	socket := example(t, "gatepost-relay-msa.socket")
	if !strings.Contains(socket, "\nListenStream=587\nFileDescriptorName=MSA\nService=gatepost-relay.service\n") {
		t.Errorf("examples/gatepost-relay-msa.socket is for another listener:\n%s", socket)
	}
}

// TestExamplesAgree holds systemd's files to the example.
func TestExamplesAgree(t *testing.T) {
	c, err := config.Load(filepath.Join(examples, "relay/gatepost.toml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Relay.Listen) != 1 || c.Relay.Listen[0] != ":25" || !strings.Contains(example(t, "gatepost-relay.socket"), "\nListenStream=25\n") {
		t.Errorf("relay.listen is %q, and gatepost-relay.socket has another one", c.Relay.Listen)
	}
	unit := example(t, "gatepost-relay.service")
	for _, want := range []string{
		"Type=notify\n", "/gatepost-relay\n", "ExecReload=/bin/kill -HUP $MAINPID\n", "WatchdogSec=",
		"AmbientCapabilities=CAP_NET_BIND_SERVICE\n", "ReadWritePaths=" + c.Relay.Spool + "\n",
	} {
		if !strings.Contains(unit, want) {
			t.Errorf("examples/gatepost-relay.service has no %q", want)
		}
	}
}

// TestExamplePolicy runs the example with its tables, on other ports, and without network.
func TestExamplePolicy(t *testing.T) {
	s := newSite(t)
	for _, name := range []string{"access", "relay-domains", "local-host-names", "local-users", "mailertable"} {
		s.write(name, example(t, "relay/"+name))
	}
	text := strings.NewReplacer(
		"\nlisten     = [\":25\"]", "\nlisten = \"127.0.0.1:0\"\nspool = \"DIR/spool\"\nxclient = \"127.0.0.1\"",
		"[smtp.isp.example]:587", "SMART", "maildir:/var/mail/%u", "maildir:DIR/mail/%u",
		"listen = \"127.0.0.1:8892\"", "listen = \"unix:DIR/a.sock\"",
		"\n[features]\n", "\n[dns]\nservers = [\"127.0.0.1:9\"]\n[features]\nnocanonify = true\naccept_unresolvable_domains = true\n",
		"\n[tables]\n", "\ndont_probe_interfaces = true\n[tables]\n",
	).Replace(example(t, "relay/gatepost.toml"))
	s.write("gatepost.toml", text)
	s.start()
	if log := s.stderr.String(); strings.Contains(log, "problem in table") || strings.Contains(log, "level=ERROR") {
		t.Errorf("the examples give\n%s", log)
	}
	c := s.from(stranger)
	c.expect("550 5.7.1 ", "MAIL FROM:<x@spam.example>")
	c.expect("250 ", "MAIL FROM:<x@friend.example>")
	for to, want := range map[string]string{
		"<joe@example.com>":       "250 ",
		"<ann@example.com>":       "250 ",
		"<nobody@example.com>":    "550 5.1.1 ",
		"<retired@example.com>":   "550 5.1.1 ",
		"<u@a.example.net>":       "250 ",
		"<you@elsewhere.example>": "550 5.7.1 ",
	} {
		c.expect(want, "RCPT TO:"+to)
	}
	if got := s.from(trusted).message("me@example.com", "<you@elsewhere.example>"); got[0] != '2' {
		t.Errorf("a client that may relay is answered %q", got)
	}
}
