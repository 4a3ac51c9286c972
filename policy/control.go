package policy

import (
	"context"
	"strconv"
	"strings"

	"gatepost/internal/smtp"
)

// rateControl is FEATURE(ratecontrol): connections of a client in a time.
func rateControl(c Control) rule {
	return controlRule("ratecontrol", c, tagClientRate, "Connection rate limit exceeded.",
		func(f *Facts) int { return f.Conn.Rate })
}

// connControl is FEATURE(conncontrol): connections of a client at once.
func connControl(c Control) rule {
	return controlRule("conncontrol", c, tagClientConn, "Too many open connections.",
		func(f *Facts) int { return f.Conn.Open })
}

// controlRule compares a count with the limit in the access map: for the address
// and its leading parts, then for the tag alone. "0" is no limit; what is not a
// number counts as 0 and so as a limit that everyone exceeds.
func controlRule(name string, c Control, t tag, text string, count func(*Facts) int) rule {
	code := 452
	if c.Terminate {
		code = 421
	}
	refused := smtp.MustReply(code, "4.3.2", text)
	return rule{name: name, apply: func(ctx context.Context, q *inquiry) (outcome, error) {
		v, err := q.searchAddr(ctx, t, taggedKey, q.clientAddr)
		if !v.found && err == nil {
			v, err = q.searchExact(ctx, t, taggedKey, "")
		}
		if err != nil || !v.found || v.text == "0" {
			return noOpinion, err
		}
		if leadingNumber(v.text) < count(q.facts) {
			return stop(refuse(refused)), nil
		}
		return noOpinion, nil
	}}
}

// leadingNumber is C's atoi: the digits at the beginning, 0 without any.
func leadingNumber(s string) int {
	s = strings.TrimLeft(s, " \t")
	end := 0
	for end < len(s) && (s[end] >= '0' && s[end] <= '9' || end == 0 && (s[0] == '-' || s[0] == '+')) {
		end++
	}
	n, err := strconv.Atoi(s[:end])
	if err != nil {
		return 0
	}
	return n
}

// immediateControl is what is asked at connection although checks are delayed.
func immediateControl(f *Features) []check {
	var rules []rule
	if f.RateControl.On && f.RateControl.NoDelay {
		rules = append(rules, rateControl(f.RateControl))
	}
	if f.ConnControl.On && f.ConnControl.NoDelay {
		rules = append(rules, connControl(f.ConnControl))
	}
	if rules == nil {
		return nil
	}
	return []check{{name: "check_relay, nodelay", parts: [][]rule{rules}}}
}
