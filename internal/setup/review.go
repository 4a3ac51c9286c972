package setup

import (
	"context"
	"runtime/debug"
	"time"

	"gatepost/internal/lint"
)

// reviewTime bounds the search for an open relay.
const reviewTime = 30 * time.Second

// review searches each new policy for an open relay, and warns with the command
// that shows it. It runs beside the sessions, one search at a time: a policy that
// is replaced while it waits is not searched. The mail server may have checks of
// its own, so that is all that happens here.
func (e *Engine) review(ctx context.Context) {
	said := ""
	for {
		select {
		case <-e.renewed:
			said = e.reviewOnce(ctx, said)
			// The tables before, and what reading and searching took, may be as much
			// memory as all the rest, for good.
			debug.FreeOSMemory()
		case <-ctx.Done():
			return
		}
	}
}

// reviewOnce searches the policy in force. said is what was told of the one before.
func (e *Engine) reviewOnce(ctx context.Context, said string) (told string) {
	defer func() {
		if fault := recover(); fault != nil { // the search must not end the daemon
			e.log.Error("fault in the program while searching for an open relay", "fault", fault)
			told = said
		}
	}()
	s := e.current.Load()
	if s.cfg.Accepts("open_relay") {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, reviewTime)
	defer cancel()
	result, err := lint.OpenRelay(ctx, s.policyConfig())
	if err != nil {
		e.log.Error("the policy could not be searched for an open relay", "error", err)
		return said
	}
	if len(result.Witnesses) == 0 {
		if said != "" {
			e.log.Info("the policy is no open relay any more", "generation", s.generation)
		}
		return ""
	}
	w := &result.Witnesses[0]
	if command := w.Command(s.cfg.File); command != said {
		e.log.Warn("open relay: by this policy a stranger can send to strangers; if the mail server prevents that, or it is wanted, write accept_risk = [\"open_relay\"]",
			"rule", w.Rule, "at", w.Finding(s.cfg).Source.String(), "shown_by", command)
		said = command
	}
	return said
}
