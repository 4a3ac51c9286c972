package lint

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatepost/internal/config"
	"gatepost/maps"
	"gatepost/policy"
)

func sixSteps(c *config.Config) { c.Features.CheckRcpt = "unixware" }

// TestUnixWareTables has one line of a table each, in line 2, and what is said
// about it; "" is nothing.
func TestUnixWareTables(t *testing.T) {
	for _, tc := range []struct {
		table, line, want string
	}{
		{"trusted", "mail.friend.org accept", ""},
		{"trusted", "*.friend.org accept", ""},
		{"trusted", "192.0.2.* accept", ""},
		{"trusted", "10.*.*.* accept", ""},
		{"trusted", "*.lan accept", ""},
		{"trusted", "*.com accept", "*.com in the trusted table is for everything below com, where everybody can have a name"},
		{"trusted", "11.*.*.* accept", "11.*.*.* in the trusted table is for all addresses that begin with 11"},
		{"trusted", "*.*.*.* accept", "*.*.*.* in the trusted table is for every IPv4 address there is"},
		{"trusted", "mail.friend.org", `key "mail.friend.org" has no value; skipped`},
		{"spammers", "spam.org REJECT", ""},
		{"spammers", "joe@spam.org OK", ""},
		{"spammers", `spam.org ERROR:5.7.1:"550 no"`, ""},
		{"spammers", "spam.org no spam", "does not begin with a reply code"},
		{"spammers", "spam.org REJECT # why", `the value "REJECT # why" is not REJECT but an error text`},
		{"spammers", "spam.org SKIP", `it needs access_db = ["skip"]`},
		{"spammers", "From:spam.org REJECT", "this table has no tags; write spam.org"},
		{"spammers", "joe@ REJECT", "in the access table From:joe@ is for all domains"},
		{"spammers", "192.0.2 REJECT", "clients stand in the access table, as Connect:192.0.2"},
		{"spammers", ".spam.org REJECT", "a domain is for the names below it too; write spam.org"},
		{"spammers", "*.spam.org REJECT", "there are no wildcards; write spam.org"},
		{"virtual", "shop.example", ""},
		{"virtual", ".shop.example", "members are whole names"},
		{"virtual", "joe@shop.example", "members are domains; write shop.example"},
		{"relay", "friend.org", `with check_rcpt = "unixware" nothing is relayed for the sake of relay-domains`},
		{"access", "Connect:192.0.2 RELAY", `with check_rcpt = "unixware" RELAY is no more than OK`},
		{"access", "To:friend.org RELAY", `with check_rcpt = "unixware" RELAY is no more than OK`},
		{"access", "Connect:192.0.2 OK", ""},
	} {
		t.Run(tc.table+" "+tc.line, func(t *testing.T) {
			texts := map[string]string{tc.table: "# first\n" + tc.line + "\n"}
			in := inputOf(t, sixSteps, texts["access"], texts["relay"], "")
			for name, to := range map[string]*Table{"trusted": &in.Trusted, "spammers": &in.Spammers, "virtual": &in.VirtualHosts} {
				format := maps.FormatAccess
				if name == "virtual" {
					format = maps.FormatClass
				}
				text, _, err := maps.Parse(name, format, []byte(texts[name]))
				if err != nil {
					t.Fatal(err)
				}
				to.Text = text
			}
			found := Check(in)
			if tc.want == "" {
				compare(t, found, nil)
				return
			}
			compare(t, found, []string{tc.want})
			if len(found) == 1 && (found[0].Source != maps.Source{File: tc.table, Line: 2}) {
				t.Errorf("the finding stands at %s, want line 2 of %s", found[0].Source, tc.table)
			}
		})
	}
}

func TestUnixWareFeatures(t *testing.T) {
	unused := inputOf(t, func(c *config.Config) {
		sixSteps(c)
		f := &c.Features
		f.TrustAuthMech, f.RelayHostsOnly, f.RelayBasedOnMX, f.RelayLocalFrom, f.RelayMailFrom, f.BlockBadHelo, f.LooseRelayCheck = []string{"PLAIN"}, true, true, true, true, true, true
		c.Messages.Relay = "550 no"
	}, "", "", "")
	var want []string
	for _, key := range strings.Fields("features.trust_auth_mech features.relay_hosts_only features.relay_based_on_MX features.relay_local_from features.relay_mail_from features.loose_relay_check features.block_bad_helo messages.confRELAY_MSG") {
		want = append(want, key+` means nothing with check_rcpt = "unixware"`)
	}
	compare(t, Check(unused), want)

	wide := inputOf(t, sixSteps, "", "", "")
	wide.Policy.Domain = "com"
	compare(t, Check(wide), []string{`features.check_rcpt "unixware" relays to every host below com`})

	off := inputOf(t, func(c *config.Config) { c.Features.CheckRcpt = "off" }, "", "", "")
	compare(t, Check(off), []string{`features.check_rcpt "off" relays for everybody`})
	off.Config.AcceptRisk = []string{"check_rcpt"}
	compare(t, Check(off), nil)
}

// TestUnixWareWitness: a witness without an entry stands at the option.
func TestUnixWareWitness(t *testing.T) {
	for word, checked := range map[string]policy.CheckRcpt{"off": policy.CheckRcptOff, "unixware": policy.CheckRcptUnixWare} {
		path := writeConfig(t, "host_name = \"example.com\"\n\n[features]\ncheck_rcpt = \""+word+"\"\n")
		cfg, err := config.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		s := site{features: policy.Features{CheckRcpt: checked}, host: "example.com"}
		result := searched(t, s.config(t))
		if len(result.Witnesses) == 0 {
			t.Fatalf("check_rcpt = %q with the domain com: no open relay found", word)
		}
		if got, want := result.Witnesses[0].Finding(cfg).Source, (maps.Source{File: path, Line: 4}); got != want {
			t.Errorf("check_rcpt = %q: the witness stands at %s, want %s", word, got, want)
		}
	}
}

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gatepost.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
