package deliver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"gatepost/relay/sasl/saslclient"
	"gatepost/relay/tlspolicy"
)

func mustAddr(s string) netip.Addr { return netip.MustParseAddr(s) }

// credentials that differ, each from all others.
func credentials() []*saslclient.Credentials {
	token := func(context.Context, bool) (string, error) { return "", nil }
	return []*saslclient.Credentials{
		{}, {User: "u"}, {User: "v"}, {Authorize: "u"}, {User: "u", Password: "p"}, {User: "up"}, {User: "u", Realm: "p"}, {User: "u", Source: "p"},
		{User: "u", Mechanisms: []string{"A", "B"}}, {User: "u", Mechanisms: []string{"AB"}}, {User: "u", AllowClear: true}, {User: "u", Token: token}, {User: "u", Token: token, TokenFrom: "file:/a"},
	}
}

// scripted is a mechanism that says what it is told to: "-" is no initial response, and "!"
// gives up.
type scripted struct {
	says  []string
	heard []string
	done  error
}

func (m *scripted) Name() string { return "TEST" }

func (m *scripted) take() ([]byte, error) {
	s := m.says[0]
	m.says = m.says[1:]
	if s == "!" {
		return nil, errors.New("I will not")
	}
	return []byte(s), nil
}

func (m *scripted) Start(context.Context) ([]byte, bool, error) {
	if m.says[0] == "-" {
		m.says = m.says[1:]
		return nil, false, nil
	}
	initial, err := m.take()
	return initial, true, err
}

func (m *scripted) Next(_ context.Context, challenge []byte) ([]byte, error) {
	m.heard = append(m.heard, string(challenge))
	if len(m.says) == 0 {
		return nil, errors.New("one challenge too many")
	}
	return m.take()
}

func (m *scripted) Done() error { return m.done }

// logins have a transport log in with mechanisms one after another.
func (s *server) logins(policy tlspolicy.Policy, creds *saslclient.Credentials, ms ...*scripted) *SMTP {
	x := s.transport(func(c *Config) {
		secureBy(policy)(c)
		c.Login = func(context.Context, Peer) (*saslclient.Credentials, error) { return creds, nil }
	})
	x.choose = func(c *saslclient.Credentials, offered []string, host string, state *tlsState) (saslclient.Mechanism, error) {
		if c.Token != nil {
			token, err := c.Token(context.Background(), false)
			return &scripted{says: []string{token}}, err
		}
		if len(ms) == 0 {
			return nil, fmt.Errorf("%w (%s offers %v; secured: %v)", saslclient.ErrNoMechanism, host, offered, state != nil)
		}
		m := ms[0]
		ms = ms[1:]
		return m, nil
	}
	return x
}

var authHello = script{"> 220 there", "< EHLO relay.example.com", "> 250-there", "> 250-AUTH TEST PLAIN", "> 250-AUTH=TEST", "> 250-PIPELINING", "> 250-SIZE 1000000", "> 250 DSN"}

// TestAuth: the dialogue of RFC 4954, with servers of all kinds.
func TestAuth(t *testing.T) {
	accepted := script{"> 235 2.7.0 welcome"}
	long := strings.Repeat("x", 300) // 400 bytes in Base64
	longer := strings.Repeat("x", 600)
	for _, c := range []struct {
		name  string
		says  []string
		talk  script
		want  string // "": the mail goes out
		heard string
	}{
		{"initial response", []string{"secret"}, script{"< AUTH TEST c2VjcmV0"}, "", ""},
		{"empty one", []string{""}, script{"< AUTH TEST ="}, "", ""},
		{"none", []string{"-", "a", ""}, script{"< AUTH TEST", "> 334 ", "< YQ==", "> 334 Y2hhbGxlbmdl", "< "}, "", "[ challenge]"},
		{"long one", []string{long}, script{"< AUTH TEST " + strings.Repeat("eHh4", 100)}, "", ""},
		{"too long for the command", []string{longer}, script{"< AUTH TEST", "> 334 ", "< " + strings.Repeat("eHh4", 200)}, "", ""},
		{"too long, and a challenge", []string{longer}, script{"< AUTH TEST", "> 334 YQ==", "< *", "> 501 ok", "hang"}, "Deferred 4.7.8 login by TEST by a table:1: protocol error (down)", ""},
		{"long challenge", []string{"-", ""}, script{"< AUTH TEST", "> 334 " + strings.Repeat("eHh4", 3000), "< "}, "", "[" + strings.Repeat("x", 9000) + "]"},
		{"challenge for ever", []string{"-", ""}, script{"< AUTH TEST", "> 334 " + strings.Repeat("eHh4", 4000), "hang"}, "Deferred 4.5.0 instead of the reply to AUTH: protocol error: a reply line of more than 12294 bytes (down)", ""},
		{"refused", []string{"x"}, script{"< AUTH TEST eA==", "> 535 5.7.8 wrong", "hang"}, "Deferred 4.7.8 login by TEST by a table:1: 535 5.7.8 wrong (down)", ""},
		{"later", []string{"x"}, script{"< AUTH TEST eA==", "> 454 4.7.0 busy", "hang"}, "Deferred 4.7.8 login by TEST by a table:1: 454 4.7.0 busy (down)", ""},
		{"421", []string{"x"}, script{"< AUTH TEST eA==", "> 421 4.7.0 too many"}, "Deferred 4.7.0 421 4.7.0 too many (down)", ""},
		{"another 2xx", []string{"x"}, script{"< AUTH TEST eA==", "> 250 fine", "hang"}, "Deferred 4.7.8 login by TEST by a table:1: unexpected reply: 250 fine (down)", ""},
		{"another 3xx", []string{"x"}, script{"< AUTH TEST eA==", "> 354 go", "hang"}, "Deferred 4.7.8 login by TEST by a table:1: unexpected reply: 354 go (down)", ""},
		{"not Base64", []string{"-", "x"}, script{"< AUTH TEST", "> 334 !!", "hang"}, "Deferred 4.5.0 protocol error: a challenge that is not Base64 (down)", ""},
		{"two lines", []string{"-", "x"}, script{"< AUTH TEST", "> 334-YQ==", "> 334 YQ==", "hang"}, "Deferred 4.5.0 protocol error: a challenge that is not Base64 (down)", ""},
		{"given up", []string{"-", "!"}, script{"< AUTH TEST", "> 334 YQ==", "< *", "> 501 5.7.0 ok", "hang"}, "Deferred 4.7.8 login by TEST by a table:1: I will not (down)", "[a]"},
		{"not begun", []string{"!"}, script{"hang"}, "Deferred 4.7.8 login by TEST by a table:1: I will not (down)", ""},
		{"gone", []string{"x"}, script{"< AUTH TEST eA=="}, "Deferred 4.4.2 connection closed while waiting for the reply to AUTH (down)", ""},
		{"challenges for ever", append([]string{"-"}, strings.Split(strings.Repeat("x", 20), "")...), join(script{"< AUTH TEST"}, challenges(16), script{"< *", "> 501 ok", "hang"}), "Deferred 4.7.8 login by TEST by a table:1: more than 16 challenges (down)", "[" + strings.TrimSpace(strings.Repeat("c ", 16)) + "]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			talk := c.talk
			if c.want == "" {
				talk = join(talk, accepted, begin, taken)
				c.want = "Sent 2.0.0 250 2.0.0 taken"
			}
			s := serve(t, join(authHello, talk))
			m := &scripted{says: c.says}
			x := s.logins(tlspolicy.Policy{}, &saslclient.Credentials{User: "u", Source: "a table:1"}, m)
			if got := steady(s.send(x, message("bob@example.net"))); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if heard := fmt.Sprint(m.heard); heard != c.heard && len(m.heard) > 0 {
				t.Errorf("the mechanism has heard %.100s", heard)
			}
		})
	}
}

func challenges(n int) (out script) {
	for i := range n {
		if out = append(out, "> 334 Yw=="); i < n-1 {
			out = append(out, "< eA==")
		}
	}
	return out
}

// TestAuthTLS logs in when the connection is secured, by what is offered then.
func TestAuthTLS(t *testing.T) {
	s := serveAt(t, "127.0.0.1:0", serverTLS(t), join(offers, upgrade, authHello[1:], script{"< AUTH TEST eA==", "> 235 ok"}, begin, taken, begin, taken))
	x := s.logins(tlspolicy.Policy{Level: tlspolicy.Encrypt}, &saslclient.Credentials{User: "u"}, &scripted{says: []string{"x"}})
	for range 2 { // the second on the same connection, without another login
		if got := s.send(x, message("bob@example.net")); got != "Sent 2.0.0 250 2.0.0 taken" {
			t.Error(got)
		}
	}
}

// TestAuthNot: with a login, mail never goes without.
func TestAuthNot(t *testing.T) {
	for name, c := range map[string]struct {
		server script
		want   string
	}{
		"not offered":  {join(hello, script{"hang"}), "Deferred 4.7.4 there is a login by a table:1, and the server does not offer AUTH (down)"},
		"no mechanism": {join(authHello, script{"hang"}), "Deferred 4.7.4 cannot log in by a table:1: the server offers no mechanism that may be used (127.0.0.1 offers [TEST PLAIN TEST]; secured: false) (down)"},
	} {
		s := serve(t, c.server)
		x := s.logins(tlspolicy.Policy{}, &saslclient.Credentials{User: "u", Source: "a table:1"})
		if got := s.send(x, message("bob@example.net")); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
	s := serve(t)
	x := s.transport(func(c *Config) {
		c.Login = func(context.Context, Peer) (*saslclient.Credentials, error) { return nil, errors.New("unreadable") }
	})
	if got := s.send(x, message("bob@example.net")); got != "Deferred 4.7.0 login: unreadable (down)" {
		t.Error(got)
	}
}

// TestAuthNextHost: another host is asked when a login is refused, but not the same one
// at another address.
func TestAuthNextHost(t *testing.T) {
	refused := join(authHello, script{"< AUTH TEST eA==", "> 535 5.7.8 wrong", "hang"})
	welcome := join(authHello, script{"< AUTH TEST eA==", "> 235 ok"}, begin, taken)
	_, port := quarter(t, refused, nil, welcome)
	s := &server{t: t}
	x := s.logins(tlspolicy.Policy{}, &saslclient.Credentials{User: "u"}, &scripted{says: []string{"x"}}, &scripted{says: []string{"x"}})
	n := net0{
		mx:    map[string][]string{"example.net": {"one.example", "two.example"}},
		addrs: map[string][]string{"one.example": {"127.0.0.1", "127.0.0.2"}, "two.example": {"127.0.0.3"}},
	}
	n.configure(&x.config)
	m := message("bob@example.net")
	if got := x.Deliver(t.Context(), "example.net:"+port, m, all(m)); got[0].Outcome != Delivered || got[0].Relay != "two.example[127.0.0.3]:"+port {
		t.Errorf("%+v", got)
	}
}

// TestAuthPause: a login that was refused is not tried again for a while; other
// credentials are.
func TestAuthPause(t *testing.T) {
	refused := join(authHello, script{"< AUTH TEST eA==", "> 535 5.7.8 wrong", "hang"})
	s := serve(t, refused, join(authHello, script{"< AUTH TEST eA==", "> 235 ok"}, begin, taken))
	creds := &saslclient.Credentials{User: "u", Password: "old"}
	x := s.logins(tlspolicy.Policy{}, creds, &scripted{says: []string{"x"}}, &scripted{says: []string{"x"}})
	for i, want := range []string{"Deferred 4.7.8 login by TEST: 535 5.7.8 wrong (down)", "Deferred 4.7.8 no login for another 1m", "Sent"} {
		if i == 2 {
			creds.Password = "new"
		}
		if got := s.send(x, message("bob@example.net")); !strings.HasPrefix(got, want) || i == 1 && !strings.HasSuffix(got, ", after 1 in vain: login by TEST: 535 5.7.8 wrong (down)") {
			t.Errorf("message %d: %s", i, got)
		}
	}
	for count, want := range map[int]time.Duration{1: time.Minute, 2: 2 * time.Minute, 6: 32 * time.Minute, 7: time.Hour, 1000: time.Hour} {
		if got := loginPause(count); got != want {
			t.Errorf("pause %d is %v, want %v", count, got, want)
		}
	}
}

// TestToken: a token that is refused is renewed, once.
func TestToken(t *testing.T) {
	for name, c := range map[string]struct {
		talk script
		want string
	}{
		"renewed":           {join(script{"< AUTH TEST b2xk", "> 535 5.7.8 expired", "< AUTH TEST bmV3", "> 235 ok"}, begin, taken), "Sent 2.0.0 250 2.0.0 taken"},
		"refused twice":     {script{"< AUTH TEST b2xk", "> 535 5.7.8 expired", "< AUTH TEST bmV3", "> 535 5.7.8 no", "hang"}, "Deferred 4.7.8 login by TEST: 535 5.7.8 no (down)"},
		"closed":            {script{"< AUTH TEST b2xk", "> 535 5.7.8 expired"}, "Deferred 4.4.2 connection closed while waiting for the reply to AUTH (down)"},
		"cannot be renewed": {script{"< AUTH TEST b2xk", "> 535 5.7.8 expired", "hang"}, "Deferred 4.7.8 no other token for the login: no answer (down)"},
	} {
		s := serve(t, join(authHello, c.talk))
		asked := 0
		x := s.logins(tlspolicy.Policy{}, &saslclient.Credentials{User: "u", Token: func(_ context.Context, rejected bool) (string, error) {
			switch {
			case !rejected:
				return "old", nil
			case name == "cannot be renewed":
				return "", errors.New("no answer")
			}
			asked++
			return "new", nil
		}})
		got := steady(s.send(x, message("bob@example.net")))
		if got != c.want || asked > 1 {
			t.Errorf("%s: got %s, asked %d times; want %s", name, got, asked, c.want)
		}
	}
}

// TestAuthHangs: a server that says no more in a login.
func TestAuthHangs(t *testing.T) {
	for _, talk := range []script{{"< AUTH TEST"}, {"< AUTH TEST", "> 334 ", "< YQ=="}} {
		s := serve(t, join(authHello, talk, script{"hang"}))
		x := s.logins(tlspolicy.Policy{}, &saslclient.Credentials{User: "u"}, &scripted{says: []string{"-", "a"}})
		x.config.Timeouts.Auth = 50 * time.Millisecond
		if got := s.send(x, message("bob@example.net")); got != "Deferred 4.4.2 timeout while waiting for the reply to AUTH (down)" {
			t.Error(got)
		}
	}
}

// TestUnproven: a server that does not prove that it knows the password gets no mail.
func TestUnproven(t *testing.T) {
	s := serve(t, join(authHello, script{"< AUTH TEST eA==", "> 235 ok", "hang"}))
	x := s.logins(tlspolicy.Policy{}, &saslclient.Credentials{User: "u"}, &scripted{says: []string{"x"}, done: errors.New("no signature")})
	if got := s.send(x, message("bob@example.net")); got != "Deferred 4.7.8 login by TEST: the server has not proven itself: no signature (down)" {
		t.Error(got)
	}
}
