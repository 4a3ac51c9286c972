package policy

import (
	"context"
	"time"
)

// maxGreetPause is the longest pause that sendmail makes.
const maxGreetPause = 5 * time.Minute

// GreetPause is FEATURE(greet_pause): how long the greeting is held back, so that
// clients that do not wait for it give themselves away. It is a matter of the
// front; one that cannot hold a greeting back does not ask. A lookup that fails
// is no pause, as in sendmail.
func (p *Policy) GreetPause(ctx context.Context, f *Facts) time.Duration {
	if !p.features.GreetPause || f.Conn.Local {
		return 0
	}
	q := p.newInquiry(StageConnect, f)
	defer q.release()
	// The name need not be verified here.
	v, err := q.searchDomain(ctx, tagGreetPause, taggedKey, q.clientPtr())
	if err == nil && !v.found {
		v, err = q.searchAddr(ctx, tagGreetPause, taggedKey, q.clientAddr)
	}
	if err != nil {
		return 0
	}
	text := p.features.GreetPauseTime
	if v.found {
		text = v.text
	}
	ms := max(leadingNumber(text), 0)
	return min(time.Duration(ms)*time.Millisecond, maxGreetPause)
}
