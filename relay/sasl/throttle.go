package sasl

import (
	"context"
	"errors"
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// Throttle bounds guessing. A limit is how many checks of passwords may fail within its
// window; until then further ones are refused without a check. Zero values are the
// defaults.
type Throttle struct {
	// Source is the limit of an IPv4 address or an IPv6 /64 within a minute; 0: 5.
	Source int
	// Network is the limit of an IPv4 /24 or an IPv6 /48 within a minute; 0: 20.
	Network int
	// Account is the limit of one account within ten minutes, for all networks together
	// that it has not logged in from since the start (IPv4 /24, IPv6 /64); 0: 10.
	Account int
}

const (
	sourceWindow  = time.Minute
	accountWindow = 10 * time.Minute
	// remembered bounds what each table knows; what was not seen for the longest time
	// is forgotten.
	remembered = 16384
)

// throttle knows who has failed, and where accounts are at home.
type throttle struct {
	limits Throttle
	now    func() time.Time
	seed   maphash.Seed

	mu       sync.Mutex
	sources  *lru.Cache[netip.Prefix, *gauge]
	networks *lru.Cache[netip.Prefix, *gauge]
	accounts *lru.Cache[accountKey, *gauge]
	homes    *lru.Cache[home, struct{}]
}

// accountKey stands for an account's name, so that long names take no memory.
type accountKey uint64

// home is a network that an account has logged in from, by this name.
type home struct {
	name    accountKey
	network netip.Prefix
}

// gauge is the failed checks of a source, a network or an account, and those under way:
// each of them may fail.
type gauge struct {
	failures []failure // within the window, oldest first
	pending  int
	ended    chan struct{} // closed when one under way has ended; nil: nobody waits
}

type failure struct {
	at     time.Time
	source netip.Prefix
	name   accountKey
}

func newThrottle(limits Throttle, now func() time.Time) *throttle {
	set := func(limit *int, usual int) {
		if *limit <= 0 {
			*limit = usual
		}
	}
	set(&limits.Source, 5)
	set(&limits.Network, 20)
	set(&limits.Account, 10)
	t := &throttle{limits: limits, now: now, seed: maphash.MakeSeed()}
	// New fails only for a size below 1.
	t.sources, _ = lru.New[netip.Prefix, *gauge](remembered)
	t.networks, _ = lru.New[netip.Prefix, *gauge](remembered)
	t.accounts, _ = lru.New[accountKey, *gauge](remembered)
	t.homes, _ = lru.New[home, struct{}](remembered)
	return t
}

// within is the network of an address; none for the zero address.
func within(client netip.Addr, bits4, bits6 int) netip.Prefix {
	client = client.Unmap().WithZone("")
	bits := bits6
	if client.Is4() {
		bits = bits4
	}
	p, err := client.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

func sourceOf(client netip.Addr) netip.Prefix  { return within(client, 32, 64) }
func networkOf(client netip.Addr) netip.Prefix { return within(client, 24, 48) }
func homeOf(client netip.Addr) netip.Prefix    { return within(client, 24, 64) }

// closed tells whether nothing of the client's is looked at now, whoever it says it is.
func (t *throttle) closed(client netip.Addr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, _ := t.sources.Peek(sourceOf(client))
	n, _ := t.networks.Peek(networkOf(client))
	return s.full(t.now().Add(-sourceWindow), t.limits.Source) || n.full(t.now().Add(-sourceWindow), t.limits.Network)
}

// full forgets what is older than the window and tells whether the limit is reached.
func (g *gauge) full(since time.Time, limit int) bool {
	if g == nil {
		return false
	}
	g.failures = slices.DeleteFunc(g.failures, func(f failure) bool { return !f.at.After(since) })
	return len(g.failures) >= limit
}

// ticket is the leave to check one password. It is ended once.
type ticket struct {
	t              *throttle
	client         netip.Addr
	account        accountKey
	name           accountKey
	source, net    *gauge
	accountFailure *gauge // nil: the account is at home there
}

// admit waits until the check can be made without breaking a limit, whatever comes of
// those under way. name is the account as the client has called it: forms of a name count
// as one account, but may belong to two, who are at home where they are and forgiven what
// was theirs. It fails with ErrThrottled when a limit is reached, and with ErrTemporary at
// the end of ctx.
func (t *throttle) admit(ctx context.Context, client netip.Addr, account, name string) (*ticket, error) {
	for {
		k, busy, err := t.try(client, t.key(account), t.key(name))
		if busy == nil {
			return k, err
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, refuse(ErrTemporary, "waited too long for other checks of the same client or account")
		}
	}
}

func (t *throttle) key(account string) accountKey { return accountKey(maphash.String(t.seed, account)) }

// try is a ticket, or what to wait for, or a refusal.
func (t *throttle) try(client netip.Addr, account, name accountKey) (*ticket, <-chan struct{}, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	k := &ticket{t: t, client: client, account: account, name: name}
	k.source = of(t.sources, sourceOf(client))
	k.net = of(t.networks, networkOf(client))
	if _, at := t.homes.Get(home{name, homeOf(client)}); !at {
		k.accountFailure = of(t.accounts, account)
	}
	limits := []int{t.limits.Source, t.limits.Network, t.limits.Account}
	since := []time.Time{now.Add(-sourceWindow), now.Add(-sourceWindow), now.Add(-accountWindow)}
	for i, why := range []string{"too many failures of the client", "too many failures of the client's network", "too many failures of the account"} {
		if g := k.gauges()[i]; g.full(since[i], limits[i]) {
			k.forget()
			return nil, nil, refuse(ErrThrottled, why)
		}
	}
	for i, g := range k.gauges() {
		if g != nil && len(g.failures)+g.pending >= limits[i] {
			if g.ended == nil {
				g.ended = make(chan struct{})
			}
			return nil, g.ended, nil
		}
	}
	for _, g := range k.gauges() {
		if g != nil {
			g.pending++
		}
	}
	return k, nil, nil
}

// of is the gauge of a key, a new one if there is none.
func of[K comparable](table *lru.Cache[K, *gauge], key K) *gauge {
	g, ok := table.Get(key)
	if !ok {
		g = &gauge{}
		table.Add(key, g)
	}
	return g
}

func (k *ticket) gauges() [3]*gauge { return [3]*gauge{k.source, k.net, k.accountFailure} }

// end tells what came of the check. After a success, earlier failures of the client
// by this name do not count any more: they were a slip. Those with other accounts
// do, or somebody with an account could guess the others' for ever.
func (k *ticket) end(err error) {
	t := k.t
	t.mu.Lock()
	defer t.mu.Unlock()
	this := failure{t.now(), sourceOf(k.client), k.name}
	for _, g := range k.gauges() {
		if g == nil {
			continue
		}
		g.pending--
		if g.ended != nil {
			close(g.ended)
			g.ended = nil
		}
		switch {
		case errors.Is(err, ErrTemporary): // nothing has been learnt
		case err != nil:
			g.failures = append(g.failures, this)
		default:
			g.failures = slices.DeleteFunc(g.failures, func(f failure) bool {
				return f.source == this.source && f.name == this.name
			})
		}
	}
	if err == nil {
		t.homes.Add(home{k.name, homeOf(k.client)}, struct{}{})
	}
	k.forget()
}

// forget drops gauges that show nothing.
func (k *ticket) forget() {
	drop(k.t.sources, sourceOf(k.client), k.source)
	drop(k.t.networks, networkOf(k.client), k.net)
	drop(k.t.accounts, k.account, k.accountFailure)
}

func drop[K comparable](table *lru.Cache[K, *gauge], key K, g *gauge) {
	if g == nil || g.pending > 0 || len(g.failures) > 0 || g.ended != nil {
		return
	}
	if there, ok := table.Peek(key); ok && there == g {
		table.Remove(key)
	}
}
