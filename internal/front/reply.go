package front

import (
	"strings"

	"gatepost/internal/smtp"
)

// Presentable gives a reply the form in which any client takes it: the class of
// the enhanced code is that of the code, an enhanced code that stands in the text
// is taken from there, and there always is a text.
func Presentable(r smtp.Reply) (smtp.EnhancedCode, string) {
	r = r.Aligned()
	enhanced, text := r.Enhanced(), strings.TrimRight(r.Text(), "\n")
	class := uint16(r.Code() / 100)
	if enhanced.IsZero() {
		word, rest, _ := strings.Cut(text, " ")
		if e, ok := smtp.ParseEnhancedCode(word); ok {
			enhanced, text = e, rest
			enhanced.Class = class
		} else if digitFirst(text) {
			enhanced = smtp.EnhancedCode{Class: class}
		}
	}
	if strings.TrimSpace(text) == "" {
		text = "Command rejected"
		if class == 4 {
			text = "Please try again later"
		}
	}
	return enhanced, text
}

func digitFirst(text string) bool {
	for line := range strings.SplitSeq(text, "\n") {
		if line != "" && line[0] >= '0' && line[0] <= '9' {
			return true
		}
	}
	return false
}
