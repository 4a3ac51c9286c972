package queue

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"gatepost/relay/deliver"
	"gatepost/relay/spool"
)

// pit is a transport to destinations of which those that are named "hang" do not answer
// any more after some messages.
type pit struct {
	answers int
	mu      sync.Mutex
	count   map[string]int
}

func (p *pit) String() string { return "pit" }

func (p *pit) Deliver(ctx context.Context, destination string, _ deliver.Message, to []int) []deliver.Result {
	p.mu.Lock()
	p.count[destination]++
	n := p.count[destination]
	p.mu.Unlock()
	if strings.HasPrefix(destination, "hang") && n > p.answers {
		<-ctx.Done()
	}
	return []deliver.Result{taken}
}

// TestSlow: destinations that hang, whether or not they answered before, keep no others
// waiting for longer than Config.Slow.
func TestSlow(t *testing.T) {
	for name, answers := range map[string]int{"never answered": 0, "answered before": 10} {
		t.Run(name, func(t *testing.T) {
			s := openSpool(t, t.TempDir())
			p := &pit{answers: answers, count: map[string]int{}}
			const hanging, each, live = 4, 20, 100
			for i := range hanging * each {
				commit(t, s, spool.Envelope{}, fmt.Sprintf("x@hang%d", i%hanging))
			}
			q, _ := run(t, Config{Spool: s, MaxDeliveries: 8, PerDestination: 2, Drain: time.Millisecond, Slow: 50 * time.Millisecond,
				Route: func(_ context.Context, _, to string) (Route, error) {
					return Route{p, to[strings.IndexByte(to, '@')+1:]}, nil
				}})
			busy := hanging
			if answers > 0 {
				busy *= 2
			}
			eventually(t, "they hang", func() bool { return q.Stats().Delivered == uint64(hanging*answers) && q.Stats().Active == busy })
			for i := range live {
				q.Add(commit(t, s, spool.Envelope{}, fmt.Sprintf("x@live%d", i%10)))
			}
			eventually(t, "the others are delivered", func() bool { return q.Stats().Delivered == uint64(hanging*answers+live) })
		})
	}
}
