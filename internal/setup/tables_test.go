package setup

import (
	"os"
	"strings"
	"testing"

	"gatepost/internal/config"
	"gatepost/maps"
)

// TestReloadKeepsVanished: a usual file that vanished is not an empty table at
// the next SIGHUP, as it would be if the program were started then.
func TestReloadKeepsVanished(t *testing.T) {
	p := newPlace(t)
	p.cfg.Tables.LocalHostNames.Named = false
	e := p.open()
	if err := os.Remove(p.path("local-host-names")); err != nil {
		t.Fatal(err)
	}
	err := e.Reload(t.Context(), func() (*config.Config, error) { return p.cfg, nil })
	if err == nil || !strings.Contains(err.Error(), "local-host-names") {
		t.Errorf("reload with a vanished table gave %v, want an error that names it", err)
	}
	if got := decide(t, e, "<u@example.com>"); got != "accept" {
		t.Errorf("RCPT to a local domain gave %s, want accept as before", got)
	}
	p.write("local-host-names", "other.example\n")
	if err := e.Reload(t.Context(), func() (*config.Config, error) { return p.cfg, nil }); err != nil {
		t.Fatal(err)
	}
	if got := decide(t, e, "<u@other.example>"); got != "accept" {
		t.Errorf("RCPT to the new local domain gave %s, want accept", got)
	}
}

// TestGarbageValueRefused: a value that would be sent as a success refuses the
// table, with its line.
func TestGarbageValueRefused(t *testing.T) {
	p := newPlace(t)
	e := p.open()
	p.write("access", "From:a.example REJECT\nFrom:b.example ERROR:5.7.1:250 fine\n")
	err := e.Reload(t.Context(), func() (*config.Config, error) { return p.cfg, nil })
	if err == nil || !strings.Contains(err.Error(), "access:2: ") {
		t.Errorf("reload gave %v, want an error at access:2", err)
	}
	if n := e.Tables().Access.(maps.Snapshot).Len(); n != 1 {
		t.Errorf("%d entries in force, want the 1 of before", n)
	}
}
