package main

import (
	"strings"
	"testing"
)

func TestSessionScript(t *testing.T) {
	session := &Session{
		Client: Client{"198.51.100.7", "198.51.100.7", "c7.isp.net", "c7.isp.net", "OK"}, Helo: "me.example.net",
		Auth: &Auth{"PLAIN", "joe"}, MailFrom: "<a@b>", RcptTo: []string{"<c@d>", "<e@f>"},
	}
	var s script
	c := sessionScript(&s, &Policy{}, session, "a@b")
	if want := []string{"parse", callRelay, "check_mail", "parse", "check_rcpt", "parse", "check_rcpt"}; strings.Join(s.calls, " ") != strings.Join(want, " ") {
		t.Errorf("calls %q, want %q", s.calls, want)
	}
	if c.connect != 1 || c.mail != 2 || c.pause != -1 || len(c.rcpt) != 2 || len(c.compat) != 0 {
		t.Errorf("numbers of calls: %+v", c)
	}
	text := s.text.String()
	empty, relay, helo := strings.Index(text, ".Ds\n"), strings.Index(text, callRelay+" x\n"), strings.Index(text, ".Dsme.example.net\n")
	if empty < 0 || empty > relay || relay > helo {
		t.Errorf("HELO is known before the connection is checked:\n%s", text)
	}
	for _, want := range []string{".D{auth_type}PLAIN\n", ".D{verify}NONE\n", ".Dfa@b\n", "check_rcpt <e@f>\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("script has no %q:\n%s", want, text)
		}
	}
	var delayed script
	c = sessionScript(&delayed, &Policy{Features: []Feature{{"delay_checks", nil}, {"greet_pause", nil}, {"compat_check", nil}}}, session, "a@b")
	if c.connect != -1 || c.mail != -1 || c.pause < 0 || len(c.compat) != 2 {
		t.Errorf("numbers of calls with delay_checks, greet_pause and compat_check: %+v", c)
	}
}

func TestExpected(t *testing.T) {
	ok, refused, malformed := splitTokens("OK"), splitTokens(`$# error $@ 5 . 7 . 1 $: "550 Access denied"`), splitTokens(`$# error $@ 5 . 1 . 3 $: "553 User address required"`)
	answers := answered{ok, refused, malformed, splitTokens("$# 1500"), splitTokens("$# discard $: x"), splitTokens("$# no number")}
	for _, c := range []struct {
		name  string
		calls sessionCalls
		want  string
	}{
		{"all accepted", sessionCalls{connect: 0, mail: 0, pause: -1, parse: []int{0}, rcpt: []int{0}}, "connect accept; MAIL accept; RCPT accept"},
		{"refused connection", sessionCalls{connect: 1, mail: 0, pause: -1, parse: []int{0}, rcpt: []int{0}, compat: []int{4}}, "connect reject 550 5.7.1 Access denied; MAIL nothing; compat discard"},
		{"refused MAIL", sessionCalls{connect: 0, mail: 1, pause: 3, parse: []int{0}, rcpt: []int{0}}, "connect accept; MAIL reject 550 5.7.1 Access denied; pause 1500"},
		{"not called", sessionCalls{connect: -1, mail: -1, pause: 0, parse: []int{0}, rcpt: []int{1}}, "connect accept; MAIL accept; RCPT reject 550 5.7.1 Access denied; pause 0"},
		{"discard does not end it", sessionCalls{connect: 4, mail: 4, pause: -1, parse: []int{0}, rcpt: []int{4}}, "connect discard; MAIL discard; RCPT discard"},
		{"syntax before policy", sessionCalls{connect: 0, mail: 0, pause: -1, parse: []int{2}, rcpt: []int{1}}, "connect accept; MAIL accept; RCPT reject 553 5.1.3 User address required"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := c.calls.expected(answers)
			if err != nil || e.summary() != c.want {
				t.Errorf("expected = %s, %v; want %s", e.summary(), err, c.want)
			}
			if len(e.Rcpt) > 0 && e.Rcpt[0].Syntax != (c.name == "syntax before policy") {
				t.Errorf("syntax: %v", e.Rcpt[0].Syntax)
			}
		})
	}
	if _, err := (&sessionCalls{connect: 0, mail: 0, pause: 5}).expected(answers); err == nil {
		t.Error("a pause that is no number: no error")
	}
}
