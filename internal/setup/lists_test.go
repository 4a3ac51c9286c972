package setup

import (
	"testing"

	"gatepost/internal/config"
	"gatepost/policy"
)

// reply is what the client of facts is told at MAIL, with a sender.
func mailReply(t *testing.T, e *Engine) string {
	t.Helper()
	d := e.Policy().Decide(t.Context(), policy.StageMail, facts("<u@example.com>"))
	return d.Verdict.Action.String() + " " + d.Verdict.Reply.String()
}

// TestListOfMaps: each key is asked of every map in order before the next shorter key.
func TestListOfMaps(t *testing.T) {
	for _, tc := range []struct{ name, first, second, want string }{
		{"a longer key in the second map", "From:example REJECT\n", "From:stranger.example 550 5.7.1 second\n", "reject 550 5.7.1 second"},
		{"a longer key in the first map", "From:stranger.example 550 5.7.1 first\n", "From:example REJECT\n", "reject 550 5.7.1 first"},
		{"an address in the second map", "From:stranger.example REJECT\n", "From:me@stranger.example 550 5.7.1 second\n", "reject 550 5.7.1 second"},
		{"the same key", "From:stranger.example 550 5.7.1 first\n", "From:stranger.example 550 5.7.1 second\n", "reject 550 5.7.1 first"},
		{"a tagged key in the second map", "stranger.example REJECT\n", "From:stranger.example 550 5.7.1 second\n", "reject 550 5.7.1 second"},
		{"the second map alone", "From:other.example REJECT\n", "From:example 550 5.7.1 second\n", "reject 550 5.7.1 second"},
		{"neither", "From:other.example REJECT\n", "", "accept "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPlace(t)
			p.write("access", tc.first)
			p.write("more", tc.second)
			p.cfg.Tables.Access.Maps = append(p.cfg.Tables.Access.Maps, config.Map{Kind: "text", Path: p.path("more")})
			p.cfg.Features.AcceptUnresolvableDomains = true
			if got := mailReply(t, p.open()); got != tc.want {
				t.Errorf("MAIL gave %s, want %s", got, tc.want)
			}
		})
	}
}
