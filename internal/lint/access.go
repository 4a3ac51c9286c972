package lint

import (
	"strings"

	"gatepost/maps"
)

// access looks at each entry of the access table.
func (c *collector) access() {
	if c.in.Access.Text == nil {
		return
	}
	for key, e := range words(c.in.Access.Text) {
		c.entry(parseKey(key), e)
	}
}

// entry looks at one entry: its tag, then what its key can match, then its value.
// An entry that never matches is not looked at further.
func (c *collector) entry(k accessKey, e maps.Entry) {
	switch {
	case c.blankAfterTag(k, e), c.unknownTag(k, e):
		return
	case contains(otherTags(), k.tag):
		if k.tag == tagCompat {
			c.unusedTag(k, e)
		}
		return
	case c.neverMatches(k, e):
		return
	}
	if k.tag == "" {
		c.add(e.Source, "untagged keys", "key %q has no tag, so it counts for clients, senders and recipients alike; write %s", k.rest, taggedForms(k))
	}
	if c.unusedTag(k, e) {
		return
	}
	c.value(k, e)
}

func contains(list []string, word string) bool {
	for _, w := range list {
		if w == word {
			return true
		}
	}
	return false
}

// taggedForms are the tagged keys that an untagged one could stand for.
func taggedForms(k accessKey) string {
	switch k.kind() {
	case kindNet:
		return "Connect:" + upperIPv6(k.rest)
	case kindUser, kindMailbox:
		return "From:" + k.rest + " or To:" + k.rest
	}
	return "Connect:" + upperIPv6(k.rest) + ", From:" + k.rest + " or To:" + k.rest
}

// upperIPv6 writes the word IPv6 of an address key as sendmail does; case makes no difference.
func upperIPv6(key string) string {
	if rest, ok := strings.CutPrefix(key, "ipv6:"); ok {
		return "IPv6:" + rest
	}
	return key
}

// blankAfterTag finds "Connect: 192.0.2.1 REJECT", whose key is "Connect:" and
// whose value is the rest.
func (c *collector) blankAfterTag(k accessKey, e maps.Entry) bool {
	if k.tag == "" || k.rest != "" {
		return false
	}
	first, rest, more := strings.Cut(e.Value, " ")
	if !more {
		first, rest, more = strings.Cut(e.Value, "\t")
	}
	switch {
	case more && strings.ContainsAny(first, ".:@"):
		c.add(e.Source, "blank after the tag", "the key is %q alone, as the key ends at the first blank; write %s%s %s without a blank after the tag",
			written(k.tag), written(k.tag), first, strings.TrimSpace(rest))
		return true
	case k.tag == tagClientRate || k.tag == tagClientConn:
		return false // the limit for everybody
	case contains(otherTags(), k.tag):
		return false
	}
	c.add(e.Source, "blank after the tag", "the key %q names nothing, so it never matches; an address or a name goes right after the tag", written(k.tag))
	return true
}

// unknownTag finds tags that nobody looks for.
func (c *collector) unknownTag(k accessKey, e maps.Entry) bool {
	known := append([]string{"", tagConnect, tagFrom, tagTo, tagSpam, tagClientRate, tagClientConn, tagGreetPause}, otherTags()...)
	if contains(known, k.tag) {
		return false
	}
	hint := "known are Connect:, From: and To:"
	for _, t := range known[1:] {
		if distance(k.tag, t) <= 2 {
			hint = "did you mean " + written(t) + "?"
			break
		}
	}
	c.add(e.Source, "unknown tag", "nothing looks for keys with the tag %q; %s", k.tag, hint)
	return true
}

// unusedTag finds entries whose FEATURE is off.
func (c *collector) unusedTag(k accessKey, e maps.Entry) bool {
	f := &c.in.Config.Features
	need := ""
	switch {
	case k.tag == tagSpam && f.DelayChecks != "friend" && f.DelayChecks != "hater":
		need = `delay_checks = "friend" or "hater"`
	case k.tag == tagClientRate && !f.RateControl.On:
		need = "ratecontrol"
	case k.tag == tagClientConn && !f.ConnControl.On:
		need = "conncontrol"
	case k.tag == tagGreetPause && !f.GreetPause:
		need = "greet_pause"
	case k.tag == tagCompat && !f.CompatCheck:
		need = "compat_check"
	case k.tag == tagTo && !f.BlocklistRecipients && !isWord(e.Value, "RELAY"):
		need = "blocklist_recipients"
	}
	if need == "" {
		return false
	}
	what := "entries with " + written(k.tag)
	if k.tag == tagTo {
		what = "To: entries other than RELAY"
	}
	c.add(e.Source, "entry without its feature", "%s mean nothing without %s under [features]", what, need)
	return true
}

// isWord tells whether a value is the word, as the policy compares it.
func isWord(value, word string) bool { return strings.EqualFold(strings.TrimSpace(value), word) }

// distance is how many letters must be put in, taken out or changed to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		left, above := i+1, i
		for j := range len(b) {
			n := above
			if a[i] != b[j] {
				n = 1 + min(above, row[j+1], left)
			}
			above, row[j] = row[j+1], left
			left = n
		}
		row[len(b)] = left
	}
	return row[len(b)]
}
