package lint

import (
	"testing"

	"gatepost/internal/config"
	"gatepost/internal/smtp"
	"gatepost/maps"
)

func TestMailertable(t *testing.T) {
	smart := func(c *config.Config) {
		c.Relay.SmartHost = config.SmartHost{Hosts: "a", Hops: []smtp.NextHop{{Host: "a"}}}
	}
	for _, tc := range []struct {
		change    on
		key, want string
	}{
		{nil, "mail.example.org", ""},
		{nil, ".example.org", ""},
		{nil, ".lan", ""},
		{nil, "lan", ""},
		{nil, ".", ""},
		{smart, ".", "mt:1: the key . is for all other mail, so that none is left for relay.smart_host"},
		{nil, "example.com", "mt:1: example.com is a local domain, for which the mailertable is not asked"},
		{nil, ".example.com", ""},
		{nil, "joe@example.org", `mt:1: key "joe@example.org" in the mailertable never matches: keys are domains; write example.org`},
		{nil, "*.example.org", "write .example.org"},
		{nil, "[192.0.2.1]", "addresses are not looked for"},
		{nil, "192.0.2.1", "addresses are not looked for"},
		{nil, "2001:db8::1", "addresses are not looked for"},
		{nil, "example.org.", "write it without the final dot"},
		{nil, "b\u00fccher.example", "xn--"},
		{nil, "a..b", "it is no domain"},
		{nil, "..b", "it is no domain"},
		{nil, "to:example.org", "it is no domain"},
		{nil, "192.0.2", "it is no domain"},
	} {
		in := inputOf(t, tc.change, "", "", "")
		m, _, err := maps.Parse("mt", maps.FormatAccess, []byte(tc.key+" smtp:[x]\n"))
		if err != nil {
			t.Fatal(err)
		}
		in.Mailertable.Text = m
		in.Policy.LocalHostNames = []maps.Map{maps.NewClass("local", []string{"example.com"})}
		var want []string
		if tc.want != "" {
			want = []string{tc.want}
		}
		compare(t, Check(in), want)
	}
}
