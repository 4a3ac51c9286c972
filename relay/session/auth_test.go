package session

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"gatepost/internal/certtest"
	"gatepost/policy"
	"gatepost/relay/sasl"
	"gatepost/relay/session/logintest"
)

// passwords are accounts that are known by their passwords. "trouble" cannot be asked
// about.
type passwords map[string]string

func (p passwords) Lookup(_ context.Context, user, _ string) (sasl.Secrets, bool, error) {
	if user == "trouble" {
		return sasl.Secrets{}, false, errors.New("the disk is gone")
	}
	password, known := p[user]
	return sasl.Secrets{Name: user, Password: password}, known, nil
}

func (passwords) Usual() sasl.Usual {
	return sasl.Usual{Iterations: sasl.MinIterations, MaxIterations: sasl.MinIterations, Passwords: true}
}

const joesPassword = "s3cret-of-joe"

// logins authenticates joe by all mechanisms, or by some. Guesses are not throttled.
func logins(t testing.TB, mechanisms ...string) *sasl.Server {
	t.Helper()
	if len(mechanisms) == 0 {
		mechanisms = sasl.Mechanisms()
	}
	s, err := sasl.NewServer(sasl.Config{Mechanisms: mechanisms, HostName: "mx.example.com", Accounts: []sasl.Accounts{passwords{"joe": joesPassword}},
		Throttle: sasl.Throttle{Source: 1000, Network: 1000, Account: 1000}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// ask sends a line and takes its reply apart.
func (c *talker) ask(line string) (code int, text string, err error) {
	c.send(line + "\r\n")
	r := c.next()
	if len(r) < 4 {
		return 0, "", fmt.Errorf("reply %q", r)
	}
	code, err = strconv.Atoi(r[:3])
	return code, r[4:], err
}

// login logs joe in, or fails the test.
func (c *talker) login(mechanism string) {
	c.t.Helper()
	client := logintest.Client{Mechanism: mechanism, User: "joe", Password: joesPassword, Host: "mx.example.com"}
	if code, text, err := client.Login(c.ask); err != nil || code != 235 || text != "2.7.0 OK Authenticated" {
		c.t.Fatalf("AUTH %s: %d %s (%v)", mechanism, code, text, err)
	}
}

func TestLoginByEachMechanism(t *testing.T) {
	site := newSite(t)
	for _, mechanism := range []string{"PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "EXTERNAL"} {
		t.Run(mechanism, func(t *testing.T) {
			seen := make(chan policy.Auth, 1)
			f := start(t, script{verdict: func(at policy.Stage, f *policy.Facts) policy.Verdict {
				if at == policy.StageMail {
					seen <- f.Auth
				}
				return accept
			}}).listen(&Rules{Name: "MSA", TLS: site.server(), ClientCAs: site.ca.Pool, Auth: logins(t), RequireAuth: true})
			c := f.greeted()
			c.starttls(site.client(site.ca.Issue(certtest.Name(t, "/O=Example Corp/CN=joe"), nil)))
			c.say("MAIL FROM:<a@b>", "530 5.7.0 Authentication required")
			c.login(mechanism)
			c.send("EHLO again.example\r\n") // stays logged in
			c.reply()
			c.say("AUTH "+mechanism, "503 5.5.0 Already Authenticated")
			c.transaction()
			c.say(".", "250 ")
			want := policy.Auth{Type: mechanism, Authen: "joe"}
			if mechanism == "EXTERNAL" {
				want.Authen = "/O=Example+20Corp/CN=joe"
			}
			if got := <-seen; got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if e := f.envelope(); e.Client.Auth != want.Authen {
				t.Errorf("stored with the user %q", e.Client.Auth)
			}
			text := f.read(f.spool.Messages()[0])
			if !strings.Contains(text, "([127.0.0.1])\r\n\t(authenticated)\r\n\tby mx.example.com with ESMTPSA id ") {
				t.Errorf("Received: %.300q", text)
			}
			if log := f.log.String(); strings.Contains(log, joesPassword) || strings.Contains(log, b64(joesPassword)) || !strings.Contains(log, "auth_type="+mechanism) {
				t.Errorf("log: %s", log)
			}
		})
	}
}

func TestAnnouncesAuth(t *testing.T) {
	site := newSite(t)
	base := accepting(t)
	announced := func(reply string) string {
		for line := range strings.Lines(reply) {
			if list, ok := strings.CutPrefix(line, "250-AUTH "); ok {
				return strings.TrimSpace(list)
			}
		}
		return ""
	}
	for _, tt := range []struct {
		name           string
		rules          *Rules
		before, within string // TLS
	}{
		{"no AUTH", &Rules{TLS: site.server()}, "", ""},
		{"passwords only within TLS", &Rules{TLS: site.server(), Auth: logins(t, "CRAM-MD5", "PLAIN", "LOGIN")}, "CRAM-MD5", "CRAM-MD5 PLAIN LOGIN"},
		{"nothing without TLS", &Rules{TLS: site.server(), Auth: logins(t, "PLAIN")}, "", "PLAIN"},
		{"passwords in the clear", &Rules{TLS: site.server(), Auth: logins(t, "PLAIN"), PlainOK: true}, "PLAIN", "PLAIN"},
		{"TLS demanded", &Rules{TLS: site.server(), Auth: logins(t, "CRAM-MD5"), RequireTLS: true}, "", "CRAM-MD5"},
		{"EXTERNAL needs a certificate", &Rules{TLS: site.server(), Auth: logins(t, "EXTERNAL", "PLAIN"), ClientCAs: site.ca.Pool}, "", "PLAIN"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := base.listen(tt.rules).dial()
			c.expect("220 mx.example.com ESMTP Gatepost")
			c.send("EHLO x\r\n")
			if got := announced(c.reply()); got != tt.before {
				t.Errorf("before TLS: %q, want %q", got, tt.before)
			}
			param := "250 "
			if tt.before == "" {
				param = "555 5.5.4 AUTH parameter unrecognized"
			}
			if !tt.rules.RequireTLS {
				c.say("MAIL FROM:<a@b> AUTH=<>", param)
			}
			if got := announced(c.starttls(site.client())); got != tt.within {
				t.Errorf("within TLS: %q, want %q", got, tt.within)
			}
		})
	}
	refused := start(t, at(policy.StageConnect, refusal(550, "5.7.1", "No"))).listen(&Rules{TLS: site.server(), Auth: logins(t, "CRAM-MD5")})
	c := refused.dial()
	c.expect("220 mx.example.com ESMTP Gatepost")
	c.send("EHLO x\r\n")
	if r := c.reply(); strings.Contains(r, "AUTH") || strings.Contains(r, "STARTTLS") {
		t.Errorf("a refused client hears %q", r)
	}
	c.say("STARTTLS", "550 5.7.1 No")
	c.say("AUTH CRAM-MD5", "550 5.7.1 No")
}

func TestAuthParameter(t *testing.T) {
	f := accepting(t).listen(&Rules{Auth: logins(t, "CRAM-MD5")})
	c := f.greeted()
	for param, want := range map[string]string{
		"AUTH=<>": "250 ", "AUTH=e+3Dmc2@example.com": "250 ", "auth=joe": "250 ",
		"AUTH=": "501 5.5.4 ", "AUTH": "501 5.5.4 ", "AUTH=a+": "501 5.5.4 ", "AUTH=a+zz": "501 5.5.4 ",
	} {
		c.say("MAIL FROM:<a@b> "+param, want)
		c.say("RSET", "250 ")
	}
}

// TestAuthErrors goes through what can be wrong with AUTH.
func TestAuthErrors(t *testing.T) {
	site := newSite(t)
	f := accepting(t, limits(func(l *Limits) { l.Errors = 100 })).listen(&Rules{TLS: site.server(), Auth: logins(t)})
	plain := func(user, password string) string { return b64("\x00" + user + "\x00" + password) }
	good := plain("joe", joesPassword)
	for _, tt := range []struct{ name, dialogue string }{
		{"before EHLO", "C: AUTH PLAIN " + good + "\nS: 503 5.5.1 Send EHLO first"},
		{"after HELO", "C: HELO x\nS: 250 ~\nC: AUTH PLAIN " + good + "\nS: 503 5.5.1 Send EHLO first"},
		{"good", "C: EHLO x\nS: 250-~\nC: AUTH PLAIN " + good + "\nS: 235 2.7.0 OK Authenticated\nC: AUTH PLAIN " + good + "\nS: 503 5.5.0 Already Authenticated"},
		{"lower case", "C: EHLO x\nS: 250-~\nC: auth plain " + good + "\nS: 235 ~"},
		{"in a transaction", "C: EHLO x\nS: 250-~\nC: MAIL FROM:<a@b>\nS: 250 ~\nC: AUTH PLAIN " + good + "\nS: 503 5.5.0 AUTH not permitted during a mail transaction"},
		{"no mechanism", "C: EHLO x\nS: 250-~\nC: AUTH\nS: 501 5.5.2 AUTH mechanism must be specified"},
		{"unknown mechanism", "C: EHLO x\nS: 250-~\nC: AUTH GSSAPI\nS: 504 5.5.4 Unrecognized authentication type"},
		{"too many words", "C: EHLO x\nS: 250-~\nC: AUTH PLAIN " + good + " x\nS: 501 5.5.2 ~"},
		{"cancelled", "C: EHLO x\nS: 250-~\nC: AUTH PLAIN\nS: 334 ~\nC: *\nS: 501 5.7.0 AUTH aborted\nC: NOOP\nS: 250 ~"},
		{"cancelled at once", "C: EHLO x\nS: 250-~\nC: AUTH PLAIN *\nS: 501 5.7.0 AUTH aborted"},
		{"no base64", "C: EHLO x\nS: 250-~\nC: AUTH PLAIN !!!\nS: 501 5.5.2 Cannot ~\nC: AUTH LOGIN\nS: 334 ~\nC: joe\nS: 501 5.5.2 Cannot ~\nC: NOOP\nS: 250 ~"},
		{"loose base64", "C: EHLO x\nS: 250-~\nC: AUTH PLAIN " + strings.TrimRight(good, "=") + "x=\nS: 501 5.5.2 Cannot ~"},
		{"NUL in the response", "C: EHLO x\nS: 250-~\nC: AUTH LOGIN\nS: 334 ~\nC: am\x009l\nS: 501 5.5.2 Cannot ~"},
		{"empty initial response", "C: EHLO x\nS: 250-~\nC: AUTH PLAIN =\nS: 501 5.5.2 Authentication response is malformed"},
		{"NULs in the name", "C: EHLO x\nS: 250-~\nC: AUTH PLAIN " + b64("\x00j\x00o\x00e") + "\nS: 501 5.5.2 Authentication response is malformed"},
		{"response too long", "C: EHLO x\nS: 250-~\nC: AUTH PLAIN\nS: 334 ~\nC: " + strings.Repeat("QUFB", 3072) + "\nS: 500 5.5.6 ~\nC: NOOP\nS: 250 ~"},
		{"response just not too long", "C: EHLO x\nS: 250-~\nC: AUTH PLAIN\nS: 334 ~\nC: " + strings.Repeat("QUFB", 3071) + "\nS: 501 5.5.2 ~\nC: NOOP\nS: 250 ~"},
		{"command too long", "C: EHLO x\nS: 250-~\nC: AUTH PLAIN " + strings.Repeat("QUFB", 3000) + "\nS: 500 5.5.2 Line too long (2048 bytes max)"},
		{"wrong password", "C: EHLO x\nS: 250-~\nC: AUTH PLAIN " + plain("joe", "x") + "\nS: 535 5.7.8 Authentication credentials invalid\nC: AUTH PLAIN " + good + "\nS: 235 ~"},
		{"unknown user", "C: EHLO x\nS: 250-~\nC: AUTH PLAIN " + plain("nobody", "x") + "\nS: 535 5.7.8 Authentication credentials invalid"},
		{"accounts that cannot be asked", "C: EHLO x\nS: 250-~\nC: AUTH PLAIN " + plain("trouble", "x") + "\nS: 454 4.7.0 Temporary authentication failure"},
		{"three guesses", "C: EHLO x\nS: 250-~\nC: AUTH PLAIN " + plain("joe", "1") + "\nS: 535 ~\nC: AUTH PLAIN " + plain("joe", "2") + "\nS: 535 ~\nC: AUTH PLAIN " + plain("joe", "3") +
			"\nS: 535 ~\nS: 421 4.7.0 mx.example.com Too many failed logins, closing connection\nS: EOF"},
		{"the end within", "C: EHLO x\nS: 250-~\nC: AUTH LOGIN\nC: RSET-\nS: 334 ~\nS: 501 ~\nC: QUIT\nS: 221 ~"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := f.greeted()
			c.say("STARTTLS", "220 ")
			c.upgrade(site.client())
			converse(t, c, tt.dialogue)
		})
	}
	t.Run("password without TLS", func(t *testing.T) {
		converse(t, f.greeted(), "C: AUTH PLAIN "+good+"\nS: 538 5.7.11 Encryption required for requested authentication mechanism\nC: AUTH LOGIN\nS: 538 ~")
	})
	if log := f.log.String(); strings.Contains(log, joesPassword) || strings.Contains(log, good) {
		t.Errorf("a password is in the log: %s", log)
	}
	soon(t, "the buffers are back", func() bool { return f.lender.lent.Load() == 0 })
}

// A login is forgotten with all else when TLS begins after it.
func TestStartTLSForgetsLogin(t *testing.T) {
	site := newSite(t)
	f := accepting(t).listen(&Rules{TLS: site.server(), Auth: logins(t), RequireAuth: true})
	c := f.greeted()
	c.login("CRAM-MD5")
	c.starttls(site.client())
	c.say("MAIL FROM:<a@b>", "530 5.7.0 Authentication required")
}

func TestThrottled(t *testing.T) {
	s, err := sasl.NewServer(sasl.Config{Mechanisms: []string{"CRAM-MD5"}, HostName: "mx.example.com", Accounts: []sasl.Accounts{passwords{"joe": joesPassword}}, Throttle: sasl.Throttle{Source: 2}})
	if err != nil {
		t.Fatal(err)
	}
	f := accepting(t).listen(&Rules{Auth: s})
	c := f.greeted()
	for range 2 {
		guess := logintest.Client{Mechanism: "CRAM-MD5", User: "joe", Password: "guess"}
		if code, text, _ := guess.Login(c.ask); code != 535 {
			t.Errorf("%d %s", code, text)
		}
	}
	right := logintest.Client{Mechanism: "CRAM-MD5", User: "joe", Password: joesPassword}
	if code, text, _ := right.Login(f.greeted().ask); code != 454 || text != "4.7.0 Too many failed logins, please try again later" {
		t.Errorf("%d %s", code, text)
	}
	if n := f.Stats().Denied; n != 3 {
		t.Errorf("%d denied, want 3", n)
	}
}

func TestWrongRealm(t *testing.T) {
	c := accepting(t).listen(&Rules{Auth: logins(t)}).greeted()
	login := logintest.Client{Mechanism: "DIGEST-MD5", User: "joe", Password: joesPassword, Host: "mx.example.com", Realm: "other.example"}
	if code, text, err := login.Login(c.ask); code != 535 {
		t.Errorf("%d %s (%v)", code, text, err)
	}
}

func TestSenderBinding(t *testing.T) {
	f := accepting(t).listen(&Rules{Auth: logins(t), SenderOf: func(user, sender string) bool {
		return user == "joe" && (sender == "" || sender == "joe@office.example")
	}})
	c := f.greeted()
	c.say("MAIL FROM:<boss@office.example>", "250 ") // nobody has logged in
	c.say("RSET", "250 ")
	c.login("CRAM-MD5")
	c.say("MAIL FROM:<boss@office.example>", "553 5.7.1 <boss@office.example>... Sender address rejected: not owned by user")
	c.say("MAIL FROM:<@joe@office.example:boss@office.example>", "553 ")
	for _, own := range []string{"<joe@office.example>", "<@relay.example:joe@office.example>", "<>"} {
		c.say("MAIL FROM:"+own, "250 ")
		c.say("RSET", "250 ")
	}
}

// TestShutdownWithinAuth: who is in the middle of AUTH is told to end.
func TestShutdownWithinAuth(t *testing.T) {
	f := accepting(t).listen(&Rules{Auth: logins(t)})
	c := f.greeted()
	c.say("AUTH CRAM-MD5", "334 ")
	ended := make(chan error, 1)
	go func() { ended <- f.Shutdown(context.Background()) }()
	c.expect("421 4.3.2 mx.example.com Server shutting down, please try again later")
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
