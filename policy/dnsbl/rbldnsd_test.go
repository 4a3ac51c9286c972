//go:build integration

package dnsbl_test

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatepost/internal/dns"
	"gatepost/internal/smtp"
	"gatepost/policy"
	"gatepost/policy/dnsbl"
)

// The lists that rbldnsd serves: one of addresses of both families with texts, one
// of domains, one of everybody, and one that is closed to us.
// They have no address of the networks for documentation, as those are probed.
func zoneFiles() map[string]string {
	return map[string]string{
		"v4":     ":127.0.0.2:Listed, see https://bl.example/?$\n127.0.0.2\n100.64.3.99\n100.64.4.0/24 :127.0.0.4:a whole network, $\n!100.64.4.7\n",
		"v6":     ":127.0.0.3:IPv6 $\nfd00:bad::/48\n",
		"names":  ":127.0.1.2:$ is bad\ntest\n.spam.example\n",
		"all":    ":127.0.0.2:This list is gone\n0.0.0.0/1\n128.0.0.0/1\n",
		"closed": ":127.255.255.254:Error: open resolver\n0.0.0.0/1\n128.0.0.0/1\n",
	}
}

// rbldnsd serves the lists on a port of its own, and gives its address.
func rbldnsd(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rbldnsd") // of t.TempDir others cannot read
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range zoneFiles() {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	port, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := port.LocalAddr().String()
	port.Close()
	args := []string{"-n", "-w", dir, "-b", strings.Replace(addr, ":", "/", 1), "-t", "60",
		"bl.test:ip4set:v4", "bl.test:ip6trie:v6", "dbl.test:dnset:names", "all.test:ip4set:all", "closed.test:ip4set:closed"}
	if os.Getuid() == 0 {
		args = append([]string{"-u", "nobody"}, args...)
	}
	var said strings.Builder
	server := exec.Command("rbldnsd", args...)
	server.Stderr, server.Stdout = &said, &said
	if err := server.Start(); err != nil {
		t.Fatalf("rbldnsd (Debian package rbldnsd): %v", err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	client := resolver(t, addr)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		a, err := client.Lookup(t.Context(), "2.0.0.127.bl.test", dns.TypeA)
		if err == nil && len(a.Addrs) == 1 {
			return addr
		}
		if client = resolver(t, addr); time.Now().After(end) {
			t.Fatalf("rbldnsd does not answer: %v, %v; it said:\n%s", a, err, said.String())
		}
	}
}

func resolver(t *testing.T, addr string) *dns.Client {
	t.Helper()
	c, err := dns.NewClient(dns.Config{Servers: []string{addr}, Timeout: 300 * time.Millisecond, Attempts: 2})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestRbldnsdHealth: the probes tell good lists from bad ones.
func TestRbldnsdHealth(t *testing.T) {
	client := resolver(t, rbldnsd(t))
	for _, tc := range []struct {
		zone            dnsbl.Zone
		reason, warning string
	}{
		{dnsbl.Zone{Name: "bl.test"}, "", ""},
		{dnsbl.Zone{Name: "dbl.test", Domains: true}, "", ""},
		{dnsbl.Zone{Name: "all.test"}, "it lists 127.0.0.1,", ""},
		{dnsbl.Zone{Name: "closed.test", IPv4Only: true}, "it answered 127.255.255.254: the list refuses queries", ""},
		{dnsbl.Zone{Name: "dbl.test"}, "", "it does not list 127.0.0.2"},
	} {
		reason, warning, err := dnsbl.Probe(t.Context(), client, &tc.zone)
		if err != nil || !strings.HasPrefix(reason, tc.reason) || !strings.HasPrefix(warning, tc.warning) || (reason == "") != (tc.reason == "") || (warning == "") != (tc.warning == "") {
			t.Errorf("%+v: %q, %q, %v, want %q, %q", tc.zone, reason, warning, err, tc.reason, tc.warning)
		}
	}
	unknown := dnsbl.Zone{Name: "nowhere.test"}
	if _, _, err := dnsbl.Probe(t.Context(), client, &unknown); err == nil {
		t.Error("a zone that the server refuses answers")
	}
}

// TestRbldnsdDecisions has clients and senders judged by the lists.
func TestRbldnsdDecisions(t *testing.T) {
	everything := []dnsbl.Filter{dnsbl.Everything(0)}
	lists := []policy.DNSList{
		{Zone: "bl.test", Table: &policy.ListTable{Filters: everything, Reason: true}},
		{Zone: "dbl.test", Table: &policy.ListTable{Filters: everything, Reason: true, Lookup: policy.LookupSender}},
		{Zone: "all.test", Table: &policy.ListTable{Filters: everything}},
		{Zone: "closed.test"},
	}
	var zones []dnsbl.Zone
	for i := range lists {
		zones = append(zones, lists[i].DNSZone())
	}
	set, client := dnsbl.NewSet(zones, nil), resolver(t, rbldnsd(t))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		set.Run(ctx, client, slog.New(slog.DiscardHandler))
	}()
	defer func() { cancel(); <-ended }()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if set.State(&zones[2]).Parked() != nil && set.State(&zones[3]).Parked() != nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("not parked: %+v", set.Status())
		}
	}
	p, err := policy.New(policy.Config{
		HostName: "mx.example.com", Resolver: client, Lists: set,
		Features: policy.Features{NoCanonify: true, AcceptUnresolvableDomains: true, DNSLists: lists, DNSListTimeout: 3 * time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		at         policy.Stage
		addr, from string
		want       string
	}{
		{policy.StageConnect, "203.0.113.9", "", ""},
		{policy.StageConnect, "100.64.3.99", "", "550 5.7.1 Rejected: 100.64.3.99 listed at bl.test; Listed, see https://bl.example/?100.64.3.99"},
		{policy.StageConnect, "100.64.4.6", "", "550 5.7.1 Rejected: 100.64.4.6 listed at bl.test; a whole network, 100.64.4.6"},
		{policy.StageConnect, "100.64.4.7", "", ""},
		{policy.StageConnect, "fd00:bad::9", "", "550 5.7.1 Rejected: IPv6:fd00:bad:0:0:0:0:0:9 listed at bl.test; IPv6 fd00:bad::9"},
		{policy.StageConnect, "2001:db8:1::9", "", ""},
		{policy.StageMail, "203.0.113.9", "<u@Mail.Spam.Example>", "550 5.7.1 Rejected: mail.spam.example listed at dbl.test; spam.example is bad"},
		{policy.StageMail, "203.0.113.9", "<u@ham.example>", ""},
	} {
		f := &policy.Facts{Conn: policy.Conn{Addr: netip.MustParseAddr(tc.addr), Resolve: policy.ResolveFail}}
		f.Mail.Sender = smtp.ParsePath(tc.from)
		d := p.Decide(t.Context(), tc.at, f)
		if got := d.Verdict.Reply.String(); got != tc.want {
			t.Errorf("%s %s %s: %q, want %q", tc.at, tc.addr, tc.from, got, tc.want)
		}
	}
}
