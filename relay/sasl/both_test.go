package sasl_test

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"testing"

	"gatepost/relay/sasl"
	"gatepost/relay/sasl/sasldb"
	"gatepost/relay/sasl/users"
)

// TestBothFiles: no form of a name gets past the first accounts that have it to a password
// in others.
func TestBothFiles(t *testing.T) {
	cyrus, err := sasldb.Open(writeDB(t, "joe\x00"+host+"\x00userPassword", "former",
		"ann\x00far.example\x00userPassword", "far away"), []string{host, "far.example"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t, sasl.Config{Realms: []string{host, "far.example"}}, ownFile(t), cyrus)
	for _, mechanism := range []string{sasl.Plain, sasl.Login, sasl.CRAMMD5, sasl.SCRAMSHA1, sasl.SCRAMSHA256} {
		for _, name := range []string{"joe", "joe@" + host} {
			if user, err := login(s, mechanism, secure(), clientFor(t, mechanism, name, "former")); !errors.Is(err, sasl.ErrFailed) || user != "" {
				t.Errorf("%s: %s logs in as %q with the password of the second file: %v", mechanism, name, user, err)
			}
			if user, err := login(s, mechanism, secure(), clientFor(t, mechanism, name, "secret of joe")); err != nil || user != "joe" {
				t.Errorf("%s: %s with the password of the first file is %q, %v", mechanism, name, user, err)
			}
		}
		// Another user, whose name has a realm of its own.
		if user, err := login(s, mechanism, secure(), clientFor(t, mechanism, "ann@far.example", "far away")); err != nil || user != "ann@far.example" {
			t.Errorf("%s: ann@far.example is %q, %v", mechanism, user, err)
		}
	}
}

// TestFormsForgiven: who is called as another account with the usual realm neither has his
// failures with that one forgiven by his own logins, nor is at home for it.
func TestFormsForgiven(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	for _, name := range []string{"joe", "joe@" + host} {
		if err := users.Add(context.Background(), path, name, "secret of "+name, users.Options{Iterations: sasl.MinIterations}); err != nil {
			t.Fatal(err)
		}
	}
	own, err := users.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, limits := range map[string]sasl.Throttle{
		"source":  {Source: 4, Network: 100, Account: 100},
		"account": {Source: 100, Network: 100, Account: 4},
	} {
		s := newServer(t, sasl.Config{Throttle: limits}, own)
		guesses := 0
		for range 10 {
			c := secure()
			c.Client = netip.MustParseAddr("192.0.2.7")
			_, _ = login(s, sasl.Plain, c, clientFor(t, sasl.Plain, "joe@"+host, "secret of joe@"+host))
			if _, err := login(s, sasl.Plain, c, clientFor(t, sasl.Plain, "joe", "guess")); errors.Is(err, sasl.ErrFailed) {
				guesses++
			}
		}
		if guesses != 4 {
			t.Errorf("%s: %d guesses, want 4", name, guesses)
		}
	}
}
