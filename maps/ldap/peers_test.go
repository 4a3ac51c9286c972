//go:build integration

package ldap

import (
	"context"

	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatepost/internal/servers"
	"gatepost/maps/internal/credentials"
	"gatepost/maps/internal/credentials/credentialstest"
)

type server struct{ *servers.Slapd }

func start(t *testing.T, options string) server {
	t.Helper()
	return server{servers.StartSlapd(t, options)}
}

func (s server) config() Config {
	return Config{URL: fmt.Sprintf("ldap://127.0.0.1:%d", s.Port), BaseDN: "ou=access,dc=example,dc=com", Filter: SendmailFilter("access", "mx", "")}
}

func lookup(t *testing.T, c *Client, key, want string, found bool) {
	t.Helper()
	got, ok, err := c.Lookup(context.Background(), key)
	if err != nil || ok != found || got != want {
		t.Errorf("Lookup(%q) = %q, %v, %v, want %q, %v", key, got, ok, err, want, found)
	}
}

func fails(t *testing.T, c *Client, key, say string) {
	t.Helper()
	got, ok, err := c.Lookup(context.Background(), key)
	if err == nil || ok || got != "" || !strings.Contains(err.Error(), say) {
		t.Errorf("Lookup(%q) = %q, %v, %v, want an error that says %q", key, got, ok, err, say)
	}
}

func TestRealTable(t *testing.T) {
	s := start(t, "")
	s.Change(s.Entry("access", "From:spam.example", "REJECT") + s.Entry("access", "Connect:192.0.2.1", "550 5.7.1 schön") +
		s.Entry("access", "nothing") + s.Entry("access", "twice", "a") + s.Entry("access", "twice", "b"))
	for _, url := range []string{s.config().URL, "ldapi://" + s.Socket(), "ldapi://" + url.QueryEscape(s.Socket())} {
		cfg := s.config()
		cfg.URL = url
		c := client(t, cfg)
		lookup(t, c, "From:spam.example", "REJECT", true)
		lookup(t, c, "Connect:192.0.2.1", "550 5.7.1 schön", true)
		lookup(t, c, "nothing", "", false)
		lookup(t, c, "absent", "", false)
		lookup(t, c, "", "", false)
	}
	cfg := s.config()
	cfg.SingleMatch = true
	lookup(t, client(t, cfg), "twice", "", false)
	if got, found, err := client(t, s.config()).Lookup(context.Background(), "twice"); (got != "a" && got != "b") || !found || err != nil {
		t.Errorf("first of two: %q, %v, %v", got, found, err)
	}
	other := s.config()
	other.Filter = SendmailFilter("access", "other", "host")
	lookup(t, client(t, other), "From:spam.example", "", false)
	scope := s.config()
	scope.Scope = "base"
	lookup(t, client(t, scope), "From:spam.example", "", false)
	c := client(t, s.config())
	lookup(t, c, "late", "", false)
	s.Change(s.Entry("access", "late", "OK"))
	lookup(t, c, "late", "OK", true)
}

// Keys with characters that mean something in a filter ask for themselves alone.
func TestRealSpecialKeys(t *testing.T) {
	s := start(t, "")
	keys := []string{"*", "(", ")", `\`, "a*b", "a(b)c", `a\2ab`, "%0", "%s", "%%", "a\x00b", "*)(sendmailMTAKey=*", "ü@example", "a=b,c+d;e<f>g#h", "!&|~", "x:=y"}
	ldif := s.Entry("access", "decoy", "WRONG") + s.Entry("access", "axb", "WRONG")
	for i, key := range keys {
		ldif += s.Entry("access", key, fmt.Sprintf("value %d", i))
	}
	s.Change(ldif)
	for _, placeholder := range []string{"%0", "%s"} {
		cfg := s.config()
		cfg.Filter = strings.ReplaceAll(cfg.Filter, "%0", placeholder)
		c := client(t, cfg)
		for i, key := range keys {
			lookup(t, c, key, fmt.Sprintf("value %d", i), true)
		}
		for _, key := range []string{"d*", "decoy)", "(decoy", "**", "\x00", "\xff\xfe", "d\xc3", "*)(|(sendmailMTAKey=decoy", "a?b", `\2a`, "%1", strings.Repeat("x", 5000)} {
			lookup(t, c, key, "", false)
		}
	}
}

func TestRealErrors(t *testing.T) {
	s := start(t, "sizelimit 2\n")
	ldif := ""
	for range 5 {
		ldif += s.Entry("access", "many", "a") + s.Entry("access", "none")
	}
	s.Change(ldif + s.Entry("private", "secret", "OK"))
	with := func(change func(*Config)) *Client {
		cfg := s.config()
		change(&cfg)
		return client(t, cfg)
	}
	fails(t, with(func(c *Config) { c.BaseDN = "ou=nowhere,dc=example,dc=com" }), "a", "No Such Object (32)")
	fails(t, with(func(c *Config) { c.BaseDN = "dc=elsewhere" }), "a", "(32)")
	fails(t, with(func(c *Config) { c.BaseDN = "ou=far,dc=example,dc=com" }), "a", "Referral (10)")
	fails(t, with(func(c *Config) { c.BaseDN = "dc=example,dc=com" }), "absent", "referrals are not followed")
	lookup(t, client(t, s.config()), "many", "a", true)
	fails(t, client(t, s.config()), "none", "(4)")

	private := func(c *Config) { c.BaseDN = "ou=private,dc=example,dc=com" }
	lookup(t, with(private), "secret", "", false) // a directory does not tell what it hides
	bound := func(user, password string) *Client {
		return with(func(c *Config) {
			private(c)
			c.BindDN, c.PasswordFile = user, s.Write("password", password+"\n")
		})
	}
	lookup(t, bound("cn=gatepost,dc=example,dc=com", "s3cr3t"), "secret", "OK", true)
	fails(t, bound("cn=gatepost,dc=example,dc=com", "wrong"), "secret", "Invalid Credentials (49)")
	fails(t, bound("cn=nobody,dc=example,dc=com", "s3cr3t"), "secret", "(49)")

	long := client(t, s.config())
	s.Change(s.Entry("access", "long", strings.Repeat("x", 70000)))
	fails(t, long, "long", "longer than 64 KiB")
	lookup(t, long, "many", "a", true)
}

func TestRealTLS(t *testing.T) {
	made, other := credentialstest.Make(t), credentialstest.Make(t)
	s := start(t, fmt.Sprintf("TLSCACertificateFile %s\nTLSCertificateFile %s\nTLSCertificateKeyFile %s\nsecurity tls=1\n", made.CAFile, made.CertFile, made.KeyFile))
	with := func(host string, starts bool, tls credentials.TLS) *Client {
		cfg := s.config()
		cfg.URL, cfg.StartTLS, cfg.TLS = fmt.Sprintf("ldap://%s:%d", host, s.Port), starts, tls
		return client(t, cfg)
	}
	lookup(t, with("localhost", true, credentials.TLS{CAFile: made.CAFile}), "absent", "", false)
	lookup(t, with("127.0.0.1", true, made), "absent", "", false)
	fails(t, with("localhost", false, credentials.TLS{}), "absent", "(13)")
	fails(t, with("localhost", true, credentials.TLS{}), "absent", "TLS: ")
	fails(t, with("localhost", true, credentials.TLS{CAFile: other.CAFile}), "absent", "TLS: ")
	fails(t, with("127.0.0.2", true, credentials.TLS{CAFile: made.CAFile}), "absent", "")
}

func TestRealLdaps(t *testing.T) {
	made := credentialstest.Make(t)
	s := start(t, fmt.Sprintf("TLSCACertificateFile %s\nTLSCertificateFile %s\nTLSCertificateKeyFile %s\n", made.CAFile, made.CertFile, made.KeyFile))
	s.Change(s.Entry("access", "a", "OK"))
	s.Kill()
	s.Scheme = "ldaps"
	s.Run()
	cfg := s.config()
	cfg.URL, cfg.TLS = fmt.Sprintf("ldaps://localhost:%d", s.Port), credentials.TLS{CAFile: made.CAFile}
	lookup(t, client(t, cfg), "a", "OK", true)
	cfg.TLS = credentials.TLS{}
	fails(t, client(t, cfg), "a", "unknown authority")
}

func TestRealRestart(t *testing.T) {
	s := start(t, "")
	s.Change(s.Entry("access", "a", "OK"))
	c := client(t, s.config())
	lookup(t, c, "a", "OK", true)
	s.Kill()
	fails(t, c, "a", "connection refused")
	s.Run()
	lookup(t, c, "a", "OK", true)
	s.Kill()
	s.Run()
	lookup(t, c, "a", "OK", true)
	for range 3 { // a server that is told to end, as a package upgrade does
		s.Terminate()
		s.Run()
		lookup(t, c, "a", "OK", true)
	}
}

// slapd that is stopped keeps its connections and answers nothing.
func TestRealServerHangs(t *testing.T) {
	s := start(t, "")
	cfg := s.config()
	cfg.Timeout = time.Second
	c := client(t, cfg)
	lookup(t, c, "a", "", false)
	s.Pause()
	fails(t, c, "a", "no answer in time")
	s.Resume()
	lookup(t, c, "a", "", false)
}

// A server that closes idle connections, as many do.
func TestRealIdleTimeout(t *testing.T) {
	s := start(t, "idletimeout 1\n")
	s.Change(s.Entry("access", "a", "OK"))
	c := client(t, s.config())
	for range 3 {
		lookup(t, c, "a", "OK", true)
		time.Sleep(2500 * time.Millisecond)
	}
}

func TestRealMany(t *testing.T) {
	s := start(t, "")
	ldif := ""
	for i := range 100 {
		ldif += s.Entry("access", fmt.Sprintf("host%d.example", i), strconv.Itoa(i))
	}
	s.Change(ldif)
	c := client(t, s.config())
	done := make(chan struct{})
	for w := range 20 {
		go func() {
			for i := range 50 {
				n := (w*50 + i) % 110
				lookup(t, c, fmt.Sprintf("host%d.example", n), map[bool]string{true: strconv.Itoa(n)}[n < 100], n < 100)
			}
			done <- struct{}{}
		}()
	}
	for range 20 {
		<-done
	}
	if n := len(c.idle); n == 0 || n > 8 {
		t.Errorf("%d connections are kept, want 1 to 8", n)
	}
}
