package policy_test

import (
	"bufio"
	"bytes"
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
	"gatepost/internal/dns/dnstest"
	"gatepost/internal/smtp"
	"gatepost/maps"
	"gatepost/policy"
)

// oraclePolicy is one line of the recorded sendmail verdicts; see
// integration/testdata/oracle/README.md.
type oraclePolicy struct {
	ID       string `json:"policy_id"`
	Title    string `json:"title"`
	HostName string `json:"host_name"`
	Features []struct {
		Name      string   `json:"name"`
		Arguments []string `json:"arguments"`
	} `json:"features"`
	TrustAuth   []string        `json:"trust_auth_mechanisms"`
	LocalHosts  []string        `json:"local_host_names"`
	LocalAlways []string        `json:"local_names_always"`
	Relay       []string        `json:"relay_domains"`
	ClassM      []string        `json:"class_m_domains"`
	Access      string          `json:"access"`
	AccessFails string          `json:"access_fails_for_keys_matching"`
	DNS         dnstest.Zone    `json:"dns"`
	Sessions    []oracleSession `json:"sessions"`
}

type oracleSession struct {
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
	Expected struct {
		Connect *oracleVerdict  `json:"connect"`
		Mail    *oracleVerdict  `json:"mail"`
		Rcpt    []oracleVerdict `json:"rcpt"`
		Pause   *int            `json:"greet_pause_ms"`
		Compat  []oracleVerdict `json:"check_compat"`
	} `json:"expected"`
}

type oracleVerdict struct {
	Action   string `json:"action"`
	Code     int    `json:"code"`
	Enhanced string `json:"enhanced_code"`
	Text     string `json:"text"`
	Syntax   bool   `json:"address_syntax"`
}

// failingMap fails for the keys that the case says cannot be asked for.
type failingMap struct {
	maps.Map
	fails *regexp.Regexp
}

func (m failingMap) Lookup(ctx context.Context, key string) (maps.Entry, bool, error) {
	if m.fails.MatchString(strings.ToLower(key)) {
		return maps.Entry{}, false, errors.New("map is down")
	}
	return m.Map.Lookup(ctx, key)
}

// oracleFeatures turns a FEATURE list into ours; false if one is not among them.
func oracleFeatures(p *oraclePolicy) (f policy.Features, hasAccess, known bool) {
	f.TrustAuthMech = p.TrustAuth
	special := func(args []string) policy.Special {
		if slices.Contains(args, "reject") {
			return policy.SpecialReject
		}
		return policy.SpecialOrdinary
	}
	for _, x := range p.Features {
		switch x.Name {
		case "access_db":
			hasAccess = true
			f.AccessSkip = slices.Contains(x.Arguments, "skip")
			f.LookupDotDomain = f.LookupDotDomain || slices.Contains(x.Arguments, "lookupdotdomain")
			f.RelayToFullAddress = slices.Contains(x.Arguments, "relaytofulladdress")
		case "lookupdotdomain":
			f.LookupDotDomain = true
		case "blocklist_recipients", "blacklist_recipients":
			f.BlocklistRecipients = true
		case "relay_hosts_only":
			f.RelayHostsOnly = true
		case "relay_entire_domain":
			f.RelayEntireDomain = true
		case "relay_based_on_MX":
			f.RelayBasedOnMX = true
		case "relay_local_from":
			f.RelayLocalFrom = true
		case "relay_mail_from":
			f.RelayMailFrom = true
			f.RelayMailFromDomain = slices.Contains(x.Arguments, "domain")
		case "promiscuous_relay":
			f.PromiscuousRelay = true
		case "loose_relay_check":
			f.LooseRelayCheck = true
		case "accept_unqualified_senders":
			f.AcceptUnqualifiedSenders = true
		case "accept_unresolvable_domains":
			f.AcceptUnresolvableDomains = true
		case "nocanonify":
			f.NoCanonify = true
		case "nouucp":
			f.NoUUCP = special(x.Arguments)
		case "nopercenthack":
			f.NoPercentHack = special(x.Arguments)
		case "delay_checks":
			f.DelayChecks = policy.DelayAll
			if len(x.Arguments) > 0 && x.Arguments[0] != "" {
				f.DelayChecks = map[string]policy.DelayChecks{"friend": policy.DelayFriend, "hater": policy.DelayHater}[x.Arguments[0]]
			}
			f.NoSpamTags = len(x.Arguments) > 1
		case "use_client_ptr":
			f.UseClientPtr = true
		case "require_rdns":
			f.RequireRDNS = true
		case "block_bad_helo":
			f.BlockBadHelo = true
		case "badmx":
			f.BadMX = true
		case "compat_check":
			f.CompatCheck = true
		case "ratecontrol":
			f.RateControl = policy.Control{On: true, NoDelay: slices.Contains(x.Arguments, "nodelay"), Terminate: slices.Contains(x.Arguments, "terminate")}
		case "conncontrol":
			f.ConnControl = policy.Control{On: true, NoDelay: slices.Contains(x.Arguments, "nodelay"), Terminate: slices.Contains(x.Arguments, "terminate")}
		case "greet_pause":
			f.GreetPause = true
			f.GreetPauseTime = strings.Join(x.Arguments, "")
		case "dnsbl", "enhdnsbl":
			args := append(slices.Clone(x.Arguments), "", "", "")
			l := policy.DNSList{Zone: args[0], Enhanced: x.Name == "enhdnsbl", Message: args[1], Temporary: args[2]}
			if len(x.Arguments) > 3 {
				l.Results = x.Arguments[3:]
			}
			f.DNSLists = append(f.DNSLists, l)
		default:
			return f, hasAccess, false
		}
	}
	return f, hasAccess, true
}

func oracleEngine(t *testing.T, p *oraclePolicy, f policy.Features, hasAccess bool) *policy.Policy {
	t.Helper()
	_, domain, _ := strings.Cut(p.HostName, ".")
	class := func(name string, lines []string) maps.Map {
		text, _, err := maps.Parse(name, maps.FormatClass, []byte(strings.Join(lines, "\n")))
		if err != nil {
			t.Fatalf("%s: %s: %v", p.ID, name, err)
		}
		return text
	}
	c := policy.Config{
		HostName:       p.HostName,
		Domain:         domain,
		RelayDomains:   []maps.Map{class("relay-domains", p.Relay)},
		LocalHostNames: []maps.Map{class("local-host-names", p.LocalHosts), class("always", p.LocalAlways)},
		OwnDomains:     []maps.Map{class("m", p.ClassM)},
		Features:       f,
		Resolver:       dnstest.NewFake(p.DNS),
		Hosts:          dns.ParseHosts([]byte("127.0.0.1 localhost\n::1 localhost\n")),
	}
	if hasAccess {
		text, _, err := maps.Parse("access", maps.FormatAccess, []byte(p.Access))
		if err != nil {
			t.Fatalf("%s: access: %v", p.ID, err)
		}
		c.Access = text
		if p.AccessFails != "" {
			c.Access = failingMap{text, regexp.MustCompile(p.AccessFails)}
		}
	}
	engine, err := policy.New(c)
	if err != nil {
		t.Fatalf("%s: %v", p.ID, err)
	}
	return engine
}

func oracleFacts(s *oracleSession) *policy.Facts {
	f := &policy.Facts{}
	if addr, err := netip.ParseAddr(s.Client.Address); err == nil {
		f.Conn.Addr = addr.Unmap()
	} else {
		f.Conn.Local = s.Client.Address == "0" || s.Client.Address == ""
	}
	f.Conn.Resolve = policy.ParseResolve(s.Client.Resolve)
	f.Conn.Name, f.Conn.Ptr = s.Client.Name, strings.Trim(s.Client.Ptr, "[]")
	if strings.HasPrefix(s.Client.Ptr, "[") {
		f.Conn.Ptr = ""
	}
	f.Conn.Rate, f.Conn.Open = s.Rate, s.Open
	f.Helo = policy.Helo{Given: true, Name: s.Helo}
	f.Auth = policy.Auth{Type: s.Auth.Type, Authen: s.Auth.Authen}
	f.TLS = policy.TLS{Verify: s.TLS.Verify, CertSubject: s.TLS.Subject, CertIssuer: s.TLS.Issuer}
	return f
}

func agrees(want *oracleVerdict, got policy.Verdict) bool {
	if want.Action != got.Action.String() {
		return false
	}
	if want.Syntax {
		return true
	}
	text := got.Reply.Text()
	if got.Action == policy.Quarantine {
		text = got.Reason
	}
	return want.Code == got.Reply.Code() && want.Enhanced == got.Reply.Enhanced().String() && want.Text == text
}

// TestOracle compares the engine with what real sendmail answered.
func TestOracle(t *testing.T) {
	files, err := filepath.Glob("../integration/testdata/oracle/*.jsonl.gz")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded verdicts: %v", err)
	}
	var policies, sessions, verdicts, bad int
	for _, file := range files {
		for _, p := range readOracle(t, file) {
			features, hasAccess, known := oracleFeatures(&p)
			if !known {
				continue
			}
			policies++
			engine := oracleEngine(t, &p, features, hasAccess)
			for i := range p.Sessions {
				sessions++
				n, wrong := runOracleSession(t, engine, &p, i)
				verdicts += n
				bad += wrong
			}
		}
	}
	t.Logf("%d policies, %d sessions, %d verdicts, %d differ", policies, sessions, verdicts, bad)
	if policies < 384 {
		t.Errorf("only %d policies were compared; expected all 384", policies)
	}
}

func runOracleSession(t *testing.T, engine *policy.Policy, p *oraclePolicy, i int) (verdicts, wrong int) {
	s := &p.Sessions[i]
	f := oracleFacts(s)
	ask := func(at policy.Stage, want *oracleVerdict, what string) {
		verdicts++
		d := engine.Decide(context.Background(), at, f)
		if !agrees(want, d.Verdict) {
			wrong++
			t.Errorf("%s session %d, client %s %s (%s), from %s, %s %s:\nsendmail %+v\ngot      %s %s %s, by %s %s",
				p.ID, i, s.Client.Address, s.Client.Name, s.Client.Resolve, s.MailFrom, at, what,
				*want, d.Verdict.Action, d.Verdict.Reply, d.Verdict.Reason, d.By().Rule, d.By().Source())
		}
	}
	if s.Expected.Connect != nil {
		ask(policy.StageConnect, s.Expected.Connect, "")
	}
	if want := s.Expected.Pause; want != nil {
		verdicts++
		if got := engine.GreetPause(context.Background(), f); got.Milliseconds() != int64(*want) {
			wrong++
			t.Errorf("%s session %d: greet_pause %v, sendmail %d ms", p.ID, i, got, *want)
		}
	}
	f.Mail.Sender = smtp.ParsePath(s.MailFrom)
	if s.Expected.Mail != nil {
		ask(policy.StageMail, s.Expected.Mail, s.MailFrom)
	}
	for j := range s.Expected.Rcpt {
		f.Rcpt.Recipient = smtp.ParsePath(s.RcptTo[j])
		ask(policy.StageRcpt, &s.Expected.Rcpt[j], s.RcptTo[j])
	}
	for j := range s.Expected.Compat {
		verdicts++
		f.Rcpt.Recipient = smtp.ParsePath(s.RcptTo[j])
		if d := engine.CheckCompat(context.Background(), f); !agrees(&s.Expected.Compat[j], d.Verdict) {
			wrong++
			t.Errorf("%s session %d, check_compat %s to %s: %v, sendmail %+v", p.ID, i, s.MailFrom, s.RcptTo[j], d.Verdict, s.Expected.Compat[j])
		}
	}
	return verdicts, wrong
}

func readOracle(t *testing.T, file string) []oraclePolicy {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var all []oraclePolicy
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var p oraclePolicy
		if err := json.NewDecoder(bytes.NewReader(lines.Bytes())).Decode(&p); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, p)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
