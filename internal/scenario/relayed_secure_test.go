package scenario

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/textproto"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"gatepost/internal/certtest"
	"gatepost/policy"
	"gatepost/relay/sasl"
	"gatepost/relay/session"
	"gatepost/relay/session/logintest"
)

// TestSecureOverSMTP plays the recorded sessions with AUTH or TLS, as TestOverSMTP
// does the others: the client logs in by the recorded mechanism, and begins TLS with a
// certificate that has the recorded names, of an authority that the server knows only
// where the recorded {verify} is OK.
func TestSecureOverSMTP(t *testing.T) {
	const every, atLeast = 3, 100 // policies, sessions
	var sum Result
	n, unknown := 0, 0
	for _, name := range []string{"named", "random"} {
		err := readFile(filepath.Join("../../integration/testdata/oracle", name+".jsonl.gz"), func(load func() (*Scenario, error)) error {
			if n++; n%every != 0 && name == "random" {
				return nil
			}
			s, err := load()
			if err != nil {
				return err
			}
			runOverSMTP(t, s, &sum, func(one *Session) bool { return secured(one) && available(one) })
			for i := range s.Sessions {
				if !available(&s.Sessions[i]) {
					unknown++
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d sessions, %d replies; %d left out for mechanisms that we do not have", sum.Passed+sum.Failed, sum.Verdicts, unknown)
	if sum.Failed != 0 || sum.Passed < atLeast {
		t.Errorf("%d sessions differ, %d do not; want none, and %d of the others at least", sum.Failed, sum.Passed, atLeast)
	}
}

// available tells whether the mechanism that a session logs in by is one of ours.
func available(s *Session) bool { return s.Facts.Auth.Type == "" || logintest.Known(s.Facts.Auth.Type) }

// secured tells whether a session has AUTH or TLS.
func secured(s *Session) bool { return s.Facts.Auth.Type != "" || s.Facts.TLS.Verify != "" }

// authorities are those that have signed certificates, by name; the server believes
// the good ones.
type authorities struct {
	t         testing.TB
	good, bad map[string]*certtest.Authority
}

// of returns an authority with a name as sendmail writes it.
func (a *authorities) of(name string, good bool) *certtest.Authority {
	known := &a.bad
	if good {
		known = &a.good
	}
	if *known == nil {
		*known = map[string]*certtest.Authority{}
	}
	if (*known)[name] == nil {
		(*known)[name] = certtest.New(a.t, distinguished(a.t, name))
	}
	return (*known)[name]
}

func (a *authorities) pool() *x509.CertPool {
	p := x509.NewCertPool()
	for _, one := range a.good {
		p.AddCert(one.Certificate())
	}
	return p
}

// distinguished is a name that sendmail has written.
func distinguished(t testing.TB, name string) []byte {
	t.Helper()
	plain, err := url.PathUnescape(strings.ReplaceAll(name, "+", "%"))
	if err != nil {
		t.Fatal(err)
	}
	return certtest.Name(t, plain)
}

// secureRules lets clients begin TLS and log in.
func secureRules(t testing.TB, r *relay) *session.Rules {
	t.Helper()
	auth, err := sasl.NewServer(sasl.Config{Mechanisms: sasl.Mechanisms(), HostName: r.host, Accounts: []sasl.Accounts{anybody{}}})
	if err != nil {
		t.Fatal(err)
	}
	cert := certtest.New(t, certtest.Name(t, "/CN=Server CA")).Host(r.host)
	return &session.Rules{
		TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, ClientCAs: func() *x509.CertPool { return r.pki.pool() },
		Auth: auth, PlainOK: true,
	}
}

// anybody is known, with a password that is the name twice.
type anybody struct{}

func (anybody) Lookup(_ context.Context, user, _ string) (sasl.Secrets, bool, error) {
	return sasl.Secrets{Name: user, Password: user + user}, true, nil
}

func (anybody) Usual() sasl.Usual {
	return sasl.Usual{Iterations: sasl.MinIterations, MaxIterations: sasl.MinIterations, Passwords: true}
}

// identify begins TLS and logs in, as recorded, and finds out whether the policy is
// told what was recorded.
func (c *conversation) identify(s *Session) error {
	if !secured(s) {
		return nil
	}
	if err := c.beginTLS(s); err != nil {
		return err
	}
	if used := s.Facts.Auth.Type; used != "" {
		user := s.Facts.Auth.Authen
		login := logintest.Client{Mechanism: used, User: user, Password: user + user, Host: c.relay.host}
		if code, text, err := login.Login(c.ask); err != nil || code != 235 {
			return fmt.Errorf("AUTH %s: %d %s (%v)", used, code, text, err)
		}
	}
	if _, _, err := c.ask("MAIL FROM:<>"); err != nil {
		return err
	}
	want := s.Facts.TLS
	if want.Verify == "" {
		want.Verify = "NONE"
	}
	if got := c.relay.judged.Load(); got.Auth != s.Facts.Auth || got.TLS != want {
		return fmt.Errorf("judged %+v %+v, want %+v %+v", got.Auth, got.TLS, s.Facts.Auth, want)
	}
	code, text, err := c.ask("RSET")
	if err != nil || code != 250 {
		return fmt.Errorf("RSET: %d %s (%v)", code, text, err)
	}
	return nil
}

// beginTLS begins TLS if that was recorded.
func (c *conversation) beginTLS(s *Session) error {
	t := &s.Facts.TLS
	if t.Verify == "" {
		return nil
	}
	if code, text, err := c.ask("STARTTLS"); err != nil || code != 220 {
		return fmt.Errorf("STARTTLS: %d %s (%v)", code, text, err)
	}
	conn := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true, Certificates: c.relay.pki.certificates(t)})
	if err := conn.Handshake(); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	c.conn, c.in = conn, textproto.NewReader(bufio.NewReader(conn))
	if code, text, err := c.ask("EHLO " + s.Facts.Helo.Name); err != nil || code != 250 {
		return fmt.Errorf("EHLO within TLS: %d %s (%v)", code, text, err)
	}
	return nil
}

// certificates are what a client has that leads to t.
func (a *authorities) certificates(t *policy.TLS) []tls.Certificate {
	if t.CertSubject == "" {
		return nil
	}
	return []tls.Certificate{a.of(t.CertIssuer, t.Verify == "OK").Issue(distinguished(a.t, t.CertSubject), nil)}
}
