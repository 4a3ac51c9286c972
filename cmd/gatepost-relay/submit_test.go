package main

import (
	"fmt"
	"os"
	"os/user"
	"regexp"
	"strings"
	"testing"
	"time"

	"gatepost/relay/spool"
)

// submitSite is a relay for programs of its own host.
func submitSite(t *testing.T) *site {
	s := newSite(t)
	s.relay(`local_mail = "smart_host"`)
	s.start()
	return s
}

// sendmail is the command of that name.
func (s *site) sendmail(stdin string, args ...string) called {
	s.t.Helper()
	return s.call(stdin, "sendmail", append([]string{"-C", s.path("gatepost.toml")}, args...)...)
}

// TestSendmail has messages sent as the callers that there are send them.
func TestSendmail(t *testing.T) {
	s := submitSite(t)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	here := me.Username + "@mx.example.com"
	for _, tc := range []struct {
		name, stdin string
		args        []string
		from        string
		to          []string
		has, hasNot []string
	}{
		{"arguments", "Subject: hi\n\none\n.two\n", []string{"a1@elsewhere.example", "-i", "a2@elsewhere.example"},
			here, []string{"a1@elsewhere.example", "a2@elsewhere.example"}, []string{"\r\nSubject: hi\r\n", "\r\n\r\none\r\n.two\r\n", "\r\nFrom: "}, nil},
		{"header", "To: b1@elsewhere.example, \"Doe, J.\" <b2@elsewhere.example>\nCc: (the boss) b3@elsewhere.example\nBcc: b4@elsewhere.example,\n b5@elsewhere.example\nFrom: me@example.com\n\nx\n",
			[]string{"-t", "-oi"}, here,
			[]string{"b1@elsewhere.example", "b2@elsewhere.example", "b3@elsewhere.example", "b4@elsewhere.example", "b5@elsewhere.example"},
			[]string{"\r\nFrom: me@example.com\r\n", "\r\nCc: (the boss)"}, []string{"Bcc", "b4@", "b5@"}},
		{"header and arguments", "To: c1@elsewhere.example\n\nx\n", []string{"-t", "c2@elsewhere.example"}, here, []string{"c2@elsewhere.example", "c1@elsewhere.example"}, nil, nil},
		{"cron", "To: root\nSubject: Cron <root@mx> true\n\nout\n", []string{"-FCronDaemon", "-i", "-B8BITMIME", "-oem", "-f", "root", "root"},
			"root@mx.example.com", []string{"root@mx.example.com"}, []string{"\r\nFrom: \"CronDaemon\" <root@mx.example.com>\r\n", "\r\nTo: root\r\n"}, nil},
		{"no header", "only text\n", []string{"d@elsewhere.example"}, here, []string{"d@elsewhere.example"}, []string{"\r\n\r\nonly text\r\n"}, nil},
		{"dot", "Subject: x\n\none\n.\ntwo\n", []string{"e@elsewhere.example"}, here, []string{"e@elsewhere.example"}, []string{"\r\n\r\none\r\n"}, []string{"two"}},
		{"null sender", "Subject: x\r\n\r\nx\r\n", []string{"-f", "<>", "f@elsewhere.example"}, "", []string{"f@elsewhere.example"}, []string{"\r\nFrom: \"Mail Delivery System\" <MAILER-DAEMON@mx.example.com>\r\n"}, nil},
		{"8 bit", "Subject: x\n\ngr\xfc\xdfe\n", []string{"-r", "g@example.com", "g@elsewhere.example"}, "g@example.com", []string{"g@elsewhere.example"}, []string{"gr\xfc\xdfe\r\n"}, nil},
		{"CR and NUL", "Subject: hi\rBcc: x@y\n\n10%\r20%\x00\n", []string{"-f", "Joe <joe@example.com>", "cr@elsewhere.example"}, "joe@example.com", []string{"cr@elsewhere.example"},
			[]string{"\r\nSubject: hi Bcc: x@y\r\n", "\r\n\r\n10%\r\n20%\r\n"}, nil},
		{"full name", "\nx\n", []string{"-F", "Jörg", "h@elsewhere.example"}, here, []string{"h@elsewhere.example"}, []string{"\r\nFrom: =?utf-8?q?J=C3=B6rg?= <" + here + ">\r\n", "\r\nMessage-ID: <"}, nil},
		{"resent", "From: a@example.com\nTo: i1@elsewhere.example\nResent-To: i2@elsewhere.example\nDate: Mon, 2 Jan 2006 15:04:05 +0000\nMessage-ID: <1@x>\n\nx\n", []string{"-t"},
			here, []string{"i2@elsewhere.example"}, []string{"\r\nResent-Message-ID: <", "\r\nResent-Date: ", "\r\nMessage-ID: <1@x>\r\n"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := s.sendmail(tc.stdin, tc.args...); got.code != 0 || got.out+got.err != "" {
				t.Fatalf("it ended with %d: %s%s", got.code, got.out, got.err)
			}
			s.eventually("it arrives", func() bool { return len(s.smart.mail(tc.to[0])) == 1 })
			m := s.smart.mail(tc.to[0])[0]
			if m.from != tc.from || fmt.Sprint(m.to) != fmt.Sprint(tc.to) {
				t.Errorf("it came from %q for %q, want %q and %q", m.from, m.to, tc.from, tc.to)
			}
			received := fmt.Sprintf("Received: from localhost (%s@localhost, uid %s)\r\n\tby mx.example.com with ", me.Username, me.Uid)
			for _, want := range append(tc.has, received, "\r\nDate: ", "\r\nMessage-ID: <") {
				if !strings.Contains(m.text, want) {
					t.Errorf("the message has no %q:\n%s", want, m.text)
				}
			}
			for _, no := range tc.hasNot {
				if strings.Contains(m.text, no) {
					t.Errorf("the message has %q:\n%s", no, m.text)
				}
			}
		})
	}
}

// TestSendmailRefused has the exit codes of sysexits.h.
func TestSendmailRefused(t *testing.T) {
	s := newSite(t)
	s.relay("max_message_size = \"64 KiB\"\nlocal_users = \"users\"\nlocal_mail = \"smart_host\"")
	s.write("users", "joe\n")
	s.write("access", "To:closed.example\tREJECT\nTo:later.example\tERROR:451 4.3.2 not now\n")
	s.write("gatepost.toml", strings.Replace(s.read("gatepost.toml"), "[features]\n", "[features]\nblocklist_recipients = true\n", 1))
	s.start()
	for _, tc := range []struct {
		name, stdin string
		args        []string
		code        int
		want        string
	}{
		{"no recipients", "x\n", nil, 64, "recipient names must be specified"},
		{"none in the header", "Subject: x\n\nx\n", []string{"-t"}, 64, "no recipient addresses found in header"},
		{"unknown option", "", []string{"-Y"}, 64, "unknown option -Y"},
		{"daemon", "", []string{"-bd"}, 64, "-bd is not for this program"},
		{"unknown user", "x\n", []string{"nobody@example.com"}, 67, "<nobody@example.com>: 550 5.1.1 "},
		{"refused", "x\n", []string{"a@closed.example"}, 69, "<a@closed.example>: 550 "},
		{"later", "x\n", []string{"a@later.example"}, 75, "<a@later.example>: 451 4.3.2 "},
		{"bad address", "x\n", []string{"a b@c\x01"}, 65, "control character"},
		{"command in an address", "To: <a@elsewhere.example\r\nDATA>\n\nx\n", []string{"-t"}, 65, "no end"},
		{"too large", strings.Repeat("x\n", 40<<10), []string{"a@elsewhere.example"}, 65, "552 5.3.4 "},
		{"one of two", "x\n", []string{"nobody@example.com", "half@elsewhere.example"}, 67, "the message goes to the other recipients, 1"},
		{"no file", "x\n", []string{"-C", s.path("none"), "a@elsewhere.example"}, 78, "no such file"},
	} {
		got := s.sendmail(tc.stdin, tc.args...)
		if got.code != tc.code || !strings.Contains(got.err, tc.want) || !strings.HasPrefix(got.err, "sendmail: ") || got.out != "" {
			t.Errorf("%s: it ended with %d: %s%s\nwant %d, %s", tc.name, got.code, got.out, got.err, tc.code, tc.want)
		}
	}
	if got := s.sendmail("x\n", "-oeq", "a@closed.example"); got.code != 69 || got.err != "" {
		t.Errorf("-oeq: it ended with %d, %q", got.code, got.err)
	}
	var many []string // far more than a session of a stranger may get wrong
	for i := range 150 {
		many = append(many, fmt.Sprintf("b%d@closed..example", i), fmt.Sprintf("n%d@example.com", i))
	}
	if got := s.sendmail("x\n", append(many, "many@elsewhere.example")...); got.code != 68 || !strings.Contains(got.err, "the message goes to the other recipients, 1") {
		t.Errorf("many wrong recipients: it ended with %d: %.200s", got.code, got.err)
	}
	s.eventually("the good one of many gets it", func() bool { return len(s.smart.mail("many@elsewhere.example")) == 1 })
	s.eventually("half arrives", func() bool { return len(s.smart.mail("half@elsewhere.example")) == 1 })
	s.stop()
	if got := s.sendmail("x\n", "a@elsewhere.example"); got.code != 75 || !strings.Contains(got.err, "the relay does not run: nobody listens at "+s.path("submission.sock")) {
		t.Errorf("without the relay it ended with %d: %s", got.code, got.err)
	}
}

func (s *site) read(name string) string {
	s.t.Helper()
	b, err := os.ReadFile(s.path(name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

// TestSendmailLarge sends a message that goes through a file, to more recipients than a
// transaction has room for.
func TestSendmailLarge(t *testing.T) {
	s := newSite(t)
	s.relay("max_recipients = 100\nmax_commands = 200")
	s.start()
	var text strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&text, ".%d %s\n", i, strings.Repeat("x", 60))
	}
	var to []string
	for i := range 250 {
		to = append(to, fmt.Sprintf("u%d@elsewhere.example", i))
	}
	if got := s.sendmail("Subject: large\n\n"+text.String(), append([]string{"-i"}, to...)...); got.code != 0 {
		t.Fatalf("it ended with %d: %s", got.code, got.err)
	}
	s.eventually("all have it", func() bool {
		return len(s.smart.mail("u0@elsewhere.example"))+len(s.smart.mail("u249@elsewhere.example")) == 2
	})
	want := "\r\n\r\n" + strings.ReplaceAll(text.String(), "\n", "\r\n")
	for _, a := range to {
		if got := s.smart.mail(a); len(got) != 1 || !strings.HasSuffix(got[0].text, want) {
			t.Fatalf("%s has %d messages, or not the text", a, len(got))
		}
	}
}

// TestSendmailSMTP is -bs: the session is the caller's.
func TestSendmailSMTP(t *testing.T) {
	s := submitSite(t)
	got := s.sendmail("EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<bs@elsewhere.example>\r\nDATA\r\n", "-bs")
	if got.code != 0 || !regexp.MustCompile(`(?s)^220 mx.example.com ESMTP.*\r\n250 2.1.5 .*\r\n354 `).MatchString(got.out) {
		t.Errorf("-bs ended with %d: %s%s", got.code, got.out, got.err)
	}
	got = s.sendmail("HELO x\nMAIL FROM:<a@example.com>\nRCPT TO:<bs@elsewhere.example>\nDATA\nSubject: x\n\nx\n\r\n.\r\nQUIT\n", "-bs")
	if !strings.Contains(got.out, "\r\n250 2.0.0 ") || !strings.HasSuffix(got.out, " closing connection\r\n") {
		t.Errorf("-bs with the system's line ends: %s%s", got.out, got.err)
	}
	s.eventually("it arrives", func() bool { return len(s.smart.mail("bs@elsewhere.example")) == 1 })
}

// TestNames: mailq and newaliases are names of the program too.
func TestNames(t *testing.T) {
	s := submitSite(t)
	if got := s.sendmail("", "-bp"); got.code != 0 || got.out != "Mail queue is empty\n" {
		t.Errorf("-bp: %d, %s%s", got.code, got.out, got.err)
	}
	if got := s.call("", "mailq", "-C", s.path("gatepost.toml")); got.code != 0 || got.out != "Mail queue is empty\n" {
		t.Errorf("mailq: %d, %s%s", got.code, got.out, got.err)
	}
	if got := s.call("", "newaliases"); got.code != 0 || !strings.Contains(got.err, "no aliases here") {
		t.Errorf("newaliases: %d, %s%s", got.code, got.out, got.err)
	}
	if got := s.call("x\n", "gatepost", "sendmail", "-C", s.path("gatepost.toml"), "-f", "a@example.com", "sub@elsewhere.example"); got.code != 0 {
		t.Errorf("gatepost sendmail: %d, %s%s", got.code, got.out, got.err)
	}
	s.eventually("it arrives", func() bool { return len(s.smart.mail("sub@elsewhere.example")) == 1 })
	time.Sleep(10 * time.Millisecond)
}

// TestSockets: a socket that is named must be possible; one that is not may be missing.
func TestSockets(t *testing.T) {
	s := newSite(t)
	s.write("gatepost.toml", strings.ReplaceAll(siteConfig, "DIR/submission.sock", "DIR/none/submission.sock"))
	var stderr buffer
	code := run(t.Context(), []string{programName, "--config", s.path("gatepost.toml")}, nil, nil, &stderr, nil)
	if code != 2 || !strings.Contains(stderr.String(), "relay.submission: listen on unix:"+s.path("none/submission.sock")+": bind: no such file or directory") {
		t.Errorf("it ended with %d, %s", code, stderr.String())
	}
	s.write("gatepost.toml", strings.ReplaceAll(siteConfig, `submission = "DIR/submission.sock"`, `submission = "none"`))
	s.start()
	if info, err := os.Stat(s.path("control.sock")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the control socket is %v, %v", info, err)
	}
	if log := s.stderr.String(); strings.Contains(log, "a socket cannot be opened") {
		t.Errorf("the log complains of sockets:\n%s", log)
	}
	if got := s.sendmail("x\n", "a@b.example"); got.code != 69 || !strings.Contains(got.err, `relay.submission is "none"`) {
		t.Errorf("without a socket sendmail ended with %d: %s", got.code, got.err)
	}
}

// TestMissingSockets: the relay goes on without sockets that nobody has named, and says so.
func TestMissingSockets(t *testing.T) {
	if _, err := os.Stat("/run/gatepost"); err == nil {
		t.Skip("/run/gatepost is there")
	}
	s := newSite(t)
	s.write("gatepost.toml", regexp.MustCompile(`(?m)^(control|submission) = .*\n`).ReplaceAllString(siteConfig, ""))
	s.start()
	if n := strings.Count(s.stderr.String(), `msg="a socket cannot be opened, the relay goes on without it" setting=relay.`); n != 2 {
		t.Errorf("the log complains %d times of sockets, want 2:\n%s", n, s.stderr.String())
	}
	if got := s.from(trusted).message("me@a.example", "<a@elsewhere.example>"); got[0] != '2' {
		t.Errorf("a message is answered %q", got)
	}
}

// TestControlGroup lets a group command the queue.
func TestControlGroup(t *testing.T) {
	s := newSite(t)
	s.relay(fmt.Sprintf("control_group = \"%d\"", os.Getgid()))
	s.start()
	info, err := os.Stat(s.path("control.sock"))
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("the control socket is %v, %v", info, err)
	}
}

// TestSendmailDSN: -N, -R and -V are in the queue (RFC 3461).
func TestSendmailDSN(t *testing.T) {
	s, _ := queueSite(t, "a@one.example")
	if got := s.sendmail("x\n", "-N", "success,delay", "-Rhdrs", "-V", "id+1", "dsn@elsewhere.example"); got.code != 0 {
		t.Fatalf("it ended with %d: %s", got.code, got.err)
	}
	s.stop()
	v, err := spool.Look(s.path("spool"))
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	all := v.Messages()
	e, err := all[len(all)-1].Envelope()
	if err != nil || e.Ret != "HDRS" || e.EnvID != "id+2B1" || e.Recipients[0].Notify != spool.NotifySuccess|spool.NotifyDelay {
		t.Errorf("the envelope is %+v, %v", e, err)
	}
}
