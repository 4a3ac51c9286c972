package milter

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"gatepost/milter/miltertest"
	"gatepost/policy"
)

// bare is an MTA that takes no lists of macros, so that it does not say how a
// client's name was verified.
var bare = miltertest.Offer{Version: 6, Protocol: miltertest.ProtocolsAll}

// TestResolveClient: what the MTA does not say of the client's name is looked up.
func TestResolveClient(t *testing.T) {
	addr := netip.MustParseAddr("203.0.113.25")
	for _, tc := range []struct {
		name  string
		offer miltertest.Offer
		peer  miltertest.Peer
		asked int
		want  policy.Conn
	}{
		{"the MTA says", miltertest.Full(), miltertest.Peer{Addr: addr, Ptr: "forged.example", Resolve: "FORGED"}, 0,
			policy.Conn{Addr: addr, Ptr: "forged.example", Resolve: policy.ResolveForged}},
		{"it does not", bare, miltertest.Peer{Addr: addr, Ptr: "forged.example", Resolve: "FORGED"}, 1,
			policy.Conn{Addr: addr, Ptr: "ptr.example", Resolve: policy.ResolveTemp}},
		{"it names a client that it does not vouch for", bare, miltertest.Peer{Addr: addr, Name: "mail.example.net"}, 1,
			policy.Conn{Addr: addr, Ptr: "ptr.example", Resolve: policy.ResolveTemp}},
		{"no network connection", bare, miltertest.Peer{}, 0,
			policy.Conn{Local: true, Name: "localhost", Resolve: policy.ResolveOK}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bothMTAs(t, func(t *testing.T, mta miltertest.MTA) {
				asked := 0
				at := map[policy.Stage]policy.Facts{}
				f := start(t, seen(at), func(c *Config) {
					c.ResolveClient = func(_ context.Context, got netip.Addr) (policy.Resolve, string, string) {
						if asked++; got != addr {
							t.Errorf("asked about %v, want %v", got, addr)
						}
						return policy.ResolveTemp, "", "ptr.example"
					}
				})
				c := f.dialOffer(mta, tc.offer)
				expect(t, "connect", "c")(c.Connect(tc.peer))
				got := at[policy.StageConnect].Conn
				if asked != tc.asked || got.Resolve != tc.want.Resolve || got.Name != tc.want.Name || tc.asked > 0 && got.Ptr != tc.want.Ptr {
					t.Errorf("asked %d times, facts %+v, want %d times, %+v", asked, got, tc.asked, tc.want)
				}
			})
		})
	}
}

// A lookup of the name that takes long leaves time for the decision.
func TestResolveClientIsBounded(t *testing.T) {
	const timeout = 400 * time.Millisecond
	f := start(t, script(func(ctx context.Context, at policy.Stage, f *policy.Facts) policy.Verdict {
		if deadline, ok := ctx.Deadline(); !ok || at == policy.StageConnect && time.Until(deadline) > timeout/2 {
			t.Errorf("%v: the decision has until %v", at, deadline)
		}
		if f.Conn.Resolve != policy.ResolveTemp {
			t.Errorf("%v: the client's name is %v, want TEMP", at, f.Conn.Resolve)
		}
		return accept
	}), func(c *Config) {
		c.Timeout = timeout
		c.ResolveClient = func(ctx context.Context, _ netip.Addr) (policy.Resolve, string, string) {
			<-ctx.Done()
			return policy.ResolveTemp, "", ""
		}
	})
	c := f.dialOffer(miltertest.Sendmail, bare)
	begin := time.Now()
	expect(t, "connect", "c")(c.Connect(peer))
	if d := time.Since(begin); d < timeout/4 || d > 10*timeout {
		t.Errorf("connect took %v, want about %v", d, timeout/2)
	}
	expect(t, "helo", "c")(c.Helo("x"))
	expect(t, "mail", "c")(c.Mail("<>"))
}
