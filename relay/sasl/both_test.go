package sasl_test

import (
	"errors"
	"testing"

	"gatepost/relay/sasl"
	"gatepost/relay/sasl/sasldb"
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
