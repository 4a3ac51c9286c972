package main

import (
	"context"
	"encoding/json"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	mdns "github.com/miekg/dns"

	"gatepost/internal/dns"
	"gatepost/internal/dns/dnsfake"
)

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestGenerateIsDetermined(t *testing.T) {
	for i := range 20 {
		first, second := asJSON(t, generate(7, i)), asJSON(t, generate(7, i))
		if first != second {
			t.Errorf("policy %d of seed 7 is not the same twice:\n%s\n%s", i, first, second)
		}
		if other := asJSON(t, generate(8, i)); strings.ReplaceAll(other, "seed8-", "seed7-") == first {
			t.Errorf("policy %d is the same for seeds 7 and 8", i)
		}
	}
}

// TestGenerateReaches holds the generator to making every kind of thing.
func TestGenerateReaches(t *testing.T) {
	var all strings.Builder
	for i := range 300 {
		p := generate(3, i)
		if len(p.Sessions) != sessionsPerPolicy {
			t.Errorf("%s: %d sessions, want %d", p.ID, len(p.Sessions), sessionsPerPolicy)
		}
		all.WriteString(asJSON(t, p))
	}
	for _, want := range []string{
		"access_db", "lookupdotdomain", "relaytofulladdress", `"skip"`, "blocklist_recipients", "blacklist_recipients", "relay_hosts_only",
		"relay_entire_domain", "relay_based_on_MX", "relay_local_from", "relay_mail_from", `"domain"`, "loose_relay_check", "promiscuous_relay",
		"accept_unqualified_senders", "accept_unresolvable_domains", `"dnsbl"`, `"enhdnsbl"`, `"friend"`, `"hater"`, "require_rdns", "block_bad_helo",
		"badmx", "use_client_ptr", "compat_check", "ratecontrol", "conncontrol", "terminate", "nodelay", "greet_pause", "nocanonify", "nouucp", "nopercenthack",
		"SERVFAIL", "MX:SERVFAIL", "CNAME", `"OK"`, `"FAIL"`, `"FORGED"`, `"TEMP"`, "127.0.0.$-.", "CertIssuer:", "Spam:", "QUARANTINE:", "SKIP", "IPv6:", "DISCARD",
	} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("300 policies have no %s", want)
		}
	}
}

// TestGenerateNoLoadErrors: values that sendmail makes garbage of are errors to Gatepost.
func TestGenerateNoLoadErrors(t *testing.T) {
	garbage := regexp.MustCompile(`(?im)[ \t](error:\s*$|(error:)?"?[12367]\d\d )`)
	for i := range 300 {
		p := generate(4, i)
		if bad := garbage.FindString(p.Access); bad != "" {
			t.Errorf("%s: access map has %q:\n%s", p.ID, bad, p.Access)
		}
	}
}

// TestGenerateControls: with "nodelay", m4 wants delay_checks before; all want access_db before.
func TestGenerateControls(t *testing.T) {
	controls := 0
	for i := range 1000 {
		p := generate(5, i)
		access, delay := false, false
		for _, f := range p.Features {
			switch f.Name {
			case "access_db":
				access = true
			case "delay_checks":
				delay = true
			case "ratecontrol", "conncontrol":
				controls++
				if nodelay := len(f.Arguments) > 0 && f.Arguments[0] == "nodelay"; !access || nodelay && !delay {
					t.Errorf("%s: %v comes too early in %v", p.ID, f, p.Features)
				}
			}
		}
	}
	if controls < 50 {
		t.Errorf("only %d controls in 1000 policies", controls)
	}
}

// TestGenerateClients holds what is said of clients to the DNS facts.
func TestGenerateClients(t *testing.T) {
	for i := range 100 {
		p := generate(6, i)
		fake := dnsfake.NewFake(p.DNS)
		for _, s := range p.Sessions {
			name, resolve := lookUp(t, fake, s.Client.Address)
			if s.Client.Name != name || s.Client.Resolve != resolve {
				t.Errorf("%s: client %+v; the facts say %s %s", p.ID, s.Client, name, resolve)
			}
		}
	}
}

// lookUp does what sendmail does to a client.
func lookUp(t *testing.T, fake *dnsfake.Fake, address string) (name, resolve string) {
	t.Helper()
	addr := netip.MustParseAddr(address)
	if addr.IsLoopback() {
		return "localhost", "OK"
	}
	literal := "[" + fullAddress(addr) + "]"
	reverse, err := mdns.ReverseAddr(address)
	if err != nil {
		t.Fatal(err)
	}
	ptr, err := fake.Lookup(context.Background(), reverse, dns.TypePTR)
	if err != nil {
		return literal, "TEMP"
	}
	if len(ptr.Names) == 0 {
		return literal, "FAIL"
	}
	family := dns.TypeA
	if addr.Is6() {
		family = dns.TypeAAAA
	}
	forward, err := fake.Lookup(context.Background(), ptr.Names[0], family)
	if err == nil {
		for _, a := range forward.Addrs {
			if a == addr {
				return ptr.Names[0], "OK"
			}
		}
	}
	return literal, "FORGED"
}
