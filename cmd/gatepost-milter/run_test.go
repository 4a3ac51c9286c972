package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gatepost/internal/program"
	"gatepost/milter/miltertest"
)

// buffer is a bytes.Buffer that may be read while the program writes.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// site is a folder with a configuration and its tables, and the program on it.
type site struct {
	t       *testing.T
	dir     string
	stderr  buffer
	signals chan os.Signal
	exit    chan int
}

const siteConfig = `
host_name = "mx.example.com"
dont_probe_interfaces = true
[tables]
access = "access"
relay_domains = "relay-domains"
local_host_names = "local-host-names"
[features]
blocklist_recipients = true
nocanonify = true
accept_unresolvable_domains = true
[milter]
listen = "unix:DIR/m.sock"
[admin]
listen = "unix:DIR/a.sock"
[dns]
servers = ["127.0.0.1:9"]
timeout = "100ms"
attempts = 1
`

func newSite(t *testing.T) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "gp") // t.TempDir is too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &site{t: t, dir: dir, signals: make(chan os.Signal, 4), exit: make(chan int, 1)}
	s.write("gatepost.toml", siteConfig)
	s.write("access", "To:blocked@example.com\tREJECT\nFrom:spam.example\tREJECT\n")
	s.write("relay-domains", "example.net\n")
	s.write("local-host-names", "example.com\n")
	return s
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) write(name, text string) {
	s.t.Helper()
	tmp := s.path(name + ".new")
	if err := os.WriteFile(tmp, []byte(strings.ReplaceAll(text, "DIR", s.dir)), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(tmp, s.path(name)); err != nil {
		s.t.Fatal(err)
	}
}

// start runs the program and waits until it is ready.
func (s *site) start(args ...string) {
	s.t.Helper()
	args = append([]string{programName, "--config", s.path("gatepost.toml")}, args...)
	go func() {
		s.exit <- run(context.Background(), args, strings.NewReader(""), io.Discard, &s.stderr, s.signals)
	}()
	s.t.Cleanup(s.stop)
	s.eventually("it is ready", func() bool { return strings.Contains(s.stderr.String(), "msg=ready") })
}

func (s *site) stop() {
	s.signals <- syscall.SIGTERM
	s.signals <- syscall.SIGTERM
	select {
	case <-s.exit:
	case <-time.After(10 * time.Second):
		s.t.Errorf("the program did not end; its log:\n%s", s.stderr.String())
	}
}

func (s *site) eventually(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("waited 10 s until %s; log:\n%s", what, s.stderr.String())
		}
	}
}

// session begins an SMTP session of a stranger, up to HELO.
func (s *site) session(network, addr string) *miltertest.Client {
	s.t.Helper()
	c, err := miltertest.Dial(network, addr, miltertest.Sendmail, miltertest.Full())
	if err != nil {
		s.t.Fatalf("milter session: %v; log:\n%s", err, s.stderr.String())
	}
	s.t.Cleanup(func() { c.Close() })
	peer := miltertest.Peer{Addr: netip.MustParseAddr("203.0.113.9"), Name: "client.example", Ptr: "client.example", Resolve: "OK"}
	s.answer("CONNECT", "c")(c.Connect(peer))
	s.answer("HELO", "c")(c.Helo("client.example"))
	return c
}

func (s *site) answer(what, want string) func(miltertest.Answer, error) {
	return func(a miltertest.Answer, err error) {
		s.t.Helper()
		if err != nil || a.String() != want {
			s.t.Errorf("%s was answered %q (%v), want %q", what, a.String(), err, want)
		}
	}
}

// rcpt is the answer to one recipient in a session of its own.
func (s *site) rcpt(to string) string {
	s.t.Helper()
	c := s.session("unix", s.path("m.sock"))
	defer c.Close()
	s.answer("MAIL", "c")(c.Mail("<me@stranger.example>"))
	a, err := c.Rcpt(to)
	if err != nil {
		s.t.Fatalf("RCPT %s: %v", to, err)
	}
	return a.String()
}

func (s *site) get(path string) (int, string) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", s.path("a.sock"))
		},
	}}
	resp, err := client.Get("http://admin" + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

func TestVerdicts(t *testing.T) {
	s := newSite(t)
	s.start()
	c := s.session("unix", s.path("m.sock"))
	s.answer("MAIL from a refused domain", "y 550 5.7.1 Access denied")(c.Mail("<x@spam.example>"))
	s.answer("MAIL", "c")(c.Mail("<me@stranger.example>"))
	s.answer("RCPT local", "c")(c.Rcpt("<joe@example.com>"))
	s.answer("RCPT relay-domains", "c")(c.Rcpt("<joe@sub.example.net>"))
	s.answer("RCPT blocked", "y 550 5.2.1 Mailbox disabled for this recipient")(c.Rcpt("<blocked@example.com>"))
	s.answer("RCPT elsewhere", "y 550 5.7.1 Relaying denied")(c.Rcpt("<you@elsewhere.example>"))

	s.eventually("the decision is logged", func() bool { return strings.Contains(s.stderr.String(), "to=<you@elsewhere.example>") })
	var line string
	for l := range strings.Lines(s.stderr.String()) {
		if strings.Contains(l, "to=<blocked@example.com>") {
			line = l
		}
	}
	for _, want := range []string{
		"level=INFO msg=decision stage=rcpt action=reject", `reply="550 5.2.1 Mailbox disabled for this recipient"`,
		"source=" + s.path("access") + ":1", "client=203.0.113.9 name=client.example helo=client.example",
		"from=<me@stranger.example>", "took=",
	} {
		if !strings.Contains(line, want) {
			t.Errorf("the line of a decision is\n%swant in it %q", line, want)
		}
	}
}

func TestAdmin(t *testing.T) {
	s := newSite(t)
	s.start()
	s.rcpt("<you@elsewhere.example>")
	if code, body := s.get("/ready"); code != 200 || body != "ready\n" {
		t.Errorf("/ready gave %d %q, want 200 ready", code, body)
	}
	if code, body := s.get("/healthz"); code != 200 {
		t.Errorf("/healthz gave %d %q, want 200", code, body)
	}
	if code, body := s.get("/status"); code != 200 || !strings.Contains(body, `"table":"access","kind":"text","path":"`+s.path("access")+`","entries":2,`) {
		t.Errorf("/status gave %d %s", code, body)
	}
	if code, _ := s.get("/debug/pprof/"); code != 404 {
		t.Errorf("/debug/pprof/ gave %d, want 404", code)
	}
	code, body := s.get("/metrics")
	if code != 200 {
		t.Fatalf("/metrics gave %d %q", code, body)
	}
	for _, want := range []string{
		`gatepost_decisions_total{action="reject",rule="[^"]+",stage="rcpt"} 1`,
		`gatepost_decision_seconds_count{stage="rcpt"} 1`,
		`gatepost_table_entries{kind="text",path="` + s.path("access") + `",table="access"} 2`,
		`gatepost_table_error{kind="text",path="` + s.path("relay-domains") + `",table="relay_domains"} 0`,
		`gatepost_policy_generation 1`,
		`gatepost_reload_success 1`,
		`gatepost_milter_connections_total 1`,
		`gatepost_dns_lookups_total \d+`,
		`gatepost_log_dropped_total 0`,
	} {
		if !regexp.MustCompile(`(?m)^` + want + `$`).MatchString(body) {
			t.Errorf("/metrics has no line %s; it is\n%s", want, body)
		}
	}
}

func TestLiveEdit(t *testing.T) {
	s := newSite(t)
	s.start()
	if got := s.rcpt("<you@elsewhere.example>"); got != "y 550 5.7.1 Relaying denied" {
		t.Fatalf("before the edit: %q", got)
	}
	old := s.session("unix", s.path("m.sock"))
	s.write("relay-domains", "example.net\nelsewhere.example\n")
	edited := time.Now()
	for s.rcpt("<you@elsewhere.example>") != "c" {
		if time.Since(edited) > 5*time.Second {
			t.Fatalf("the edit had no effect; log:\n%s", s.stderr.String())
		}
		time.Sleep(10 * time.Millisecond)
	}
	took := time.Since(edited)
	t.Logf("in force after %v", took)
	if took > time.Second {
		t.Errorf("the edit was in force after %v, want less than a second", took)
	}
	s.answer("MAIL in a session from before", "c")(old.Mail("<me@stranger.example>"))
	s.answer("RCPT in a session from before", "y 550 5.7.1 Relaying denied")(old.Rcpt("<you@elsewhere.example>"))
}

// TestOpenRelayWarning: an open relay on a port for everybody is served and told
// of, at the start and after an edit; a value that sendmail would turn into garbage
// leaves the table as it was.
func TestOpenRelayWarning(t *testing.T) {
	s := newSite(t)
	s.write("relay-domains", "example.net\n11\n")
	s.start("--listen", "inet:0@0.0.0.0", "--listen", "unix:"+s.path("m.sock"))
	warned := func(place string) func() bool {
		return func() bool {
			for line := range strings.Lines(s.stderr.String()) {
				if strings.Contains(line, "level=WARN msg=\"open relay: ") && strings.Contains(line, "at="+s.path(place)+" shown_by=\"gatepost explain --config "+s.path("gatepost.toml")+" --client 11.") {
					return true
				}
			}
			return false
		}
	}
	s.eventually("the open relay is told of", warned("relay-domains:2"))
	s.write("relay-domains", "example.net\n")
	s.eventually("the edit is told of", func() bool { return strings.Contains(s.stderr.String(), "no open relay any more") })
	s.write("access", "Connect:11\tRELAY\nTo:blocked@example.com\tREJECT\n")
	s.eventually("the open relay is told of again", warned("access:1"))

	for _, value := range []string{"ERROR:", "ERROR:5.7.1:250 fine"} {
		s.write("access", "# "+value+"\nTo:you@example.net\t"+value+"\n")
		want := "access:2: value " + strings.ReplaceAll(strconv.Quote(value), `"`, `\"`)
		s.eventually("the log names the line of "+value, func() bool { return strings.Contains(s.stderr.String(), want) })
		for to, answer := range map[string]string{"<blocked@example.com>": "y 550 5.2.1 Mailbox disabled for this recipient", "<you@example.net>": "c"} {
			if got := s.rcpt(to); got != answer {
				t.Errorf("after the entry %q RCPT %s is answered %q, want %q", value, to, got, answer)
			}
		}
	}
}

func TestReload(t *testing.T) {
	s := newSite(t)
	s.start()
	s.write("gatepost.toml", siteConfig+"\n[log]\nlevle = \"debug\"\n")
	s.signals <- syscall.SIGHUP
	s.eventually("the broken configuration is logged", func() bool { return strings.Contains(s.stderr.String(), "reload failed") })
	if want := s.path("gatepost.toml") + ":22: unknown key log.levle, did you mean log.level?"; !strings.Contains(s.stderr.String(), want) {
		t.Errorf("the log is\n%swant in it %s", s.stderr.String(), want)
	}
	if got := s.rcpt("<you@elsewhere.example>"); got != "y 550 5.7.1 Relaying denied" {
		t.Errorf("after a broken reload RCPT is answered %q", got)
	}
	if _, body := s.get("/metrics"); !strings.Contains(body, "\ngatepost_reload_success 0\n") {
		t.Errorf("after a broken reload the metrics are\n%s", body)
	}

	s.write("gatepost.toml", strings.Replace(siteConfig, "[features]", "[features]\npromiscuous_relay = true", 1)+"[log]\nlevel = \"warn\"\n")
	s.signals <- syscall.SIGHUP
	s.eventually("the new configuration is in force", func() bool { return strings.Contains(s.stderr.String(), "msg=reloaded") })
	if got := s.rcpt("<you@elsewhere.example>"); got != "c" {
		t.Errorf("with promiscuous_relay RCPT is answered %q, want c", got)
	}
	if strings.Contains(s.stderr.String(), "needs a restart") {
		t.Errorf("what has not changed needs a restart:\n%s", s.stderr.String())
	}
	if want := `level=WARN msg="features.promiscuous_relay is on`; !strings.Contains(s.stderr.String(), want) {
		t.Errorf("the log is\n%swant in it %s", s.stderr.String(), want)
	}
	if log := s.stderr.String(); strings.Contains(log[strings.Index(log, "msg=reloaded"):], "msg=decision") {
		t.Errorf("log.level = \"warn\" did not silence decisions:\n%s", log)
	}
	s.write("gatepost.toml", strings.Replace(siteConfig, "[milter]", "[milter]\ntimeout = \"3s\"", 1))
	s.signals <- syscall.SIGHUP
	s.eventually("it is told what needs a restart", func() bool { return strings.Contains(s.stderr.String(), "setting=[milter]") })
	if _, body := s.get("/metrics"); !strings.Contains(body, "\ngatepost_reload_success 1\n") {
		t.Errorf("after a good reload the metrics are\n%s", body)
	}
}

func TestDrain(t *testing.T) {
	s := newSite(t)
	s.start()
	c := s.session("unix", s.path("m.sock"))
	s.answer("MAIL", "c")(c.Mail("<me@stranger.example>"))
	s.signals <- syscall.SIGTERM
	s.eventually("it says that it is not ready", func() bool { code, _ := s.get("/ready"); return code == 503 })
	s.eventually("new connections are refused", func() bool {
		n, err := net.Dial("unix", s.path("m.sock"))
		if err == nil {
			n.Close()
		}
		return err != nil
	})
	s.answer("RCPT while stopping", "y 550 5.7.1 Relaying denied")(c.Rcpt("<you@elsewhere.example>"))
	s.answer("RCPT while stopping", "c")(c.Rcpt("<joe@example.com>"))
	s.answer("end of message while stopping", "a")(c.Message())
	select {
	case code := <-s.exit:
		if code != 0 {
			t.Errorf("exit code %d, want 0", code)
		}
		s.exit <- code
	case <-time.After(10 * time.Second):
		t.Errorf("it did not end after the message; log:\n%s", s.stderr.String())
	}
	if _, err := os.Lstat(s.path("m.sock")); err == nil {
		t.Errorf("the socket was left behind")
	}
}

func TestSecondSignalCutsShort(t *testing.T) {
	s := newSite(t)
	s.start()
	c := s.session("unix", s.path("m.sock"))
	s.answer("MAIL", "c")(c.Mail("<me@stranger.example>"))
	start := time.Now()
	s.stop()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("two signals ended it after %v, want at once", took)
	}
	s.exit <- 0
}

// TestRefusesToStart has what must end with exit code 2 and one line.
func TestRefusesToStart(t *testing.T) {
	s := newSite(t)
	s.start()
	other := newSite(t)
	if err := os.Remove(other.path("access")); err != nil {
		t.Fatal(err)
	}
	bad := newSite(t)
	bad.write("gatepost.toml", siteConfig+"[milter.x]\n[foo]\n")
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	port := busy.Addr().(*net.TCPAddr).Port
	nowhere := newSite(t)
	cfg := func(s *site) string { return "--config=" + s.path("gatepost.toml") }
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{"unknown flag", []string{"--lisen", "x"}, `flag provided but not defined: -lisen, did you mean --listen\?, see --help`},
		{"argument", []string{"start"}, `unexpected argument "start", see --help`},
		{"argument after flag", []string{cfg(s), "--", "-x"}, `unexpected argument "-x", see --help`},
		{"flag without value", []string{"--config"}, `flag needs an argument: -config, see --help`},
		{"no configuration", []string{"--config", s.path("none")}, `cannot read the configuration: open .*: no such file or directory`},
		{"configuration is a folder", []string{"--config", s.dir}, `cannot read the configuration: .*: not a regular file`},
		{"unknown keys", []string{cfg(bad)}, `\S+gatepost.toml:20: unknown key milter.x\n` + programName + `: \S+gatepost.toml:21: unknown key foo`},
		{"named table missing", []string{cfg(other)}, `table access: .*no such file or directory`},
		{"bad listen address", []string{cfg(nowhere), "--listen", "127.0.0.1:8891"}, `listen address "127.0.0.1:8891": .+`},
		{"listen with a comma", []string{cfg(nowhere), "--listen", "inet:1,2@x"}, `listen address "inet:1,2@x": .+`},
		{"socket of a live daemon", []string{cfg(nowhere), "--listen", "unix:" + s.path("m.sock")}, `listen on unix:\S+: .+`},
		{"port taken", []string{cfg(nowhere), "--listen", fmt.Sprintf("inet:%d@127.0.0.1", port)}, `listen on inet:\S+: .*address already in use`},
		{"second listener taken", []string{cfg(nowhere), "--listen", "unix:" + nowhere.path("m.sock"), "--listen", "unix:" + s.path("m.sock")}, `listen on unix:\S+: .+`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var stderr buffer
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			code := run(ctx, append([]string{programName}, tc.args...), strings.NewReader(""), io.Discard, &stderr, nil)
			got := stderr.String()
			if code != program.ExitUsage || !regexp.MustCompile(`^`+programName+`: `+tc.want+`\n$`).MatchString(got) {
				t.Errorf("%v ended with %d and\n%swant 2 and one line like\n%s", tc.args, code, got, tc.want)
			}
		})
	}
	if got := s.rcpt("<joe@example.com>"); got != "c" {
		t.Errorf("the live daemon answers %q after all this, want c", got)
	}
}

func TestVersion(t *testing.T) {
	var stdout, stderr buffer
	if code := run(t.Context(), []string{programName, "--version"}, nil, &stdout, &stderr, nil); code != 0 || !strings.HasPrefix(stdout.String(), programName+" version ") {
		t.Errorf("--version ended with %d and %q %q, want 0 and the version", code, stdout.String(), stderr.String())
	}
}

// TestSystemd plays systemd's part of the notify protocol (sd_notify(3)).
func TestSystemd(t *testing.T) {
	s := newSite(t)
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.path("notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", s.path("notify"))
	t.Setenv("WATCHDOG_USEC", "100000")
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	s.start()
	expect := func(prefix string) {
		t.Helper()
		b := make([]byte, 1000)
		for {
			conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			n, err := conn.Read(b)
			if err != nil {
				t.Fatalf("waiting for %s: %v", prefix, err)
			}
			if strings.HasPrefix(string(b[:n]), prefix) {
				return
			}
			if !strings.HasPrefix(string(b[:n]), "WATCHDOG=1") {
				t.Fatalf("systemd was told %q, want %s", b[:n], prefix)
			}
		}
	}
	expect("READY=1")
	expect("WATCHDOG=1")
	s.signals <- syscall.SIGHUP
	expect("RELOADING=1\nMONOTONIC_USEC=")
	expect("READY=1")
	s.signals <- syscall.SIGTERM
	expect("STOPPING=1")
}
