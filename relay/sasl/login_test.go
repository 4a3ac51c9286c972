package sasl_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"gatepost/relay/sasl"
)

// passwordMechanisms are those that clientFor speaks.
var passwordMechanisms = []string{sasl.Plain, sasl.Login, sasl.CRAMMD5, sasl.DigestMD5, sasl.SCRAMSHA1, sasl.SCRAMSHA256}

func TestLogin(t *testing.T) {
	s := newServer(t, sasl.Config{}, ownFile(t), cyrusFile(t))
	for _, mechanism := range passwordMechanisms {
		t.Run(mechanism, func(t *testing.T) {
			for _, user := range []string{"joe", "old"} {
				if who, err := login(s, mechanism, secure(), clientFor(t, mechanism, user, "secret of "+user)); who != user || err != nil {
					t.Errorf("%s: user %q, error %v", user, who, err)
				}
				if who, err := login(s, mechanism, secure(), clientFor(t, mechanism, user, "secret of")); who != "" || err != sasl.ErrFailed {
					t.Errorf("%s with a wrong password: user %q, error %v", user, who, err)
				}
			}
			for _, user := range []string{"nobody", "JOE", "joe@" + host} {
				if who, err := login(s, mechanism, secure(), clientFor(t, mechanism, user, "secret of joe")); who != "" || err != sasl.ErrFailed {
					t.Errorf("%s: user %q, error %v", user, who, err)
				}
			}
			n := s.Stats()[mechanism]
			if want := (sasl.Counts{Successes: 2, Failures: 5, Checks: 7}); n != want {
				t.Errorf("stats %+v, want %+v", n, want)
			}
		})
	}
}

// TestAbsentSecret: who has no secret for a mechanism looks like nobody.
func TestAbsentSecret(t *testing.T) {
	s := newServer(t, sasl.Config{}, ownFile(t))
	for _, mechanism := range passwordMechanisms {
		who, err := login(s, mechanism, secure(), clientFor(t, mechanism, "ann", "secret of ann"))
		switch mechanism {
		case sasl.Plain, sasl.Login, sasl.SCRAMSHA256:
			if who != "ann" || err != nil {
				t.Errorf("%s: user %q, error %v", mechanism, who, err)
			}
		default:
			if who != "" || err != sasl.ErrFailed {
				t.Errorf("%s: user %q, error %v", mechanism, who, err)
			}
		}
	}
}

func TestRealms(t *testing.T) {
	s := newServer(t, sasl.Config{Realms: []string{host, "far.example"}}, cyrusFile(t))
	for user, want := range map[string]string{"old": "old", "old@" + host: "old", "far@far.example": "far@far.example", "far": "", "old@far.example": "", "@" + host: ""} {
		_, name, _ := cutRealm(user)
		if who, err := login(s, sasl.Plain, secure(), clientFor(t, sasl.Plain, user, "secret of "+name)); who != want {
			t.Errorf("%s: user %q, error %v; want %q", user, who, err, want)
		}
	}
}

func cutRealm(user string) (realm, name string, ok bool) {
	for i := range user {
		if user[i] == '@' {
			return user[i+1:], user[:i], true
		}
	}
	return "", user, false
}

func TestOffered(t *testing.T) {
	s := newServer(t, sasl.Config{Mechanisms: []string{"external", "scram-sha-256", "PLAIN", "LOGIN"}}, ownFile(t))
	same := func(got []string, want ...string) {
		t.Helper()
		if len(got) != len(want) {
			t.Fatalf("offers %q, want %q", got, want)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("offers %q, want %q", got, want)
			}
		}
	}
	c := &sasl.Conn{Client: somewhere}
	same(s.Offered(c), "SCRAM-SHA-256")
	c.PlainOK = true
	same(s.Offered(c), "SCRAM-SHA-256", "PLAIN", "LOGIN")
	c = secure()
	same(s.Offered(c), "SCRAM-SHA-256", "PLAIN", "LOGIN")
	c.Identity = "joe"
	same(s.Offered(c), "EXTERNAL", "SCRAM-SHA-256", "PLAIN", "LOGIN")
	for mechanism, want := range map[string]error{"plain": sasl.ErrEncryption, "LOGIN": sasl.ErrEncryption, "EXTERNAL": sasl.ErrMechanism,
		"CRAM-MD5": sasl.ErrMechanism, "ANONYMOUS": sasl.ErrMechanism, "": sasl.ErrMechanism, "scram-sha-256": nil} {
		if _, err := s.Begin(context.Background(), mechanism, &sasl.Conn{}); !errors.Is(err, want) {
			t.Errorf("%q without TLS: error %v, want %v", mechanism, err, want)
		}
	}
}

func TestNewServerRefuses(t *testing.T) {
	own := []sasl.Accounts{ownFile(t)}
	for name, cfg := range map[string]sasl.Config{
		"no host name":      {Mechanisms: []string{"PLAIN"}, Accounts: own},
		"no mechanisms":     {HostName: host, Accounts: own},
		"unknown mechanism": {HostName: host, Accounts: own, Mechanisms: []string{"NTLM"}},
		"twice":             {HostName: host, Accounts: own, Mechanisms: []string{"PLAIN", "plain"}},
		"no accounts":       {HostName: host, Mechanisms: []string{"PLAIN"}},
		"realm":             {HostName: host, Accounts: own, Mechanisms: []string{"PLAIN"}, Realms: []string{`a"b`}},
	} {
		if _, err := sasl.NewServer(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := sasl.NewServer(sasl.Config{HostName: host, Mechanisms: []string{"EXTERNAL"}}); err != nil {
		t.Error(err)
	}
}

func TestExternal(t *testing.T) {
	s := newServer(t, sasl.Config{}, ownFile(t))
	c := secure()
	c.Identity = "joe"
	for authzid, want := range map[string]error{"": nil, "joe": nil, "ann": sasl.ErrFailed, "joe\x00": sasl.ErrMalformed, "\xff": sasl.ErrMalformed} {
		who, err := login(s, sasl.External, c, func(string) string { return authzid })
		if err != want || (who == "joe") != (want == nil) {
			t.Errorf("%q: user %q, error %v, want %v", authzid, who, err, want)
		}
	}
}

// TestLog: a failure is logged with who and why, no secret ever; once it is said that a
// client is shut out.
func TestLog(t *testing.T) {
	var log bytes.Buffer
	s := newServer(t, sasl.Config{Log: slog.New(slog.NewTextHandler(&log, nil)), Throttle: sasl.Throttle{Source: 3, Account: 100}}, ownFile(t), cyrusFile(t))
	for range 5 {
		for _, mechanism := range passwordMechanisms {
			login(s, mechanism, secure(), clientFor(t, mechanism, "joe", "hunter2"))
		}
	}
	text := log.String()
	if n := strings.Count(text, "too many failures; nothing"); n != 1 {
		t.Errorf("said %d times that the client is shut out:\n%s", n, text)
	}
	if n := strings.Count(text, "user=joe"); n != 3 {
		t.Errorf("%d failures logged, want 3:\n%s", n, text)
	}
	for _, secret := range []string{"hunter2", "secret of"} {
		if strings.Contains(text, secret) {
			t.Errorf("the log has %q:\n%s", secret, text)
		}
	}
}
