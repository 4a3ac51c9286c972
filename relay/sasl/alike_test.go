package sasl_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"gatepost/relay/sasl"
	"gatepost/relay/sasl/users"
)

// TestSameWork counts the rounds of key derivation: as many for users of each kind of
// accounts as for names that nobody has.
func TestSameWork(t *testing.T) {
	own, cyrus := ownFile(t), cyrusFile(t)
	for name, c := range map[string]struct {
		accounts  []sasl.Accounts
		users     []string
		mechanism string
		rounds    uint64
	}{
		"PLAIN, both":   {[]sasl.Accounts{own, cyrus}, []string{"joe", "ann", "old", "nobody"}, sasl.Plain, sasl.MinIterations},
		"LOGIN, both":   {[]sasl.Accounts{own, cyrus}, []string{"joe", "old", "nobody"}, sasl.Login, sasl.MinIterations},
		"PLAIN, sasldb": {[]sasl.Accounts{cyrus}, []string{"old", "nobody"}, sasl.Plain, sasl.DefaultIterations},
		"SCRAM, own":    {[]sasl.Accounts{own}, []string{"joe", "ann", "nobody"}, sasl.SCRAMSHA256, 0},
		"SCRAM, both":   {[]sasl.Accounts{own, cyrus}, []string{"joe", "old", "nobody"}, sasl.SCRAMSHA1, sasl.MinIterations},
		"CRAM-MD5":      {[]sasl.Accounts{own, cyrus}, []string{"joe", "ann", "old", "nobody"}, sasl.CRAMMD5, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, sasl.Config{}, c.accounts...)
			for _, user := range c.users {
				for _, password := range []string{"wrong", "secret of " + user} {
					before := s.Rounds()
					login(s, c.mechanism, secure(), clientFor(t, c.mechanism, user, password))
					if got := s.Rounds() - before; got != c.rounds {
						t.Errorf("%s: %d rounds, want %d", user, got, c.rounds)
					}
				}
			}
		})
	}
}

// TestMixedIterations: accounts of fewer rounds than others cost as much.
func TestMixedIterations(t *testing.T) {
	path := t.TempDir() + "/users"
	for name, n := range map[string]int{"few": 5000, "usual": 6000, "usual2": 6000, "many": 9000} {
		if err := users.Add(context.Background(), path, name, "pw", users.Options{Iterations: n}); err != nil {
			t.Fatal(err)
		}
	}
	own, err := users.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t, sasl.Config{}, own)
	for _, user := range []string{"few", "usual", "many", "nobody"} {
		before := s.Rounds()
		login(s, sasl.Plain, secure(), clientFor(t, sasl.Plain, user, "pw"))
		if got := s.Rounds() - before; got != 9000 {
			t.Errorf("%s: %d rounds", user, got)
		}
	}
	if first := serverFirst(t, s, "nobody"); !strings.HasSuffix(first, ",i=6000") {
		t.Errorf("nobody is told %q, want what most have", first)
	}
}

// serverFirst is SCRAM's answer to a name, without the nonce.
func serverFirst(t *testing.T, s *sasl.Server, user string) string {
	t.Helper()
	x, err := s.Begin(t.Context(), sasl.SCRAMSHA256, secure())
	if err != nil {
		t.Fatal(err)
	}
	challenge, _, err := x.Next(t.Context(), []byte("n,,n="+user+",r=abc"), true)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(challenge), ",")
	return rest
}

// TestMadeUp: what SCRAM tells of a name that nobody has is the same each time and after
// a restart, as it is for accounts, and has their form.
func TestMadeUp(t *testing.T) {
	own := ownFile(t)
	a, b := newServer(t, sasl.Config{}, own), newServer(t, sasl.Config{}, own)
	for _, user := range []string{"joe", "nobody"} {
		first := serverFirst(t, a, user)
		if again := serverFirst(t, a, user); again != first {
			t.Errorf("%s: %q, then %q", user, first, again)
		}
		if again := serverFirst(t, b, user); again != first {
			t.Errorf("%s: %q, after a restart %q", user, first, again)
		}
	}
	joe, nobody := serverFirst(t, a, "joe"), serverFirst(t, a, "nobody")
	if len(joe) != len(nobody) || joe == nobody || nobody == serverFirst(t, a, "nobody2") {
		t.Errorf("joe is told %q, nobody %q", joe, nobody)
	}
}

func TestLatin1Password(t *testing.T) {
	path := t.TempDir() + "/users"
	if err := users.Add(context.Background(), path, "zoë", "pässword", users.Options{Iterations: 4096, SHA1: true, MD5: true, Realms: []string{host}}); err != nil {
		t.Fatal(err)
	}
	own, err := users.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t, sasl.Config{}, own)
	for _, c := range []struct {
		mechanism, user, password string
		change                    func(map[string]string)
	}{
		{sasl.Plain, "zoë", "pässword", nil},
		{sasl.Plain, "zoe\u0308", "pa\u0308ssword", nil},
		{sasl.Plain, "zoë", "p\xe4ssword", nil},
		{sasl.Login, "zoë", "p\xe4ssword", nil},
		{sasl.CRAMMD5, "zoë", "pässword", nil},
		{sasl.SCRAMSHA1, "zoë", "pässword", nil},
		{sasl.SCRAMSHA256, "zoe\u0308", "pa\u0308ssword", nil},
		// RFC 2831 hashes Latin-1 and says in charset what the name is sent in.
		{sasl.DigestMD5, "zo\xeb", "p\xe4ssword", func(d map[string]string) { d["username"] = `"zoë"` }},
		{sasl.DigestMD5, "zo\xeb", "p\xe4ssword", func(d map[string]string) { delete(d, "charset") }},
	} {
		answer := clientFor(t, c.mechanism, c.user, c.password)
		if c.change != nil {
			answer = digestClient(c.user, c.password, c.change)
		}
		if who, err := login(s, c.mechanism, secure(), answer); who != "zoë" || err != nil {
			t.Errorf("%s %q %q: user %q, error %v", c.mechanism, c.user, c.password, who, err)
		}
	}
}

// broken are accounts that cannot be asked.
type broken struct{}

func (broken) Lookup(context.Context, string, string) (sasl.Secrets, bool, error) {
	return sasl.Secrets{}, false, errors.New("the disk is on fire")
}
func (broken) Usual() sasl.Usual { return sasl.Usual{} }

func TestTemporary(t *testing.T) {
	s := newServer(t, sasl.Config{Throttle: sasl.Throttle{Source: 1}}, broken{}, ownFile(t))
	for _, mechanism := range passwordMechanisms {
		for range 3 { // which are no failures
			if who, err := login(s, mechanism, secure(), clientFor(t, mechanism, "joe", "secret of joe")); who != "" || err != sasl.ErrTemporary {
				t.Errorf("%s: user %q, error %v", mechanism, who, err)
			}
		}
		if n := s.Stats()[mechanism]; n != (sasl.Counts{Temporary: 3}) {
			t.Errorf("%s: stats %+v", mechanism, n)
		}
	}
	s = newServer(t, sasl.Config{}, ownFile(t), broken{})
	if who, err := login(s, sasl.Plain, secure(), clientFor(t, sasl.Plain, "joe", "secret of joe")); who != "joe" || err != nil {
		t.Errorf("in the first accounts: user %q, error %v", who, err)
	}
}

func TestBusy(t *testing.T) {
	s := newServer(t, sasl.Config{Concurrency: 1, Patience: 50 * time.Millisecond}, ownFile(t))
	answer := clientFor(t, sasl.Plain, "joe", "secret of joe")
	s.Sit()
	if who, err := login(s, sasl.Plain, secure(), answer); who != "" || err != sasl.ErrTemporary {
		t.Errorf("while busy: user %q, error %v", who, err)
	}
	s.Rise()
	if who, err := login(s, sasl.Plain, secure(), answer); who != "joe" || err != nil {
		t.Errorf("after that: user %q, error %v", who, err)
	}
}
