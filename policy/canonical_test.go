package policy

import (
	"testing"

	"gatepost/internal/dns/dnsfake"
	"gatepost/internal/smtp"
	"gatepost/maps"
)

// TestCanonical: what it says is what a recipient who is judged is taken for.
func TestCanonical(t *testing.T) {
	zone := dnsfake.Zone{
		"alias.example": {CNAME: "real.example"}, "real.example": {A: []string{"192.0.2.1"}},
		"down.example": {Fail: "SERVFAIL"},
	}
	p, err := New(Config{
		HostName: "mx.example.com", Domain: "example.com", Resolver: dnsfake.NewFake(zone),
		LocalHostNames: []maps.Map{maps.NewClass("local", []string{"mx.example.com", "example.com"})},
	})
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"joe":                             "joe@mx.example.com",
		"joe@Example.com":                 "joe@Example.com",
		"joe@alias.example":               "joe@real.example",
		"joe@down.example":                "joe@down.example",
		"joe@real.example.":               "joe@real.example",
		"joe%real.example@example.com":    "joe@real.example",
		"@example.com:joe@real.example":   "joe@real.example",
		"joe@[192.0.2.9]":                 "joe@[192.0.2.9]",
		"":                                "error: User address required",
		"joe@a..example":                  "error: Invalid host name",
		"real.example!joe":                "joe@real.example",
		"joe@real.example@alias.example ": "error: Invalid route address",
	} {
		got, err := p.Canonical(t.Context(), in)
		text := got.String()
		if err != nil {
			text = "error: " + err.Error()
		}
		if text != want {
			t.Errorf("%q is %q, want %q", in, text, want)
		}
		d := p.Decide(t.Context(), StageRcpt, &Facts{Conn: Conn{Routes: true}, Rcpt: Rcpt{Recipient: smtp.ParsePath("<" + in + ">")}})
		if err == nil && d.Recipient != got {
			t.Errorf("%q is judged as %v, and is %v", in, d.Recipient, got)
		}
	}
}
