package sasl_test

import (
	"testing"

	"gatepost/relay/sasl"
	"gatepost/relay/sasl/users"
)

// BenchmarkPlain is what a login by PLAIN costs with the usual number of rounds.
func BenchmarkPlain(b *testing.B) {
	path := b.TempDir() + "/users"
	if err := users.Add(b.Context(), path, "joe", "secret of joe", users.Options{}); err != nil {
		b.Fatal(err)
	}
	own, err := users.Open(path, nil)
	if err != nil {
		b.Fatal(err)
	}
	s, answer := newServer(b, sasl.Config{}, own), clientFor(b, sasl.Plain, "joe", "secret of joe")
	for b.Loop() {
		if who, err := login(s, sasl.Plain, secure(), answer); who != "joe" || err != nil {
			b.Fatal(who, err)
		}
	}
}
