package lint

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatepost/maps"
	"gatepost/policy"
)

// mapOf is a map of a kind, read from a file of its name.
func mapOf(t *testing.T, kind maps.Kind, format maps.Format, name string, lines ...string) maps.Map {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := maps.OpenStore(maps.Spec{Name: name, Kind: kind, Path: path, Format: format}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return store.Map()
}

// remoteMap is a map that cannot be listed and must not be asked by a search.
type remoteMap struct{ t *testing.T }

func (m remoteMap) Lookup(context.Context, string) (maps.Entry, bool, error) {
	m.t.Error("the search asked a server")
	return maps.Entry{}, false, nil
}

// TestOpenRelayKinds: networks and expressions that let strangers in are found, and
// those that let none in are not taken for it.
func TestOpenRelayKinds(t *testing.T) {
	networks := func(lines ...string) func(*policy.Config, *testing.T) {
		return func(c *policy.Config, t *testing.T) {
			c.Access = maps.Chain{c.Access, mapOf(t, maps.KindCIDR, maps.FormatAccess, "networks", lines...)}
		}
	}
	class := func(lines ...string) func(*policy.Config, *testing.T) {
		return func(c *policy.Config, t *testing.T) {
			c.RelayDomains = append(c.RelayDomains, mapOf(t, maps.KindCIDR, maps.FormatClass, "networks", lines...))
		}
	}
	patterns := func(lines ...string) func(*policy.Config, *testing.T) {
		return func(c *policy.Config, t *testing.T) {
			c.Access = maps.Chain{c.Access, mapOf(t, maps.KindRegex, maps.FormatAccess, "patterns", lines...)}
		}
	}
	for _, tc := range []struct {
		name     string
		change   func(*policy.Config, *testing.T)
		open     bool
		complete bool // the search, where it finds nothing
	}{
		{"all of IPv4", networks("0.0.0.0/0 RELAY"), true, true},
		{"all of IPv6", networks("Connect:::/0 RELAY"), true, true},
		{"half", networks("0.0.0.0/1 RELAY", "Connect:11.0.0.0/8 REJECT"), true, true},
		{"an octet", networks("Connect:11.0.0.0/8 RELAY"), true, true},
		{"an octet of which much is named", networks("11.0.0.0/8 RELAY", "11.0.0.0/9 REJECT", "11.128.0.0/10 REJECT"), true, true},
		{"an octet of which all is named", networks("11.0.0.0/8 RELAY", "11.0.0.0/9 REJECT", "11.128.0.0/9 REJECT"), false, true},
		{"IPv6", networks("2a00:1450::/28 RELAY"), true, true},
		{"IPv6 of one site", networks("2a00:1450:4000::/36 RELAY"), false, true},
		{"a network", networks("11.0.0.0/9 RELAY", "192.168.0.0/16 RELAY"), false, true},
		{"another tag", networks("From:0.0.0.0/0 RELAY"), false, true},
		{"refused", networks("0.0.0.0/0 REJECT"), false, true},
		{"relay_domains", class("10.0.0.0/7"), true, true},
		{"relay_domains of a site", class("11.12.13.0/24"), false, true},
		{"every client", patterns("/^connect:/ RELAY"), true, false},
		{"every recipient", patterns("/^to:/ RELAY"), true, false},
		{"some client", patterns(`/^connect:.*\.friend\.org$/ RELAY`), false, false},
		{"a server", func(c *policy.Config, t *testing.T) { c.Access = maps.Chain{c.Access, remoteMap{t}} }, false, false},
		{"a server of local names", func(c *policy.Config, t *testing.T) { c.LocalHostNames = append(c.LocalHostNames, remoteMap{t}) }, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := (&site{}).config(t)
			tc.change(&c, t)
			result, err := OpenRelay(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if open := len(result.Witnesses) > 0; open != tc.open {
				t.Errorf("%d witnesses in %d sessions, want open %v", len(result.Witnesses), result.Sessions, tc.open)
			}
			if !tc.open && (result.Complete != tc.complete || result.Unknown == tc.complete) {
				t.Errorf("the search was complete: %v, unknown: %v, want %v", result.Complete, result.Unknown, tc.complete)
			}
		})
	}
}

// TestFindingsOfKinds: the keys of networks and expressions are not taken for those
// of a text.
func TestFindingsOfKinds(t *testing.T) {
	in := inputOf(t, nil, "nonsense\n", "", "")
	in.Access.Text = maps.Chain{
		in.Access.Text,
		mapOf(t, maps.KindCIDR, maps.FormatAccess, "networks", "192.0.2.0/24 REJECT"),
		mapOf(t, maps.KindRegex, maps.FormatAccess, "patterns", "/^from:/ REJECT"),
	}
	compare(t, Check(in), []string{"has no value"})
}
