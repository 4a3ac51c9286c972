package smtp

import (
	"strings"
	"unicode"
)

// ForwardPath is the mailbox as it is handed on, without <> (RFC 5321, 4.1.2): a
// local part that is no dot-string is one quoted string, whatever mixture of words,
// quotes and backslashes it was, so that the next host cannot read another address
// out of it.
func (m Mailbox) ForwardPath() string {
	local := m.Local
	if !isDotString(local) {
		local = quote(unquote(local))
	}
	return Mailbox{Local: local, Domain: m.Domain}.String()
}

// Unsendable is the refusal of a mailbox that cannot be handed on; zero if it can.
func (m Mailbox) Unsendable() Reply {
	switch {
	case len(m.ForwardPath()) > MaxPath:
		return MustReply(553, "5.1.1", "Address too long")
	case m.Domain != "" && !ValidDomain(m.Domain):
		return MustReply(553, "5.1.2", "Invalid host name")
	}
	return Reply{}
}

// ValidDomain tells whether domain can stand in a path as it is: a name of letters,
// digits, hyphens, underscores and dots, or an address literal (RFC 5321, 4.1.2). A
// plus sign and a slash pass too: no host has them in its name, but sendmail takes
// them, and no server reads another address out of them.
// Outside of ASCII it has letters, digits, marks, and the few others of RFC 5892 that
// stand within words: none of them is another spelling of a dot or an @.
func ValidDomain(domain string) bool {
	if literal, rest, ok := cutLiteral(domain); ok {
		return rest == "" && literal != "" && strings.Trim(literal, addressLiteral) == ""
	}
	if strings.HasPrefix(domain, ".") || strings.HasSuffix(domain, ".") || strings.Contains(domain, "..") {
		return false
	}
	return domain != "" && !strings.ContainsFunc(domain, func(r rune) bool { return !domainRune(r) })
}

const (
	letters        = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	addressLiteral = letters + "0123456789.:-"
	insideWords    = "\u00b7\u0375\u05f3\u05f4\u200c\u200d\u30fb" // RFC 5892, appendix A
)

func domainRune(r rune) bool {
	if r < 0x80 {
		return strings.ContainsRune(letters+"0123456789-_.+/", r)
	}
	return r != '\ufffd' && (unicode.In(r, unicode.L, unicode.M, unicode.Nd) || strings.ContainsRune(insideWords, r))
}

// User is who has the mailbox: the local part without its quotes and backslashes, and
// without a +detail, which is for the user's own sorting.
func (m Mailbox) User() string {
	user := unquote(m.Local)
	if plus := strings.IndexByte(user, '+'); plus > 0 {
		user = user[:plus]
	}
	return user
}

// isDotString tells whether s is atoms with single dots between (RFC 5321, 4.1.2;
// RFC 6531, 3.3 for what is not ASCII).
func isDotString(s string) bool {
	if s == "" || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	for i := 0; i < len(s); i++ {
		letter := s[i] >= 'a' && s[i] <= 'z' || s[i] >= 'A' && s[i] <= 'Z' || s[i] >= '0' && s[i] <= '9' || s[i] >= 0x80
		if !letter && strings.IndexByte("!#$%&'*+-/=?^_`{|}~.", s[i]) < 0 {
			return false
		}
	}
	return true
}

// unquote is what a local part says: quotes go, and so does a backslash before the
// character that it takes literally.
func unquote(local string) string {
	var b strings.Builder
	for i := 0; i < len(local); i++ {
		switch {
		case local[i] == '"':
			continue
		case local[i] == '\\' && i+1 < len(local):
			i++
		}
		b.WriteByte(local[i])
	}
	return b.String()
}

// quote makes a quoted string of text; what needs no quotes gets none.
func quote(text string) string {
	if isDotString(text) {
		return text
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}
