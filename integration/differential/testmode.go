package main

import (
	"fmt"
	"strconv"
	"strings"
)

// The script for "sendmail -bt" is lines of its test language: ".D{x}value"
// defines a macro, "${x}" prints one, "check_mail <a@b>" calls a rule set. Before
// each call the macro {mark} is printed, to find its answer again.
const markPrefix = "@@@@mark:"

// A script is what test mode is given, and how its calls are numbered.
type script struct {
	text  strings.Builder
	calls []string // the rule set called after each mark
}

func (s *script) define(macro, value string) { fmt.Fprintf(&s.text, ".D%s%s\n", macro, value) }

// call adds a call and returns its number.
func (s *script) call(rulesets, argument string) int {
	fmt.Fprintf(&s.text, ".D{mark}%s%d\n${mark}\n%s %s\n", markPrefix, len(s.calls), rulesets, argument)
	names := strings.Split(rulesets, ",")
	s.calls = append(s.calls, names[len(names)-1])
	return len(s.calls) - 1
}

// answers takes the output of test mode apart: for each call the tokens that the
// rule set returned, nil if there is no such rule set or no answer.
func (s *script) answers(output string) [][]string {
	list := make([][]string, len(s.calls))
	current := -1
	for line := range strings.Lines(output) {
		line = strings.TrimSuffix(line, "\n")
		for strings.HasPrefix(line, "> ") {
			line = line[2:]
		}
		if n, ok := strings.CutPrefix(line, markPrefix); ok {
			if i, err := strconv.Atoi(n); err == nil && 0 <= i && i < len(list) {
				current = i
			}
			continue
		}
		if current < 0 {
			continue
		}
		name, rest, ok := strings.Cut(line, " returns:")
		if ok && returnsOf(s.calls[current], name) {
			list[current] = splitTokens(rest)
		}
	}
	return list
}

// returnsOf says whether the name in an output line is the rule set's; sendmail
// prints 16 characters of it.
func returnsOf(called, printed string) bool {
	if len(called) > 16 {
		called = called[:16]
	}
	return strings.TrimRight(printed, " ") == called
}

// splitTokens takes apart tokens that are printed with a blank before each; a
// quoted token has its blanks inside.
func splitTokens(s string) []string {
	list := []string{}
	for i := 0; i < len(s); {
		if s[i] == ' ' {
			i++
			continue
		}
		end := i
		if s[i] == '"' {
			end = quotedEnd(s, i)
		} else {
			for end < len(s) && s[end] != ' ' {
				end++
			}
		}
		list = append(list, s[i:end])
		i = end
	}
	return list
}

// quotedEnd is the place after the quote that ends the string begun at i.
func quotedEnd(s string, i int) int {
	for i++; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(s)
}

// delimiters are tokens of their own: OperatorChars and those that sendmail adds
// (RFC 5322 specials).
const delimiters = ".:%@!^/[]+()<>,;\"\\\r\n"

// joinTokens puts tokens together as sendmail's cataddr: a blank between two words,
// none next to a delimiter.
func joinTokens(tokens []string) string { return joinWith(tokens, " ") }

// joinWith puts another character than a blank between words.
func joinWith(tokens []string, between string) string {
	var b strings.Builder
	word := false
	for _, t := range tokens {
		isWord := t != "" && !strings.Contains(delimiters, t[:1])
		if word && isWord {
			b.WriteString(between)
		}
		b.WriteString(t)
		word = isWord
	}
	return b.String()
}

// verdict reads what a rule set returned, as sendmail's rscheck and buildaddr do:
// only $#error and $#discard mean anything.
func verdict(tokens []string) Verdict {
	if len(tokens) < 2 || tokens[0] != "$#" {
		return Verdict{Action: "accept"}
	}
	switch strings.ToLower(tokens[1]) {
	case "discard":
		return Verdict{Action: "discard"}
	case "error":
	default:
		return Verdict{Action: "accept"}
	}
	rest := tokens[2:]
	var host string
	if len(rest) > 0 && rest[0] == "$@" {
		rest = rest[1:]
		for len(rest) > 0 && rest[0] != "$:" {
			host += rest[0]
			rest = rest[1:]
		}
	}
	if len(rest) > 0 && rest[0] == "$:" {
		rest = rest[1:]
	}
	text := unquote(joinTokens(rest))
	if host == "quarantine" {
		return Verdict{Action: "quarantine", Text: text}
	}
	return refusal(host, text)
}

// refusal makes a reply of the parts of $#error $@ host $: text.
func refusal(host, text string) Verdict {
	v := Verdict{Action: "reject", Code: 553, Enhanced: "5.3.0", Text: text}
	if len(text) < 4 || !digits(text[:3]) || text[3] != ' ' {
		return v
	}
	v.Code, _ = strconv.Atoi(text[:3])
	v.Text = text[4:]
	first, rest, spaced := strings.Cut(v.Text, " ")
	switch {
	case spaced && enhanced(first):
		v.Enhanced, v.Text = first, rest
	case enhanced(host):
		v.Enhanced = host
	default:
		v.Enhanced = text[:1] + ".0.0"
	}
	if v.Code < 500 {
		v.Action = "tempfail"
	}
	return v
}

// unquote is sendmail's stripquotes: quotes go, and backslashes before the character they quote.
func unquote(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			continue
		case '\\':
			if i++; i == len(s) {
				return b.String()
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// enhanced is sendmail's isenhsc: class 2, 4 or 5 and two numbers of one to three digits.
func enhanced(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 3 || len(parts[0]) != 1 || !strings.Contains("245", parts[0]) {
		return false
	}
	for _, p := range parts[1:] {
		if len(p) < 1 || len(p) > 3 || !digits(p) {
			return false
		}
	}
	return true
}

func digits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
