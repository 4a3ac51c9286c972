package setup

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"
)

// logged waits until the log has all the words n times.
func (p *place) logged(n int, words string) {
	p.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); strings.Count(p.log.String(), words) < n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("the log does not have %q %d times:\n%s", words, n, p.log.String())
		}
	}
}

// TestReview has a policy that is an open relay, no more after an edit, and again
// after another one.
func TestReview(t *testing.T) {
	p := newPlace(t)
	p.write("access", "From:spam.example\tREJECT\nConnect:11\tRELAY\n")
	e := p.open()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { e.Run(ctx) })
	defer running.Wait()
	defer cancel()

	p.logged(1, "level=WARN msg=\"open relay: by this policy a stranger can send to strangers")
	p.logged(1, "at="+p.path("access")+":2 shown_by=\"gatepost explain --client 11.")
	p.write("access", "From:spam.example\tREJECT\n")
	p.logged(1, "the policy is no open relay any more")
	p.write("relay-domains", "com\n")
	p.logged(1, "at="+p.path("relay-domains")+":1 shown_by=")
	p.write("local-host-names", "example.org\n")
	p.logged(3, "policy renewed after an edit")
	if n := strings.Count(p.log.String(), "msg=\"open relay"); n != 2 {
		t.Errorf("the log tells %d times of an open relay, want 2:\n%s", n, p.log.String())
	}
}

// TestReviewAccepted: accept_risk silences the search.
func TestReviewAccepted(t *testing.T) {
	p := newPlace(t)
	p.cfg.Features.PromiscuousRelay = true
	p.cfg.AcceptRisk = []string{"open_relay", "promiscuous_relay"}
	e := p.open()
	if said := e.reviewOnce(t.Context(), ""); said != "" || strings.Contains(p.log.String(), "WARN") {
		t.Errorf("an open relay that is wanted is told as %q, log\n%s", said, p.log.String())
	}
	p.cfg.AcceptRisk = []string{"promiscuous_relay"}
	if said := e.reviewOnce(t.Context(), ""); !strings.HasPrefix(said, "gatepost explain --client ") || !strings.Contains(p.log.String(), "rule=promiscuous_relay") {
		t.Errorf("an open relay is told as %q, log\n%s", said, p.log.String())
	}
}
