package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMasquerade(t *testing.T) {
	c, err := Parse("f", []byte(`[relay]
smart_host = "smtp.isp.example"
masquerade_as = "example.com."
masquerade_domain = ["a.example", "b.example"]
masquerade_domain_file = "/etc/mail/masquerade-domains"
masquerade_exception = "keep.example"
exposed_user = ["root", "MAILER-DAEMON"]
generics_domain = ["example.net"]
send_as = { "SMTP.isp.example" = "joe@isp.example" }
[features]
genericstable = true
masquerade_envelope = true
always_add_domain = "example.com"
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Masquerade{
		MasqueradeAs: "example.com",
		MasqueradeDomain: Class{[]string{"a.example", "b.example"},
			Table{Maps: []Map{{Kind: kindText, Path: "/etc/mail/masquerade-domains"}}, Named: true, Line: 5}},
		MasqueradeException: Class{Words: []string{"keep.example"}},
		ExposedUser:         Class{Words: []string{"root", "MAILER-DAEMON"}},
		GenericsDomain:      Class{Words: []string{"example.net"}},
		SendAsByHost:        map[string]string{"smtp.isp.example": "joe@isp.example"},
	}
	if diff := cmp.Diff(want, c.Relay.Masquerade); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	features := MasqueradeFeatures{GenericsTable: true, MasqueradeEnvelope: true, AlwaysAddDomain: true, AddDomain: "example.com"}
	if diff := cmp.Diff(features, c.Features.MasqueradeFeatures); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestMasqueradeFaults(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"[relay]\nmasquerade_as = \"a b\"", `f:2: relay.masquerade_as is "a b", expected a domain such as "example.com"`},
		{"[relay]\nmasquerade_domain = \"a.example\"", "f:2: relay.masquerade_domain means nothing without relay.masquerade_as"},
		{"[relay]\nexposed_user_file = \"/x\"", "f:2: relay.exposed_user_file means nothing without relay.masquerade_as"},
		{"[relay]\nmasquerade_as = \"a.example\"\nexposed_user = [\"root@a\"]", `f:3: relay.exposed_user[0] is "root@a", expected a user without domain, such as "root"`},
		{"[relay]\nmasquerade_as = \"a.example\"\nmasquerade_domain = [\"x@y\"]", `f:3: relay.masquerade_domain[0] is "x@y", expected a domain such as "example.com"`},
		{"[relay]\ngenerics_domain = \"a.example\"", "f:2: relay.generics_domain means nothing without features.genericstable = true"},
		{"[tables]\ngenericstable = \"/x\"", "f:2: tables.genericstable means nothing without features.genericstable = true"},
		{"[features]\nmasquerade_envelope = true", "f:2: features.masquerade_envelope means nothing without relay.masquerade_as or features.genericstable"},
		{"[features]\nlimited_masquerade = true\n[relay]\nmasquerade_as = \"a.example\"", "f:2: features.limited_masquerade means nothing without relay.masquerade_domain: no address with a domain would be masqueraded"},
		{"[features]\nalways_add_domain = 1", `f:2: features.always_add_domain is the number 1, expected true, false, or a domain such as "example.com"`},
		{"[relay]\nsend_as = \"joe@isp.example\"", `f:2: relay.send_as means nothing without relay.smart_host: for other next hops write send_as = { "smtp.isp.example" = "joe@isp.example" }`},
		{"[relay]\nsmart_host = \"h.example\"\nsend_as = \"joe\"", `f:3: relay.send_as is "joe", expected an address such as "account@isp.example"`},
		{"[relay]\nsend_as = { \"h.example:25x\" = \"joe@a.example\" }", `f:2: relay.send_as."h.example:25x" is "joe@a.example", whose key is "h.example:25x", expected the name of a next hop, without port`},
	} {
		if _, err := Parse("f", []byte(c.text)); err == nil || err.Error() != c.want {
			t.Errorf("%q gave %v, want %s", c.text, err, c.want)
		}
	}
}
