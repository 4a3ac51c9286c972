package setup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gatepost/internal/config"
	"gatepost/internal/smtp"
	"gatepost/policy"
)

// logBuffer may be read while the engine logs.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// place is a folder with tables, a configuration of them, and a host without network.
type place struct {
	t   *testing.T
	dir string
	cfg *config.Config
	log logBuffer
	host
}

func newPlace(t *testing.T) *place {
	p := &place{t: t, dir: t.TempDir()}
	p.write("access", "From:spam.example\tREJECT\n")
	p.write("relay-domains", "example.net\n")
	p.write("local-host-names", "example.com\n")
	p.write("hosts", "127.0.0.1 localhost\n192.0.2.25 mx.example.com mx\n2001:db8::25 mx.example.com\n192.0.2.26 inside.example.com\n")
	p.cfg = config.Default()
	p.cfg.HostName = "mx.example.com"
	p.cfg.DNS = config.DNS{Servers: []string{"127.0.0.1:9"}, Timeout: 50 * time.Millisecond, Attempts: 1, CacheSize: 10}
	p.cfg.Tables = config.Tables{
		Access:         textTable(p.path("access")),
		RelayDomains:   textTable(p.path("relay-domains")),
		LocalHostNames: textTable(p.path("local-host-names")),
	}
	p.cfg.Features.NoCanonify = true
	p.host = host{
		hostsFile: p.path("hosts"), resolvConf: p.path("none"),
		hostname:  func() (string, error) { return "mx", nil },
		addresses: func() ([]net.Addr, error) { return nil, nil },
	}
	return p
}

func textTable(path string) config.Table {
	return config.Table{Maps: []config.Map{{Kind: "text", Path: path}}, Named: true}
}

func (p *place) path(name string) string { return filepath.Join(p.dir, name) }

func (p *place) write(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(p.path(name), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(&p.log, nil))
}

func (p *place) open() *Engine {
	p.t.Helper()
	e, err := open(p.t.Context(), p.cfg, p.logger(), p.host)
	if err != nil {
		p.t.Fatal(err)
	}
	return e
}

// facts are a stranger's RCPT.
func facts(to string) *policy.Facts {
	f := &policy.Facts{
		Conn: policy.Conn{Addr: netip.MustParseAddr("203.0.113.9"), Name: "client.example", Resolve: policy.ResolveOK},
		Helo: policy.Helo{Given: true, Name: "client.example"},
	}
	f.Mail.Sender = smtp.ParsePath("<me@stranger.example>")
	f.Rcpt.Recipient = smtp.ParsePath(to)
	return f
}

func decide(t *testing.T, e *Engine, to string) string {
	t.Helper()
	d := e.Policy().Decide(t.Context(), policy.StageRcpt, facts(to))
	return strings.TrimSpace(d.Verdict.Action.String() + " " + d.Verdict.Reply.String())
}

const denied = "reject 550 5.7.1 Relaying denied"

// TestClasses has what belongs to class w besides its file, and class m.
func TestClasses(t *testing.T) {
	p := newPlace(t)
	p.cfg.HostName = ""
	p.cfg.Features.RelayEntireDomain = true
	p.addresses = func() ([]net.Addr, error) {
		return []net.Addr{
			&net.IPNet{IP: net.ParseIP("192.0.2.26"), Mask: net.CIDRMask(24, 32)},
			&net.IPNet{IP: net.ParseIP("fe80::1"), Mask: net.CIDRMask(64, 128)},
		}, nil
	}
	for _, tc := range []struct {
		name, to string
		probe    string
		noProbe  string
	}{
		{"file", "<u@example.com>", "accept", "accept"},
		{"relay-domains", "<u@a.example.net>", "accept", "accept"},
		{"localhost", "<u@localhost>", "accept", "accept"},
		{"own name, found in the hosts file", "<u@mx.example.com>", "accept", "accept"},
		{"class m", "<u@any.example.com>", "accept", "accept"},
		{"address of the own name", "<u@[192.0.2.25]>", "accept", "accept"},
		{"IPv6 address of the own name", "<u@[IPv6:2001:db8:0:0:0:0:0:25]>", "accept", "accept"},
		{"address of an interface", "<u@[192.0.2.26]>", "accept", denied},
		{"IPv6 address of an interface", "<u@[IPv6:fe80:0:0:0:0:0:0:1]>", "accept", denied},
		{"other address", "<u@[192.0.2.27]>", denied, denied},
		{"stranger", "<u@elsewhere.example>", denied, denied},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for noProbe, want := range map[bool]string{false: tc.probe, true: tc.noProbe} {
				p.cfg.DontProbeInterfaces = noProbe
				if got := decide(t, p.open(), tc.to); got != want {
					t.Errorf("with dont_probe_interfaces = %v RCPT %s gave %s, want %s", noProbe, tc.to, got, want)
				}
			}
		})
	}
}

func TestHostName(t *testing.T) {
	for _, tc := range []struct {
		name, configured, hostname, want, logged string
		err                                      error
	}{
		{name: "configured", configured: "a.example", hostname: "mx", want: "a.example"},
		{name: "full", hostname: "b.example.org", want: "b.example.org"},
		{name: "in the hosts file", hostname: "mx", want: "mx.example.com"},
		{name: "nowhere", hostname: "lonely", want: "lonely", logged: "the host's name has no domain"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPlace(t)
			p.cfg.HostName = tc.configured
			p.hostname = func() (string, error) { return tc.hostname, nil }
			if got := p.open().current.Load().hostName; got != tc.want {
				t.Errorf("host name %q, want %q", got, tc.want)
			}
			if !strings.Contains(p.log.String(), tc.logged) {
				t.Errorf("log %q, want in it %q", p.log.String(), tc.logged)
			}
		})
	}
}

func TestOpenFails(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(p *place)
		want  string
	}{
		{"named table missing", func(p *place) { os.Remove(p.path("access")) }, "no such file"},
		{"table with a NUL byte", func(p *place) { p.write("relay-domains", "a\n\x00") }, "relay-domains:2"},
		{"no host name", func(p *place) {
			p.cfg.HostName = ""
			p.hostname = func() (string, error) { return "", errors.New("unheard of") }
		}, "set host_name in the configuration: unheard of"},
		{"hosts file is a folder", func(p *place) { p.hostsFile = p.dir }, "is a directory"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPlace(t)
			tc.spoil(p)
			e, err := open(t.Context(), p.cfg, p.logger(), p.host)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("open gave %v and error %v, want in it %q", e, err, tc.want)
			}
		})
	}
}

func TestOptionalTables(t *testing.T) {
	p := newPlace(t)
	for _, name := range []string{"access", "relay-domains", "local-host-names"} {
		if err := os.Remove(p.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	p.cfg.Tables.Access.Named, p.cfg.Tables.RelayDomains.Named, p.cfg.Tables.LocalHostNames.Named = false, false, false
	if got := decide(t, p.open(), "<u@example.net>"); got != denied {
		t.Errorf("without any table RCPT gave %s, want %s", got, denied)
	}
}

func TestWithoutAccess(t *testing.T) {
	p := newPlace(t)
	p.cfg.Features.AccessDB = false
	p.write("access", "To:elsewhere.example\tRELAY\n")
	if got := decide(t, p.open(), "<u@elsewhere.example>"); got != denied {
		t.Errorf("with access_db = false a RELAY entry gave %s, want %s", got, denied)
	}
	p.cfg.Features.AccessDB = true
	if got := decide(t, p.open(), "<u@elsewhere.example>"); got != "accept" {
		t.Errorf("with access_db a RELAY entry gave %s, want accept", got)
	}
}

func TestReloadAndRun(t *testing.T) {
	p := newPlace(t)
	e := p.open()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); e.Run(ctx) }()

	first := e.Policy()
	if err := e.Reload(ctx, func() (*config.Config, error) { return nil, errors.New("torn") }); err == nil || err.Error() != "torn" {
		t.Errorf("Reload gave %v, want the error of loading", err)
	}
	if e.Policy() != first || !e.failed.Load() || e.Generation() != 1 {
		t.Errorf("after a broken reload the policy is another: %v, generation %d, failed %v", e.Policy() != first, e.Generation(), e.failed.Load())
	}
	missing := *p.cfg
	missing.Tables.Access = textTable(p.path("nowhere"))
	if err := e.Reload(ctx, func() (*config.Config, error) { return &missing, nil }); err == nil || e.Policy() != first {
		t.Errorf("Reload with a missing table gave %v, and another policy %v", err, e.Policy() != first)
	}

	// A good reload brings other tables, which are watched from then on.
	p.write("other", "example.org\n")
	next := *p.cfg
	next.Tables.RelayDomains = textTable(p.path("other"))
	next.Admin.Listen = "127.0.0.1:9"
	if err := e.Reload(ctx, func() (*config.Config, error) { return &next, nil }); err != nil {
		t.Fatal(err)
	}
	if e.failed.Load() || e.Generation() != 2 || e.Config() != &next {
		t.Errorf("after a good reload: failed %v, generation %d", e.failed.Load(), e.Generation())
	}
	if got := decide(t, e, "<u@example.org>"); got != "accept" {
		t.Errorf("after a good reload RCPT gave %s, want accept", got)
	}
	if !strings.Contains(p.log.String(), `msg="a changed setting needs a restart to take effect" setting=[admin]`) {
		t.Errorf("nothing in the log about [milter]:\n%s", p.log.String())
	}
	p.write("other", "example.org\nlater.example\n")
	for end := time.Now().Add(10 * time.Second); decide(t, e, "<u@later.example>") != "accept"; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("an edit after the reload had no effect; log:\n%s", p.log.String())
		}
	}
	cancel()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("Run did not end with its context")
	}
}

// TestConcurrentChanges is for the race detector: decisions, edits, reloads and metrics at once.
func TestConcurrentChanges(t *testing.T) {
	p := newPlace(t)
	e := p.open()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 50 {
				f := facts("<u@elsewhere.example>")
				d := e.Policy().Decide(t.Context(), policy.StageRcpt, f)
				e.Observe(f, &d, time.Microsecond)
			}
		})
	}
	all.Go(func() {
		for range 20 {
			if err := e.Reload(t.Context(), func() (*config.Config, error) { return p.cfg, nil }); err != nil {
				t.Error(err)
			}
			e.rebuild()
		}
	})
	all.Go(func() {
		for range 20 {
			scrape(t, e)
		}
	})
	all.Wait()
	if got := e.Generation(); got != 41 {
		t.Errorf("generation %d after 40 changes, want 41", got)
	}
	out := scrape(t, e)
	if want := fmt.Sprintf("gatepost_decision_seconds_count{stage=%q} 200\n", "rcpt"); !strings.Contains(out, want) {
		t.Errorf("metrics are\n%swant in them %s", out, want)
	}
}

func TestBracketed(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1":          "[192.0.2.1]",
		"::1":                "[IPv6:0:0:0:0:0:0:0:1]",
		"2001:db8::a00:0:12": "[IPv6:2001:db8:0:0:0:a00:0:12]",
	} {
		if got := bracketed(netip.MustParseAddr(addr)); got != want {
			t.Errorf("bracketed(%s) = %s, want %s", addr, got, want)
		}
	}
}
