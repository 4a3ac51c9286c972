package clients

import (
	"net/netip"
	"sync"
	"testing"
	"time"
)

var (
	alice = netip.MustParseAddr("192.0.2.1")
	bob   = netip.MustParseAddr("2001:db8::1")
)

func counts(t *testing.T) (*Counts, *time.Time) {
	t.Helper()
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_000_000_002, 0)
	c.now = func() time.Time { return now }
	return c, &now
}

// TestWindow: connections count for a minute, in steps of six seconds.
func TestWindow(t *testing.T) {
	c, now := counts(t)
	begin := now.Truncate(Window / slices)
	for _, step := range []struct {
		at   time.Duration
		want int
	}{
		{0, 1}, {time.Second, 2}, {30 * time.Second, 3}, {59 * time.Second, 4},
		{60 * time.Second, 3}, // the first two have left
		{89 * time.Second, 4},
		{90 * time.Second, 4}, // the third has left
		{10 * time.Minute, 1},
	} {
		*now = begin.Add(step.at)
		if recent, _ := c.Begin(alice); recent != step.want {
			t.Errorf("after %v: %d recent connections, want %d", step.at, recent, step.want)
		}
	}
	if recent, open := c.Begin(bob); recent != 1 || open != 1 {
		t.Errorf("another client has %d recent and %d open, want 1 and 1", recent, open)
	}
}

func TestOpen(t *testing.T) {
	c, _ := counts(t)
	for want := 1; want <= 3; want++ {
		if _, open := c.Begin(alice); open != want {
			t.Errorf("%d open, want %d", open, want)
		}
	}
	c.End(alice)
	c.End(alice)
	if _, open := c.Begin(alice); open != 2 {
		t.Errorf("%d open after two ended, want 2", open)
	}
	for range 5 {
		c.End(alice)
	}
	if _, open := c.Begin(alice); open != 1 {
		t.Errorf("%d open after all ended, want 1", open)
	}
	if len(c.open) != 1 {
		t.Errorf("%d clients are kept as open, want 1", len(c.open))
	}
}

// TestBounded: a flood of addresses does not grow without end.
func TestBounded(t *testing.T) {
	c, _ := counts(t)
	addr := netip.MustParseAddr("2001:db8::")
	for range remembered + 1000 {
		addr = addr.Next()
		c.Begin(addr)
		c.End(addr)
	}
	if n := c.rates.Len(); n != remembered {
		t.Errorf("%d rates kept, want %d", n, remembered)
	}
	if len(c.open) != 0 {
		t.Errorf("%d clients kept as open, want 0", len(c.open))
	}
}

func TestConcurrent(t *testing.T) {
	c, _ := counts(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				c.Begin(alice)
				c.End(alice)
			}
		})
	}
	all.Wait()
	if recent, open := c.Begin(alice); recent != 8001 || open != 1 {
		t.Errorf("%d recent and %d open, want 8001 and 1", recent, open)
	}
}
