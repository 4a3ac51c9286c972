package deliver

import (
	"context"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// How many connections log in alike at a time: a password that is no longer good is tried
// no more often than that before it is known, and providers count.
const (
	turnsUnproven = 1 // before it has succeeded once
	turnsProven   = 3
)

// turns lets few logins of the same kind be under way at a time.
type turns struct {
	proven *lru.Cache[loginKey, struct{}] // those that have succeeded, and not been refused since

	mu    sync.Mutex
	under map[loginKey]*turn
}

type turn struct {
	count int
	over  chan struct{} // closed when one has ended
}

func newTurns(size int) turns {
	proven, _ := lru.New[loginKey, struct{}](size)
	return turns{proven: proven, under: map[loginKey]*turn{}}
}

// enter tries to begin a login; over is nil when it has, and else closed when it is worth
// another try.
func (t *turns) enter(k loginKey) (over <-chan struct{}) {
	most := turnsUnproven
	if t.proven.Contains(k) {
		most = turnsProven
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.under[k]
	switch {
	case now == nil:
		now = &turn{over: make(chan struct{})}
		t.under[k] = now
	case now.count >= most:
		return now.over
	}
	now.count++
	return nil
}

// leave ends a login.
func (t *turns) leave(k loginKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.under[k]
	close(now.over)
	now.over = make(chan struct{})
	if now.count--; now.count == 0 {
		delete(t.under, k)
	}
}

// await begins a login when it is its turn, unless those before have found that it is
// refused.
func (s *SMTP) await(ctx context.Context, k loginKey) *problem {
	patience := time.NewTimer(s.config.Timeouts.Auth)
	defer patience.Stop()
	for {
		if p := s.deniedLogin(k); p != nil {
			return p
		}
		over := s.turns.enter(k)
		if over == nil {
			return nil
		}
		select {
		case <-over:
		case <-ctx.Done():
			return &problem{status: statusLogin, text: "given up while another connection logs in"}
		case <-patience.C:
			return &problem{status: statusLogin, text: "timeout while another connection logs in"}
		}
	}
}
