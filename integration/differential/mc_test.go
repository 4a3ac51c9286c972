package main

import (
	"strings"
	"testing"
)

func TestWriteMC(t *testing.T) {
	p := &Policy{
		Features: []Feature{
			{"access_db", []string{"skip", "lookupdotdomain"}},
			{"delay_checks", nil},
			{"dnsbl", []string{"bl.example.net", `"550 own " $&{client_addr}`, "t"}},
		},
		TrustAuth:  []string{"PLAIN", "LOGIN"},
		OwnDomains: []string{"example.com", "example.org"},
	}
	got := writeMC(p)
	for _, want := range []string{
		"FEATURE(`access_db', `', `skip', `lookupdotdomain')dnl\n",
		"FEATURE(`delay_checks')dnl\n",
		"FEATURE(`dnsbl', `bl.example.net', `\"550 own \" $&{client_addr}', `t')dnl\n",
		"TRUST_AUTH_MECH(`PLAIN LOGIN')dnl\n",
		"LOCAL_CONFIG\nCm example.com example.org\n",
		"define(`MAIL_SETTINGS_DIR', `/gatepost/')dnl\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("sendmail.mc has no %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, callRelay) {
		t.Errorf("with delay_checks there is no check_relay to call:\n%s", got)
	}
	if access, mailer := strings.Index(got, "access_db"), strings.Index(got, "MAILER("); access > mailer {
		t.Errorf("features come after mailers:\n%s", got)
	}
}

func TestChecksAtOnce(t *testing.T) {
	for _, c := range []struct {
		name     string
		features []Feature
		want     bool
	}{
		{"stock", nil, true},
		{"delayed", []Feature{{"delay_checks", nil}}, false},
		{"delayed control", []Feature{{"delay_checks", nil}, {"ratecontrol", []string{"", "terminate"}}}, false},
		{"control at once", []Feature{{"delay_checks", nil}, {"conncontrol", []string{"nodelay"}}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := checksAtOnce(&Policy{Features: c.features}); got != c.want {
				t.Errorf("checksAtOnce(%v) = %v, want %v", c.features, got, c.want)
			}
		})
	}
}

func TestTables(t *testing.T) {
	got := tables(&Policy{Relay: []string{"a.org b.org", "# c"}, Access: "To:x\tOK\n"})
	for name, want := range map[string]string{"relay-domains": "a.org b.org\n# c\n", "local-host-names": "", "access": "To:x\tOK\n"} {
		if got[name] != want {
			t.Errorf("file %s is %q, want %q", name, got[name], want)
		}
	}
}
