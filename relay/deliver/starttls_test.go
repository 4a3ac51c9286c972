package deliver

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"gatepost/internal/certtest"
	"gatepost/relay/tlspolicy"
)

// offers is the beginning at a server that offers STARTTLS, and secured what follows on it.
var (
	offers  = script{"> 220 there", "< EHLO relay.example.com", "> 250-there", "> 250-STARTTLS", "> 250 SIZE 10"}
	upgrade = script{"< STARTTLS", "> 220 go", "tls"}
	again   = hello[1:]
	plain   = join(script{"> 220 there"}, again) // what goes on in clear
)

func encrypt(c *Config) { secureBy(tlspolicy.Policy{Level: tlspolicy.Encrypt})(c) }

func secureBy(p tlspolicy.Policy) func(*Config) {
	return func(c *Config) {
		c.Secure = func(context.Context, Peer) (tlspolicy.Policy, error) { return p, nil }
	}
}

// TestStartTLS: what is made of servers with TLS, without it, and with a bad one.
func TestStartTLS(t *testing.T) {
	may, must := tlspolicy.Policy{}, tlspolicy.Policy{Level: tlspolicy.Encrypt, Source: "a table:3"}
	good := join(offers, upgrade, again, begin, taken)
	clear := join(plain, begin, taken)
	old := join(script{"> 220 there", "< EHLO relay.example.com", "> 502 what", "< HELO relay.example.com", "> 250 hi"})
	oldMail := script{"< MAIL FROM:<alice@example.com>", "> 250 ok", bob, "> 250 ok", "< DATA", "> 354 go", "*", "> 250 2.0.0 taken"}
	inject := join(offers, script{"< STARTTLS", "> 220 go\r\n250 injected", "hang"})
	const sent = "Sent 2.0.0 250 2.0.0 taken"
	for _, c := range []struct {
		name          string
		policy        tlspolicy.Policy
		scripts       []script
		want, secured string
	}{
		{"may, offered", may, []script{good}, sent, "TLSv1.3, encrypted"},
		{"must, offered", must, []script{good}, sent, "TLSv1.3, encrypted"},
		{"may, not offered", may, []script{clear}, sent, ""},
		{"must, not offered", must, []script{join(plain, script{"hang"})}, "Deferred 4.7.4 TLS is required by a table:3, and the server does not offer STARTTLS (down)", ""},
		{"none, offered", tlspolicy.Policy{Level: tlspolicy.None}, []script{join(hello, begin, taken)}, sent, ""},
		{"may, refused", may, []script{join(script{"> 220 there", "< EHLO relay.example.com", "> 250-there", "> 250-STARTTLS"}, hello[3:], script{"< STARTTLS", "> 454 4.7.0 no"}, begin, taken)}, "Sent 2.0.0 250 2.0.0 taken", ""},
		{"must, refused", must, []script{join(offers, script{"< STARTTLS", "> 454 4.7.0 no", "hang"})}, "Deferred 4.7.4 TLS is required by a table:3, and STARTTLS is refused: 454 4.7.0 no (down)", ""},
		{"must, refused for good", must, []script{join(offers, script{"< STARTTLS", "> 554 5.7.0 no", "hang"})}, "Deferred 4.7.4 TLS is required by a table:3, and STARTTLS is refused: 554 5.7.0 no (down)", ""},
		{"may, 421", may, []script{join(offers, script{"< STARTTLS", "> 421 no"})}, "Deferred  421 no (down)", ""},
		{"may, bad handshake", may, []script{join(offers, script{"< STARTTLS", "> 220 go", "cut", "> what?", "hang"}), clear}, sent, ""},
		{"must, bad handshake", must, []script{join(offers, script{"< STARTTLS", "> 220 go", "cut", "> what?", "hang"})}, "Deferred 4.7.5 the TLS handshake has failed: tls: first record does not look like a TLS handshake (down)", ""},
		{"may, gone in the handshake", may, []script{join(offers, script{"< STARTTLS", "> 220 go", "cut"}), clear}, sent, ""},
		{"may, gone after the handshake", may, []script{join(offers, upgrade, again[:1]), clear}, sent, ""},
		{"may, injected", may, []script{inject}, "Deferred 4.5.0 protocol error: something in clear after the reply to STARTTLS (down)", ""},
		{"must, injected", must, []script{inject}, "Deferred 4.5.0 protocol error: something in clear after the reply to STARTTLS (down)", ""},
		{"may, no EHLO", may, []script{join(old, oldMail)}, sent, ""},
		{"must, no EHLO", must, []script{join(old, script{"hang"})}, "Deferred 4.7.4 TLS is required by a table:3, and the server does not offer STARTTLS (down)", ""},
		{"implicit", tlspolicy.Policy{Implicit: true}, []script{join(script{"tls"}, hello, begin, taken)}, sent, "TLSv1.3, encrypted"},
		{"implicit, STARTTLS offered", tlspolicy.Policy{Implicit: true}, []script{join(script{"tls"}, script{"> 220 there", "< EHLO relay.example.com", "> 250-there", "> 250-STARTTLS"}, hello[3:], begin, taken)}, sent, "TLSv1.3, encrypted"},
		{"implicit, in clear", tlspolicy.Policy{Implicit: true}, []script{{"> 220 there", "hang"}}, "Deferred 4.7.5 the TLS handshake has failed: tls: first record does not look like a TLS handshake (down)", ""},
		// The check of this level is not for here to make: a connection that fails it is not used.
		{"not who it should be", tlspolicy.Policy{Level: tlspolicy.Fingerprint, Fingerprints: [][]byte{make([]byte, 32)}, Source: "a table:4"}, []script{join(offers, upgrade, script{"hang"})}, "Deferred 4.7.5 the server is not who it should be by a table:4: ", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := serveAt(t, "127.0.0.1:0", serverTLS(t, "127.0.0.1"), c.scripts...)
			var log bytes.Buffer
			x := s.transport(func(config *Config) {
				secureBy(c.policy)(config)
				config.Log = slog.New(slog.NewTextHandler(&log, nil))
			})
			m := message("bob@example.net")
			got := x.Deliver(t.Context(), s.addr, m, all(m))
			if text := steady(show(got)); text != c.want && !(strings.HasSuffix(c.want, ": ") && strings.HasPrefix(text, c.want)) || got[0].Secured != c.secured {
				t.Errorf("got  %s (%s)\nwant %s (%s)", text, got[0].Secured, c.want, c.secured)
			}
			if told := strings.Contains(log.String(), "going on in clear"); told != (len(c.scripts) == 2 || c.name == "may, refused") {
				t.Errorf("the log has %q", log.String())
			}
			if s.connections() != len(c.scripts) {
				t.Errorf("%d connections", s.connections())
			}
		})
	}
}

func serverTLS(t *testing.T, names ...string) *tls.Config {
	t.Helper()
	a := certtest.New(t, certtest.Name(t, "/CN=authority"))
	return &tls.Config{Certificates: []tls.Certificate{a.Issue(certtest.Name(t, "/CN=server"), names)}}
}

// TestSecureFails: without an answer how it must be secured, no server is used.
func TestSecureFails(t *testing.T) {
	s := serve(t)
	x := s.transport(func(c *Config) {
		c.Secure = func(context.Context, Peer) (tlspolicy.Policy, error) {
			return tlspolicy.Policy{}, errors.New("the table\ncannot be read")
		}
	})
	if got := s.send(x, message("bob@example.net")); got != "Deferred 4.7.0 TLS policy: the table; cannot be read (down)" || s.connections() != 0 {
		t.Error(got, s.connections())
	}
}

// TestHandshakeHangs: the handshake has a time of its own; then it is as if it had failed.
func TestHandshakeHangs(t *testing.T) {
	s := serve(t, join(offers, script{"< STARTTLS", "> 220 go", "hang"}), join(offers, script{"< STARTTLS", "> 220 go", "hang"}))
	for _, end := range []string{"time-out", "context"} {
		x := s.transport(encrypt)
		ctx, cancel := context.WithCancel(t.Context())
		want := "Deferred 4.7.5 the TLS handshake has failed: timeout (down)"
		if end == "context" {
			time.AfterFunc(100*time.Millisecond, cancel)
			want = "Deferred 4.4.2 given up while waiting for the TLS handshake"
		} else {
			x.config.Timeouts.TLS = 100 * time.Millisecond
		}
		m, begun := message("bob@example.net"), time.Now()
		if got := show(x.Deliver(ctx, s.addr, m, all(m))); got != want || time.Since(begun) > 3*time.Second {
			t.Errorf("after %v: %s", time.Since(begun), got)
		}
		cancel()
	}
}

// TestPort465 speaks TLS from the first byte, whatever the policy says of it.
func TestPort465(t *testing.T) {
	x := (&server{t: t}).transport(nil)
	for port, implicit := range map[uint16]bool{465: true, 587: false} {
		peer := Peer{Host: "mx.example", Port: port, Addr: mustAddr("192.0.2.1")}
		d, p := x.demand(t.Context(), &peer)
		if p != nil || d.policy.Implicit != implicit {
			t.Errorf("port %d: %+v, %v", port, d.policy, p)
		}
	}
}

// TestKeptTLS: a connection with TLS is kept, and what came in on it unasked is seen
// also when TLS has read it already.
func TestKeptTLS(t *testing.T) {
	secured := join(offers, upgrade, again, begin, taken)
	for name, end := range map[string]script{
		"":                {},
		"with a word":     {"> 421 4.4.2 idle for too long"},
		"after its reply": {"hang"},
	} {
		first := join(secured, end)
		if name == "after its reply" {
			first[len(first)-2] = "> 250 2.0.0 taken\r\n250 unasked"
		}
		s := serveAt(t, "127.0.0.1:0", serverTLS(t), join(secured, begin, taken), secured)
		if name != "" {
			s = serveAt(t, "127.0.0.1:0", serverTLS(t), first, secured)
		}
		x := s.transport(encrypt)
		for range 2 {
			if got := s.send(x, message("bob@example.net")); got != "Sent 2.0.0 250 2.0.0 taken" {
				t.Errorf("%q: %s", name, got)
			}
			time.Sleep(20 * time.Millisecond)
		}
		if want := min(len(end)+1, 2); s.connections() != want {
			t.Errorf("%q: %d connections, want %d", name, s.connections(), want)
		}
	}
}

// TestQuietTLS: records that TLS has read ahead are seen.
func TestQuietTLS(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	config := serverTLS(t)
	config.SessionTicketsDisabled = true // they would be something to read
	done := make(chan struct{})
	go func() {
		defer close(done)
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		// Both records go out with one write.
		held := &holding{Conn: nc}
		server := tls.Server(held, config)
		if server.Handshake() != nil {
			return
		}
		held.hold = true
		server.Write([]byte("250 answer\r\n"))
		server.Write([]byte("250 unasked\r\n"))
		nc.Write(held.data)
		server.Read(make([]byte, 1))
	}()
	raw, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	timeouts := allTimeouts(5 * time.Second)
	c := newConn(raw, "", &timeouts)
	c.guard(t.Context())
	if p := c.handshake("127.0.0.1"); p != nil {
		t.Fatal(p.text)
	}
	time.Sleep(50 * time.Millisecond)
	if p := c.hear(stage{"it", time.Second}); p != nil || c.reply.String() != "250 answer" {
		t.Fatal(p, c.reply.String())
	}
	if c.in.Buffered() > 0 {
		t.Fatal("both records were read at once")
	}
	if c.quiet() {
		t.Error("quiet, with a record that was not asked for")
	}
	c.Close()
	<-done
}

type holding struct {
	net.Conn
	hold bool
	data []byte
}

func (h *holding) Write(b []byte) (int, error) {
	if h.hold {
		h.data = append(h.data, b...)
		return len(b), nil
	}
	return h.Conn.Write(b)
}

// TestNeverShared: a connection that was made for one policy or login serves for no
// other.
func TestNeverShared(t *testing.T) {
	pool := certtest.New(t, certtest.Name(t, "/CN=a")).Pool()
	policies := []tlspolicy.Policy{
		{}, {Level: tlspolicy.None}, {Level: tlspolicy.Encrypt}, {Implicit: true}, {MinVersion: tls.VersionTLS13},
		{Level: tlspolicy.Verify}, {Level: tlspolicy.Verify, Names: []string{"a"}}, {Level: tlspolicy.Verify, Names: []string{"a", "b"}}, {Level: tlspolicy.Verify, Names: []string{"ab"}},
		{Level: tlspolicy.Verify, Roots: pool}, {Level: tlspolicy.Verify, Roots: pool.Clone()},
		{Level: tlspolicy.Fingerprint, Fingerprints: [][]byte{{1}}}, {Level: tlspolicy.Fingerprint, Fingerprints: [][]byte{{1}, {2}}},
		{Level: tlspolicy.DANE, TLSA: []tlspolicy.TLSA{{Usage: 3, Selector: 1, Matching: 1, Data: []byte{1}}}}, {Level: tlspolicy.DANE, TLSA: []tlspolicy.TLSA{{Usage: 2, Selector: 1, Matching: 1, Data: []byte{1}}}},
	}
	var demands []demand
	for _, p := range policies {
		demands = append(demands, demand{policy: p})
	}
	for _, c := range credentials() {
		demands = append(demands, demand{login: c})
	}
	seen := map[identity]int{}
	for i := range demands {
		d := demands[i]
		d.identify()
		if first, twice := seen[d.id]; twice {
			t.Errorf("%d and %d are the same", first, i)
		}
		seen[d.id] = i
		same := demands[i]
		same.policy.Source = "elsewhere"
		if same.identify(); same.id != d.id {
			t.Errorf("%d is not the same as itself", i)
		}
	}
}

// TestPoolByIdentity: a change of the policy has a fresh connection made.
func TestPoolByIdentity(t *testing.T) {
	s := serveAt(t, "127.0.0.1:0", serverTLS(t), join(hello, begin, taken, begin, taken), join(offers, upgrade, again, begin, taken, begin, taken))
	policy := tlspolicy.Policy{Level: tlspolicy.None}
	x := s.transport(func(c *Config) {
		c.Secure = func(context.Context, Peer) (tlspolicy.Policy, error) { return policy, nil }
	})
	for i, level := range []tlspolicy.Level{tlspolicy.None, tlspolicy.Encrypt, tlspolicy.None, tlspolicy.Encrypt} {
		policy.Level = level
		m := message("bob@example.net")
		if got := x.Deliver(t.Context(), s.addr, m, all(m)); got[0].Outcome != Delivered || (got[0].Secured != "") != (level == tlspolicy.Encrypt) {
			t.Errorf("message %d: %+v", i, got)
		}
	}
	if s.connections() != 2 {
		t.Errorf("%d connections", s.connections())
	}
}

// TestPoolBounds: so many connections wait at one server, and in all.
func TestPoolBounds(t *testing.T) {
	p := pool{maxIdle: 6, maxPeer: 2, maxUses: 10, idleTime: time.Hour}
	defer p.close()
	for i := range 20 {
		here, there := net.Pipe()
		there.Close()
		c := newConn(here, "", &Timeouts{})
		c.place = place{host: string(rune('a' + i/4))}
		p.put(c)
	}
	var hosts []string
	for _, c := range p.idle {
		hosts = append(hosts, c.place.host)
	}
	if !slices.Equal(hosts, []string{"c", "c", "d", "d", "e", "e"}) {
		t.Errorf("%v wait", hosts)
	}
}

// TestDescribe is what the log says.
func TestDescribe(t *testing.T) {
	for want, c := range map[string]struct {
		level   tlspolicy.Level
		version uint16
	}{
		"TLSv1.3, verified":    {tlspolicy.Verify, tls.VersionTLS13},
		"TLSv1.2, encrypted":   {tlspolicy.May, tls.VersionTLS12},
		"TLSv1.2, fingerprint": {tlspolicy.Fingerprint, tls.VersionTLS12},
		"TLSv1.3, DANE":        {tlspolicy.DANE, tls.VersionTLS13},
	} {
		if got := describe(c.level, &tls.ConnectionState{Version: c.version}); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestServerName: the name of the host is asked for under TLS.
func TestServerName(t *testing.T) {
	config := serverTLS(t, "mx1.example")
	names := make(chan string, 1)
	config.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		names <- h.ServerName
		return nil, nil
	}
	s := serveAt(t, "127.0.0.1:0", config, join(offers, upgrade, again, begin, taken))
	_, port, _ := net.SplitHostPort(s.addr)
	x := s.transport(func(c *Config) { three.configure(c); encrypt(c) })
	if got := deliver(x, "example.net:"+port, message("bob@example.net")); !strings.HasPrefix(got, "Sent") || <-names != "mx1.example" {
		t.Error(got)
	}
	if !bytes.Contains(s.messages()[0], []byte("Subject: one")) {
		t.Errorf("%q", s.messages())
	}
}
