package explain

import (
	"slices"
	"strings"

	"gatepost/policy"
)

// keys are the access keys with tags that the policy asked for, by their reach,
// those of the rule that decided first. Only the longest of each search are
// here: an entry for one of them is found before any other.
type keys struct {
	narrow    []string // one address, one client
	domains   []string
	users     []string // user@: in all domains
	relaying  bool     // it was asked whether the client may relay
	recipient string   // the recipient's domain, when that was asked about
	trusted   string   // the client's address as the trusted table has it, when that was asked
	spammer   string   // the sender as the spammers table has it, likewise
}

// keys gathers the keys of all stages, the last one first, and what was found.
func (c *collection) keys(stages []Stage) keys {
	var k keys
	for i := len(stages) - 1; i >= 0; i-- {
		steps := stages[i].Steps
		for j := len(steps) - 1; j >= 0; j-- {
			k.step(&steps[j], c.addr)
			for _, a := range steps[j].Asked {
				if a.Found && a.Table == tableAccess {
					c.found[asciiLower(a.Key)] = a
				}
			}
		}
	}
	return k
}

// step takes the keys of one rule.
func (k *keys) step(s *policy.Step, addr string) {
	switch {
	case s.Rule == "client relay_domains":
		k.relaying = true
	case (s.Rule == "recipient domain" || s.Rule == "recipient at this host") && len(s.Asked) > 0:
		k.recipient = s.Asked[0].Key
	case s.Rule == "trusted address":
		k.trusted, k.relaying = firstKey(s, tableTrusted), true
	case s.Rule == "relay mail denied":
		k.relaying = true
	case s.Rule == "spammers":
		k.spammer = firstKey(s, tableSpam)
	case s.Rule == "block_bad_helo":
		k.relaying = true // clients in relay-domains may greet as they like
	}
	seen := map[string]bool{} // kinds of keys of which the longest was there already
	for _, a := range s.Asked {
		tag, rest := cutTag(a.Key)
		if a.Table != tableAccess || tag == "" || rest == "" {
			continue
		}
		kind, list := k.place(tag, rest, addr)
		if list == nil || seen[tag+kind] {
			continue
		}
		seen[tag+kind] = true
		if !slices.Contains(*list, a.Key) {
			*list = append(*list, a.Key)
		}
	}
	k.addressFirst(addr)
}

// firstKey is the first key that a rule asked a table for, "" for none.
func firstKey(s *policy.Step, table string) string {
	for _, a := range s.Asked {
		if a.Table == table {
			return a.Key
		}
	}
	return ""
}

// place is the list in which a key belongs, nil for none.
func (k *keys) place(tag, rest, addr string) (kind string, list *[]string) {
	at := strings.LastIndexByte(rest, '@')
	switch {
	case tag == tagClientRate || tag == tagClientConn || tag == tagConnect && rest == addr:
		return "address", &k.narrow
	case tag == tagConnect && strings.HasPrefix(addr, rest):
		return "", nil // a network
	case tag == tagConnect:
		return "name", &k.narrow
	case at < 0:
		return "domain", &k.domains
	case strings.Contains(rest, "+*@"):
		return "", nil
	case at == len(rest)-1:
		return "user", &k.users
	}
	return "mailbox", &k.narrow
}

// addressFirst moves the client's address before its name: that is what
// administrators write.
func (k *keys) addressFirst(addr string) {
	i := slices.Index(k.narrow, tagConnect+addr)
	if i < 1 {
		return
	}
	j := i
	for j > 0 && strings.HasPrefix(k.narrow[j-1], tagConnect) {
		j--
	}
	k.narrow = slices.Insert(slices.Delete(k.narrow, i, i+1), j, tagConnect+addr)
}

// isNarrow tells whether a key, with its tag or without, names one address or client.
func (k *keys) isNarrow(key string) bool {
	return slices.ContainsFunc(k.narrow, func(n string) bool {
		_, rest := cutTag(n)
		return sameKey(key, n) || sameKey(key, rest)
	})
}

// cutTag splits an access key; tag is "" for a key without one, or with one that
// no edit sets.
func cutTag(key string) (tag, rest string) {
	for _, tag := range []string{tagConnect, tagFrom, tagTo, tagSpam, tagClientRate, tagClientConn} {
		if rest, ok := strings.CutPrefix(key, tag); ok {
			return tag, rest
		}
	}
	return "", key
}

// hits are the entries of files on which the verdict rests. What permitted
// relaying earlier in the stage belongs to it when the verdict is acceptance.
func (c *collection) hits(steps []policy.Step, accept bool) []policy.Answer {
	var all []policy.Answer
	for i := len(steps) - 1; i >= 0; i-- {
		if steps[i].Verdict.Action == policy.Undecided {
			continue
		}
		for _, a := range steps[i].Asked {
			if a.Found && a.Source.Line > 0 && !isDNS(a) {
				all = append(all, a)
			}
		}
		if accept {
			break
		}
	}
	return all
}
