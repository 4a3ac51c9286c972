package sasl_test

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"gatepost/relay/sasl"
)

// guard is a server with a clock that stands still until it is moved.
type guard struct {
	*sasl.Server
	t   *testing.T
	now time.Time
}

func newGuard(t *testing.T, limits sasl.Throttle) *guard {
	t.Helper()
	if limits == (sasl.Throttle{}) {
		limits.Account = 10 // the default, but not what newServer makes of nothing
	}
	g := &guard{newServer(t, sasl.Config{Throttle: limits}, ownFile(t)), t, time.Unix(1e9, 0)}
	g.SetNow(func() time.Time { return g.now })
	return g
}

// try logs in from an address.
func (g *guard) try(from, user, password string, want error) {
	g.t.Helper()
	c := secure()
	c.Client = netip.MustParseAddr(from)
	who, err := login(g.Server, sasl.CRAMMD5, c, clientFor(g.t, sasl.CRAMMD5, user, password))
	if err != want || (who == user) != (want == nil) {
		g.t.Errorf("%s as %s: user %q, error %v; want %v", from, user, who, err, want)
	}
}

func (g *guard) checks(want uint64) {
	g.t.Helper()
	if got := g.Stats()[sasl.CRAMMD5].Checks; got != want {
		g.t.Errorf("%d checks, want %d", got, want)
	}
}

func TestThrottleSource(t *testing.T) {
	g := newGuard(t, sasl.Throttle{})
	for i := range 5 {
		g.try("192.0.2.1", fmt.Sprint("nobody", i), "x", sasl.ErrFailed)
	}
	for range 100 {
		g.try("192.0.2.1", "joe", "secret of joe", sasl.ErrThrottled)
	}
	g.checks(5)
	g.try("192.0.2.2", "joe", "secret of joe", nil)
	g.now = g.now.Add(59 * time.Second)
	g.try("192.0.2.1", "joe", "secret of joe", sasl.ErrThrottled)
	g.now = g.now.Add(time.Second)
	g.try("192.0.2.1", "joe", "secret of joe", nil)
	g.checks(7)
	if n := g.Stats()[sasl.CRAMMD5]; n.Throttled != 101 || n.Failures != 5 || n.Successes != 2 {
		t.Errorf("stats %+v", n)
	}
}

func TestThrottleNetwork(t *testing.T) {
	for name, c := range map[string]struct{ inside, outside string }{
		"IPv4": {"192.0.2.%d", "192.0.3.1"},
		"IPv6": {"2001:db8:1:%x::1", "2001:db8:2::1"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuard(t, sasl.Throttle{})
			for i := range 20 {
				g.try(fmt.Sprintf(c.inside, i), fmt.Sprint("nobody", i), "x", sasl.ErrFailed)
			}
			g.try(fmt.Sprintf(c.inside, 99), "joe", "secret of joe", sasl.ErrThrottled)
			g.try(c.outside, "joe", "secret of joe", nil)
		})
	}
	g := newGuard(t, sasl.Throttle{})
	for i := range 5 { // one source
		g.try(fmt.Sprintf("2001:db8::%d", i), fmt.Sprint("nobody", i), "x", sasl.ErrFailed)
	}
	g.try("2001:db8::99", "joe", "secret of joe", sasl.ErrThrottled)
	for i := range 5 { // the same in both notations
		g.try([]string{"192.0.2.1", "::ffff:192.0.2.1"}[i%2], fmt.Sprint("nobody", i), "x", sasl.ErrFailed)
	}
	g.try("192.0.2.1", "joe", "secret of joe", sasl.ErrThrottled)
}

func TestThrottleAccount(t *testing.T) {
	for _, user := range []string{"joe", "nobody"} {
		g := newGuard(t, sasl.Throttle{})
		if user == "joe" {
			g.try("198.51.100.7", "joe", "secret of joe", nil) // at home
		}
		for i := range 10 {
			g.try(fmt.Sprintf("10.0.%d.1", i), user, "x", sasl.ErrFailed)
		}
		g.try("10.0.99.1", user, "secret of joe", sasl.ErrThrottled)
		g.try("10.0.99.1", "ann", "x", sasl.ErrFailed)
		if user == "joe" {
			g.try("198.51.100.8", "joe", "secret of joe", nil)
			g.try("10.0.99.1", "joe", "secret of joe", sasl.ErrThrottled)
		}
		g.now = g.now.Add(10 * time.Minute)
		g.try("10.0.99.1", user, "x", sasl.ErrFailed)
	}
}

// TestThrottleSuccess: a slip is forgiven, guesses at other accounts are not.
func TestThrottleSuccess(t *testing.T) {
	g := newGuard(t, sasl.Throttle{})
	for range 3 {
		for range 4 {
			g.try("192.0.2.1", "joe", "x", sasl.ErrFailed)
		}
		g.try("192.0.2.1", "joe", "secret of joe", nil)
	}
	for i := range 5 {
		g.try("192.0.2.1", fmt.Sprint("nobody", i), "x", sasl.ErrFailed)
		if i < 4 {
			g.try("192.0.2.1", "joe", "secret of joe", nil)
		}
	}
	g.try("192.0.2.1", "joe", "secret of joe", sasl.ErrThrottled)
}

// TestThrottleCrowd: guesses at once are no way round the limit, and logins at once are
// let in.
func TestThrottleCrowd(t *testing.T) {
	crowd := func(g *guard, mechanism, password string) map[error]int {
		var mu sync.Mutex
		var all sync.WaitGroup
		results := map[error]int{}
		for range 40 {
			all.Go(func() {
				_, err := login(g.Server, mechanism, secure(), clientFor(t, mechanism, "joe", password))
				mu.Lock()
				results[err]++
				mu.Unlock()
			})
		}
		all.Wait()
		return results
	}
	for _, mechanism := range []string{sasl.Plain, sasl.SCRAMSHA256} {
		g := newGuard(t, sasl.Throttle{})
		if got := crowd(g, mechanism, "secret of joe"); got[nil] != 40 {
			t.Errorf("%s: right passwords: %v", mechanism, got)
		}
		if got := crowd(g, mechanism, "x"); got[sasl.ErrFailed] != 5 || got[sasl.ErrThrottled] != 35 {
			t.Errorf("%s: wrong passwords: %v", mechanism, got)
		}
		if n := g.Stats()[mechanism].Checks; n != 45 {
			t.Errorf("%s: %d checks", mechanism, n)
		}
	}
}

// TestThrottleMemory: many clients do not need much.
func TestThrottleMemory(t *testing.T) {
	g := newGuard(t, sasl.Throttle{})
	for i := range 50_000 {
		g.try(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String(), fmt.Sprint("nobody", i), "x", map[bool]error{true: sasl.ErrFailed, false: sasl.ErrThrottled}[i%256 < 20])
	}
	for table, n := range g.Remembered() {
		if n > 16384 {
			t.Errorf("%s: %d entries", table, n)
		}
	}
}
