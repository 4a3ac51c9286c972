package explain_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gatepost/internal/dns"
	"gatepost/internal/dns/dnsfake"
	"gatepost/internal/explain"
	"gatepost/internal/smtp"
	"gatepost/maps"
	"gatepost/policy"
)

// recorded is a policy with sessions out of integration/testdata/oracle, with
// its tables as text so that they can be edited.
type recorded struct {
	ID       string `json:"policy_id"`
	HostName string `json:"host_name"`
	Features []struct {
		Name      string   `json:"name"`
		Arguments []string `json:"arguments"`
	} `json:"features"`
	TrustAuth   []string          `json:"trust_auth_mechanisms"`
	LocalHosts  []string          `json:"local_host_names"`
	LocalAlways []string          `json:"local_names_always"`
	Relay       []string          `json:"relay_domains"`
	ClassM      []string          `json:"class_m_domains"`
	Access      string            `json:"access"`
	AccessFails string            `json:"access_fails_for_keys_matching"`
	DNS         dnsfake.Zone      `json:"dns"`
	Sessions    []recordedSession `json:"sessions"`
}

type recordedSession struct {
	Client struct {
		Address string `json:"address"`
		Name    string `json:"client_name"`
		Ptr     string `json:"client_ptr"`
		Resolve string `json:"client_resolve"`
	} `json:"client"`
	Rate int    `json:"client_rate"`
	Open int    `json:"client_connections"`
	Helo string `json:"helo"`
	Auth struct {
		Type   string `json:"auth_type"`
		Authen string `json:"auth_authen"`
	} `json:"auth"`
	TLS struct {
		Verify  string `json:"verify"`
		Subject string `json:"cert_subject"`
		Issuer  string `json:"cert_issuer"`
	} `json:"tls"`
	MailFrom string   `json:"mail_from"`
	RcptTo   []string `json:"rcpt_to"`
}

// readRecorded reads the policies of all files.
func readRecorded(t *testing.T) (all []recorded) {
	t.Helper()
	files, err := filepath.Glob("../../integration/testdata/oracle/*.jsonl.gz")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded policies: %v", err)
	}
	for _, file := range files {
		f, err := os.Open(file)
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
			var p recorded
			if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			all = append(all, p)
		}
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// failingMap fails for the keys that the record says cannot be asked for.
type failingMap struct {
	*maps.Text
	fails *regexp.Regexp
}

func (m failingMap) Lookup(ctx context.Context, key string) (maps.Entry, bool, error) {
	if m.fails.MatchString(strings.ToLower(key)) {
		return maps.Entry{}, false, errors.New("map is down")
	}
	return m.Text.Lookup(ctx, key)
}

// config makes the policy's configuration of its texts as they are now.
func (p *recorded) config(t *testing.T) policy.Config {
	t.Helper()
	_, domain, _ := strings.Cut(p.HostName, ".")
	parse := func(name string, format maps.Format, text string) *maps.Text {
		m, _, err := maps.Parse(name, format, []byte(text))
		if err != nil {
			t.Fatalf("%s: %s: %v", p.ID, name, err)
		}
		return m
	}
	class := func(name string, lines []string) maps.Map {
		return parse(name, maps.FormatClass, strings.Join(lines, "\n"))
	}
	c := policy.Config{
		HostName:       p.HostName,
		Domain:         domain,
		RelayDomains:   []maps.Map{class("relay-domains", p.Relay)},
		LocalHostNames: []maps.Map{class("local-host-names", p.LocalHosts), maps.NewClass("this host", p.LocalAlways)},
		OwnDomains:     []maps.Map{maps.NewClass("this host", p.ClassM)},
		Resolver:       dnsfake.NewFake(p.DNS),
		Hosts:          dns.ParseHosts([]byte("127.0.0.1 localhost\n::1 localhost\n")),
	}
	var hasAccess bool
	c.Features, hasAccess = p.features(t)
	if hasAccess {
		text := parse("access", maps.FormatAccess, p.Access)
		c.Access = text
		if p.AccessFails != "" {
			c.Access = failingMap{text, regexp.MustCompile(p.AccessFails)}
		}
	}
	return c
}

// features turns the record's FEATURE list into ours.
func (p *recorded) features(t *testing.T) (f policy.Features, hasAccess bool) {
	t.Helper()
	f.TrustAuthMech = p.TrustAuth
	plain := map[string]*bool{
		"lookupdotdomain": &f.LookupDotDomain, "blocklist_recipients": &f.BlocklistRecipients, "blacklist_recipients": &f.BlocklistRecipients,
		"relay_hosts_only": &f.RelayHostsOnly, "relay_entire_domain": &f.RelayEntireDomain, "relay_based_on_MX": &f.RelayBasedOnMX,
		"relay_local_from": &f.RelayLocalFrom, "promiscuous_relay": &f.PromiscuousRelay, "loose_relay_check": &f.LooseRelayCheck,
		"accept_unqualified_senders": &f.AcceptUnqualifiedSenders, "accept_unresolvable_domains": &f.AcceptUnresolvableDomains,
		"nocanonify": &f.NoCanonify, "use_client_ptr": &f.UseClientPtr, "require_rdns": &f.RequireRDNS,
		"block_bad_helo": &f.BlockBadHelo, "badmx": &f.BadMX, "compat_check": &f.CompatCheck, "greet_pause": &f.GreetPause,
	}
	for _, x := range p.Features {
		if on, ok := plain[x.Name]; ok {
			*on = true
			continue
		}
		has := func(arg string) bool { return slices.Contains(x.Arguments, arg) }
		special := policy.SpecialOrdinary
		if has("reject") {
			special = policy.SpecialReject
		}
		switch x.Name {
		case "access_db":
			hasAccess = true
			f.AccessSkip, f.RelayToFullAddress = has("skip"), has("relaytofulladdress")
			f.LookupDotDomain = f.LookupDotDomain || has("lookupdotdomain")
		case "relay_mail_from":
			f.RelayMailFrom, f.RelayMailFromDomain = true, has("domain")
		case "nouucp":
			f.NoUUCP = special
		case "nopercenthack":
			f.NoPercentHack = special
		case "delay_checks":
			kinds := map[bool]policy.DelayChecks{has("friend"): policy.DelayFriend, has("hater"): policy.DelayHater}
			if f.DelayChecks = kinds[true]; f.DelayChecks == policy.DelayNone {
				f.DelayChecks = policy.DelayAll
			}
			f.NoSpamTags = len(x.Arguments) > 1
		case "ratecontrol":
			f.RateControl = policy.Control{On: true, NoDelay: has("nodelay"), Terminate: has("terminate")}
		case "conncontrol":
			f.ConnControl = policy.Control{On: true, NoDelay: has("nodelay"), Terminate: has("terminate")}
		case "dnsbl", "enhdnsbl":
			args := append(slices.Clone(x.Arguments), "", "", "")
			l := policy.DNSList{Zone: args[0], Enhanced: x.Name == "enhdnsbl", Message: args[1], Temporary: args[2]}
			l.Results = x.Arguments[min(3, len(x.Arguments)):]
			f.DNSLists = append(f.DNSLists, l)
		default:
			t.Fatalf("%s: unknown feature %s", p.ID, x.Name)
		}
	}
	return f, hasAccess
}

// session is a recorded session as explain takes it.
func (s *recordedSession) session() explain.Session {
	var out explain.Session
	f := &out.Facts
	if addr, err := netip.ParseAddr(s.Client.Address); err == nil {
		f.Conn.Addr = addr.Unmap()
	} else {
		f.Conn.Local = s.Client.Address == "0" || s.Client.Address == ""
	}
	f.Conn.Resolve = policy.ParseResolve(s.Client.Resolve)
	if f.Conn.Resolve == policy.ResolveOK {
		f.Conn.Name = s.Client.Name
	}
	if !strings.HasPrefix(s.Client.Ptr, "[") {
		f.Conn.Ptr = s.Client.Ptr
	}
	f.Conn.Rate, f.Conn.Open = s.Rate, s.Open
	f.Helo = policy.Helo{Given: true, Name: s.Helo}
	f.Auth = policy.Auth{Type: s.Auth.Type, Authen: s.Auth.Authen}
	f.TLS = policy.TLS{Verify: s.TLS.Verify, CertSubject: s.TLS.Subject, CertIssuer: s.TLS.Issuer}
	out.From = smtp.ParsePath(s.MailFrom)
	for _, to := range s.RcptTo {
		out.To = append(out.To, smtp.ParsePath(to))
	}
	return out
}
