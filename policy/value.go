package policy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"gatepost/internal/smtp"
)

// refusal turns an access map value that is no permission into an outcome, as the
// ends of rule sets check_relay, check_mail and Rcpt_ok do. rejected is the
// text for REJECT at that place. The value is normalised.
func (q *inquiry) refusal(v string, rejected *errorText) (outcome, error) {
	if strings.EqualFold(v, "REJECT") {
		return stop(refuse(rejected.reply(q))), nil
	}
	return refusal(v)
}

// refusal is for values other than REJECT.
func refusal(v string) (outcome, error) {
	switch {
	case strings.EqualFold(v, "DISCARD"):
		return stop(Verdict{Action: Discard}), nil
	}
	if reason, ok := cutWord(v, "QUARANTINE:"); ok && reason != "" {
		return stop(Verdict{Action: Quarantine, Reason: unquote(reason)}), nil
	}
	r, err := errorReply(v)
	if err != nil {
		return outcome{}, err
	}
	return stop(refuse(r)), nil
}

// permits tells whether the value is one of sendmail's class Accept.
func (v value) permits() bool { return v.is("OK") || v.is("RELAY") }

// cutWord cuts a leading word without regard to case.
func cutWord(s, word string) (rest string, ok bool) {
	if len(s) < len(word) || !strings.EqualFold(s[:len(word)], word) {
		return s, false
	}
	return s[len(word):], true
}

// errorReply is the reply that ERROR:d.s.n:text, ERROR:text or plain text stands
// for.
func errorReply(v string) (smtp.Reply, error) {
	var enhanced smtp.EnhancedCode
	text := v
	if rest, ok := cutWord(v, "ERROR:"); ok {
		text = rest
		if code, after, ok := strings.Cut(rest, ":"); ok && after != "" && isTriple(code) {
			enhanced, _ = smtp.ParseEnhancedCode(code)
			text = after
		}
	}
	return buildReply(enhanced, text)
}

// buildReply is what sendmail's error mailer makes of an enhanced code and a
// text. Without a leading code and blank in the text it is 553 5.3.0, whatever
// the enhanced code says; one in the text, after the code, wins.
func buildReply(enhanced smtp.EnhancedCode, text string) (smtp.Reply, error) {
	if text = unquote(text); text == "" {
		return smtp.Reply{}, errors.New("no text after the word ERROR")
	}
	code, rest, ok := replyCode(text)
	if !ok {
		return smtp.NewReply(553, smtp.EnhancedCode{Class: 5, Subject: 3}, text)
	}
	if word, after, ok := strings.Cut(rest, " "); ok {
		if own, ok := smtp.ParseEnhancedCode(word); ok {
			return smtp.NewReply(code, own, after)
		}
	}
	if enhanced.IsZero() {
		enhanced.Class = uint16(code / 100)
	}
	return smtp.NewReply(code, enhanced, rest)
}

// isTriple tells whether s is three words with dots between them.
func isTriple(s string) bool {
	parts := strings.Split(s, ".")
	for _, p := range parts {
		if p == "" || strings.ContainsFunc(p, func(r rune) bool { return r == ' ' || r < 0x80 && smtp.IsDelimiter(byte(r)) }) {
			return false
		}
	}
	return len(parts) == 3
}

// replyCode cuts three digits and a blank.
func replyCode(text string) (code int, rest string, ok bool) {
	if len(text) < 4 || text[3] != ' ' {
		return 0, "", false
	}
	for i := range 3 {
		if text[i] < '0' || text[i] > '9' {
			return 0, "", false
		}
	}
	code, err := strconv.Atoi(text[:3])
	return code, text[4:], err == nil
}

func unquote(s string) string { return strings.ReplaceAll(s, `"`, "") }

// CheckAccess tells whether an access table entry can be acted on, for use when
// the table is loaded: sendmail would send garbage for an ERROR: without text or
// a reply code outside of 4xx and 5xx. Keys with tags of other uses (Spam:,
// GreetPause:, TLS_Clt: ...) are not looked at. key is in lower case; a regular
// expression may stand for any key.
func CheckAccess(key, val string) error {
	if !checked(key) {
		return nil
	}
	return checkValue(val)
}

// CheckSpammers is CheckAccess for the spammers table, whose keys have no tags.
func CheckSpammers(_, val string) error { return checkValue(val) }

func checkValue(val string) error {
	v := normalise(val)
	for _, word := range []string{"OK", "RELAY", "REJECT", "SKIP", "SUBJECT", "FRIEND", "HATER"} {
		if strings.EqualFold(v, word) {
			return nil
		}
	}
	if _, err := refusal(v); err != nil {
		return fmt.Errorf("value %q: %w; expected OK, RELAY, REJECT, DISCARD, SKIP, QUARANTINE:text or ERROR:d.s.n:4xx or 5xx text", val, err)
	}
	return nil
}

// checked tells whether CheckAccess looks at the value of a key.
func checked(key string) bool {
	t, _, tagged := strings.Cut(key, ":")
	return !tagged || strings.HasPrefix(key, "/") || t == "connect" || t == "from" || t == "to" || t == "ipv6"
}
