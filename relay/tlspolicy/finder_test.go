package tlspolicy_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"gatepost/internal/dns"
	"gatepost/internal/dns/dnsfake"
	"gatepost/internal/dns/dnstest"
	"gatepost/maps"
	"gatepost/relay/tlspolicy"
	"gatepost/relay/tlspolicy/sts"
)

const digest = "3 1 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

func zone() dnsfake.Zone {
	mx := func(more dnsfake.Records) dnsfake.Records {
		more.A, more.Authentic = []string{"192.0.2.1"}, true
		return more
	}
	return dnsfake.Zone{
		"mx.signed.example":              mx(dnsfake.Records{}),
		"_25._tcp.mx.signed.example":     {TLSA: []string{digest}, Authentic: true},
		"_587._tcp.mx.signed.example":    {TLSA: []string{digest, "2 0 1 00"}, Authentic: true},
		"plain.signed.example":           mx(dnsfake.Records{}),
		"forged.signed.example":          mx(dnsfake.Records{}),
		"_25._tcp.forged.signed.example": {TLSA: []string{digest}}, // not signed
		"pkix.signed.example":            mx(dnsfake.Records{}),
		"_25._tcp.pkix.signed.example":   {TLSA: []string{"1 1 1 " + strings.Repeat("00", 32)}, Authentic: true},
		"broken.signed.example":          mx(dnsfake.Records{}),
		"_25._tcp.broken.signed.example": {Fail: "TLSA:SERVFAIL"},
		"alias.signed.example":           {CNAME: "mx.signed.example", Authentic: true},
		"alias2.signed.example":          {CNAME: "plain.signed.example", Authentic: true},
		"_25._tcp.alias2.signed.example": {TLSA: []string{digest}, Authentic: true},
		"v6.signed.example":              {AAAA: []string{"2001:db8::1"}, Authentic: true},
		"_25._tcp.v6.signed.example":     {TLSA: []string{digest}, Authentic: true},
		"in.plain.example":               {CNAME: "mx.signed.example"}, // not signed
		"lost.signed.example":            {Fail: "SERVFAIL"},
		"_mta-sts.sts.example":           {TXT: []string{"v=STSv1; id=1"}},
		"_mta-sts.testing.example":       {TXT: []string{"v=STSv1; id=1"}},
		"_mta-sts.off.example":           {TXT: []string{"v=STSv1; id=1"}},
		"_mta-sts.signed.example":        {TXT: []string{"v=STSv1; id=1"}},
	}
}

const table = `
[smart.example]:587	secure
[smart.example]	encrypt
[192.0.2.9]	fingerprint match=AABBCCDDEEFF00112233445566778899AABBCCDDEEFF00112233445566778899
port.example:26	encrypt
list.example	verify match=hostname:example.net min_version=1.3
.list.example	none
in.list.example	may
wrapped.example	encrypt wrappermode=yes
dane.example	dane
only.example	dane-only
[clear.example]	none
off.sts.example	encrypt
`

// stsStore knows the policies of domains, as after a restart.
func stsStore(t *testing.T, resolver dns.Resolver) *sts.Store {
	t.Helper()
	var all []string
	for domain, mode := range map[string]string{"sts.example": "enforce", "testing.example": "testing", "off.example": "none", "signed.example": "enforce", "off.sts.example": "enforce"} {
		all = append(all, fmt.Sprintf(`{"domain": "%s", "id": "1", "mode": "%s", "mx": ["*.%[1]s"], "max_age": 600, "fetched": "%[3]s"}`, domain, mode, time.Now().Format(time.RFC3339)))
	}
	text := `{"version": 1, "policies": [` + strings.Join(all, ",") + `]}`
	file := filepath.Join(t.TempDir(), "cache")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := sts.Open(sts.Config{
		Resolver: resolver, File: file,
		Addresses: func(_ context.Context, host string) ([]netip.Addr, error) {
			t.Errorf("%s was to be connected to", host)
			return nil, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestFind(t *testing.T) {
	text, _, err := maps.Parse("/t", maps.FormatAccess, []byte(table))
	if err != nil {
		t.Fatal(err)
	}
	fake := dnsfake.NewFake(zone())
	store := stsStore(t, fake)
	client, err := dns.NewClient(dns.Config{Servers: []string{dnstest.Serve(t, zone())}})
	if err != nil {
		t.Fatal(err)
	}
	mx := func(domain, host string, how ...func(*tlspolicy.Ask)) tlspolicy.Ask {
		a := tlspolicy.Ask{Domain: domain, Host: host, Port: 25}
		for _, h := range how {
			h(&a)
		}
		return a
	}
	bracketed := func(a *tlspolicy.Ask) { a.Bracketed = true }
	authentic := func(a *tlspolicy.Ask) { a.Authentic = true }
	login := func(a *tlspolicy.Ask) { a.Login = true }
	strange := func(a *tlspolicy.Ask) { a.Strange = true }
	port := func(n uint16) func(*tlspolicy.Ask) { return func(a *tlspolicy.Ask) { a.Port = n } }
	for name, tc := range map[string]struct {
		level string // the default
		ask   tlspolicy.Ask
		want  string // LEVEL, names, source; or "error: ..."
	}{
		"default may":     {"may", mx("a.example", "mx.a.example"), "May [] relay.tls_security_level"},
		"default none":    {"none", mx("a.example", "mx.a.example"), "None [] relay.tls_security_level"},
		"default encrypt": {"encrypt", mx("a.example", "mx.a.example"), "Encrypt [] relay.tls_security_level"},
		"default verify":  {"verify", mx("a.example", "mx.a.example"), "Verify [mx.a.example] relay.tls_security_level"},

		"login":                         {"may", mx("a.example", "MX.a.example.", login), "Verify [mx.a.example] a login is sent"},
		"login, default none":           {"none", mx("a.example", "mx.a.example", login), "Verify [mx.a.example] a login is sent"},
		"login, default encrypt":        {"encrypt", mx("a.example", "mx.a.example", login), "Verify [mx.a.example] a login is sent"},
		"login, table says none":        {"may", mx("clear.example", "clear.example", bracketed, login), "None [] /t:12"},
		"login, dane without any":       {"dane", mx("a.example", "mx.a.example", login), "Verify [mx.a.example] a login is sent"},
		"login, table: dane, none":      {"may", mx("dane.example", "plain.signed.example", login, authentic), "Verify [plain.signed.example] a login is sent"},
		"login, table: dane, unusable":  {"may", mx("dane.example", "pkix.signed.example", login, authentic), "Verify [pkix.signed.example] a login is sent"},
		"login, table of our own route": {"may", mx("a.list.example", "mx.isp.example", login), "None [] /t:7"},
		"login, a stranger's route":     {"may", mx("a.list.example", "mx.isp.example", login, strange), "Verify [mx.isp.example] a login is sent"},
		"login, a stranger's names":     {"may", mx("list.example", "mx.isp.example", login, strange), "Verify [mx.isp.example] a login is sent 1.3"},
		"login, a stranger's wrapper":   {"may", mx("wrapped.example", "mx.isp.example", login, strange), "Verify [mx.isp.example] a login is sent implicit"},
		"login, a stranger's dane":      {"may", mx("dane.example", "mx.signed.example", login, strange, authentic), "DANE [mx.signed.example dane.example] TLSA of mx.signed.example"},
		"login, dane":                   {"dane", mx("x.example", "mx.signed.example", login, authentic), "DANE [mx.signed.example x.example] TLSA of mx.signed.example"},

		"host and port":       {"may", mx("smart.example", "smart.example", bracketed, port(587)), "Verify [smart.example .smart.example] /t:2"},
		"host, another port":  {"may", mx("smart.example", "smart.example", bracketed), "Encrypt [] /t:3"},
		"no brackets":         {"may", mx("smart.example", "mx.smart.example"), "May [] relay.tls_security_level"},
		"address":             {"may", mx("192.0.2.9", "192.0.2.9", bracketed), "Fingerprint [] /t:4"},
		"domain and port":     {"may", mx("port.example", "mx.port.example", port(26)), "Encrypt [] /t:5"},
		"domain, port 25":     {"may", mx("port.example", "mx.port.example"), "May [] relay.tls_security_level"},
		"domain":              {"may", mx("List.example", "mx.isp.example"), "Verify [mx.isp.example example.net] /t:6 1.3"},
		"domain below":        {"may", mx("a.b.list.example", "mx.isp.example"), "None [] /t:7"},
		"domain below, named": {"may", mx("in.list.example", "mx.isp.example"), "May [] /t:8"},
		"wrapper":             {"may", mx("wrapped.example", "mx.isp.example"), "Encrypt [] /t:9 implicit"},
		"table: dane":         {"may", mx("dane.example", "mx.signed.example", authentic), "DANE [mx.signed.example dane.example] TLSA of mx.signed.example"},
		"table: dane, none":   {"may", mx("dane.example", "plain.signed.example", authentic), "May [] /t:10"},
		"table: dane-only":    {"may", mx("only.example", "mx.signed.example", authentic), "DANE [mx.signed.example only.example] TLSA of mx.signed.example"},
		"dane-only, unsigned": {"may", mx("only.example", "mx.signed.example"), "error: the level is dane-only"},
		"dane-only, unusable": {"may", mx("only.example", "pkix.signed.example", authentic), "error: the level is dane-only"},

		"dane":                 {"dane", mx("x.example", "mx.signed.example", authentic), "DANE [mx.signed.example x.example] TLSA of mx.signed.example"},
		"dane, no MX":          {"dane", mx("mx.signed.example", "mx.signed.example", authentic, bracketed, port(587)), "DANE [mx.signed.example] TLSA of mx.signed.example"},
		"dane, unsigned MX":    {"dane", mx("x.example", "mx.signed.example"), "May [] relay.tls_security_level"},
		"dane, none":           {"dane", mx("x.example", "plain.signed.example", authentic), "May [] relay.tls_security_level"},
		"dane, unsigned TLSA":  {"dane", mx("x.example", "forged.signed.example", authentic), "May [] relay.tls_security_level"},
		"dane, unusable":       {"dane", mx("x.example", "pkix.signed.example", authentic), "Encrypt [] TLSA of pkix.signed.example"},
		"dane, SERVFAIL":       {"dane", mx("x.example", "broken.signed.example", authentic), "error: TLSA records cannot be asked for"},
		"dane, no addresses":   {"dane", mx("x.example", "lost.signed.example", authentic), "error: TLSA records cannot be asked for"},
		"dane, IPv6 alone":     {"dane", mx("x.example", "v6.signed.example", authentic), "DANE [v6.signed.example x.example] TLSA of v6.signed.example"},
		"dane, alias":          {"dane", mx("x.example", "alias.signed.example", authentic), "DANE [mx.signed.example x.example] TLSA of mx.signed.example"},
		"dane, alias's own":    {"dane", mx("x.example", "alias2.signed.example", authentic), "DANE [alias2.signed.example x.example] TLSA of alias2.signed.example"},
		"dane, unsigned alias": {"dane", mx("x.example", "in.plain.example", authentic), "May [] relay.tls_security_level"},
		"dane, address":        {"dane", mx("192.0.2.1", "192.0.2.1", authentic, bracketed), "May [] relay.tls_security_level"},
		"dane, not asked":      {"may", mx("x.example", "broken.signed.example", authentic), "May [] relay.tls_security_level"},

		"STS":                      {"may", mx("sts.example", "mx.sts.example"), "Verify [mx.sts.example] MTA-STS of sts.example"},
		"STS, login":               {"may", mx("sts.example", "mx.sts.example", login), "Verify [mx.sts.example] MTA-STS of sts.example"},
		"STS, none by default":     {"none", mx("sts.example", "mx.sts.example"), "Verify [mx.sts.example] MTA-STS of sts.example"},
		"STS, another host":        {"may", mx("sts.example", "mx.evil.example"), "error: the host is not among those of the domain's MTA-STS policy"},
		"STS, no MX":               {"may", mx("sts.example", "sts.example", bracketed), "May [] relay.tls_security_level"},
		"STS, in testing":          {"may", mx("testing.example", "mx.evil.example"), "May [] relay.tls_security_level"},
		"STS, mode none":           {"may", mx("off.example", "mx.off.example"), "May [] relay.tls_security_level"},
		"STS, the table says":      {"may", mx("off.sts.example", "mx.evil.example"), "Encrypt [] /t:13"},
		"STS after DANE":           {"dane", mx("signed.example", "mx.signed.example", authentic), "DANE [mx.signed.example signed.example] TLSA of mx.signed.example"},
		"STS, DANE cannot be told": {"dane", mx("signed.example", "broken.signed.example", authentic), "error: TLSA records cannot be asked for"},
		"STS without DANE":         {"dane", mx("signed.example", "plain.signed.example", authentic), "Verify [plain.signed.example] MTA-STS of signed.example"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, resolver := range []dns.Resolver{fake, client} {
				finder := tlspolicy.NewFinder(func() tlspolicy.Settings {
					return tlspolicy.Settings{Level: tc.level, Table: text, Resolver: resolver, STS: store, MinVersion: tls.VersionTLS12}
				}, slog.New(slog.DiscardHandler))
				p, err := finder.Find(t.Context(), tc.ask)
				if got := describe(p, err); !strings.HasPrefix(got, tc.want) || err == nil && got != tc.want {
					t.Errorf("Find(%+v) over %T = %s, want %s", tc.ask, resolver, got, tc.want)
				}
			}
		})
	}
}

func describe(p tlspolicy.Policy, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	level := [...]string{"May", "None", "Encrypt", "Fingerprint", "Verify", "DANE"}[p.Level]
	text := fmt.Sprintf("%s %v %s", level, p.Names, p.Source)
	if p.Implicit {
		text += " implicit"
	}
	if p.MinVersion == tls.VersionTLS13 {
		text += " 1.3"
	}
	return text
}

// broken is a table on a server that is gone.
type broken struct{}

func (broken) Lookup(context.Context, string) (maps.Entry, bool, error) {
	return maps.Entry{}, false, errors.New("connection refused")
}

// odd is a table on a server that says nonsense.
type odd struct{}

func (odd) Lookup(context.Context, string) (maps.Entry, bool, error) {
	return maps.Entry{Value: "encrpyt", Source: maps.Source{File: "redis://a/b"}}, true, nil
}

// A table that cannot be asked, or says nonsense, never means that it says nothing.
func TestTableFaults(t *testing.T) {
	for table, want := range map[maps.Map]string{
		broken{}: "the table tls_policy cannot be asked: key \"a.example:25\": connection refused",
		odd{}:    "redis://a/b: key \"a.example:25\": level \"encrpyt\", expected none",
	} {
		f := tlspolicy.NewFinder(func() tlspolicy.Settings { return tlspolicy.Settings{Level: "may", Table: table} }, slog.New(slog.DiscardHandler))
		if p, err := f.Find(t.Context(), tlspolicy.Ask{Domain: "a.example", Host: "mx.a.example", Port: 25}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%T: %+v, %v, want %q", table, p, err, want)
		}
	}
}

// The records that are found are those that are checked.
func TestFoundRecords(t *testing.T) {
	resolver := dnsfake.NewFake(zone())
	f := tlspolicy.NewFinder(func() tlspolicy.Settings { return tlspolicy.Settings{Level: "dane", Resolver: resolver} }, slog.New(slog.DiscardHandler))
	p, err := f.Find(t.Context(), tlspolicy.Ask{Domain: "signed.example", Host: "mx.signed.example", Port: 587, Authentic: true})
	want, _ := dnsfake.ParseTLSA(digest)
	if err != nil || !reflect.DeepEqual(p.TLSA, []tlspolicy.TLSA{want}) || !p.Required() {
		t.Errorf("Find = %+v, %v, want the usable record alone", p, err)
	}
}
