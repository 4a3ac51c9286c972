package policy_test

import (
	"testing"

	"gatepost/internal/smtp"
	"gatepost/maps"
	"gatepost/policy"
)

// TestDecisionRecipient: what may be delivered is the address that was judged, in a
// form in which no other host finds another route in it.
func TestDecisionRecipient(t *testing.T) {
	const stranger, trusted = "203.0.113.9", "192.168.5.7"
	for _, tc := range []struct {
		client, to, want string // "" refused
	}{
		{stranger, "<joe@example.com>", "joe@example.com"},
		{stranger, "<postmaster>", "postmaster@mx.example.com"},
		{stranger, "<joe@a.friend.org>", "joe@a.friend.org"},
		{stranger, "<joe@alias.example>", "joe@a.friend.org"},
		{stranger, "<@example.com:joe@friend.org>", "joe@friend.org"},
		{stranger, "<joe%friend.org@example.com>", "joe@friend.org"},
		{stranger, `<"joe@friend.org"@example.com>`, "joe@friend.org"},
		{stranger, `<"q q"@example.com>`, `"q q"@example.com`},
		{stranger, "<joe@far.example>", ""},
		{stranger, "<joe%far.example@example.com>", ""},
		{stranger, `<"joe@far.example"@example.com>`, ""},
		{stranger, `<"joe@far.example"@friend.org>`, ""},
		{stranger, `<"j e%far.example"@friend.org>`, ""},
		{stranger, `<joe\@far.example@friend.org>`, ""},
		{stranger, "<far.example!joe@friend.org>", ""},
		{trusted, "<joe@far.example>", "joe@far.example"},
		{trusted, "<joe%far.example@example.com>", "joe@far.example"},
		{trusted, "<joe%far.example@friend.org>", "joe@far.example"},
		{trusted, "<joe%far.example@other.example>", "joe%far.example@other.example"},
		{trusted, `<"joe@far.example"@other.example>`, `"joe@far.example"@other.example`},
		{trusted, "<far.example!joe>", "joe@far.example"},
	} {
		p := engine(t, func(c *policy.Config) {
			c.Resolver, c.Features.NoCanonify = aliasDNS{"alias.example": "a.friend.org"}, false
		})
		d := p.Decide(t.Context(), policy.StageRcpt, facts(tc.client, "", "<a@b.example>", tc.to))
		got := ""
		if d.Verdict.Action == policy.Accept {
			got = d.Recipient.ForwardPath()
		}
		if got != tc.want {
			t.Errorf("%s from %s is for %q (%s), want %q", tc.to, tc.client, got, describe(d), tc.want)
		}
	}
	d := engine(t, nil).Decide(t.Context(), policy.StageMail, facts(stranger, "", "<a@b.example>", ""))
	if d.Recipient != (smtp.Mailbox{}) {
		t.Errorf("a decision about a sender has the recipient %v", d.Recipient)
	}
}

// TestRecipientWithoutMX: where the mail exchangers could not be asked, a client that may
// relay passes, and its address is known.
func TestRecipientWithoutMX(t *testing.T) {
	p := engine(t, func(c *policy.Config) { c.Features.RelayBasedOnMX, c.Resolver = true, brokenDNS{} })
	d := p.Decide(t.Context(), policy.StageRcpt, facts("192.168.5.7", "", "<a@b.example>", "<joe%far.example@other.example>"))
	if d.Verdict.Action != policy.Accept || d.Recipient.ForwardPath() != "joe%far.example@other.example" {
		t.Errorf("got %s for %v", describe(d), d.Recipient)
	}
}

func TestIsLocal(t *testing.T) {
	p := engine(t, nil)
	for domain, want := range map[string]bool{"example.com": true, "Example.COM": true, "mx.example.com": true, "sub.example.com": false, "": false} {
		if got, err := p.IsLocal(t.Context(), domain); got != want || err != nil {
			t.Errorf("%q is local: %v, %v, want %v", domain, got, err, want)
		}
	}
	broken := engine(t, func(c *policy.Config) { c.LocalHostNames = []maps.Map{brokenMap{}} })
	if _, err := broken.IsLocal(t.Context(), "example.com"); err == nil {
		t.Error("a table that cannot be asked gives no error")
	}
}
