package policy

import (
	"strings"

	"gatepost/internal/smtp"
)

// normalise is what becomes of a text that passes through a rule set: it is cut
// into tokens and joined again, with a blank between two adjacent words and none
// beside a delimiter or a quoted string. Quoted strings stay as they are, with
// their quotes; (comments) go. (sendmail: prescan and cataddr.)
func normalise(s string) string {
	if isPlainWord(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	afterWord := false
	for i := 0; i < len(s); {
		end, kind := nextToken(s, i)
		switch kind {
		case tokenWord:
			if afterWord {
				b.WriteByte(' ')
			}
			b.WriteString(s[i:end])
			afterWord = true
		case tokenOther:
			b.WriteString(s[i:end])
			afterWord = false
		}
		i = end
	}
	return b.String()
}

func isPlainWord(s string) bool {
	for i := 0; i < len(s); i++ {
		if isBlank(s[i]) || smtp.IsDelimiter(s[i]) {
			return false
		}
	}
	return true
}

type tokenKind uint8

const (
	tokenNone  tokenKind = iota // blanks and comments
	tokenWord                   // an atom
	tokenOther                  // a delimiter or a quoted string
)

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// nextToken finds where the token that begins at s[i] ends.
func nextToken(s string, i int) (end int, kind tokenKind) {
	switch c := s[i]; {
	case isBlank(c):
		return i + 1, tokenNone
	case c == '"':
		if n := strings.IndexByte(s[i+1:], '"'); n >= 0 {
			return i + n + 2, tokenOther
		}
		return len(s), tokenOther
	case c == '(':
		if n := commentEnd(s, i); n > 0 {
			return n, tokenNone
		}
		return i + 1, tokenOther
	case smtp.IsDelimiter(c):
		return i + 1, tokenOther
	}
	end = i
	for end < len(s) && !isBlank(s[end]) && !smtp.IsDelimiter(s[end]) {
		end++
	}
	return end, tokenWord
}

// commentEnd is the offset after the comment that begins at s[i], 0 if it is not closed.
func commentEnd(s string, i int) int {
	depth := 0
	for j := i; j < len(s); j++ {
		switch s[j] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return j + 1
			}
		}
	}
	return 0
}

// uptoBracket cuts a normalised value at its first > outside of a quoted string:
// the rule sets for MAIL and RCPT hold values between angle brackets.
func uptoBracket(v string) string {
	for i := 0; i < len(v); {
		end, _ := nextToken(v, i)
		if v[i] == '>' {
			return v[:i]
		}
		i = end
	}
	return v
}
