package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	netsmtp "net/smtp"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatepost/internal/program"
)

// TestRelays: a message of a client that may relay is at the smart host a moment
// later, and the queue is empty again.
func TestRelays(t *testing.T) {
	s := newSite(t)
	s.start()
	text := "Subject: hello\r\n\r\n.one\r\n..two\r\n"
	if err := netsmtp.SendMail(s.address(), nil, "me@example.com", []string{"you@elsewhere.example", "her@elsewhere.example"}, []byte(text)); err != nil {
		t.Fatalf("%v; log:\n%s", err, s.stderr.String())
	}
	s.eventually("the smart host has it", func() bool { return len(s.smart.mail("you@elsewhere.example")) == 1 })
	m := s.smart.mail("her@elsewhere.example")[0]
	if m.from != "me@example.com" || len(m.to) != 2 {
		t.Errorf("it came from %s for %v", m.from, m.to)
	}
	if !strings.HasPrefix(m.text, "Received: from ") || !strings.Contains(m.text, "\tby mx.example.com with ") || !strings.HasSuffix(m.text, "\r\n"+text) {
		t.Errorf("the smart host has\n%s", m.text)
	}
	s.eventually("the queue is empty", func() bool { return s.status().Messages == 0 })
	if got := s.status(); got.NextHop != s.smart.addr || got.LocalMail != "refuse" || got.Spool != s.path("spool") || got.Free == 0 {
		t.Errorf("the status is %+v", got)
	}
	_, body := s.get("/metrics")
	for _, want := range []string{
		`gatepost_relay_connections_total 1`, `gatepost_relay_delivered_total 2`, `gatepost_relay_messages 0`, `gatepost_relay_held 0`,
		`gatepost_relay_spool_commits_total 1`, `gatepost_relay_accepted_total 1`, `gatepost_relay_panics_total 0`, `gatepost_log_dropped_total 0`,
		`gatepost_decisions_total{action="accept",rule="[^"]+",stage="rcpt"} 2`,
	} {
		if !regexp.MustCompile(`(?m)^` + want + `$`).MatchString(body) {
			t.Errorf("/metrics has no line %s; it is\n%s", want, body)
		}
	}
}

// TestWhoMayRelay: the policy is the milter's; and what is sent is the address that
// was judged.
func TestWhoMayRelay(t *testing.T) {
	s := newSite(t)
	s.relay(`local_mail = "smart_host"`)
	s.start()
	for _, tc := range []struct{ client, to, want, sent string }{
		{stranger, "<you@elsewhere.example>", "550 5.7.1 ", ""},
		{stranger, "<you%elsewhere.example@example.com>", "550 5.7.1 ", ""},
		{stranger, `<"you@elsewhere.example"@example.com>`, "550 5.7.1 ", ""},
		{stranger, `<"y u%elsewhere.example"@example.com>`, "550 5.7.1 ", ""},
		{stranger, "<elsewhere.example!you@example.net>", "550 5.7.1 ", ""},
		{stranger, `<you\@elsewhere.example@example.net>`, "550 5.7.1 ", ""},
		{stranger, "<@example.com:you@elsewhere.example>", "550 5.7.1 ", ""},
		{stranger, "<a1@example.net>", "250 2.0.0 ", "a1@example.net"},
		{stranger, "<a2@example.com>", "250 2.0.0 ", "a2@example.com"},
		{stranger, "<a3%example.net@example.com>", "250 2.0.0 ", "a3@example.net"},
		{stranger, `<"a4@example.net"@example.com>`, "250 2.0.0 ", "a4@example.net"},
		{stranger, "<@example.com,@b.example:a5@example.net>", "250 2.0.0 ", "a5@example.net"},
		{stranger, "<postmaster>", "250 2.0.0 ", "postmaster@mx.example.com"},
		{trusted, "<b1@elsewhere.example>", "250 2.0.0 ", "b1@elsewhere.example"},
		{trusted, "<b2%elsewhere.example@example.com>", "250 2.0.0 ", "b2@elsewhere.example"},
		{trusted, "<elsewhere.example!b3>", "250 2.0.0 ", "b3@elsewhere.example"},
	} {
		if got := s.from(tc.client).message("me@stranger.example", tc.to); !strings.HasPrefix(got, tc.want) {
			t.Errorf("%s from %s is answered %q, want %s", tc.to, tc.client, got, tc.want)
		} else if tc.sent != "" {
			s.eventually(tc.to+" arrives for "+tc.sent, func() bool { return len(s.smart.mail(tc.sent)) == 1 })
		}
	}
	s.smart.mu.Lock()
	defer s.smart.mu.Unlock()
	if len(s.smart.got) != 9 {
		t.Errorf("the smart host has %d messages, want 9: %v", len(s.smart.got), s.smart.got)
	}
	if log := s.stderr.String(); !strings.Contains(log, "local mail is taken for any name") {
		t.Errorf("the log does not warn of missing local_users:\n%s", log)
	}
}

// TestEveryRoutingCharacter: nospecial makes % an ordinary character for sendmail; the
// smart host may see more in it.
func TestEveryRoutingCharacter(t *testing.T) {
	s := newSite(t)
	s.write("gatepost.toml", strings.Replace(siteConfig, "[features]\n", "[features]\nnopercenthack = \"nospecial\"\nnouucp = \"nospecial\"\n", 1))
	s.start()
	for _, to := range []string{"<you%elsewhere.example@example.net>", "<elsewhere.example!you@example.net>"} {
		if got := s.from(stranger).message("me@stranger.example", to); !strings.HasPrefix(got, "550 5.7.1 ") {
			t.Errorf("%s is answered %q", to, got)
		}
	}
}

func TestLocalMailRefused(t *testing.T) {
	s := newSite(t)
	s.start()
	for _, client := range []string{stranger, trusted} {
		if got := s.from(client).message("me@stranger.example", "<joe@example.com>"); !strings.HasPrefix(got, "550 5.1.1 ") {
			t.Errorf("local mail from %s is answered %q", client, got)
		}
	}
}

func TestMaildir(t *testing.T) {
	s := newSite(t)
	s.relay("local_mail = \"maildir:mail/%u\"\nlocal_users = \"users\"")
	s.write("users", "joe\n")
	s.start()
	if got := s.from(stranger).message("me@stranger.example", "<nobody@example.com>"); !strings.HasPrefix(got, "550 5.1.1 ") || !strings.Contains(got, "User unknown") {
		t.Errorf("an unknown user is answered %q", got)
	}
	if got := s.from(trusted).message("me@stranger.example", "<Joe+lists@example.com>", "<you@elsewhere.example>"); got[0] != '2' {
		t.Fatalf("the message is answered %q", got)
	}
	var files []string
	s.eventually("it is in the maildir", func() bool {
		files, _ = filepath.Glob(s.path("mail/joe/new/*"))
		return len(files) == 1 && len(s.smart.mail("you@elsewhere.example")) == 1
	})
	text, err := os.ReadFile(files[0])
	if err != nil || !strings.Contains(string(text), "Return-Path: <me@stranger.example>\n") || !strings.HasSuffix(string(text), "\n.dot\n") {
		t.Errorf("the maildir has %q, %v", text, err)
	}
	s.write("users", "ann\n")
	s.eventually("the edit of local_users is in force", func() bool {
		return s.from(stranger).message("me@stranger.example", "<ann@example.com>")[0] == '2' &&
			s.from(stranger).message("me@stranger.example", "<joe@example.com>")[0] == '5'
	})
}

func TestLMTP(t *testing.T) {
	s := newSite(t)
	agent := &sink{}
	ln, err := net.Listen("unix", s.path("lmtp"))
	if err != nil {
		t.Fatal(err)
	}
	agent.serve(t, ln, true)
	s.relay(`local_mail = "lmtp:unix:DIR/lmtp"`)
	s.start()
	if got := s.from(stranger).message("me@stranger.example", "<joe@example.com>"); got[0] != '2' {
		t.Fatalf("the message is answered %q", got)
	}
	s.eventually("the delivery agent has it", func() bool { return len(agent.mail("joe@example.com")) == 1 })
}

// TestHeld: what a rule holds waits for the operator, and is shown to him; what is refused
// for good is returned; what a rule discards is gone.
func TestHeld(t *testing.T) {
	s := newSite(t)
	s.start()
	for _, m := range [][2]string{{"x@doubtful.example", "<a@elsewhere.example>"}, {"x@trap.example", "<b@elsewhere.example>"}, {"x@fine.example", "<unwanted@elsewhere.example>"}} {
		if got := s.from(trusted).message(m[0], m[1]); got[0] != '2' {
			t.Errorf("a message from %s is answered %q", m[0], got)
		}
	}
	s.eventually("one message is held and one returned", func() bool {
		return s.status().Held == 1 && len(s.status().Hold) == 1 && len(s.smart.mail("x@fine.example")) == 1 && s.status().Messages == 1
	})
	reasons := map[string]string{}
	for _, m := range s.status().Hold {
		reasons[m.Sender] = m.Reason
		if m.ID == "" || m.Arrived.IsZero() || m.Size == 0 || m.Recipients != 1 {
			t.Errorf("a held message is shown as %+v", m)
		}
	}
	if !strings.Contains(reasons["x@doubtful.example"], "looked at by hand") {
		t.Errorf("the reasons are %v", reasons)
	}
	for _, want := range []string{"From: Mail Delivery Subsystem <MAILER-DAEMON@mx.example.com>\r\n", "Final-Recipient: rfc822; unwanted@elsewhere.example\r\nAction: failed\r\n"} {
		if report := s.smart.mail("x@fine.example")[0]; !strings.Contains(fmt.Sprint(report), want) {
			t.Errorf("no %q in the report %v", want, report)
		}
	}
	if got := s.status(); got.Messages != 1 || got.Deferred != 0 || got.Oldest.IsZero() {
		t.Errorf("the status is %+v", got)
	}
	if len(s.smart.mail("a@elsewhere.example"))+len(s.smart.mail("b@elsewhere.example")) > 0 {
		t.Error("held or discarded mail was delivered")
	}
}

func TestReload(t *testing.T) {
	s := newSite(t)
	s.start()
	s.relay("smarthost = \"x\"")
	s.signals <- syscall.SIGHUP
	s.eventually("the broken configuration is logged", func() bool {
		return strings.Contains(s.stderr.String(), s.path("gatepost.toml")+":12: unknown key relay.smarthost, did you mean relay.smart_host?")
	})
	if got := s.from(trusted).message("me@a.example", "<a@elsewhere.example>"); got[0] != '2' {
		t.Errorf("after broken reloads a message is answered %q", got)
	}
	s.write("gatepost.toml", strings.Replace(siteConfig, "[relay]\n", "[log]\nlevel = \"warn\"\n[relay]\nmax_hops = 3\n", 1))
	s.write("access", "Connect:192.0.2\tREJECT\n")
	s.signals <- syscall.SIGHUP
	s.eventually("the new configuration is in force", func() bool { return strings.Contains(s.stderr.String(), "msg=reloaded") })
	if log := s.stderr.String(); !strings.Contains(log, "needs a restart to take effect\" setting=[relay]") {
		t.Errorf("the log does not tell what needs a restart:\n%s", log)
	}
	if got := s.from(trusted).message("me@a.example", "<a@elsewhere.example>"); got[0] != '5' {
		t.Errorf("after the reload a refused client is answered %q", got)
	}
	if log := s.stderr.String(); strings.Contains(log[strings.Index(log, "msg=reloaded"):], "msg=decision") {
		t.Errorf("log.level = \"warn\" did not silence decisions:\n%s", log)
	}
}

// TestDrain: a message that is on its way in may end, and is delivered before the end
// or after the next start.
func TestDrain(t *testing.T) {
	s := newSite(t)
	s.start()
	addr := s.address()
	c := s.from(trusted)
	c.expect("250 ", "MAIL FROM:<me@a.example>")
	c.expect("250 ", "RCPT TO:<a@elsewhere.example>")
	c.expect("354 ", "DATA")
	s.signals <- syscall.SIGTERM
	s.eventually("it says that it is not ready", func() bool { code, _ := s.get("/ready"); return code == 503 })
	s.eventually("new connections are refused", func() bool {
		nc, err := net.Dial("tcp", addr)
		if err == nil {
			nc.Close()
		}
		return err != nil
	})
	c.expect("250 ", "Subject: last\r\n\r\nx\r\n.")
	if code := s.ended(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if len(s.smart.mail("a@elsewhere.example")) == 0 {
		s.stderr.b.Reset()
		<-s.exit
		s.start()
		s.eventually("it is delivered after the next start", func() bool { return len(s.smart.mail("a@elsewhere.example")) == 1 })
	}
}

// TestRefusesToStart has what must end at once with one line.
func TestRefusesToStart(t *testing.T) {
	s := newSite(t)
	s.start()
	busy := s.address()
	second := newSite(t)
	second.write("gatepost.toml", strings.ReplaceAll(siteConfig, "DIR/spool", s.path("spool")))
	bad, plain := newSite(t), newSite(t)
	bad.relay("max_message_size = \"1 TB\"\nlocal_mail = \"mbox\"")
	plain.write("gatepost.toml", strings.ReplaceAll(siteConfig, "DIR/spool", "DIR/access/spool"))
	cfg := func(s *site) string { return "--config=" + s.path("gatepost.toml") }
	for _, tc := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"unknown flag", []string{"--lisen", "x"}, 2, `flag provided but not defined: -lisen, did you mean --listen\?, see --help`},
		{"argument", []string{"start"}, 2, `unexpected argument "start", see --help`},
		{"no configuration", []string{"--config", s.path("none")}, 2, `cannot read the configuration: open .*: no such file or directory`},
		{"bad values", []string{cfg(bad)}, 2, `\S+gatepost.toml:12: relay.max_message_size is "1 TB", expected .*\n` + programName + `: \S+gatepost.toml:13: relay.local_mail is "mbox", expected .*`},
		{"bad listen address", []string{cfg(plain), "--listen", "inet:25@127.0.0.1"}, 2, `--listen inet:25@127.0.0.1: expected HOST:PORT such as .*`},
		{"port taken", []string{cfg(plain), "--listen", busy}, 2, `listen on \S+: address already in use`},
		{"spool in use", []string{cfg(second)}, 75, `relay.spool: .*`},
		{"spool cannot be made", []string{cfg(plain)}, 75, `relay.spool: .*not a directory.*`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var stderr buffer
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			code := run(ctx, append([]string{programName}, tc.args...), strings.NewReader(""), io.Discard, &stderr, nil)
			said := regexp.MustCompile(`(?m)^time=.*\n`).ReplaceAllString(stderr.String(), "") // the log
			if code != tc.code || !regexp.MustCompile(`^`+programName+`: `+tc.want+`\n$`).MatchString(said) {
				t.Errorf("%v ended with %d and\n%swant %d and one line like\n%s", tc.args, code, said, tc.code, tc.want)
			}
		})
	}
	if got := s.from(trusted).message("me@a.example", "<a@elsewhere.example>"); got[0] != '2' {
		t.Errorf("the live relay answers %q after all this", got)
	}
	if program.ExitTemporary != 75 {
		t.Errorf("the temporary exit code is %d", program.ExitTemporary)
	}
}

// TestManyClients: messages that come at the same time all arrive, once.
func TestManyClients(t *testing.T) {
	s := newSite(t)
	s.start()
	const clients, each = 10, 20
	failed := make(chan string, clients)
	for i := range clients {
		go func() {
			c := s.from(trusted)
			for n := range each {
				if got := c.message("me@a.example", fmt.Sprintf("<u%d-%d@elsewhere.example>", i, n)); got[0] != '2' {
					failed <- got
					return
				}
			}
			failed <- ""
		}()
	}
	for range clients {
		if got := <-failed; got != "" {
			t.Errorf("a message is answered %q", got)
		}
	}
	s.eventually("all are delivered", func() bool { return s.status().Messages == 0 })
	for i := range clients {
		for n := range each {
			if to := fmt.Sprintf("u%d-%d@elsewhere.example", i, n); len(s.smart.mail(to)) != 1 {
				t.Errorf("%s has %d messages", to, len(s.smart.mail(to)))
			}
		}
	}
}

// TestProxy: a load balancer tells who the client is, and nobody else may.
func TestProxy(t *testing.T) {
	s := newSite(t)
	s.write("gatepost.toml", strings.Replace(siteConfig, "xclient =", "proxy_protocol =", 1))
	s.start()
	nc, err := net.Dial("tcp", s.address())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	c := &client{t: t, Conn: nc, in: bufio.NewReader(nc)}
	c.expect("220 ", "PROXY TCP4 "+trusted+" 192.0.2.1 40000 25")
	c.expect("250", "EHLO client.example")
	c.expect("550 5.7.0 ", "XCLIENT ADDR=192.0.2.8")
	if got := c.message("me@a.example", "<a@elsewhere.example>"); got[0] != '2' {
		t.Errorf("a message through the proxy is answered %q", got)
	}
}

// TestBareNewline: refused, or made CRLF for the networks that are named; never passed on.
func TestBareNewline(t *testing.T) {
	s := newSite(t)
	s.relay(`normalize_bare_newline = "192.0.2.0/24"`)
	s.write("access", siteAccess+"Connect:203.0.113\tRELAY\n")
	s.start()
	send := func(client string) string {
		c := s.from(client)
		c.expect("250 ", "MAIL FROM:<me@a.example>")
		c.expect("250 ", "RCPT TO:<a@elsewhere.example>")
		c.expect("354 ", "DATA")
		return c.say("Subject: x\n\none\n.\ntwo\r\n.")
	}
	if got := send(stranger); got[0] != '5' {
		t.Errorf("a bare newline is answered %q", got)
	}
	if got := send(trusted); got[0] != '2' {
		t.Errorf("a bare newline of a network that may is answered %q", got)
	}
	s.eventually("it is delivered", func() bool { return len(s.smart.mail("a@elsewhere.example")) == 1 })
	if got := s.smart.mail("a@elsewhere.example")[0].text; !strings.HasSuffix(got, "\r\nSubject: x\r\n\r\none\r\n.\r\ntwo\r\n") {
		t.Errorf("what arrives is %q", got)
	}
}

func TestLimits(t *testing.T) {
	s := newSite(t)
	s.relay("max_message_size = \"64 KiB\"\nmax_connections_per_client = 1\nmax_hops = 2\nmax_errors = 2")
	s.start()
	c := s.from(trusted)
	c.expect("552 5.3.4 ", "MAIL FROM:<me@a.example> SIZE=65537")
	c.expect("250 ", "MAIL FROM:<me@a.example>")
	c.expect("250 ", "RCPT TO:<a@elsewhere.example>")
	c.expect("354 ", "DATA")
	c.expect("552 5.3.4 ", strings.Repeat(strings.Repeat("x", 62)+"\r\n", 1025)+".")
	c.expect("250 ", "MAIL FROM:<me@a.example>")
	c.expect("250 ", "RCPT TO:<a@elsewhere.example>")
	c.expect("354 ", "DATA")
	c.expect("554 5.4.6 ", strings.Repeat("Received: from a by b; now\r\n", 3)+"\r\nx\r\n.")
	for range 3 { // max_errors of them are answered
		c.say("JUNK")
	}
	if got := c.say("NOOP"); strings.HasPrefix(got, "250") {
		t.Errorf("after too many errors NOOP is answered %q", got)
	}
	if len(s.smart.got) > 0 {
		t.Errorf("the smart host has %v", s.smart.got)
	}
}
