package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
)

func TestReplyVerdict(t *testing.T) {
	for _, c := range []struct {
		name, line, address string
		want                Verdict
	}{
		{"fine", "250 2.1.0 <a@b>... Sender ok", "<a@b>", Verdict{Action: "accept"}},
		{"address before the text", "550 5.7.1 <u@isp.net>... Relaying denied", "<u@isp.net>", Verdict{"reject", 550, "5.7.1", "Relaying denied", false}},
		{"another code has none", "451 4.1.8 Domain of x", "<a@b>", Verdict{"tempfail", 451, "4.1.8", "Domain of x", false}},
		{"another address is text", "550 5.7.1 <x@y>... no", "<a@b>", Verdict{"reject", 550, "5.7.1", "<x@y>... no", false}},
		{"connection", "550 5.7.1 Access denied", "", Verdict{"reject", 550, "5.7.1", "Access denied", false}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := *replyVerdict(c.line, c.address); got != c.want {
				t.Errorf("%s is %+v, want %+v", c.line, got, c.want)
			}
		})
	}
}

// converseWith lets f talk to a server that says its lines one by one, each after
// a command but the first.
func converseWith(t *testing.T, f func(*talk), says ...string) (heard []string) {
	t.Helper()
	client, server := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer server.Close()
		in := bufio.NewReader(server)
		for i, line := range says {
			if i > 0 {
				command, err := in.ReadString('\n')
				if err != nil {
					return
				}
				heard = append(heard, strings.TrimSpace(command))
			}
			fmt.Fprint(server, line)
		}
	}()
	f(&talk{client, bufio.NewReader(client)})
	client.Close()
	<-done
	return heard
}

func TestGreeting(t *testing.T) {
	for _, c := range []struct {
		name string
		says []string
		want string
	}{
		{"greeted", []string{"220 mx ESMTP\r\n", "250-mx\r\n250 HELP\r\n", "252 2.5.2 Cannot VRFY\r\n"}, "accept"},
		{"refused at the next command", []string{"220 mx ESMTP\r\n", "250 mx\r\n", "550 5.7.1 Access denied\r\n"}, "reject 550 5.7.1 Access denied"},
		{"closed at once", []string{"421 4.7.0 go away\r\n"}, "tempfail 421 4.7.0 go away"},
	} {
		t.Run(c.name, func(t *testing.T) {
			heard := converseWith(t, func(talk *talk) {
				v, err := talk.greeting("me.example.net")
				if err != nil || v.String() != c.want {
					t.Errorf("greeting = %s, %v; want %s", v, err, c.want)
				}
			}, c.says...)
			if len(heard) > 0 && heard[0] != "EHLO me.example.net" {
				t.Errorf("server heard %q", heard)
			}
		})
	}
}

func TestReadFaults(t *testing.T) {
	for name, said := range map[string]string{
		"no reply": "hello\r\n", "closed": "", "half a line": "250 ok", "no end": strings.Repeat("250-x\r\n", maxReply+1), "short": "25\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			converseWith(t, func(talk *talk) {
				if v, err := talk.read(""); err == nil {
					t.Errorf("read %q as %s, want an error", said, v)
				}
			}, said)
		})
	}
}

func TestHeldOverSMTP(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1": true, "::1": true, "198.51.100.7": true, "198.19.1.1": true, "2001:db8:5::1": true,
		"192.0.2.7": false, "203.0.113.9": false, "10.1.2.3": false, "fd00::5": false, "0": false,
	} {
		if got := heldOverSMTP(&Session{Client: Client{Address: address}}); got != want {
			t.Errorf("a client at %s is held: %v, want %v", address, got, want)
		}
	}
	if heldOverSMTP(&Session{Client: Client{Address: "127.0.0.1"}, Auth: &Auth{}}) {
		t.Error("a session with AUTH is held")
	}
}

func TestMerge(t *testing.T) {
	ok, discard := Verdict{Action: "accept"}, Verdict{Action: "discard"}
	denied := Verdict{"reject", 550, "5.7.1", "Relaying denied", false}
	syntax := Verdict{"reject", 553, "5.1.3", "Hostname required", false}
	expected := func(connect, mail Verdict, rcpt ...Verdict) Expected {
		return Expected{Connect: &connect, Mail: &mail, Rcpt: rcpt}
	}
	for _, c := range []struct {
		name         string
		ruled, heard Expected
		note         string
		becomes      string // the verdict on the recipient afterwards
	}{
		{"same", expected(ok, ok, denied), expected(ok, ok, denied), "", denied.String()},
		{"discard does not show", expected(ok, discard, discard), expected(ok, ok, ok), "", "discard"},
		{"another text", expected(ok, ok, denied), expected(ok, ok, Verdict{"reject", 550, "5.7.1", "No", false}), "RCPT <u@v>: the rule sets say", denied.String()},
		{"refused after all", expected(ok, ok, ok), expected(denied, Verdict{}), "connect: the rule sets say", "accept"},
		{"MAIL accepted after all", expected(ok, denied), expected(ok, ok, ok), "MAIL: the rule sets say", ""},
		{"syntax", expected(ok, ok, ok), expected(ok, ok, syntax), "", syntax.String()},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &Session{RcptTo: []string{"<u@v>"}, Expected: c.ruled}
			if note := merge(s, c.heard); !strings.HasPrefix(note, c.note) || (note == "") != (c.note == "") {
				t.Errorf("note %q, want %q...", note, c.note)
			}
			if c.becomes != "" && s.Expected.Rcpt[0].String() != c.becomes {
				t.Errorf("the recipient's verdict is %s, want %s", &s.Expected.Rcpt[0], c.becomes)
			}
			if syntax := c.name == "syntax"; s.OverSMTP != syntax || syntax != (len(s.Expected.Rcpt) > 0 && s.Expected.Rcpt[0].Syntax) {
				t.Errorf("only seen over SMTP: %v, verdict %+v", s.OverSMTP, s.Expected.Rcpt)
			}
		})
	}
}

func TestNotOverSMTP(t *testing.T) {
	with := func(text string) *Session {
		return &Session{Expected: Expected{Connect: &Verdict{"reject", 550, "5.0.0", text, false}}}
	}
	if !notOverSMTP(with("100% of it")) || notOverSMTP(with("all of it")) {
		t.Error("only a refusal with a percent sign is not held")
	}
	if notOverSMTP(&Session{Expected: Expected{Connect: &Verdict{Action: "quarantine", Text: "100%"}}}) {
		t.Error("a quarantine with a percent sign is held like others")
	}
}
