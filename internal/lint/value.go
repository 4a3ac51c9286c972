package lint

import (
	"strings"
	"unicode"

	"gatepost/internal/smtp"
	"gatepost/maps"
)

// value looks at the value of an entry whose key can match.
func (c *collector) value(k accessKey, e maps.Entry) {
	switch k.tag {
	case tagClientRate, tagClientConn, tagGreetPause:
		c.number(k, e)
		return
	case tagSpam:
		c.spam(k, e)
		return
	}
	v := strings.TrimSpace(e.Value)
	switch word := strings.ToUpper(v); word {
	case "OK":
		c.okEntry(k, e)
	case "RELAY":
		c.relayEntry(k, e)
	case "SKIP":
		c.skipEntry(k, e)
	case "FRIEND", "HATER", "SPAMFRIEND", "SPAMHATER", "SUBJECT":
		c.misplaced(k, e, word)
	case "REJECT", "DISCARD":
	case "QUARANTINE", "QUARANTINE:", "ERROR":
		c.add(e.Source, "value with a mistake", "the value %q is answered as an error text, 553 5.3.0 %s; write %s", v, v, withText(word))
	default:
		c.text(e, v)
	}
}

func withText(word string) string {
	if word == "ERROR" {
		return `ERROR:5.7.1:"550 text"`
	}
	return "QUARANTINE:reason"
}

// number looks at limits and pauses.
func (c *collector) number(k accessKey, e maps.Entry) {
	v := strings.TrimSpace(e.Value)
	if v != "" && strings.Trim(v, "0123456789") == "" {
		return
	}
	effect := "which counts as 0, so every connection is refused"
	if k.tag == tagGreetPause {
		effect = "which counts as no pause"
	}
	c.add(e.Source, "value with a mistake", "the value %q of %s is no number, %s", v, written(k.tag)+k.rest, effect)
}

// spam looks at the entries that delay_checks reads.
func (c *collector) spam(k accessKey, e maps.Entry) {
	want := strings.ToUpper(c.in.Config.Features.DelayChecks)
	if isWord(e.Value, want) {
		return
	}
	c.add(e.Source, "value with a mistake", "the value %q of %s means nothing with delay_checks = %q; the word for it is %s",
		strings.TrimSpace(e.Value), written(k.tag)+k.rest, c.in.Config.Features.DelayChecks, want)
}

// misplaced finds words that mean something at other keys only.
func (c *collector) misplaced(k accessKey, e maps.Entry, word string) {
	f := &c.in.Config.Features
	if strings.HasPrefix(word, "SPAM") && k.tag == tagTo && f.DelayChecks != "" && !f.NoSpamTags {
		c.add(e.Source, "value with a mistake", "%s is a word of sendmail 8.10 and has no effect; write Spam:%s %s", word, k.rest, word[4:])
		return
	}
	better := "Spam:" + k.rest + " " + strings.TrimPrefix(word, "SPAM")
	if word == "SUBJECT" {
		better = "it belongs to CertIssuer:"
	}
	hint := "write " + better
	if word == "SUBJECT" {
		hint = better
	} else if f.DelayChecks != "friend" && f.DelayChecks != "hater" {
		hint += `, with delay_checks = "` + strings.ToLower(strings.TrimPrefix(word, "SPAM")) + `" under [features]`
	}
	c.add(e.Source, "value with a mistake", "%s is answered as an error text here, 553 5.3.0 %s; %s", word, word, hint)
}

// skipEntry looks at SKIP.
func (c *collector) skipEntry(k accessKey, e maps.Entry) {
	switch {
	case !c.in.Config.Features.AccessSkip:
		c.add(e.Source, "SKIP", "SKIP is answered as an error text, 553 5.3.0 SKIP; it needs access_db = [\"skip\"] under [features]")
	case k.kind() == kindMailbox || k.kind() == kindUser:
		c.add(e.Source, "SKIP", "SKIP works for domains and networks only; for a sender like %s it is answered as an error text, 553 5.3.0 SKIP", k.rest)
	}
}

// text looks at a value that is no word of its own: an error text, or a word with
// a mistake.
func (c *collector) text(e maps.Entry, v string) {
	if word := meant(v); word != "" {
		why := ""
		if _, more := cutFold(v, word); more {
			why = ", as the value goes to the end of the line"
		}
		c.add(e.Source, "value with a mistake", "the value %q is not %s but an error text%s; write %s alone%s", v, word, why, word, moreThan(word))
		return
	}
	body, enhanced := errorBody(v)
	if reason, ok := cutFold(v, "QUARANTINE:"); ok && reason != "" {
		return
	}
	body = strings.ReplaceAll(body, `"`, "")
	code, rest, ok := strings.Cut(body, " ")
	if !ok || len(code) != 3 || strings.Trim(code, "0123456789") != "" {
		c.add(e.Source, "error without reply code", "the text %q does not begin with a reply code and a blank, so it is answered with 553 5.3.0; write ERROR:5.7.1:\"550 text\"", v)
		return
	}
	if first, _, ok := strings.Cut(rest, " "); ok {
		if own, ok := smtp.ParseEnhancedCode(first); ok {
			enhanced = own
		}
	}
	if !enhanced.IsZero() && int(enhanced.Class) != int(code[0]-'0') {
		c.add(e.Source, "codes of different classes", "the reply code %s and the enhanced code %s say different things: one of them is for now, the other for ever; both should begin with the same digit", code, enhanced)
	}
}

// moreThan says how a word takes a text, if it does.
func moreThan(word string) string {
	switch word {
	case "REJECT":
		return `, or ERROR:5.7.1:"550 text" for a text`
	case "QUARANTINE":
		return ", as QUARANTINE:reason"
	}
	return ""
}

// meant is the word that a value was probably to be: REJECT of "REJECT # why",
// "REJECTED" or "RELY".
func meant(v string) string {
	if inner, ok := strings.CutPrefix(v, `"`); ok && !strings.Contains(v, " ") {
		v = strings.TrimSuffix(inner, `"`)
	}
	end := strings.IndexFunc(v, func(r rune) bool { return !unicode.IsLetter(r) })
	first, after := v, ""
	if end >= 0 {
		first, after = v[:end], v[end:]
	}
	first = strings.ToUpper(first)
	words := []string{"OK", "RELAY", "REJECT", "DISCARD", "SKIP"}
	for _, w := range words {
		if first == w {
			return w
		}
	}
	if first == "QUARANTINE" && !strings.HasPrefix(after, ":") {
		return "QUARANTINE"
	}
	if strings.TrimSpace(after) != "" && !strings.HasPrefix(strings.TrimSpace(after), "#") {
		return ""
	}
	for _, w := range append(words[1:], "QUARANTINE") {
		if distance(first, w) <= 2 && len(first) > 2 {
			return w
		}
	}
	return ""
}

// errorBody cuts ERROR: and the enhanced code of a value.
func errorBody(v string) (body string, enhanced smtp.EnhancedCode) {
	rest, ok := cutFold(v, "ERROR:")
	if !ok {
		return v, enhanced
	}
	if code, after, ok := strings.Cut(rest, ":"); ok {
		if own, ok := smtp.ParseEnhancedCode(code); ok {
			return after, own
		}
	}
	return rest, enhanced
}
