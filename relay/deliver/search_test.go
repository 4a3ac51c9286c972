package deliver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"gatepost/internal/smtp"
)

// net0 are names with their addresses and exchangers, for Config.
type net0 struct {
	mx    map[string][]string
	addrs map[string][]string
	errs  map[string]error
}

func (n net0) configure(c *Config) {
	c.Exchangers = func(_ context.Context, domain string) (Exchangers, error) {
		return Exchangers{Hosts: n.mx[domain]}, n.errs[domain]
	}
	c.Resolve = func(_ context.Context, host string) (a Addresses, err error) {
		for _, addr := range n.addrs[host] {
			a.Addrs = append(a.Addrs, netip.MustParseAddr(addr))
		}
		return a, n.errs[host]
	}
}

// quarter starts servers at 127.0.0.1, 127.0.0.2 and so on, all at one port. No script:
// nobody is there.
func quarter(t *testing.T, scripts ...script) (servers []*server, port string) {
	t.Helper()
	port = "0"
	for i, s := range scripts {
		if s == nil {
			servers = append(servers, nil)
			continue
		}
		server := serveAt(t, fmt.Sprintf("127.0.0.%d:%s", i+1, port), nil, s)
		_, port, _ = net.SplitHostPort(server.addr)
		servers = append(servers, server)
	}
	return servers, port
}

// three are a domain with an exchanger at each of 127.0.0.1 to 127.0.0.3.
var three = net0{
	mx:    map[string][]string{"example.net": {"mx1.example", "mx2.example", "mx3.example"}},
	addrs: map[string][]string{"mx1.example": {"127.0.0.1"}, "mx2.example": {"127.0.0.2"}, "mx3.example": {"127.0.0.3"}},
}

// TestNextHost: which words of an exchanger have the next one asked.
func TestNextHost(t *testing.T) {
	refuse := func(words ...string) script { return join(hello, script{mail, bob, "< DATA"}, words, script{"hang"}) }
	var unused script // would be an error
	for _, c := range []struct {
		name    string
		scripts []script
		want    string
		relay   int
	}{
		{"first", []script{allDone, unused, unused}, "Sent 2.0.0 250 2.0.0 taken", 1},
		{"5xx greeting", []script{{"> 554 5.7.1 go away", "hang"}, allDone}, "Sent 2.0.0 250 2.0.0 taken", 2},
		{"4xx greeting, then gone", []script{{"> 450 busy", "hang"}, {}, allDone}, "Sent 2.0.0 250 2.0.0 taken", 3},
		{"421 greeting", []script{{"> 421 busy"}, allDone}, "Sent 2.0.0 250 2.0.0 taken", 2},
		{"no EHLO", []script{{"> 220 hi", "< EHLO relay.example.com", "> 451 no", "hang"}, allDone}, "Sent 2.0.0 250 2.0.0 taken", 2},
		{"4xx to MAIL", []script{refuse("> 451 4.7.1 later", "> 503 no", "> 503 no"), allDone}, "Sent 2.0.0 250 2.0.0 taken", 2},
		{"421 to MAIL", []script{join(hello, script{mail, bob, "< DATA", "> 421 4.7.1 later"}), allDone}, "Sent 2.0.0 250 2.0.0 taken", 2},
		{"5xx to MAIL", []script{refuse("> 550 5.7.1 never", "> 503 no", "> 503 no"), unused}, "Failed 5.7.1 550 5.7.1 never", 1},
		{"4xx to RCPT", []script{refuse("> 250 ok", "> 450 4.2.0 later", "> 503 no"), allDone}, "Sent 2.0.0 250 2.0.0 taken", 2},
		{"503 to RCPT", []script{refuse("> 250 ok", "> 503 5.5.1 who are you", "> 503 no"), allDone}, "Sent 2.0.0 250 2.0.0 taken", 2},
		{"503 to DATA", []script{refuse("> 250 ok", "> 250 ok", "> 503 5.5.1 need RCPT"), allDone}, "Sent 2.0.0 250 2.0.0 taken", 2},
		{"5xx to RCPT", []script{refuse("> 250 ok", "> 550 5.1.1 never", "> 503 no"), unused}, "Failed 5.1.1 550 5.1.1 never", 1},
		{"4xx to DATA", []script{refuse("> 250 ok", "> 250 ok", "> 450 4.2.0 later"), allDone}, "Sent 2.0.0 250 2.0.0 taken", 2},
		{"5xx to DATA", []script{refuse("> 250 ok", "> 250 ok", "> 550 5.6.0 never"), unused}, "Failed 5.6.0 550 5.6.0 never", 1},
		{"gone at RCPT", []script{join(hello, script{mail, bob, "< DATA", "> 250 ok"}), allDone}, "Sent 2.0.0 250 2.0.0 taken", 2},
		{"4xx to the message", []script{join(hello, begin, script{"*", "> 450 4.2.0 later"}), unused}, "Deferred 4.2.0 450 4.2.0 later", 1},
		{"gone with the message", []script{join(hello, begin, script{"*"}), unused}, "Deferred 4.4.2 connection closed while waiting for the reply to the end of the message, which may have been taken", 1},
		{"put off twice", []script{refuse("> 250 ok", "> 450 1", "> 503 no"), refuse("> 250 ok", "> 450 2", "> 503 no"), unused}, "Deferred  450 2", 2},
		{"put off, then never", []script{refuse("> 250 ok", "> 450 1", "> 503 no"), refuse("> 250 ok", "> 550 2", "> 503 no")}, "Failed  550 2", 2},
		{"put off, then gone", []script{refuse("> 250 ok", "> 450 4.2.0 later", "> 503 no"), {}, {}}, "Deferred 4.2.0 450 4.2.0 later", 1},
		{"all are gone", []script{{}, {}, {}}, "Deferred 4.4.2 connection closed while waiting for the greeting (down)", 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, port := quarter(t, c.scripts...)
			x := (&server{t: t}).transport(three.configure)
			m := message("bob@example.net")
			got := x.Deliver(t.Context(), "example.net:"+port, m, all(m))
			text := steady(show(got))
			if relay := fmt.Sprintf("mx%d.example[127.0.0.%[1]d]:%s", c.relay, port); text != c.want || got[0].Relay != relay {
				t.Errorf("got %s of %s, want %s of %s", text, got[0].Relay, c.want, relay)
			}
		})
	}
}

// TestNextHostApart: only those whom an exchanger put off are the next one's.
func TestNextHostApart(t *testing.T) {
	first := join(hello, script{mail, bob, carol, dave, "< DATA", "> 250 ok", "> 250 ok", "> 450 4.2.0 carol later", "> 550 no dave", "> 354 go"}, taken)
	second := join(hello, script{mail, carol, "< DATA", "> 250 ok", "> 250 ok", "> 354 go", "*", "> 554 5.7.0 spam"})
	_, port := quarter(t, first, second)
	x := (&server{t: t}).transport(three.configure)
	m := &recorded{memory: message("bob@example.net", "carol@example.net", "dave@example.net")}
	want := "Sent 2.0.0 250 2.0.0 taken\nFailed 5.7.0 554 5.7.0 spam\nFailed  550 no dave"
	if got := deliver(x, "example.net:"+port, m); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := fmt.Sprint(m.settled), "[0 Sent 2 Failed]"; got != want {
		t.Errorf("settled on the way: %s, want %s", got, want)
	}
}

// recorded is a message that writes down what it is told on the way.
type recorded struct {
	*memory
	settled []any
}

func (r *recorded) Settled(recipients []int, results []Result) {
	for i, n := range recipients {
		r.settled = append(r.settled, n, results[i].Outcome)
	}
}

// TestSettled: a delivery of several transactions tells of each but the last, once.
func TestSettled(t *testing.T) {
	rcpt := func(n int) string { return fmt.Sprintf("< RCPT TO:<%d@example.net>", n) }
	s := serve(t, join(hello,
		script{mail, rcpt(1), rcpt(2), "< DATA", "> 250 ok", "> 250 ok", "> 450 later", "> 354 go"}, taken,
		script{mail, rcpt(3), rcpt(4), "< DATA", "> 250 ok", "> 250 ok", "> 550 no", "> 354 go"}, taken,
		script{mail, rcpt(5), "< DATA", "> 250 ok", "> 250 ok", "> 354 go"}, taken))
	x := s.transport(func(c *Config) { c.MaxRecipients = 2 })
	m := &recorded{memory: message("0@example.net", "1@example.net", "2@example.net", "3@example.net", "4@example.net", "5@example.net")}
	got := x.Deliver(t.Context(), s.addr, m, []int{1, 2, 3, 4, 5})
	if want := "[1 Sent 3 Sent 4 Failed]"; fmt.Sprint(m.settled) != want || got[4].Outcome != Delivered {
		t.Errorf("settled %v, want %s; %+v", m.settled, want, got)
	}
}

// TestLookups: what lookups come to.
func TestLookups(t *testing.T) {
	gone := NoRoute{Failed, smtp.EnhancedCode{Class: 5, Subject: 1, Detail: 2}, "no such\nhost"}
	n := net0{
		mx:    map[string][]string{"example.net": {"a.example", "b.example"}, "half.example": {"a.example", "c.example"}},
		addrs: map[string][]string{"local.example": {"127.0.0.1"}},
		errs: map[string]error{
			"null.example": NoRoute{Failed, smtp.EnhancedCode{Class: 5, Subject: 1, Detail: 10}, "null MX"},
			"loop.example": fmt.Errorf("looking: %w", NoRoute{Deferred, smtp.EnhancedCode{Class: 4, Subject: 4, Detail: 6}, "loop"}),
			"fail.example": errors.New("no\nserver"),
			"a.example":    gone, "b.example": gone,
		},
	}
	for to, want := range map[string]string{
		"null.example":               "Failed 5.1.10 null MX",
		"loop.example":               "Deferred 4.4.6 loop (down)",
		"fail.example":               "Deferred 4.4.3 cannot look up the mail exchangers of fail.example: no; server (down)",
		"none.example":               "Deferred 4.4.3 none.example has no mail exchanger (down)",
		"example.net":                "Failed 5.1.2 no such; host",
		"half.example":               "Deferred 4.4.3 c.example has no address (down)",
		"[a.example]":                "Failed 5.1.2 no such; host",
		"[c.example]":                "Deferred 4.4.3 c.example has no address (down)",
		"[fail.example]":             "Deferred 4.4.3 cannot look up fail.example: no; server (down)",
		"null.example,[c.example]":   "Deferred 4.4.3 c.example has no address (down)",
		"null.example,[a.example]":   "Failed 5.1.10 null MX",
		"unix:/x":                    "Deferred 4.4.3 SMTP goes to a host; a socket is for LMTP (down)",
		"a b":                        `Deferred 4.4.3 no next hop: "a b" is no host, host:port or [host]:port`,
		"null.example,[127.0.0.9]:1": "Deferred 4.4.1 cannot connect: connection refused (down)",
	} {
		x := (&server{t: t}).transport(n.configure)
		if got := deliver(x, to, message("bob@example.net")); got != want {
			t.Errorf("%s: got %s, want %s", to, got, want)
		}
	}
	x := (&server{t: t}).transport(nil)
	for to, want := range map[string]string{
		"a.example":   "Deferred 4.4.3 MX records are not looked up here: a.example (down)",
		"[a.example]": "Deferred 4.4.3 names are not looked up here: a.example (down)",
	} {
		if got := deliver(x, to, message("bob@example.net")); got != want {
			t.Errorf("%s: got %s, want %s", to, got, want)
		}
	}
	if _, err := NewSMTP(Config{}); err == nil {
		t.Error("a transport without a name")
	}
}

// TestFallback: the next hop of a list is for when the one before cannot be had.
func TestFallback(t *testing.T) {
	_, port := quarter(t, allDone)
	x := (&server{t: t}).transport(net0{errs: map[string]error{"fail.example": errors.New("no server")}}.configure)
	if got := deliver(x, "fail.example,[127.0.0.9]:"+port+",127.0.0.1:"+port, message("bob@example.net")); got != "Sent 2.0.0 250 2.0.0 taken" {
		t.Error(got)
	}
}

// TestDead: an address that did not answer is tried after the others for a while, and it
// is tried when it is the only one.
func TestDead(t *testing.T) {
	_, port := quarter(t, script{}, join(allDone, script{"< QUIT"}))
	x := (&server{t: t}).transport(func(c *Config) {
		three.configure(c)
		c.IdleTime = -1
		c.DeadTime = 200 * time.Millisecond
	})
	m := message("bob@example.net")
	to := "example.net:" + port
	first := netip.MustParseAddrPort("127.0.0.1:" + port)
	got := x.Deliver(t.Context(), to, m, all(m))
	if got[0].Outcome != Delivered || got[0].Relay != "mx2.example[127.0.0.2]:"+port {
		t.Fatalf("%+v", got)
	}
	if !x.believedDead(first.Addr(), first.Port()) {
		t.Error("127.0.0.1 is not known to be dead")
	}
	// Nobody is anywhere now: all are tried, the dead one last.
	got = x.Deliver(t.Context(), to, m, all(m))
	if got[0].Outcome != Deferred || !got[0].Down || got[0].Relay != "mx1.example[127.0.0.1]:"+port {
		t.Errorf("%+v", got)
	}
	if got = x.Deliver(t.Context(), "[127.0.0.1]:"+port, m, all(m)); got[0].Reply != "cannot connect: connection refused" {
		t.Errorf("%+v", got)
	}
	time.Sleep(300 * time.Millisecond)
	if x.believedDead(first.Addr(), first.Port()) {
		t.Error("127.0.0.1 is dead for ever")
	}
}

// TestDeadComesBack: who answers again is no longer dead.
func TestDeadComesBack(t *testing.T) {
	s := serve(t, script{}, allDone)
	x := s.transport(nil)
	addr := netip.MustParseAddrPort(s.addr)
	for _, dead := range []bool{true, false} {
		s.send(x, message("bob@example.net"))
		if x.believedDead(addr.Addr(), addr.Port()) != dead {
			t.Errorf("dead: %v, want %v", !dead, dead)
		}
	}
}

// TestSearchBounds: an attempt asks so many addresses, each once, and takes so long.
func TestSearchBounds(t *testing.T) {
	n := net0{mx: map[string][]string{}, addrs: map[string][]string{}}
	for i := range 100 {
		host := fmt.Sprintf("h%d.example", i)
		n.mx["example.net"] = append(n.mx["example.net"], host)
		n.addrs[host] = []string{fmt.Sprintf("127.1.1.%d", i/2+1)} // two names each
	}
	x := (&server{t: t}).transport(n.configure)
	m := message("bob@example.net")
	x.Deliver(t.Context(), "example.net:1", m, all(m))
	if n := x.dead.cache.Len(); n != maxAddresses {
		t.Errorf("%d addresses were tried", n)
	}

	s := serve(t, script{"wait"}, script{"wait"}, script{"wait"})
	_, port, _ := net.SplitHostPort(s.addr)
	x = s.transport(func(c *Config) {
		c.Timeouts.Greeting, c.Timeouts.Search = 100*time.Millisecond, 50*time.Millisecond
	})
	to := strings.Join(slices.Repeat([]string{"[127.0.0.1]:" + port, "[127.0.0.2]:1"}, 2), ",")
	begun := time.Now()
	if got := deliver(x, to, m); !strings.HasPrefix(got, "Deferred 4.4.2 timeout while waiting for the greeting") || time.Since(begun) > 2*time.Second || s.connections() != 1 {
		t.Errorf("after %v and %d connections: %s", time.Since(begun), s.connections(), got)
	}
}

// TestDeadBounded: what is remembered of the dead has a bound.
func TestDeadBounded(t *testing.T) {
	x := (&server{t: t}).transport(nil)
	for i := range maxDead + 1000 {
		x.markDead(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 25)
	}
	if n := x.dead.cache.Len(); n != maxDead {
		t.Errorf("%d are remembered", n)
	}
}

// TestAnswers: the transports that answer at once.
func TestAnswers(t *testing.T) {
	for want, x := range map[string]Transport{
		"Sent 2.0.0 discarded":      Discard{},
		"Failed 5.7.1 go\\x0d away": Refuse{smtp.EnhancedCode{Class: 5, Subject: 7, Detail: 1}, "go\r away"},
		"Deferred 4.2.0 come again": Refuse{smtp.EnhancedCode{Class: 4, Subject: 2}, "come again"},
		"Failed 5.0.0 refused":      Refuse{},
	} {
		if got := deliver(x, "anywhere", message("bob@example.net", "carol@example.net")); got != want+"\n"+want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if a, b := Transport(Refuse{Text: "a"}), Transport(Refuse{Text: "a"}); a != b {
		t.Error("Refuse is not comparable")
	}
}
