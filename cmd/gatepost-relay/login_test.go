package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatepost/relay/sasl/users"
	"gatepost/relay/session/logintest"
)

// allMechanisms is for [relay].
const allMechanisms = `auth_mechanisms = ["SCRAM-SHA-256", "SCRAM-SHA-1", "DIGEST-MD5", "CRAM-MD5", "PLAIN", "LOGIN"]`

const password = "secret, with \"quotes\\"

func mechanisms() []string {
	return []string{"SCRAM-SHA-256", "SCRAM-SHA-1", "DIGEST-MD5", "CRAM-MD5", "PLAIN", "LOGIN"}
}

// loginSite is a secureSite with the account joe, at which clients are told of by PROXY.
func loginSite(t *testing.T, more string) *site {
	t.Helper()
	s := secureSite(t, "proxy_protocol = \"127.0.0.1\"\n"+more)
	s.account("joe", "mx.example.com")
	return s
}

func (s *site) account(name string, realms ...string) {
	s.t.Helper()
	o := users.Options{SHA1: true, MD5: len(realms) > 0, Realms: realms, Iterations: 4096}
	if err := users.Add(s.t.Context(), s.path("users"), name, password, o); err != nil {
		s.t.Fatal(err)
	}
}

// login holds the dialogue of AUTH and returns the last line of it.
func (c *client) login(mechanism, user, password string) string {
	c.t.Helper()
	l := logintest.Client{Mechanism: mechanism, User: user, Password: password, Host: "mx.example.com"}
	code, text, err := l.Login(func(line string) (int, string, error) {
		if line == "" { // say would send nothing
			if _, err := io.WriteString(c, "\r\n"); err != nil {
				return 0, "", err
			}
		}
		answer := c.say(line)
		code, err := strconv.Atoi(strings.SplitN(answer+" ", " ", 2)[0])
		if err != nil {
			return 0, "", fmt.Errorf("the answer to %q is %q", line, answer)
		}
		return code, answer[min(4, len(answer)):], nil
	})
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(code, " ", text)
}

// addresses are clients in networks of their own: what one guesses is not held against
// another.
func addresses() func() string {
	n := 0
	return func() string { n++; return fmt.Sprintf("203.0.%d.9", n) }
}

// TestLogin: relaying is denied without a login and permitted with one, over each
// listener by each mechanism; a wrong password and a name that nobody has are answered
// alike.
func TestLogin(t *testing.T) {
	s := loginSite(t, allMechanisms)
	for _, m := range mechanisms() {
		s.account("joe-"+m, "mx.example.com")
	}
	s.start()
	next, arrived := addresses(), 0
	for _, listener := range []string{"MSA", "MSA-TLS"} {
		for _, mechanism := range mechanisms() {
			user := "joe-" + mechanism // or the guard against guessing sees one account
			c, offers := s.open(listener, next())
			if !strings.Contains(offers, "AUTH "+strings.Join(mechanisms(), " ")+"\r\n") {
				t.Errorf("%s offers\n%s", listener, offers)
			}
			c.expect("530 5.7.0 ", "MAIL FROM:<joe@example.com>")
			wrong := c.login(mechanism, user, "wrong")
			unknown := c.login(mechanism, "no"+user, "wrong")
			if !strings.HasPrefix(wrong, "535 5.7.8 ") || wrong != unknown {
				t.Errorf("%s: %s with a wrong password is answered %q, with an unknown name %q", listener, mechanism, wrong, unknown)
			}
			c.expect("530 5.7.0 ", "MAIL FROM:<joe@example.com>")
			if got := c.login(mechanism, user, password); !strings.HasPrefix(got, "235 2.7.0 ") {
				t.Errorf("%s: %s is answered %q", listener, mechanism, got)
				continue
			}
			if got := c.message("joe@example.com", "<you@elsewhere.example>"); got[0] != '2' {
				t.Errorf("%s: after a login by %s a message is answered %q", listener, mechanism, got)
			}
			arrived++
		}
	}
	s.eventually("all arrive", func() bool { return len(s.smart.mail("you@elsewhere.example")) == arrived })
	_, body := s.get("/metrics")
	for _, m := range mechanisms() {
		for result, n := range map[string]int{"success": 2, "failure": 4, "throttled": 0} {
			if want := fmt.Sprintf("\ngatepost_relay_auth_total{mechanism=%q,result=%q} %d\n", m, result, n); !strings.Contains(body, want) {
				t.Errorf("/metrics has no line %s", want)
			}
		}
		if want := fmt.Sprintf("\ngatepost_relay_auth_checks_total{mechanism=%q} 6\n", m); !strings.Contains(body, want) {
			t.Errorf("/metrics has no line %s", want)
		}
	}
}

// TestLoginWithoutTLS: where passwords may not cross the wire in the clear they are not
// asked for; where they may, they are.
func TestLoginWithoutTLS(t *testing.T) {
	s := loginSite(t, "")
	text, err := os.ReadFile(s.path("gatepost.toml"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("gatepost.toml", string(text)+"[[listener]]\nname = \"clear\"\nkind = \"submission\"\nlisten = \"127.0.0.1:0\"\ntls = \"none\"\nallow_plaintext_auth = true\nnetworks = \"203.0.0.0/16\"\n")
	s.start()
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256"} {
		c := s.connect("MSA", stranger)
		c.expect("220 ", "")
		if offers := c.ehlo(); strings.Contains(offers, "AUTH") {
			t.Errorf("before TLS it offers\n%s", offers)
		}
		if got := c.login(mechanism, "joe", password); got[0] != '5' {
			t.Errorf("AUTH %s before TLS is answered %q", mechanism, got)
		}
		c, _ = s.open("MTA", stranger)
		if got := c.login(mechanism, "joe", password); got[0] != '5' {
			t.Errorf("AUTH %s at a listener that has none is answered %q", mechanism, got)
		}
		c, _ = s.open("clear", "203.0.113.7")
		if got := c.login(mechanism, "joe", password); !strings.HasPrefix(got, "235 ") {
			t.Errorf("AUTH %s at a listener for the clear is answered %q", mechanism, got)
		}
	}
	s.connect("clear", "198.51.100.7").expect("554 ", "")
}

// TestTrustedMechanisms: a login by a mechanism that trust_auth_mech does not name is
// good for nothing but itself.
func TestTrustedMechanisms(t *testing.T) {
	s := loginSite(t, "")
	text, err := os.ReadFile(s.path("gatepost.toml"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("gatepost.toml", strings.Replace(string(text), `trust_auth_mech = ["PLAIN", `, `trust_auth_mech = [`, 1))
	s.start()
	next := addresses()
	for mechanism, want := range map[string]byte{"PLAIN": '4', "LOGIN": '2'} { // 4: a stranger, and his name cannot be looked up
		c, _ := s.open("MSA", next())
		c.login(mechanism, "joe", password)
		if got := c.message("joe@example.com", "<you@elsewhere.example>"); got[0] != want {
			t.Errorf("after a login by %s a message is answered %q", mechanism, got)
		}
	}
}

// TestSenderBinding: users may send as themselves only; the file says as whom else.
func TestSenderBinding(t *testing.T) {
	s := loginSite(t, `sender_binding = "senders"`)
	s.write("senders", "joe: joe@example.com, @lists.example.com\n")
	s.start()
	c, _ := s.open("MSA", stranger)
	c.login("PLAIN", "joe", password)
	for from, want := range map[string]byte{"joe@example.com": '2', "x@lists.example.com": '2', "": '2', "ann@example.com": '5'} {
		if got := c.message(from, "<you@elsewhere.example>"); got[0] != want {
			t.Errorf("a message of joe from <%s> is answered %q", from, got)
		}
	}
	s.write("senders", "joe: ann@example.com\n")
	time.Sleep(1100 * time.Millisecond) // it is looked at once a second
	if got := c.message("ann@example.com", "<you@elsewhere.example>"); got[0] != '2' {
		t.Errorf("after the edit a message of joe from ann is answered %q", got)
	}
	c.expect("553 ", "MAIL FROM:<joe@example.com>")
}

// TestGuessing: after five wrong passwords of one address in a minute no more is looked
// at, however it goes about it.
func TestGuessing(t *testing.T) {
	s := loginSite(t, allMechanisms)
	s.account("ann")
	s.start()
	for i := range 20 {
		c, _ := s.open([]string{"MSA", "MSA-TLS"}[i%2], stranger)
		m := mechanisms()[i%len(mechanisms())]
		if got := c.login(m, []string{"joe", "ann", "nobody"}[i%3], fmt.Sprint("guess", i)); !strings.HasPrefix(got, "535 ") && !strings.HasPrefix(got, "454 ") {
			t.Errorf("guess %d is answered %q", i, got)
		}
	}
	c, _ := s.open("MSA", stranger)
	if got := c.login("PLAIN", "joe", password); !strings.HasPrefix(got, "454 ") {
		t.Errorf("the right password after all that is answered %q", got)
	}
	c, _ = s.open("MSA", "198.51.100.9")
	if got := c.login("PLAIN", "joe", password); !strings.HasPrefix(got, "235 ") {
		t.Errorf("the right password from elsewhere is answered %q", got)
	}
	checks, throttled := s.metric("gatepost_relay_auth_checks_total"), s.metric(`gatepost_relay_auth_total{mechanism="PLAIN",result="throttled"}`)
	if checks != 6 || throttled == 0 {
		t.Errorf("%d checks, want 6; %d times PLAIN was refused without one", checks, throttled)
	}
}

// metric is the sum of all samples whose line begins with a name.
func (s *site) metric(name string) (sum int) {
	s.t.Helper()
	_, body := s.get("/metrics")
	for line := range strings.Lines(body) {
		if rest, ours := strings.CutPrefix(line, name); ours {
			n, err := strconv.Atoi(strings.TrimSpace(rest[strings.LastIndexByte(rest, ' ')+1:]))
			if err != nil {
				s.t.Fatalf("%s: %v", line, err)
			}
			sum += n
		}
	}
	return sum
}

// TestClientCertificate: who has a certificate that ca_cert has signed logs in by EXTERNAL,
// and is known to CertSubject: entries without.
func TestClientCertificate(t *testing.T) {
	s := loginSite(t, "auth_mechanisms = [\"EXTERNAL\", \"PLAIN\"]\nca_cert = \"ca\"")
	good, goodKey := newCertificate(t, "laptop.example.com")
	bad, badKey := newCertificate(t, "forged.example.com")
	s.put("ca", good)
	s.write("access", siteAccess+"CertSubject:/CN=laptop.example.com\tRELAY\nCertIssuer:/CN=laptop.example.com\tRELAY\n")
	s.start()
	for _, tc := range []struct{ cert, key, login, relayed string }{
		{good, goodKey, "235 ", "250 "},
		{bad, badKey, "504 ", "450 "}, // as without: a stranger whose name cannot be looked up
	} {
		pair, err := tls.X509KeyPair([]byte(tc.cert), []byte(tc.key))
		if err != nil {
			t.Fatal(err)
		}
		with := s.trusting()
		with.Certificates = []tls.Certificate{pair}
		for _, listener := range []string{"MTA", "MSA"} {
			c := s.connect(listener, stranger)
			c.expect("220 ", "")
			c.ehlo()
			c.expect("220 ", "STARTTLS")
			c.begin(with)
			c.ehlo()
			if listener == "MSA" {
				if got := c.login("EXTERNAL", "", ""); !strings.HasPrefix(got, tc.login) {
					t.Errorf("EXTERNAL is answered %q, want %s", got, tc.login)
				}
				continue
			}
			c.expect("250 ", "MAIL FROM:<me@example.com>")
			c.expect(tc.relayed, "RCPT TO:<you@elsewhere.example>")
		}
	}
}

// TestSASLDB: accounts that Cyrus's saslpasswd2 has made (testdata/sasldb2) log in by all
// mechanisms, beside ours; one that it has made later (sasldb2.later) does too.
func TestSASLDB(t *testing.T) {
	s := loginSite(t, allMechanisms+"\nsasldb = \"sasldb2\"\nauth_realm = [\"mx.example.com\", \"old.example\"]")
	s.write("sasldb2", kept(t, "sasldb2"))
	s.start()
	next := addresses()
	for _, mechanism := range mechanisms() {
		for _, user := range []string{"mary", "joe"} {
			c, _ := s.open("MSA", next())
			if got := c.login(mechanism, user, password); !strings.HasPrefix(got, "235 ") {
				t.Errorf("%s by %s is answered %q", user, mechanism, got)
			}
		}
	}
	for user, want := range map[string]string{"jane@old.example": "235 ", "late": "535 "} {
		c, _ := s.open("MSA", next())
		if got := c.login("PLAIN", user, password); !strings.HasPrefix(got, want) {
			t.Errorf("%s is answered %q", user, got)
		}
	}
	s.write("sasldb2", kept(t, "sasldb2.later"))
	time.Sleep(1100 * time.Millisecond) // it is looked at once a second
	c, _ := s.open("MSA", next())
	if got := c.login("CRAM-MD5", "late", password); !strings.HasPrefix(got, "235 ") {
		t.Errorf("an account that was made later is answered %q", got)
	}
}

func kept(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
