package config

import "strings"

// suggest is what an unknown key was probably meant to be: `, did you mean
// "features.access_db"?`, or "" when nothing is near. section is "" at the top.
func suggest(section, name string) string {
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

// distance counts the letters to insert, delete or replace to make a into b
// (Levenshtein); names longer than any key are infinitely far.
func distance(a, b string) int {
	if len(a) > 60 || len(b) > 60 {
		return 60
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
