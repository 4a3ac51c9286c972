package main

import (
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"gatepost/internal/config"
	"gatepost/internal/setup"
)

// servedEngine is an engine over tables in dir, whose status is served.
func servedEngine(t *testing.T, dir string) (engine *setup.Engine, configFile string, load func() (*config.Config, error)) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	configFile = filepath.Join(dir, "gatepost.toml")
	for name, text := range map[string]string{
		"gatepost.toml": "host_name = \"mx.example.com\"\ndont_probe_interfaces = true\n" +
			"[tables]\naccess = [\"access\", \"cidr:networks\"]\nrelay_domains = \"relay\"\nlocal_host_names = \"local\"\n" +
			"[dns]\nservers = [\"127.0.0.1:9\"]\ntimeout = \"50ms\"\nattempts = 1\n" +
			"[admin]\nlisten = \"" + ln.Addr().String() + "\"\n",
		"access":   "From:a REJECT\nnothing\n",
		"networks": "192.0.2.0/24 REJECT\n198.51.100.0/24 OK\n",
		"relay":    "example.net\n",
		"local":    "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	load = func() (*config.Config, error) { return config.Load(configFile) }
	cfg, err := load()
	if err != nil {
		t.Fatal(err)
	}
	if engine, err = setup.Open(t.Context(), cfg, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /status", engine.StatusHandler("1.2.3", nil))
	server := &http.Server{Handler: mux}
	go server.Serve(ln)
	t.Cleanup(func() { server.Close() })
	return engine, configFile, load
}

func TestStatus(t *testing.T) {
	dir := t.TempDir()
	engine, configFile, load := servedEngine(t, dir)
	call := func(args ...string) (int, string, string) {
		var out, errs strings.Builder
		code := run(t.Context(), append([]string{programName, "status", "--config", configFile}, args...), nil, &out, &errs)
		return code, strings.ReplaceAll(out.String(), dir, "DIR"), errs.String()
	}
	code, out, errs := call()
	for _, want := range []string{
		`^gatepost 1\.2\.3, DIR/gatepost\.toml\npolicy 1, in force for \d+s\n\nTABLE +KIND +ENTRIES +BYTES +LOADED +PROBLEMS +WHERE\n`,
		`\naccess +text +1 +22 +\d+s +1 +DIR/access\n`,
		`\naccess +cidr +2 +39 +\d+s +0 +DIR/networks\n`,
		`\nrelay_domains +text +1 +12 +\d+s +0 +DIR/relay\n`,
		`\nlocal_host_names +text +0 +0 +\d+s +0 +DIR/local\n$`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("status printed\n%s\nwithout %s", out, want)
		}
	}
	if code != 0 || errs != "" {
		t.Errorf("status ended with %d and said %q", code, errs)
	}

	if err := os.WriteFile(filepath.Join(dir, "networks"), []byte("junk\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := engine.Reload(t.Context(), load); err == nil {
		t.Error("a broken table was taken over")
	}
	code, out, _ = call()
	if code != 1 || !regexp.MustCompile(`\n\naccess: DIR/networks:1: "junk" is no network.* \(for \d+s\)\n$`).MatchString(out) ||
		!strings.Contains(out, "\nthe last reload or edit could not be taken over; older settings are in force\n") {
		t.Errorf("with a broken table status ended with %d and printed\n%s", code, out)
	}
	code, out, _ = call("--json")
	var status setup.Status
	if err := json.Unmarshal([]byte(out), &status); code != 1 || err != nil || len(status.Tables) != 4 || status.Tables[1].LastError == "" {
		t.Errorf("--json: %d, %v, %s", code, err, out)
	}
}

func TestStatusWithoutDaemon(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		config string
		code   int
		want   string
	}{
		{"", 2, "has no [admin] listen"},
		{"[admin]\nlisten = \"unix:" + dir + "/nobody.sock\"\n", 75, "gatepost: the daemon at unix:" + dir + "/nobody.sock: dial unix "},
		{"[admin]\nlisten = 5\n", 2, "admin.listen is the number 5"},
	} {
		file := filepath.Join(dir, "gatepost.toml")
		if err := os.WriteFile(file, []byte(c.config), 0o600); err != nil {
			t.Fatal(err)
		}
		var out, errs strings.Builder
		if code := run(t.Context(), []string{programName, "status", "--config", file}, nil, &out, &errs); code != c.code || !strings.Contains(errs.String(), c.want) {
			t.Errorf("%q gave %d, %q, want %d, %q", c.config, code, errs.String(), c.code, c.want)
		}
	}
}

// TestStatusOfLists shows what is wrong with DNS lists; one that is parked is a
// reason to look.
func TestStatusOfLists(t *testing.T) {
	at := time.Now().Add(-90 * time.Second)
	status := setup.Status{Version: "1", Since: at, Lists: []setup.ListStatus{
		{Zone: "good.example", Lookup: "address", ProbedAt: at, Queries: 7, Hits: 2, Errors: 1},
		{Zone: "odd.example", Lookup: "domain", Warning: "it does not list test"},
	}}
	show := func() (string, error) {
		answer, err := json.Marshal(status)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		err = streams{out: &out}.status(answer, false)
		return out.String(), err
	}
	out, err := show()
	for _, want := range []string{
		`\nDNS LIST +OF +STATE +PROBED +QUERIES +HITS +ERRORS\n`, `\ngood\.example +address +asked +1m3\ds +7 +2 +1\n`,
		`\nodd\.example +domain +asked +never +0 +0 +0\n`, `\n\nodd\.example: it does not list test\n$`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("status printed\n%s\nwithout %s", out, want)
		}
	}
	if err != nil {
		t.Errorf("status ended with %v", err)
	}
	status.Lists[0].Parked, status.Lists[0].ParkedAt = "it lists \x1b[2J127.0.0.1", at
	if out, err = show(); err == nil || !regexp.MustCompile(`\ngood\.example +address +parked `).MatchString(out) ||
		!regexp.MustCompile(`\n\ngood\.example is parked, mail passes it: it lists \\x1b\[2J127\.0\.0\.1 \(for 1m3\ds\)\n`).MatchString(out) {
		t.Errorf("with a parked list status ended with %v and printed\n%s", err, out)
	}
}

// TestStatusOfListeners shows where mail is taken; a certificate that could not be taken
// over is a reason to look.
func TestStatusOfListeners(t *testing.T) {
	r := &setup.RelayStatus{
		Listeners: []setup.ListenerStatus{
			{Name: "MTA", Kind: "mta", Address: "[::]:25", TLS: "may"}, {Name: "MSA", Kind: "submission", Address: "[::]:587", TLS: "required", Auth: true},
		},
		Certificate: &setup.CertificateStatus{File: "/c", Names: "mx.example.com", NotAfter: time.Date(2030, 1, 2, 0, 0, 0, 0, time.UTC)},
	}
	show := func() (string, error) {
		answer, err := json.Marshal(setup.Status{Relay: r})
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		err = streams{out: &out}.status(answer, false)
		return out.String(), err
	}
	const want = "at [::]:25: MTA (mta, TLS may)\nat [::]:587: MSA (submission, TLS required, AUTH)\ncertificate for mx.example.com until 2030-01-02: /c\n"
	if out, err := show(); err != nil || !strings.HasSuffix(out, want) {
		t.Errorf("status ended with %v and printed\n%s", err, out)
	}
	r.Certificate.Fault = "/c: no PEM"
	if out, err := show(); err == nil || !strings.HasSuffix(out, want+"the certificate as it is now is not in force: /c: no PEM\n") {
		t.Errorf("with a broken certificate status ended with %v and printed\n%s", err, out)
	}
}

// TestStatusOfRelay shows the queue, and what the operator has to look at.
func TestStatusOfRelay(t *testing.T) {
	at := time.Now().Add(-90 * time.Second)
	answer, err := json.Marshal(setup.Status{Version: "1", Since: at, Tables: []setup.TableStatus{{Table: "mailertable", Kind: "text"}}, Relay: &setup.RelayStatus{
		Connections: 4, Messages: 12, Bytes: 3456, Active: 2, Deferred: 7, Held: 3, Oldest: at,
		Spool: "/var/spool/gatepost", NextHop: "smtp.isp.example:587", LocalMail: "refuse",
		Down: []setup.DownHop{{NextHop: "smtp.isp.example:587", Since: at, Reason: "cannot connect"}},
		Hold: []setup.HeldMessage{{ID: "2K7X", Reason: "DNS \x1b[2J list", Arrived: at, Size: 99, Sender: "a@b.example", Recipients: 2}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := (streams{out: &out}).status(answer, false); err != nil {
		t.Errorf("status ended with %v", err)
	}
	for _, want := range []string{
		`\nqueue /var/spool/gatepost: 12 messages, 3456 bytes, the oldest for 1m3\ds\n`,
		`\nbeing delivered 2, deferred 7, held 3; connections 4\nto where the mailertable says, else to smtp\.isp\.example:587; local mail: refuse\nsmtp\.isp\.example:587 is down for 1m3\ds: cannot connect\n`,
		`\nHELD +FOR +BYTES +FROM +TO +REASON\n2K7X +1m3\ds +99 +<a@b\.example> +2 +DNS \\x1b\[2J list\n$`,
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("status printed\n%s\nwithout %s", out.String(), want)
		}
	}
}
