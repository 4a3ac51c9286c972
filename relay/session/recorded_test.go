package session_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	mdns "github.com/miekg/dns"

	"gatepost/integration"
	"gatepost/internal/clients"
	"gatepost/internal/config"
	"gatepost/internal/dns/dnsfake"
	"gatepost/internal/dns/dnstest"
	"gatepost/internal/setup"
	"gatepost/relay/session"
	"gatepost/relay/spool"
)

const dialogues = "../../integration/testdata/dialogues/"

// TestRecordedDialogues plays the dialogues of the integration tests, which real
// sendmail and Postfix pass with the milter, with the same policies and names. Who
// the client is says a PROXY header.
func TestRecordedDialogues(t *testing.T) {
	files, err := filepath.Glob(dialogues + "*.txt")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d dialogues, %v", len(files), err)
	}
	dns := dnstest.Serve(t, world(t))
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			r, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			d, err := integration.Parse(file, r, []string{"sendmail", "postfix", "relay"})
			if err != nil {
				t.Fatal(err)
			}
			s := serve(t, d.Policy, dns, nil)
			for _, one := range d.Sessions {
				s.play(t, one.For("relay"))
			}
		})
	}
}

// served is a server with a real policy.
type served struct {
	addr  string
	spool *spool.Spool
}

func serve(t *testing.T, policy map[string]string, dns string, rules *session.Rules) *served {
	t.Helper()
	s := &served{}
	engine := engineOf(t, policy, dns)
	var err error
	if s.spool, err = spool.Open(t.TempDir(), spool.Options{Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	counts, err := clients.New()
	if err != nil {
		t.Fatal(err)
	}
	server, err := session.NewServer(session.Config{
		HostName:      "mx.example.com",
		Policy:        func() session.Policy { return engine.Policy() },
		Clients:       counts,
		ResolveClient: engine.ResolveClient,
		Spool:         session.Keep(s.spool),
		Proxies:       netip.Addr.IsLoopback,
	})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	go func() { _ = server.Serve(context.Background(), ln, rules) }()
	t.Cleanup(func() {
		if err := server.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := s.spool.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// engineOf is the policy of a dialogue, as the integration tests configure it.
func engineOf(t *testing.T, policy map[string]string, dns string) *setup.Engine {
	t.Helper()
	dir := t.TempDir()
	for _, name := range integration.PolicySections() {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(policy[name]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var text strings.Builder
	text.WriteString("host_name = \"mx.example.com\"\ndont_probe_interfaces = true\n[tables]\n")
	for _, name := range []string{"access", "relay-domains", "local-host-names", "trusted", "spammers", "virtual-hosts"} {
		if _, given := policy[name]; given || name == "access" || name == "relay-domains" || name == "local-host-names" {
			fmt.Fprintf(&text, "%s = %q\n", strings.ReplaceAll(name, "-", "_"), filepath.Join(dir, name))
		}
	}
	fmt.Fprintf(&text, "[dns]\nservers = [%q]\n%s", dns, policy["gatepost.toml"])
	cfg, err := config.Parse(filepath.Join(dir, "gatepost.toml"), []byte(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	engine, err := setup.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

// play holds a session and looks at what became of its messages.
func (s *served) play(t *testing.T, one integration.Session) {
	t.Helper()
	conn, err := net.Dial("tcp4", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	family := "TCP4 " + one.Client.String() + " 192.0.2.1"
	if one.Client.Is6() {
		family = "TCP6 " + one.Client.String() + " 2001:db8::25"
	}
	if _, err := io.WriteString(conn, "PROXY "+family+" 1025 25\r\n"); err != nil {
		t.Fatal(err)
	}
	var random [8]byte
	_, _ = rand.Read(random[:])
	token := hex.EncodeToString(random[:])
	if said, err := integration.Converse(conn, one, token); err != nil {
		t.Errorf("session %q: %v\n%s", one.Name, err, said)
		return
	}
	s.judge(t, one, token)
}

func (s *served) judge(t *testing.T, one integration.Session, token string) {
	t.Helper()
	messages, recipients := map[integration.Place]int{}, map[integration.Place]int{}
	for _, m := range s.spool.Messages() {
		r, err := m.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
		if !strings.Contains(string(text), integration.TokenHeader+": "+token+"\r\n") {
			continue
		}
		e, err := m.Envelope()
		if err != nil {
			t.Fatal(err)
		}
		place := integration.Sink
		if e.Hold != "" {
			place = integration.Quarantine
		}
		messages[place]++
		recipients[place] += len(e.Recipients)
	}
	for _, place := range []integration.Place{integration.Sink, integration.Quarantine} {
		want := one.Want(place)
		if messages[place] != want.Messages || want.Recipients >= 0 && recipients[place] != want.Recipients {
			t.Errorf("session %q: %s: %d messages for %d recipients, want %d for %d",
				one.Name, place, messages[place], recipients[place], want.Messages, want.Recipients)
		}
	}
}

// world is the name space of the integration tests.
func world(t *testing.T) dnsfake.Zone {
	t.Helper()
	file, err := os.Open("../../integration/peers/root.zone")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	zone := dnsfake.Zone{
		"broken.example":               {Fail: "SERVFAIL"},
		"104.100.51.198.in-addr.arpa":  {Fail: "SERVFAIL"},
		"7.100.51.198.broken.example":  {Fail: "SERVFAIL"},
		"66.100.51.198.broken.example": {Fail: "SERVFAIL"},
	}
	p := mdns.NewZoneParser(file, ".", "root.zone")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		name := strings.TrimSuffix(rr.Header().Name, ".")
		has := zone[name]
		switch rr := rr.(type) {
		case *mdns.A:
			has.A = append(has.A, rr.A.String())
		case *mdns.AAAA:
			has.AAAA = append(has.AAAA, rr.AAAA.String())
		case *mdns.MX:
			has.MX = append(has.MX, dnsfake.MX{Preference: rr.Preference, Host: strings.TrimSuffix(rr.Mx, ".")})
		case *mdns.PTR:
			has.PTR = append(has.PTR, strings.TrimSuffix(rr.Ptr, "."))
		case *mdns.CNAME:
			has.CNAME = strings.TrimSuffix(rr.Target, ".")
		default:
			continue
		}
		zone[name] = has
	}
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	return zone
}
