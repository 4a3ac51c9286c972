package deliver

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// TestHurry: who is in a hurry waits for less, until the message is sent, also on a
// connection that was opened by somebody who was not.
func TestHurry(t *testing.T) {
	d := DefaultTimeouts()
	h := d.hasty()
	if h.Greeting != 30*time.Second || h.Data != h.Greeting || h.Search != time.Minute || h.End != d.End || h.Block != d.Block || d.Greeting != 5*time.Minute {
		t.Errorf("%+v", h)
	}
	s := serve(t, join(allDone, script{mail, "hang"}), script{"hang"})
	x := s.transport(nil)
	x.hasty = allTimeouts(50 * time.Millisecond)
	m := message("bob@example.net")
	x.Deliver(t.Context(), s.addr, m, all(m))
	for range 2 {
		begun := time.Now()
		r := x.Deliver(Hurry(t.Context()), s.addr, m, all(m))[0]
		if !strings.HasPrefix(r.Reply, "timeout while waiting for ") || !r.Silent || time.Since(begun) > 2*time.Second {
			t.Errorf("after %v: %+v", time.Since(begun), r)
		}
	}
}

// TestAddressesInTime: the addresses of one host are no more than there is time for.
func TestAddressesInTime(t *testing.T) {
	s := serveAt(t, "0.0.0.0:0", nil, script{"hang"}, script{"hang"}, script{"hang"}, script{"hang"})
	_, port, _ := net.SplitHostPort(s.addr)
	n := net0{addrs: map[string][]string{}}
	for i := range 4 {
		n.addrs["mx.example"] = append(n.addrs["mx.example"], fmt.Sprintf("127.0.0.%d", i+1))
	}
	x := s.transport(func(c *Config) {
		n.configure(c)
		c.Timeouts.Greeting, c.Timeouts.Search = 100*time.Millisecond, 150*time.Millisecond
	})
	if got := deliver(x, "[mx.example]:"+port, message("bob@example.net")); !strings.HasSuffix(got, "the greeting (down)") || s.connections() != 2 {
		t.Errorf("%d connections: %s", s.connections(), got)
	}
}
