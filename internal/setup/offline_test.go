package setup

import (
	"strings"
	"testing"

	"gatepost/internal/dns"
	"gatepost/internal/dns/dnsfake"
	"gatepost/maps"
	"gatepost/policy"
)

// TestOffline: the policy is that of the configuration, and class w has the
// addresses that the facts give the host.
func TestOffline(t *testing.T) {
	p := newPlace(t)
	tables, err := ReadTables(p.cfg, p.logger())
	if err != nil {
		t.Fatal(err)
	}
	fake := dnsfake.NewFake(dnsfake.Zone{"mx.example.com": {A: []string{"198.51.100.25"}}})
	c, err := Offline(t.Context(), p.cfg, tables, fake, dns.ParseHosts(nil), p.logger())
	if err != nil {
		t.Fatal(err)
	}
	offline, err := policy.New(c)
	if err != nil {
		t.Fatal(err)
	}
	for to, want := range map[string]string{
		"<u@example.com>":         "accept",
		"<u@example.net>":         "accept",
		"<u@elsewhere.example>":   denied,
		"<u@[198.51.100.25]>":     "accept",
		"<u@[192.0.2.25]>":        denied, // only in the host's own hosts file
		"<u@mx.example.com>":      "accept",
		"<u@inside.example.com>":  denied,
		"<u@sub.mx.example.com>":  denied,
		"<u@a.b.c.d.example.net>": "accept",
	} {
		d := offline.Decide(t.Context(), policy.StageRcpt, facts(to))
		if got := strings.TrimSpace(d.Verdict.Action.String() + " " + d.Verdict.Reply.String()); got != want {
			t.Errorf("RCPT %s gave %s, want %s", to, got, want)
		}
	}
}

func TestOfflineFails(t *testing.T) {
	p := newPlace(t)
	p.cfg.HostName = ""
	if _, err := Offline(t.Context(), p.cfg, Tables{}, dnsfake.NewFake(nil), nil, p.logger()); err == nil || !strings.Contains(err.Error(), "host_name") {
		t.Errorf("without host_name Offline gave the error %v, want one about host_name", err)
	}
	p.cfg.Tables.Access = textTable(p.path("nowhere"))
	if _, err := ReadTables(p.cfg, p.logger()); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("with a missing table ReadTables gave the error %v", err)
	}
}

func TestReadTablesWithoutAccess(t *testing.T) {
	p := newPlace(t)
	p.cfg.Features.AccessDB = false
	tables, err := ReadTables(p.cfg, p.logger())
	if err != nil || tables.Access != nil || tables.RelayDomains.(maps.Snapshot).Len() != 1 {
		t.Errorf("ReadTables gave %+v, %v, want no access table", tables, err)
	}
}
