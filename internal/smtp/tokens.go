package smtp

import "strings"

// IsDelimiter tells whether sendmail takes c for a token of its own: its
// OperatorChars (.:%@!^/[]+) and the characters that its prescan adds.
func IsDelimiter(c byte) bool { return strings.IndexByte(".:%@!^/[]+()<>,;\"\\", c) >= 0 }

// TokenBoundary tells whether a token of s begins or ends at offset i. Classes
// such as relay-domains are matched by whole tokens.
func TokenBoundary(s string, i int) bool {
	return i <= 0 || i >= len(s) || IsDelimiter(s[i]) || IsDelimiter(s[i-1])
}

// quotedEnd returns the offset after the quoted string that begins at s[i], and
// false if it is not closed. A backslash takes the next character literally.
func quotedEnd(s string, i int) (int, bool) {
	for j := i + 1; j < len(s); j++ {
		switch s[j] {
		case '\\':
			j++
		case '"':
			return j + 1, true
		}
	}
	return len(s), false
}

// operator finds c in s outside of quoted strings: the offsets of the first and
// the last, and how many there are; -1 and 0 if there is none.
func operator(s string, c byte) (first, last, count int) {
	first, last = -1, -1
	if strings.IndexByte(s, c) < 0 {
		return first, last, 0
	}
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			end, _ := quotedEnd(s, i)
			i = end - 1
		case '\\':
			i++
		case c:
			if count == 0 {
				first = i
			}
			last = i
			count++
		}
	}
	return first, last, count
}

// IndexUnquoted is where the first of chars stands in s outside of quoted strings, in
// which a backslash takes the next character literally; -1 if none does.
func IndexUnquoted(s, chars string) int {
	for i := 0; i < len(s); i++ {
		if s[i] == '"' {
			end, _ := quotedEnd(s, i)
			i = end - 1
			continue
		}
		if strings.IndexByte(chars, s[i]) >= 0 {
			return i
		}
	}
	return -1
}
