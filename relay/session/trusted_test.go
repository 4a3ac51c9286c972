package session_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"gatepost/internal/certtest"
	"gatepost/internal/dns/dnsfake"
	"gatepost/internal/dns/dnstest"
	"gatepost/relay/sasl"
	"gatepost/relay/session"
	"gatepost/relay/session/logintest"
)

// officeAccess refuses the client of these tests, and lets some certificates relay.
const officeAccess = `
Connect:198.51.100.7	ERROR:550 5.7.1 Not from there
From:spammer.example	REJECT
To:refused@local.example	REJECT
CertIssuer:/C=US/O=Example+20Corp/CN=Example+20CA	SUBJECT
CertSubject:/C=US/O=Example+20Corp/CN=gateway+20+28one+29	RELAY
CertIssuer:/C=DE/CN=Partner+20CA	RELAY
`

type accounts struct{}

func (accounts) Lookup(_ context.Context, user, _ string) (sasl.Secrets, bool, error) {
	return sasl.Secrets{Name: user, Password: "s3cret"}, user == "joe", nil
}

func (accounts) Usual() sasl.Usual {
	return sasl.Usual{Iterations: sasl.MinIterations, MaxIterations: sasl.MinIterations, Passwords: true}
}

// client is a client in the middle of a dialogue.
type client struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func (c *client) ask(line string) (code int, text string, err error) {
	if _, err := io.WriteString(c.conn, line+"\r\n"); err != nil {
		return 0, "", err
	}
	for {
		reply, err := c.in.ReadString('\n')
		if err != nil || len(reply) < 5 {
			return 0, "", fmt.Errorf("reply %q: %w", reply, err)
		}
		if reply[3] == ' ' {
			_, err := fmt.Sscanf(reply, "%d", &code)
			return code, strings.TrimSpace(reply[4:]), err
		}
	}
}

func (c *client) expect(line, want string) {
	c.t.Helper()
	code, text, err := c.ask(line)
	if got := fmt.Sprintf("%d %s", code, text); err != nil || !strings.HasPrefix(got, want) {
		c.t.Fatalf("%s: got %q (%v), want %q", line, got, err, want)
	}
}

// connect begins TLS, with certificates or without, and says EHLO.
func connect(t *testing.T, addr string, certs ...tls.Certificate) *client {
	t.Helper()
	conn, err := net.Dial("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	c := &client{t: t, conn: conn, in: bufio.NewReader(conn)}
	c.expect("PROXY TCP4 198.51.100.7 192.0.2.1 1025 25", "220 ")
	c.expect("EHLO client.example", "250 ")
	code, _, err := c.ask("STARTTLS")
	if err != nil {
		t.Fatal(err)
	}
	if code != 220 {
		return c
	}
	c.conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, Certificates: certs})
	c.in = bufio.NewReader(c.conn)
	c.expect("EHLO client.example", "250 ")
	return c
}

func (c *client) login(mechanism string) {
	c.t.Helper()
	l := logintest.Client{Mechanism: mechanism, User: "joe", Password: "s3cret", Host: "mx.example.com"}
	if code, text, err := l.Login(c.ask); err != nil || code != 235 {
		c.t.Fatalf("AUTH %s: %d %s (%v)", mechanism, code, text, err)
	}
}

// TestTrustedClients: who has logged in by a trusted mechanism, or has a certificate
// that an access entry lets relay, relays, and with delay_checks skips the checks of the
// connection and the sender; without, it does not.
func TestTrustedClients(t *testing.T) {
	zone := dnsfake.Zone{"local.example": {A: []string{"192.0.2.1"}}, "home.example": {A: []string{"192.0.2.2"}}, "spammer.example": {A: []string{"192.0.2.3"}}}
	dns := dnstest.Serve(t, zone)
	trusted := certtest.New(t, certtest.Name(t, "/C=US/O=Example Corp/CN=Example CA"))
	partner := certtest.New(t, certtest.Name(t, "/C=DE/CN=Partner CA"))
	forged := certtest.New(t, certtest.Name(t, "/C=DE/CN=Partner CA"))
	pool := trusted.Pool()
	pool.AddCert(partner.Certificate())
	auth, err := sasl.NewServer(sasl.Config{Mechanisms: []string{"DIGEST-MD5", "CRAM-MD5", "PLAIN"}, HostName: "mx.example.com", Accounts: []sasl.Accounts{accounts{}}})
	if err != nil {
		t.Fatal(err)
	}
	rules := &session.Rules{
		TLS: &tls.Config{Certificates: []tls.Certificate{trusted.Host("mx.example.com")}}, ClientCAs: func() *x509.CertPool { return pool }, Auth: auth,
	}
	one := certtest.Name(t, "/C=US/O=Example Corp/CN=gateway (one)")
	two := certtest.Name(t, "/C=US/O=Example Corp/CN=gateway (two)")
	for _, features := range []struct{ name, text string }{{"delayed", "delay_checks = true\n"}, {"at once", ""}} {
		policy := map[string]string{
			"access": officeAccess, "local-host-names": "local.example\n", "relay-domains": "\n",
			"gatepost.toml": "[features]\nblocklist_recipients = true\ntrust_auth_mech = [\"DIGEST-MD5\", \"CRAM-MD5\"]\n" + features.text,
		}
		s := serve(t, policy, dns, rules)
		t.Run(features.name, func(t *testing.T) {
			if features.text == "" {
				c := connect(t, s.addr, trusted.Issue(one, nil))
				c.expect("MAIL FROM:<a@home.example>", "550 5.7.1 Not from there")
				return
			}
			for _, who := range []struct {
				name, mechanism string
				cert            []tls.Certificate
				relays          bool
			}{
				{"a stranger", "", nil, false},
				{"a trusted mechanism", "DIGEST-MD5", nil, true},
				{"another", "CRAM-MD5", nil, true},
				{"one that is not trusted", "PLAIN", nil, false},
				{"a subject", "", []tls.Certificate{trusted.Issue(one, nil)}, true},
				{"another subject", "", []tls.Certificate{trusted.Issue(two, nil)}, false},
				{"an issuer", "", []tls.Certificate{partner.Issue(two, nil)}, true},
				{"an issuer by name alone", "", []tls.Certificate{forged.Issue(two, nil)}, false},
			} {
				t.Run(who.name, func(t *testing.T) {
					c := connect(t, s.addr, who.cert...)
					if who.mechanism != "" {
						c.login(who.mechanism)
					}
					c.expect("MAIL FROM:<a@spammer.example>", "250 ")
					if !who.relays {
						c.expect("RCPT TO:<x@elsewhere.example>", "550 5.7.1 <x@elsewhere.example>... Relaying denied")
						c.expect("RCPT TO:<u@local.example>", "550 5.7.1 ")
						return
					}
					c.expect("RCPT TO:<x@elsewhere.example>", "250 ")
					c.expect("RCPT TO:<u@local.example>", "250 ")
					c.expect("RCPT TO:<refused@local.example>", "550 5.2.1 ") // this is before trust
				})
			}
		})
	}
}
