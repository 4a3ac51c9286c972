package config

import "strings"

// suggest is what an unknown key was probably meant to be: `, did you mean
// "features.access_db"?`, or "" when nothing is near. section is "" at the top.
func suggest(section, name string) string {
	section, _, _ = strings.Cut(section, "[")
	best, bestAt := "", 3 // two mistakes at most
	consider := func(path, candidate string, extra int) {
		d := distance(strings.ToLower(name), strings.ToLower(candidate))
		if d > len(candidate)/3 {
			return // short names are near to everything
		}
		if d += extra; d < bestAt {
			best, bestAt = join(path, candidate), d
		}
	}
	for _, k := range topKeys() {
		consider("", k.name, elsewhere("", section))
	}
	for _, s := range sections() {
		for _, k := range s.keys {
			consider(s.name, k.name, elsewhere(s.name, section))
		}
	}
	for _, k := range listKeys(&DNSList{Table: &ListTable{}}) {
		consider("dnsbl", k.name, elsewhere("dnsbl", section))
	}
	for _, k := range listenerKeys(&Listener{}) {
		consider("listener", k.name, elsewhere("listener", section))
	}
	if best == "" {
		return ""
	}
	return ", did you mean " + best + "?"
}

// elsewhere makes a key of the same section win over one of another section.
func elsewhere(a, b string) int {
	if a == b {
		return 0
	}
	return 1
}

// distance counts the letters to insert, delete, replace or swap with their
// neighbour to make a into b (optimal string alignment); names longer than any
// key are infinitely far.
func distance(a, b string) int {
	if len(a) > 60 || len(b) > 60 {
		return 60
	}
	before, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replaced := above[j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			row[j] = min(replaced, row[j-1]+1, above[j]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above, row = above, row, before
	}
	return above[len(b)]
}
