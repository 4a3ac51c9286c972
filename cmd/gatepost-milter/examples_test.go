package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gatepost/internal/config"
	"gatepost/internal/setup"
	"gatepost/maps"
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
	text := example(t, "gatepost.toml")
	off := regexp.MustCompile(`(?m)^# ([a-zA-Z_]+ *= .*)$`)
	found := off.FindAllStringSubmatchIndex(text, -1)
	if len(found) < 25 {
		t.Errorf("only %d keys are commented out in the example", len(found))
	}
	path := filepath.Join(t.TempDir(), "gatepost.toml")
	for _, m := range found {
		changed := text[:m[0]] + text[m[2]:]
		if strings.HasPrefix(text[m[2]:], "virtual_hosts") { // means nothing alone
			changed = strings.Replace(changed, "\n# check_rcpt = ", "\ncheck_rcpt = ", 1)
		}
		if name := text[m[2]:m[3]]; strings.HasPrefix(name, "dnsbl_threshold") || strings.HasPrefix(name, "dnsbl_message") { // likewise
			changed = strings.Replace(changed, "\n# dnsbl_threshold = ", "\ndnsbl_threshold = ", 1) + lists(text)
		}
		if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Load(path); err != nil {
			t.Errorf("with %q in force: %v", text[m[2]:m[3]], err)
		}
	}
}

// lists are the tables [[dnsbl]] of the example, put into force, but for the key in a file that is not there.
func lists(text string) string {
	var b strings.Builder
	for _, line := range regexp.MustCompile(`(?m)^#    (.*)$`).FindAllStringSubmatch(text, -1) {
		if !strings.HasPrefix(line[1], "key_file") {
			b.WriteString(line[1] + "\n")
		}
	}
	return b.String()
}

// TestExampleHasEveryKey holds the examples to the keys that this version acts on.
func TestExampleHasEveryKey(t *testing.T) {
	text := example(t, "gatepost.toml") + example(t, "relay/gatepost.toml") // which has what is the relay's alone
	for _, k := range config.Keys() {
		if k == "features.blacklist_recipients" || strings.HasPrefix(k, "relay.") || strings.HasPrefix(k, "listener.") || strings.HasPrefix(k, "oauth2.") {
			continue // the old spelling of blocklist_recipients; the relay has an example of its own
		}
		name := k[strings.LastIndex(k, ".")+1:]
		if !regexp.MustCompile(`(?m)^(# |#    )?` + name + ` *= `).MatchString(text) {
			t.Errorf("the example does not show %s", k)
		}
	}
}

// TestExamplesAgree holds the mail servers' and systemd's files to milter.listen.
func TestExamplesAgree(t *testing.T) {
	c, err := config.Load(filepath.Join(examples, "gatepost.toml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Milter.Listen) != 1 || c.Milter.Listen[0] != "inet:8891@127.0.0.1" {
		t.Fatalf("milter.listen is %q, want inet:8891@127.0.0.1", c.Milter.Listen)
	}
	for file, want := range map[string]string{
		"sendmail.mc":            "INPUT_MAIL_FILTER(`gatepost', `S=inet:8891@127.0.0.1, F=T,",
		"main.cf":                "\nsmtpd_milters = inet:127.0.0.1:8891\nmilter_default_action = tempfail\n",
		"gatepost-milter.socket": "\nListenStream=127.0.0.1:8891\n",
	} {
		if !strings.Contains(example(t, file), want) {
			t.Errorf("examples/%s has no %q", file, want)
		}
	}
	unit := example(t, "gatepost-milter.service")
	for _, want := range []string{"Type=notify\n", "/gatepost-milter\n", "ExecReload=/bin/kill -HUP $MAINPID\n", "WatchdogSec="} {
		if !strings.Contains(unit, want) {
			t.Errorf("examples/gatepost-milter.service has no %q", want)
		}
	}
}

// TestExamplePolicy runs the example with its tables, on other sockets and without network.
func TestExamplePolicy(t *testing.T) {
	s := newSite(t)
	if err := os.Mkdir(s.path("mail"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"mail/access", "mail/relay-domains", "mail/local-host-names"} {
		s.write(name, example(t, name))
	}
	text := strings.NewReplacer(
		"inet:8891@127.0.0.1\"]", "unix:DIR/m.sock\"]", "127.0.0.1:8892", "unix:DIR/a.sock",
		"\n[dns]\n", "\n[dns]\nservers = [\"127.0.0.1:9\"]\n",
		"\n# dont_probe_interfaces = false", "\ndont_probe_interfaces = true",
		"\n# nocanonify", "\nnocanonify", "\n# accept_unres", "\naccept_unres",
	).Replace(example(t, "gatepost.toml"))
	s.write("gatepost.toml", text)
	s.start()
	if log := s.stderr.String(); strings.Contains(log, "problem in table") || strings.Contains(log, "level=ERROR") {
		t.Errorf("the examples give\n%s", log)
	}
	c := s.session("unix", s.path("m.sock"))
	s.answer("MAIL", "y 550 5.7.1 We do not take mail from spam.example")(c.Mail("<x@spam.example>"))
	s.answer("MAIL", "c")(c.Mail("<x@friend.example>"))
	for to, want := range map[string]string{
		"<u@example.com>":         "c",
		"<u@a.example.net>":       "c",
		"<u@partner.example>":     "c",
		"<retired@example.com>":   "y 550 5.1.1 This mailbox is gone",
		"<blocked@example.com>":   "y 550 5.2.1 Mailbox disabled for this recipient",
		"<you@elsewhere.example>": "y 550 5.7.1 Relaying denied",
	} {
		s.answer("RCPT "+to, want)(c.Rcpt(to))
	}
}

// TestExampleUnixWare: the other example can be loaded, and its tables have no problems.
func TestExampleUnixWare(t *testing.T) {
	cfg, err := config.Load(filepath.Join(examples, "unixware/gatepost.toml"))
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	tables, err := setup.ReadTables(cfg, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range []struct {
		table maps.Map
		want  int
	}{{tables.Trusted, 7}, {tables.Spammers, 3}, {tables.VirtualHosts, 1}} {
		if s := one.table.(maps.Snapshot); s.Len() != one.want {
			t.Errorf("%s has %d entries, want %d", s.File(), s.Len(), one.want)
		}
	}
	if log.Len() > 0 {
		t.Errorf("the log has\n%s", log.String())
	}
}
