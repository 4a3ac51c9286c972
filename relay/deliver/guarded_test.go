package deliver

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatepost/relay/sasl/saslclient"
	"gatepost/relay/tlspolicy"
)

// loginServer takes any number of connections at once, and answers each login after a while.
type loginServer struct {
	addr   string
	logins atomic.Int32
	answer atomic.Value // string: to AUTH
}

func serveLogins(t *testing.T, answer string) *loginServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	s := &loginServer{addr: ln.Addr().String()}
	s.answer.Store(answer)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return s
}

func (s *loginServer) serve(c net.Conn) {
	defer c.Close()
	fmt.Fprint(c, "220 there\r\n")
	message := false
	for in := bufio.NewScanner(c); in.Scan(); {
		verb, _, _ := strings.Cut(in.Text(), " ")
		switch {
		case message && in.Text() != ".":
		case message:
			message = false
			fmt.Fprint(c, "250 taken\r\n")
		case verb == "EHLO":
			fmt.Fprint(c, "250-there\r\n250 AUTH PLAIN LOGIN XOAUTH2\r\n")
		case verb == "AUTH":
			s.logins.Add(1)
			time.Sleep(50 * time.Millisecond)
			fmt.Fprint(c, s.answer.Load().(string)+"\r\n")
		case verb == "DATA":
			message = true
			fmt.Fprint(c, "354 go\r\n")
		default:
			fmt.Fprint(c, "250 ok\r\n")
		}
	}
}

// transport logs in with credentials.
func (s *loginServer) transport(t *testing.T, creds *saslclient.Credentials) *SMTP {
	return (&server{t: t}).transport(func(c *Config) {
		c.Login = func(context.Context, Peer) (*saslclient.Credentials, error) { return creds, nil }
	})
}

// burst sends so many messages at once.
func burst(x *SMTP, to string, n int) (shown []string) {
	shown = make([]string, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { shown[i] = deliver(x, to, message("bob@example.net")) })
	}
	all.Wait()
	return shown
}

// TestLoginRefusedAtOnce: a password that is wrong is shown to the server once, however many
// messages wait: providers count, and lock accounts out.
func TestLoginRefusedAtOnce(t *testing.T) {
	s := serveLogins(t, "535 5.7.8 wrong")
	creds := &saslclient.Credentials{User: "joe", Password: "pass", AllowClear: true}
	x := s.transport(t, creds)
	for _, got := range burst(x, s.addr, 20) {
		if !strings.HasPrefix(got, "Deferred 4.7.8 ") {
			t.Error(got)
		}
	}
	if n := s.logins.Load(); n != 1 {
		t.Errorf("the wrong password was tried %d times", n)
	}
	if got := deliver(x, s.addr, message("bob@example.net")); !strings.HasPrefix(got, "Deferred 4.7.8 no login for another 1m") || !strings.Contains(got, "after 1 in vain") {
		t.Error(got)
	}

	// When the password is right all go out; when it is changed at the server, those that
	// are under way may still try it, and count as one.
	s.answer.Store("235 ok")
	creds.Password = "right"
	for _, got := range burst(x, s.addr, 20) {
		if !strings.HasPrefix(got, "Sent") {
			t.Error(got)
		}
	}
	s.answer.Store("454 4.7.0 not now")
	x.pool.dropIf(func(*conn) bool { return true })
	burst(x, s.addr, 20)
	if got := deliver(x, s.addr, message("bob@example.net")); !strings.HasPrefix(got, "Deferred 4.7.8 no login for another 1m") {
		t.Error(got)
	}
}

// TestEcho: servers that repeat what they did not understand do not have a secret in the
// log, in the queue or in a report.
func TestEcho(t *testing.T) {
	password := &saslclient.Credentials{User: "joe", Password: "Se;cret pass", AllowClear: true}
	plainWord := "AGpvZQBTZTtjcmV0IHBhc3M="
	login := *password
	login.Mechanisms = []string{"LOGIN"}
	token := &saslclient.Credentials{User: "joe", AllowClear: true, Token: func(context.Context, bool) (string, error) { return "ya29.token", nil }}
	for name, c := range map[string]struct {
		creds *saslclient.Credentials
		talk  script
	}{
		"the command":    {password, script{"< AUTH PLAIN " + plainWord, `> 500 5.5.1 Command unrecognized: "AUTH PLAIN ` + plainWord + `"`, "hang"}},
		"in capitals":    {password, script{"< AUTH PLAIN " + plainWord, "> 500 5.5.1 " + strings.ToUpper(plainWord), "hang"}},
		"421":            {password, script{"< AUTH PLAIN " + plainWord, "> 421 4.7.0 no " + plainWord}},
		"no reply":       {password, script{"< AUTH PLAIN " + plainWord, "> what is " + plainWord, "hang"}},
		"the password":   {password, script{"< AUTH PLAIN " + plainWord, "> 535 joe, Se;cret pass is wrong", "hang"}},
		"2xx":            {password, script{"< AUTH PLAIN " + plainWord, "> 250 " + plainWord, "hang"}},
		"cut in its mid": {password, script{"< AUTH PLAIN " + plainWord, "> 535 " + strings.Repeat("x", MaxReply-60) + plainWord, "hang"}},
		"the second word of LOGIN": {&login, script{"< AUTH LOGIN", "> 334 VXNlcm5hbWU6", "< am9l", "> 334 UGFzc3dvcmQ6", "< U2U7Y3JldCBwYXNz",
			"> 501 5.5.4 what is U2U7Y3JldCBwYXNz", "hang"}},
		"a token": {token, script{"< AUTH XOAUTH2 dXNlcj1qb2UBYXV0aD1CZWFyZXIgeWEyOS50b2tlbgEB", "> 535 ya29.token has expired",
			"< AUTH XOAUTH2 dXNlcj1qb2UBYXV0aD1CZWFyZXIgeWEyOS50b2tlbgEB", "> 535 5.7.8 dXNlcj1qb2UBYXV0aD1CZWFyZXIgeWEyOS50b2tlbgEB has expired", "hang"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, join(script{"> 220 there", "< EHLO relay.example.com", "> 250-there", "> 250 AUTH PLAIN LOGIN XOAUTH2"}, c.talk))
			x := s.transport(func(k *Config) {
				k.Login = func(context.Context, Peer) (*saslclient.Credentials, error) { return c.creds, nil }
			})
			for range 2 { // the second time it is what is remembered
				got := s.send(x, message("bob@example.net"))
				low := strings.ToLower(got)
				for _, secret := range []string{"agpvzqb", "cret", "ya29", "dxnlcj", "u2u7y3"} {
					if strings.Contains(low, secret) {
						t.Errorf("%s shows %q", got, secret)
					}
				}
				if !strings.HasPrefix(got, "Deferred") {
					t.Error(got)
				}
			}
		})
	}
}

// TestLoginWanted: a server that wants a login, or TLS, that nobody has set up has the mail
// wait for it.
func TestLoginWanted(t *testing.T) {
	for _, talk := range []script{
		{"< MAIL FROM:<alice@example.com>", "> 530 5.7.0 Authentication required", "hang"},
		{"< MAIL FROM:<alice@example.com>", "> 250 ok", bob, "> 530 5.7.0 Authentication required", "hang"},
	} {
		s := serve(t, join(slow, talk))
		if got := s.send(s.transport(nil), message("bob@example.net")); got != "Deferred 4.7.0 530 5.7.0 Authentication required" {
			t.Error(got)
		}
	}
}

// TestReady: a server that takes its time at every step has so much of it in all.
func TestReady(t *testing.T) {
	s := serve(t, join(authHello, script{"< AUTH TEST"}, challenges(2), script{"< eA==", "wait"}))
	says := append([]string{"-"}, strings.Split(strings.Repeat("x", 20), "")...)
	x := s.logins(tlspolicy.Policy{}, &saslclient.Credentials{User: "u"}, &scripted{says: says})
	x.config.Timeouts.Ready = 200 * time.Millisecond
	begun := time.Now()
	if got := s.send(x, message("bob@example.net")); got != "Deferred 4.4.2 timeout while waiting for the reply to AUTH (down)" || time.Since(begun) > 3*time.Second {
		t.Errorf("after %v: %s", time.Since(begun), got)
	}
}
