package dns_test

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"gatepost/internal/dns"
	"gatepost/internal/dns/dnstest"
)

func canonZone() dnstest.Zone {
	z := zone()
	z["chain.org"] = dnstest.Records{CNAME: "www.example.com"}
	z["v6.org"] = dnstest.Records{AAAA: []string{"2001:db8::6"}}
	z["nodata.org"] = dnstest.Records{TXT: []string{"nothing here"}}
	z["aaaafail.org"] = dnstest.Records{A: []string{"192.0.2.5"}, Fail: "AAAA:SERVFAIL"}
	z["aaaafailnothing.org"] = dnstest.Records{TXT: []string{"x"}, Fail: "AAAA:SERVFAIL"}
	z["mxfailnothing.org"] = dnstest.Records{TXT: []string{"x"}, Fail: "MX:SERVFAIL"}
	z["tofail.org"] = dnstest.Records{CNAME: "mxfailnothing.org"}
	z["printer.example.com"] = dnstest.Records{CNAME: "www.example.com"}
	z["localhost.example.net"] = dnstest.Records{A: []string{"192.0.2.6"}}
	z["tosingle.org"] = dnstest.Records{CNAME: "single"}
	z["single"] = dnstest.Records{A: []string{"192.0.2.7"}}
	z["9.2.0.192.in-addr.arpa"] = dnstest.Records{Fail: "SERVFAIL"}
	z["8.2.0.192.in-addr.arpa"] = dnstest.Records{CNAME: "8.sub.2.0.192.in-addr.arpa"}
	z["8.sub.2.0.192.in-addr.arpa"] = dnstest.Records{PTR: []string{"web.example.net"}}
	z["1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"] = dnstest.Records{PTR: []string{"v6.org"}}
	return z
}

const aaaa, a, mx = "AAAA ", "A ", "MX "

type canonCase struct {
	name  string
	want  string // the canonical name; "" for not found
	temp  bool
	asked []string
}

func (tc canonCase) run(t *testing.T) {
	fake := dnstest.NewFake(canonZone())
	want := dns.Canon{Name: tc.name}
	if tc.want != "" {
		want = dns.Canon{Name: tc.want, Found: true}
	}
	got, err := dns.Canonify(t.Context(), fake, dns.ParseHosts([]byte(hostsFile)), "example.com", tc.name)
	if got != want || (err != nil) != tc.temp {
		t.Errorf("Canonify(%q) = %+v, %v, want %+v, temporary %v", tc.name, got, err, want, tc.temp)
	}
	if asked := fake.Asked(); !reflect.DeepEqual(asked, tc.asked) {
		t.Errorf("Canonify(%q) asked %q, want %q", tc.name, asked, tc.asked)
	}
}

func TestCanonify(t *testing.T) {
	for _, tc := range []canonCase{
		{"mx.example.com", "mx.example.com", false, []string{aaaa + "mx.example.com"}},
		{"V6.org.", "V6.org", false, []string{aaaa + "v6.org"}},
		{"MXfail.org", "MXfail.org", false, []string{aaaa + "mxfail.org", a + "mxfail.org"}},
		{"example.com", "example.com", false, []string{aaaa + "example.com", a + "example.com", mx + "example.com"}},
		{"null.org", "null.org", false, []string{aaaa + "null.org", a + "null.org", mx + "null.org"}},
		{"single", "", false, nil}, // one label is not asked about without a search list
		{"tosingle.org", "", false, []string{aaaa + "tosingle.org"}},
		{"www.example.com", "Web.example.net", false, []string{aaaa + "www.example.com", a + "web.example.net"}},
		{"chain.org", "Web.example.net", false, []string{aaaa + "chain.org", a + "web.example.net"}},
		{"mxonly.org", "example.com", false, []string{aaaa + "mxonly.org", a + "example.com", mx + "example.com"}},
		{"nodata.org", "", false, []string{aaaa + "nodata.org", a + "nodata.org", mx + "nodata.org"}},
		{"Nosuch.example", "", false, []string{aaaa + "nosuch.example", a + "nosuch.example", mx + "nosuch.example"}},
		{"dangling.org", "", false, []string{aaaa + "dangling.org", a + "nowhere.invalid", mx + "nowhere.invalid"}},
		{"broken.org", "", true, []string{aaaa + "broken.org", a + "broken.org", mx + "broken.org"}},
		{"toserv.org", "", true, []string{aaaa + "toserv.org", a + "toserv.org", mx + "toserv.org"}},
		{"loop.org", "", true, []string{aaaa + "loop.org", a + "loop.org", mx + "loop.org"}},
		{"aaaafail.org", "aaaafail.org", false, []string{aaaa + "aaaafail.org", a + "aaaafail.org"}},
		{"aaaafailnothing.org", "", true, []string{aaaa + "aaaafailnothing.org", a + "aaaafailnothing.org", mx + "aaaafailnothing.org"}},
		{"mxfailnothing.org", "", true, []string{aaaa + "mxfailnothing.org", a + "mxfailnothing.org", mx + "mxfailnothing.org"}},
		{"tofail.org", "", true, []string{aaaa + "tofail.org", a + "mxfailnothing.org", mx + "mxfailnothing.org"}},
		{"", "", false, nil},
		{".", "", false, nil},
	} {
		t.Run(tc.name, tc.run)
	}
}

func TestCanonifyByHostsFile(t *testing.T) {
	for _, tc := range []canonCase{
		{"localhost", "localhost", false, nil},
		{"localhost.example.com", "localhost", false, nil},
		{"Localhost.Example.COM.", "localhost", false, nil},
		{"localhost.example.net", "localhost.example.net", false, []string{aaaa + "localhost.example.net", a + "localhost.example.net"}},
		{"printer.example.com", "Printer.Example.COM", false, nil},
		{"lp", "Printer.Example.COM", false, nil},
		{"lp.example.com", "Printer.Example.COM", false, nil},
		{"mapped", "mapped.example.com", false, nil},
		{"mapped.example.com", "mapped.example.com", false, nil},
		{"x.mapped.example.com", "", false, []string{aaaa + "x.mapped.example.com", a + "x.mapped.example.com", mx + "x.mapped.example.com"}},
	} {
		t.Run(tc.name, tc.run)
	}
}

func TestCanonifyAddress(t *testing.T) {
	for _, tc := range []canonCase{
		{"[192.0.2.1]", "[192.0.2.1]", false, []string{"PTR 1.2.0.192.in-addr.arpa"}},
		{"[192.0.2.8]", "[192.0.2.8]", false, []string{"PTR 8.2.0.192.in-addr.arpa"}},
		{"[192.0.2.7]", "", false, []string{"PTR 7.2.0.192.in-addr.arpa"}},
		{"[192.0.2.9]", "", true, []string{"PTR 9.2.0.192.in-addr.arpa"}},
		{"[127.0.0.1]", "[127.0.0.1]", false, nil},
		{"[IPv6:::1]", "[IPv6:::1]", false, nil},
		{"[IPv6:0:0:0:0:0:0:0:1]", "[IPv6:0:0:0:0:0:0:0:1]", false, nil},
		{"[ipv6:2001:db8::1]", "[ipv6:2001:db8::1]", false, []string{"PTR 1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"}},
		{"[2001:db8::1]", "[2001:db8::1]", false, []string{"PTR 1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"}},
		{"[300.1.1.1]", "", false, nil},
		{"[IPv6:192.0.2.1]", "", false, nil},
		{"[IPv6:fe80::1%eth0]", "", false, nil},
		{"[192.0.2.1", "", false, nil},
		{"[", "", false, nil},
		{"[]", "", false, nil},
	} {
		t.Run(tc.name, tc.run)
	}
}

// The same through the client and a server.
func TestCanonifyByClient(t *testing.T) {
	server := dnstest.Serve(t, canonZone())
	fake := dnstest.NewFake(canonZone())
	c := client(t, server)
	for name := range canonZone() {
		want, wantErr := dns.Canonify(t.Context(), fake, nil, "", name)
		got, err := dns.Canonify(t.Context(), c, nil, "", name)
		if got != want || (err != nil) != (wantErr != nil) {
			t.Errorf("Canonify(%q) by the client = %+v, %v, by the fake %+v, %v", name, got, err, want, wantErr)
		}
	}
}

func TestCanonifyInTime(t *testing.T) {
	fake := dnstest.NewFake(canonZone())
	fake.Hang = func(name string, t dns.Type) bool { return t == dns.TypeA }
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got, err := dns.Canonify(ctx, fake, nil, "", "example.com")
	if !errors.Is(err, context.Canceled) || got != (dns.Canon{Name: "example.com"}) {
		t.Errorf("Canonify out of time = %+v, %v, want the name as given and %v", got, err, context.Canceled)
	}
}
