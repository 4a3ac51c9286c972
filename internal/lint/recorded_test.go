package lint

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gatepost/internal/dns"
	"gatepost/internal/dns/dnsfake"
	"gatepost/maps"
	"gatepost/policy"
)

// recorded is a policy of integration/testdata/oracle, without its sessions.
type recorded struct {
	ID       string `json:"policy_id"`
	HostName string `json:"host_name"`
	Features []struct {
		Name      string   `json:"name"`
		Arguments []string `json:"arguments"`
	} `json:"features"`
	TrustAuth   []string `json:"trust_auth_mechanisms"`
	LocalHosts  []string `json:"local_host_names"`
	LocalAlways []string `json:"local_names_always"`
	Relay       []string `json:"relay_domains"`
	ClassM      []string `json:"class_m_domains"`
	Access      string   `json:"access"`
	AccessFails string   `json:"access_fails_for_keys_matching"`
}

// failing is an access table that cannot be asked for some keys.
type failing struct {
	*maps.Text
	fails *regexp.Regexp
}

func (m failing) Lookup(ctx context.Context, key string) (maps.Entry, bool, error) {
	if m.fails.MatchString(strings.ToLower(key)) {
		return maps.Entry{}, false, errors.New("map is down")
	}
	return m.Text.Lookup(ctx, key)
}

func recordedPolicies(t *testing.T) []recorded {
	t.Helper()
	files, err := filepath.Glob("../../integration/testdata/oracle/*.jsonl.gz")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded policies: %v", err)
	}
	var all []recorded
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(z)
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			var r recorded
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			all = append(all, r)
		}
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// config is the recorded policy as ours.
func (r *recorded) config(t *testing.T) policy.Config {
	t.Helper()
	_, domain, _ := strings.Cut(r.HostName, ".")
	c := policy.Config{
		HostName:       r.HostName,
		Domain:         domain,
		RelayDomains:   []maps.Map{classOf(t, "relay-domains", r.Relay...)},
		LocalHostNames: []maps.Map{classOf(t, "local-host-names", r.LocalHosts...), classOf(t, "always", r.LocalAlways...)},
		OwnDomains:     []maps.Map{classOf(t, "m", r.ClassM...)},
		Hosts:          dns.ParseHosts([]byte("127.0.0.1 localhost\n::1 localhost\n")),
	}
	c.Features.TrustAuthMech = r.TrustAuth
	for _, f := range r.Features {
		if err := setFeature(&c.Features, f.Name, f.Arguments); err != nil {
			t.Fatalf("%s: %v", r.ID, err)
		}
		if f.Name == "access_db" {
			text := accessOf(t, r.Access)
			if c.Access = text; r.AccessFails != "" {
				c.Access = failing{text, regexp.MustCompile(r.AccessFails)}
			}
		}
	}
	return c
}

func setFeature(f *policy.Features, name string, args []string) error {
	flags := map[string]*bool{
		"lookupdotdomain": &f.LookupDotDomain, "blocklist_recipients": &f.BlocklistRecipients, "blacklist_recipients": &f.BlocklistRecipients,
		"relay_hosts_only": &f.RelayHostsOnly, "relay_entire_domain": &f.RelayEntireDomain, "relay_based_on_MX": &f.RelayBasedOnMX,
		"relay_local_from": &f.RelayLocalFrom, "promiscuous_relay": &f.PromiscuousRelay, "loose_relay_check": &f.LooseRelayCheck,
		"accept_unqualified_senders": &f.AcceptUnqualifiedSenders, "accept_unresolvable_domains": &f.AcceptUnresolvableDomains,
		"nocanonify": &f.NoCanonify, "use_client_ptr": &f.UseClientPtr, "require_rdns": &f.RequireRDNS, "block_bad_helo": &f.BlockBadHelo,
		"badmx": &f.BadMX, "compat_check": &f.CompatCheck, "greet_pause": &f.GreetPause,
	}
	if at := flags[name]; at != nil {
		*at = true
		return nil
	}
	has := func(word string) bool { return slices.Contains(args, word) }
	switch name {
	case "access_db":
		f.AccessSkip, f.RelayToFullAddress = has("skip"), has("relaytofulladdress")
		f.LookupDotDomain = f.LookupDotDomain || has("lookupdotdomain")
	case "relay_mail_from":
		f.RelayMailFrom, f.RelayMailFromDomain = true, has("domain")
	case "nouucp", "nopercenthack":
		special := policy.SpecialOrdinary
		if has("reject") {
			special = policy.SpecialReject
		}
		if name == "nouucp" {
			f.NoUUCP = special
		} else {
			f.NoPercentHack = special
		}
	case "delay_checks":
		f.DelayChecks, f.NoSpamTags = policy.DelayAll, len(args) > 1
		if has("friend") {
			f.DelayChecks = policy.DelayFriend
		} else if has("hater") {
			f.DelayChecks = policy.DelayHater
		}
	case "ratecontrol", "conncontrol":
		at := &f.RateControl
		if name == "conncontrol" {
			at = &f.ConnControl
		}
		*at = policy.Control{On: true, NoDelay: has("nodelay"), Terminate: has("terminate")}
	case "dnsbl", "enhdnsbl":
		args = append(slices.Clone(args), "", "", "")
		f.DNSLists = append(f.DNSLists, policy.DNSList{Zone: args[0], Enhanced: name == "enhdnsbl", Message: args[1], Temporary: args[2]})
	default:
		return fmt.Errorf("unknown feature %q", name)
	}
	return nil
}

func classOf(t *testing.T, name string, lines ...string) *maps.Text {
	t.Helper()
	text, _, err := maps.Parse(name, maps.FormatClass, []byte(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func accessOf(t *testing.T, lines ...string) *maps.Text {
	t.Helper()
	text, _, err := maps.Parse("access", maps.FormatAccess, []byte(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// wide are the entries of the recorded policies that are open to strangers, as a
// reader sees them: one octet, at most /32 of IPv6, a public suffix, a user at
// every host, and for relay_mail_from a sender that anybody can write.
var wide = regexp.MustCompile(`(?i)^((connect:|to:)?([a-z]+|co\.uk|[0-9]+|ipv6:2001(:db8)?)|to:[a-z]+@|from:\S+)\s+relay$|^(net|co\.uk|example|ipv6:2001:db8)$`)

// line is the text of a line of a recorded table, "" for other sources.
func (r *recorded) line(at maps.Source) string {
	tables := map[string]string{"access": r.Access, "relay-domains": strings.Join(r.Relay, "\n"), "m": strings.Join(r.ClassM, "\n")}
	if text, ok := tables[at.File]; ok && at.Line > 0 {
		return strings.Split(text, "\n")[at.Line-1]
	}
	return ""
}

// TestRecorded searches the recorded policies, which mix everything: each witness
// is accepted, and stands on a feature or an entry that is open to see.
func TestRecorded(t *testing.T) {
	open := 0
	for _, r := range recordedPolicies(t) {
		c := r.config(t)
		res, err := OpenRelay(context.Background(), c)
		if err != nil {
			t.Fatalf("%s: %v", r.ID, err)
		}
		if !res.Complete {
			t.Errorf("%s: the search was not complete", r.ID)
		}
		if len(res.Witnesses) > 0 {
			open++
		}
		for _, w := range res.Witnesses {
			switch w.Rule {
			case "promiscuous_relay", "relay_local_from", "relay_based_on_MX":
			default:
				if line := r.line(w.Source); !wide.MatchString(line) {
					t.Errorf("%s: %s by %s, which is %q", r.ID, w.Command(""), w.Source, line)
				}
			}
			replay(t, c, &w)
		}
	}
	if open < 100 {
		t.Errorf("%d of the recorded policies are open relays, want 100 or more", open)
	}
}

// replay asks the policy about a witness, with a DNS that says what the witness
// does, and has nothing else or does not answer.
func replay(t *testing.T, c policy.Config, w *Witness) {
	t.Helper()
	zone := dnsfake.Zone{}
	for _, fact := range w.DNS {
		var name, typ, data string
		_, _ = fmt.Sscan(fact, &name, &typ, &data)
		r := zone[name]
		switch typ {
		case "A":
			r.A = append(r.A, data)
		case "MX":
			r.MX = append(r.MX, dnsfake.MX{Preference: 10, Host: fact[strings.LastIndexByte(fact, ' ')+1:]})
		case "PTR":
			r.PTR = append(r.PTR, data)
		case "CNAME":
			r.CNAME = data
		case "NXDOMAIN":
		default:
			t.Fatalf("%s: fact %q", w.Command(""), fact)
		}
		zone[name] = r
	}
	for _, other := range []dns.Resolver{nothing{}, silent{}} {
		c.Resolver = given{zone, other}
		p, err := policy.New(c)
		if err != nil {
			t.Fatal(err)
		}
		if !w.shown(t.Context(), p) {
			t.Errorf("%s is not accepted by %s, %s, with a DNS that is %T beyond that", w.Command(""), w.Rule, w.Source, other)
		}
	}
}

// given is a DNS that has a zone; about other names it asks another.
type given struct {
	zone  dnsfake.Zone
	other dns.Resolver
}

func (g given) Lookup(ctx context.Context, name string, typ dns.Type) (dns.Answer, error) {
	if _, known := g.zone[name]; known {
		return dnsfake.NewFake(g.zone).Lookup(ctx, name, typ)
	}
	return g.other.Lookup(ctx, name, typ)
}
