package explain

import (
	"context"
	"slices"

	"gatepost/policy"
)

// maxTries bounds how many edits are tried for one verdict.
const maxTries = 400

// Flip is an edit that turns a verdict around, tried out: what was accepted is
// refused, dropped or held, and the other way round.
type Flip struct {
	Edits   []Edit // one; two where no single one is enough
	At      int    // the stage that speaks then: 0 connect, 1 mail, 2 and on the recipients
	Verdict policy.Verdict
	Rule    string // that decides then
}

// FindFlip looks for the smallest edit that turns around the verdict of a stage
// of the session: 0 is the connection, 1 MAIL, 2 and on are the recipients. Each
// candidate is put to a copy of the policy, and the whole session up to the stage
// is played again. found is false when no edit of a table does it, or the
// session does not come to the stage.
func FindFlip(ctx context.Context, cfg policy.Config, s Session, at int) (flip Flip, found bool, err error) {
	cfg.Resolver = newMemo(cfg.Resolver)
	stages, err := play(ctx, cfg, &s, at)
	if err != nil || at >= len(stages) || len(stages[at].Steps) == 0 {
		return Flip{}, false, err
	}
	f := &search{session: &s, at: at, accept: !accepted(stages, at)}
	best := f.single(ctx, cfg, stages, nil)
	if best == nil {
		best = f.pair(ctx, cfg, stages)
	}
	if best == nil {
		return Flip{}, false, nil
	}
	return *best, true, nil
}

// search is the search for one Flip.
type search struct {
	session *Session
	at      int
	accept  bool // the verdict that is wanted
	tries   int
}

// single tries one edit after the other, on top of those made before. An edit
// that has its effect at the stage itself is better than one that refuses the
// session earlier; words of our own domains are taken away last.
func (f *search) single(ctx context.Context, cfg policy.Config, stages []Stage, before []Edit) *Flip {
	near, last := f.candidates(cfg, stages)
	var earlier *Flip
	for _, e := range near {
		after := f.try(ctx, cfg, e, before)
		if after == nil || accepted(after, f.at) != f.accept {
			continue
		}
		flip := newFlip(append(slices.Clone(before), e), after)
		if flip.At == f.at {
			return flip
		}
		if earlier == nil {
			earlier = flip
		}
	}
	if earlier != nil {
		return earlier
	}
	for _, e := range last {
		if after := f.try(ctx, cfg, e, before); after != nil && accepted(after, f.at) == f.accept {
			return newFlip(append(slices.Clone(before), e), after)
		}
	}
	return nil
}

// pair tries two edits: a first one that gets the session past the rule that
// decided, and a second one for the rule that decides then.
func (f *search) pair(ctx context.Context, cfg policy.Config, stages []Stage) *Flip {
	near, last := f.candidates(cfg, stages)
	for _, e := range slices.Concat(near, last) {
		after := f.try(ctx, cfg, e, nil)
		if after == nil || !progress(stages, after) {
			continue
		}
		if flip := f.single(ctx, apply(cfg, e), after, []Edit{e}); flip != nil {
			return flip
		}
	}
	return nil
}

// progress tells whether another rule decides, or at another stage.
func progress(before, after []Stage) bool {
	b, a := &before[len(before)-1], &after[len(after)-1]
	return len(before) != len(after) || b.By().Rule != a.By().Rule
}

// try plays the session with an edit; nil when it is not to be tried.
func (f *search) try(ctx context.Context, cfg policy.Config, e Edit, before []Edit) []Stage {
	same := func(b Edit) bool { return b.Table == e.Table && sameKey(b.Key, e.Key) }
	if f.tries++; f.tries > maxTries || ctx.Err() != nil || slices.ContainsFunc(before, same) {
		return nil
	}
	after, err := play(ctx, apply(cfg, e), f.session, f.at)
	if err != nil {
		return nil
	}
	return after
}

func newFlip(edits []Edit, after []Stage) *Flip {
	last := &after[len(after)-1]
	return &Flip{Edits: edits, At: len(after) - 1, Verdict: last.Verdict, Rule: last.By().Rule}
}
