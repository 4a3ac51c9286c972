package session

import (
	"fmt"
	"strings"
	"testing"
)

// TestRecipientsAreBounded: what the recipients of all sessions take in memory has a
// bound, beyond which each message has room for a hundred.
func TestRecipientsAreBounded(t *testing.T) {
	f := accepting(t, limits(func(l *Limits) { l.RcptMemory = 50_000 }))
	fill := func(c *talker, want int) {
		t.Helper()
		c.say("MAIL FROM:<a@b>", "250 ")
		long := strings.Repeat("x", 200)
		for i := range want {
			c.say(fmt.Sprintf("RCPT TO:<%s%d@local.example>", long, i), "250 ")
		}
		c.say("RCPT TO:<more@local.example>", "452 4.5.3 Too many recipients")
	}
	first, second := f.greeted(), f.greeted()
	fill(first, 153) // of 215 to 217 bytes, and 112
	fill(second, 100)
	second.say("DATA", "354 ")
	second.say(".", "250 ")
	first.say("RSET", "250 ")
	second.say("MAIL FROM:<a@b>", "250 ")
	for i := range 150 {
		second.say(fmt.Sprintf("RCPT TO:<u%d@local.example>", i), "250 ")
	}
	second.say("QUIT", "221 ")
	first.say("QUIT", "221 ")
	soon(t, "the sessions have ended", func() bool { return f.Stats().Open == 0 })
	if n := f.rcptMemory.Load(); n != 0 {
		t.Errorf("%d bytes of recipients are left", n)
	}
}
