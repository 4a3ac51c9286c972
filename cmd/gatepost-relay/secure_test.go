package main

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// TestListeners: where STARTTLS and AUTH are offered, before TLS and after it.
func TestListeners(t *testing.T) {
	s := secureSite(t, "")
	s.start()
	for _, tc := range []struct{ listener, has, hasNot string }{
		{"MTA", "STARTTLS", "AUTH"},
		{"MSA", "STARTTLS", "AUTH"},
		{"MSA-TLS", "PIPELINING", "STARTTLS"},
	} {
		c := s.connect(tc.listener, "")
		c.expect("220 ", "")
		if got := c.ehlo(); !strings.Contains(got, tc.has) || strings.Contains(got, tc.hasNot) {
			t.Errorf("%s answers EHLO with\n%s", tc.listener, got)
		}
	}
	for _, listener := range []string{"MTA", "MSA"} {
		c := s.connect(listener, "")
		c.expect("220 ", "")
		c.ehlo()
		c.expect("220 ", "STARTTLS")
		if cert := c.begin(s.trusting()); cert.Subject.CommonName != "mx.example.com" {
			t.Errorf("%s shows the certificate of %s", listener, cert.Subject.CommonName)
		}
		if got := c.ehlo(); strings.Contains(got, "STARTTLS") {
			t.Errorf("%s answers EHLO after TLS with\n%s", listener, got)
		}
	}
	c := s.connect("MSA", "")
	c.expect("220 ", "")
	c.ehlo()
	c.expect("530 5.7.0 ", "MAIL FROM:<me@example.com>")
	if got := s.status().Listeners; len(got) != 5 || got[4].Name != "local" || got[4].Address != s.path("submission.sock") || got[1].Name != "MSA" || got[1].Address != s.at("MSA") || got[1].Kind != "submission" || got[1].TLS != "required" || !got[1].Auth {
		t.Errorf("the status has the listeners %+v", got)
	}
}

// TestListenArguments: only what is named is opened, under its own rules.
func TestListenArguments(t *testing.T) {
	s := secureSite(t, "")
	s.start("--listen", "MSA=127.0.0.1:0", "--listen", "127.0.0.1:0")
	if n := strings.Count(s.stderr.String(), "msg=listening address=127."); n != 2 {
		t.Errorf("it listens at %d addresses, want 2", n)
	}
	for listener, want := range map[string]string{"MSA": "530 5.7.0 ", "MTA": "250 "} {
		c := s.connect(listener, "")
		c.expect("220 ", "")
		c.ehlo()
		c.expect(want, "MAIL FROM:<me@example.com>")
	}
	other := secureSite(t, "")
	var stderr buffer
	if code := run(t.Context(), []string{programName, "--config", other.path("gatepost.toml"), "--listen", "MSB=127.0.0.1:0"}, nil, nil, &stderr, nil); code != 2 ||
		!strings.Contains(stderr.String(), `--listen MSB=127.0.0.1:0: there is no [[listener]] with name = "MSB"`) {
		t.Errorf("with an unknown name it ended with %d, %s", code, stderr.String())
	}
}

// TestClearListenArgument: passwords in the clear that are meant for this machine are not
// taken from everybody because another address is given.
func TestClearListenArgument(t *testing.T) {
	s := secureSite(t, "")
	text, err := os.ReadFile(s.path("gatepost.toml"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("gatepost.toml", strings.Replace(string(text), "kind = \"submission\"", "kind = \"submission\"\ntls = \"none\"\nallow_plaintext_auth = true", 1))
	var stderr buffer
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	code := run(ctx, []string{programName, "--config", s.path("gatepost.toml"), "--listen", "MSA=0.0.0.0:0"}, nil, nil, &stderr, nil)
	if code == 0 || !strings.Contains(stderr.String(), "listener MSA has allow_plaintext_auth and would be open to everybody at ") {
		t.Errorf("it ended with %d, %s", code, stderr.String())
	}
	s.start("--listen", "MSA=127.0.0.1:0")
}

// TestPassedByName: a socket of systemd's takes the place of one listener's addresses, by
// its name; the others are opened besides.
func TestPassedByName(t *testing.T) {
	s := secureSite(t, "")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	socket, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("LISTEN_FDNAMES", "MSA")
	s.process(socket)
	if got := s.at("MSA"); got != ln.Addr().String() {
		t.Errorf("MSA is at %s, want %s", got, ln.Addr())
	}
	if n := strings.Count(s.stderr.String(), "msg=listening address=127."); n != 4 {
		t.Errorf("it listens at %d addresses, want 4", n)
	}
	c := s.connect("MSA", "")
	c.expect("220 ", "")
	c.ehlo()
	c.expect("530 5.7.0 ", "MAIL FROM:<me@example.com>")
}

// TestSecureFaults: what TLS and AUTH need must be there and in order at the start.
func TestSecureFaults(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(s *site) error
		want  string
	}{
		{"no accounts", func(s *site) error { return os.Remove(s.path("users")) }, "relay.users: open DIR/users: no such file or directory; gatepost user add NAME makes it"},
		{"accounts for everybody", func(s *site) error { return os.Chmod(s.path("users"), 0o644) }, "relay.users: DIR/users"},
		{"a key for everybody", func(s *site) error { return os.Chmod(s.path("key"), 0o644) }, "relay.server_cert: DIR/key: its mode is 0644"},
		{"no certificate", func(s *site) error { return os.Remove(s.path("cert")) }, "relay.server_cert: open DIR/cert: no such file or directory"},
	} {
		s := secureSite(t, "")
		if err := tc.spoil(s); err != nil {
			t.Fatal(err)
		}
		var stderr buffer
		code := run(t.Context(), []string{programName, "--config", s.path("gatepost.toml")}, nil, nil, &stderr, nil)
		if want := programName + ": " + strings.ReplaceAll(tc.want, "DIR", s.dir); code != 2 || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: it ended with %d, %s, want %s", tc.name, code, stderr.String(), want)
		}
	}
}

// TestOldTLS: a device may come with TLS 1.0, users may not.
func TestOldTLS(t *testing.T) {
	s := secureSite(t, `proxy_protocol = "127.0.0.1"`)
	s.start()
	old := s.trusting()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS10
	for listener, want := range map[string]bool{"devices": true, "MTA": false, "MSA": false} {
		c := s.connect(listener, "192.0.2.70")
		c.expect("220 ", "")
		c.expect("250", "EHLO old")
		c.expect("220 ", "STARTTLS")
		secured := tls.Client(c.Conn, old)
		secured.SetDeadline(time.Now().Add(10 * time.Second))
		if err := secured.Handshake(); (err == nil) != want {
			t.Errorf("TLS 1.0 at %s: %v", listener, err)
		}
	}
	_, body := s.get("/metrics")
	for _, want := range []string{"\ngatepost_relay_tls_handshakes_total 1\n", "\ngatepost_relay_tls_failed_total 2\n"} {
		if !strings.Contains(body, want) {
			t.Errorf("/metrics has no line %q", want)
		}
	}
}

// TestDevice: fenced, one sender whatever the device says, so many messages an hour; and
// what it may do is the policy's matter.
func TestDevice(t *testing.T) {
	s := secureSite(t, `proxy_protocol = "127.0.0.1"`)
	s.start()
	s.connect("devices", stranger).expect("554 ", "")
	s.connect("devices", "192.0.2.7").expect("554 ", "") // may relay, and is no device

	c := s.connect("devices", "192.0.2.70")
	c.expect("220 ", "")
	c.expect("250", "HELO device")
	for _, from := range []string{"forged@elsewhere.example", ""} {
		if got := c.message(from, "<you@elsewhere.example>"); got[0] != '2' {
			t.Errorf("a message from <%s> is answered %q", from, got)
		}
	}
	s.eventually("both arrive", func() bool { return len(s.smart.mail("you@elsewhere.example")) == 2 })
	for _, m := range s.smart.mail("you@elsewhere.example") {
		if m.from != "scanner@example.com" {
			t.Errorf("a message of the device arrives from <%s>", m.from)
		}
	}
	if got := c.message("a@example.com", "<you@elsewhere.example>"); !strings.HasPrefix(got, "45") {
		t.Errorf("a message beyond the quota is answered %q", got)
	}
	other := s.connect("devices", "192.0.2.71")
	other.expect("220 ", "")
	other.expect("250", "HELO device")
	if got := other.message("a@example.com", "<you@elsewhere.example>"); got[0] != '2' {
		t.Errorf("a message of another device is answered %q", got)
	}
	s.write("access", "Connect:192.0.2.72\tREJECT\n"+siteAccess)
	s.eventually("the edit is in force", func() bool {
		refused := s.connect("devices", "192.0.2.72")
		refused.say("")
		return strings.HasPrefix(refused.message("a@example.com", "<you@elsewhere.example>"), "5")
	})
	_, body := s.get("/metrics")
	if !strings.Contains(body, "\ngatepost_relay_fenced_total 2\n") {
		t.Error("/metrics does not count the two that were fenced off")
	}
}

// TestCertificateReload: a new certificate is in force without a restart; a broken one is
// not, and is told of.
func TestCertificateReload(t *testing.T) {
	s := secureSite(t, "")
	s.start()
	shown := func() string {
		c := s.connect("MTA", "")
		c.expect("220 ", "")
		c.ehlo()
		c.expect("220 ", "STARTTLS")
		return c.begin(s.trusting()).Subject.CommonName
	}
	if got := shown(); got != "mx.example.com" {
		t.Errorf("the certificate is that of %s", got)
	}
	s.certificate("new.example.com")
	s.eventually("the new certificate is shown", func() bool { return shown() == "new.example.com" })
	s.write("cert", "junk\n")
	s.eventually("the broken one is told of", func() bool {
		c := s.status().Certificate
		return c != nil && c.Fault == s.path("cert")+": no PEM, expected -----BEGIN CERTIFICATE-----"
	})
	if got := shown(); got != "new.example.com" {
		t.Errorf("after a broken certificate that of %s is shown", got)
	}
	s.eventually("the log has one error", func() bool { return strings.Count(s.stderr.String(), "level=ERROR") == 1 })
	if _, body := s.get("/metrics"); !strings.Contains(body, "\ngatepost_relay_certificate_error 1\n") || !strings.Contains(body, "\ngatepost_relay_certificate_not_after_timestamp_seconds 1.") {
		t.Error("/metrics does not tell of the broken certificate")
	}
}
