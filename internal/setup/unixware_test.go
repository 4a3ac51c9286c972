package setup

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"

	"gatepost/internal/config"
	"gatepost/internal/makemap"
	"gatepost/policy"
)

// unixware makes the place one with the six steps and its three tables.
func (p *place) unixware() {
	p.cfg.Features.CheckRcpt = "unixware"
	p.write("trusted", "*.friend.example\taccept\n")
	p.write("spammers", "spam.test\tREJECT\n")
	p.write("virtual-hosts", "shop.example\n")
	p.cfg.Tables.Trusted = textTable(p.path("trusted"))
	p.cfg.Tables.Spammers = textTable(p.path("spammers"))
	p.cfg.Tables.VirtualHosts = textTable(p.path("virtual-hosts"))
}

// TestUnixWare: the tables are the policy's, edits are followed, and a decision of
// the last step is logged with its reply.
func TestUnixWare(t *testing.T) {
	p := newPlace(t)
	p.unixware()
	e := p.open()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { e.Run(ctx) })
	defer running.Wait()
	defer cancel()

	const refused = "reject 550 5.7.1 Relay mail from client.example to elsewhere.example denied"
	for to, want := range map[string]string{
		"<u@sub.example.com>":   "accept",
		"<u@shop.example>":      "accept",
		"<u@elsewhere.example>": refused,
	} {
		if got := decide(t, e, to); got != want {
			t.Errorf("RCPT %s gave %s, want %s", to, got, want)
		}
	}
	f := facts("<u@elsewhere.example>")
	d := e.Policy().Decide(t.Context(), policy.StageRcpt, f)
	e.Observe(f, &d, 0)
	p.logged(1, `reply="550 5.7.1 Relay mail from client.example to elsewhere.example denied" rule="relay mail denied"`)

	p.write("trusted", "123.45.*\taccept\n")
	p.logged(1, "trusted:1: key 123.45.*: 3 parts, expected four")
	if got := decide(t, e, "<u@elsewhere.example>"); got != refused {
		t.Errorf("after an edit that is refused RCPT gave %s, want %s", got, refused)
	}
	p.write("trusted", "client.example\taccept\n")
	p.logged(1, "policy renewed after an edit")
	if got := decide(t, e, "<u@elsewhere.example>"); got != "accept" {
		t.Errorf("RCPT of a client that is trusted meanwhile gave %s, want accept", got)
	}
	for table, file := range map[string]string{"trusted": "trusted", "spammers": "spammers", "virtual_hosts": "virtual-hosts"} {
		if metric := `gatepost_table_entries{kind="text",path="` + p.path(file) + `",table="` + table + `"} 1`; !strings.Contains(scrape(t, e), metric) {
			t.Errorf("the metrics do not have %s", metric)
		}
	}
}

// TestTrustedOnlyWhenNamed: an old file does not let relay under sendmail's check,
// and may be missing under that of UnixWare.
func TestTrustedOnlyWhenNamed(t *testing.T) {
	p := newPlace(t)
	p.write("trusted", "client.example\taccept\n")
	p.cfg.Tables.Trusted = textTable(p.path("trusted"))
	for _, tc := range []struct {
		checked string
		named   bool
		want    string
	}{
		{"", false, denied},
		{"", true, "accept"},
		{"unixware", false, "accept"},
		{"off", false, "accept"},
	} {
		p.cfg.Features.CheckRcpt, p.cfg.Tables.Trusted.Named = tc.checked, tc.named
		if got := decide(t, p.open(), "<u@elsewhere.example>"); got != tc.want {
			t.Errorf("check_rcpt %q, trusted table named %v: %s, want %s", tc.checked, tc.named, got, tc.want)
		}
	}
	if err := os.Remove(p.path("trusted")); err != nil {
		t.Fatal(err)
	}
	p.cfg.Features.CheckRcpt, p.cfg.Tables.Trusted.Named = "unixware", false
	if got, want := decide(t, p.open(), "<u@elsewhere.example>"), "reject 550 5.7.1 Relay mail from client.example to elsewhere.example denied"; got != want {
		t.Errorf("without the usual trusted table: %s, want %s", got, want)
	}
}

// TestUnixWareOpenFails: what is wrong with a table is told with file and line.
func TestUnixWareOpenFails(t *testing.T) {
	for name, want := range map[string]string{
		"trusted":       "trusted:1: key a@b: no host name",
		"spammers":      `spammers:1: value "ERROR:"`,
		"virtual-hosts": "virtual-hosts:1: NUL byte",
	} {
		p := newPlace(t)
		p.unixware()
		p.write(name, map[string]string{"trusted": "a@b\taccept\n", "spammers": "a.b\tERROR:\n", "virtual-hosts": "\x00\n"}[name])
		if _, err := open(t.Context(), p.cfg, p.logger(), p.host); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("with a bad %s Open gave error %v, want %q", name, err, want)
		}
	}
}

func TestCheckRcptOffWarns(t *testing.T) {
	p := newPlace(t)
	p.cfg.Features.CheckRcpt = "off"
	p.open()
	if !strings.Contains(p.log.String(), `level=WARN msg="features.check_rcpt is \"off\"`) {
		t.Errorf("no warning in\n%s", p.log.String())
	}
	p = newPlace(t)
	p.cfg.Features.CheckRcpt, p.cfg.AcceptRisk = "off", []string{"check_rcpt"}
	if p.open(); strings.Contains(p.log.String(), "level=WARN") {
		t.Errorf("a warning though the risk is accepted:\n%s", p.log.String())
	}
}

// TestTrustedDatabase: the table as makemap has made it of the old text.
func TestTrustedDatabase(t *testing.T) {
	p := newPlace(t)
	p.unixware()
	write := func(key string) {
		t.Helper()
		in := strings.NewReader("*.friend.example\taccept\n" + key + "\taccept\n")
		if _, err := makemap.Make(t.Context(), "hash", p.path("trusted"), in, makemap.Options{Null: true}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(p.path("trusted")); err != nil {
		t.Fatal(err)
	}
	write("client.example")
	p.cfg.Tables.Trusted = config.Table{Maps: []config.Map{{Kind: "db", Path: p.path("trusted.db"), Text: p.path("trusted")}}, Named: true}
	e := p.open()
	if got := decide(t, e, "<u@elsewhere.example>"); got != "accept" {
		t.Errorf("RCPT of a client in the database gave %s, want accept", got)
	}
	write("123.45.*")
	err := e.Reload(t.Context(), func() (*config.Config, error) { return p.cfg, nil })
	if err == nil || !strings.Contains(err.Error(), "trusted.db: key 123.45.*: ") {
		t.Errorf("a bad wildcard in the database gave %v", err)
	}
	if got := decide(t, e, "<u@elsewhere.example>"); got != "accept" {
		t.Errorf("after it RCPT gave %s, want accept", got)
	}
}
