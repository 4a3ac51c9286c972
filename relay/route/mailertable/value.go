package mailertable

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"gatepost/internal/smtp"
)

// Mailers that are no SMTP.
const (
	Local   = "local"
	Relay   = "relay"
	LMTP    = "lmtp" // ours
	Error   = "error"
	Discard = "discard"
)

// Mailers are those that speak SMTP, of MAILER(smtp). There is no difference between them
// but the port of relay.
func Mailers() []string { return []string{"smtp", "esmtp", "smtp8", "dsmtp", Relay} }

// Value is a value of the table.
type Value struct {
	Mailer string
	Host   string         // as the table has it
	Hops   []smtp.NextHop // where SMTP and LMTP go to; none: to the recipient's own domain
	Socket string         // where LMTP goes to if not to hosts: a path
	User   string         // of local:user and mailer:user@host, who gets the mail in the recipient's place
	Reply  smtp.Reply     // of error:
}

const expected = "expected mailer:host such as smtp:[mx.example.org], local:user, discard: or error:5.1.1:550 text"

// maxValue bounds the length of a value, in bytes, with what %1 stands for.
const maxValue = 2048

func parse(text string) (v Value, err error) {
	text = strings.TrimSpace(text)
	if len(text) > maxValue {
		return Value{}, fmt.Errorf("a value of %d bytes, expected at most %d", len(text), maxValue)
	}
	mailer, rest, ok := smtp.CutMailer(text)
	if !ok && strings.EqualFold(text, Discard) {
		mailer, rest, ok = Discard, "", true
	}
	switch {
	case !ok:
		return Value{}, fmt.Errorf("value %q has no mailer, %s", text, expected)
	case mailer == Discard:
		return Value{Mailer: Discard, Host: rest}, nil
	case mailer == Error:
		v, err = parseError(rest)
	case mailer == Local:
		v, err = parseLocal(rest)
	case mailer == LMTP:
		v, err = parseLMTP(rest)
	case slices.Contains(Mailers(), mailer):
		v, err = parseHosts(rest)
	default:
		return Value{}, fmt.Errorf("value %q: unknown mailer %s, expected %s, local, lmtp, error or discard", text, mailer, strings.Join(Mailers(), ", "))
	}
	if err != nil {
		return Value{}, fmt.Errorf("value %q: %w", text, err)
	}
	v.Mailer = mailer
	return v, nil
}

// parseHosts reads hosts, or user@host.
func parseHosts(text string) (v Value, err error) {
	v.Host = text
	if at := strings.IndexByte(text, '@'); at >= 0 {
		if v.User, v.Host = text, text[at+1:]; v.Host == "" || at == 0 || !plainUser(text[:at]) {
			return Value{}, fmt.Errorf("expected user@host after the mailer")
		}
	}
	if v.Host == "" {
		return v, nil
	}
	if v.Hops, err = smtp.ParseNextHops(v.Host); err != nil {
		return Value{}, err
	}
	if v.User != "" && (len(v.Hops) > 1 || v.Hops[0].Port != 0) {
		return Value{}, fmt.Errorf("expected one host without a port after user@, it becomes part of the address")
	}
	return v, nil
}

// parseLocal reads nothing, user, or user@host, of which the host means nothing.
func parseLocal(text string) (Value, error) {
	user, _, _ := strings.Cut(text, "@")
	if text != "" && !plainUser(user) {
		return Value{}, fmt.Errorf("expected a user and no more after local")
	}
	return Value{User: user}, nil
}

// plainUser tells whether a local part needs no quotes.
func plainUser(user string) bool {
	return user != "" && smtp.Mailbox{Local: user}.ForwardPath() == user
}

func parseLMTP(text string) (v Value, err error) {
	v.Host = text
	if socket, ok := strings.CutPrefix(text, "unix:"); ok {
		if !path.IsAbs(socket) || len(socket) > 107 || strings.ContainsAny(socket, "\x00,") { // sun_path of unix(7), less its NUL
			return Value{}, fmt.Errorf("expected a path of at most 107 bytes that begins with / after lmtp:unix: such as /run/lmtp")
		}
		v.Socket = socket
		return v, nil
	}
	v.Hops, err = smtp.ParseNextHops(text)
	for i := range v.Hops {
		v.Hops[i].MX = false // LMTP does not go to strangers (RFC 2033, 5)
	}
	return v, err
}

// parseError reads D.S.N:text, word:text, or text. The text may begin with a reply code;
// 553 5.3.0 is it without one, as with sendmail's error mailer (parseaddr.c: buildaddr), or
// 450 where the code before the text says that it is temporary.
func parseError(text string) (v Value, err error) {
	var status smtp.EnhancedCode
	code, after, _ := strings.Cut(text, ":")
	code = strings.TrimSpace(code)
	var ok bool
	if status, ok = smtp.ParseEnhancedCode(code); ok {
		v.Host, text = code, after
	} else if status, ok = errorWord(code); ok {
		v.Host, text = code, after
	} else if _, _, ok = cutCode(code + " "); ok {
		text = code + " " + after
	}
	text = strings.TrimSpace(strings.ReplaceAll(text, `"`, ""))
	number := 553
	if status.Class == 4 {
		number = 450
	}
	if n, rest, ok := cutCode(text); ok {
		number, text = n, rest
		if word, rest, ok := strings.Cut(text, " "); ok {
			if own, ok := smtp.ParseEnhancedCode(word); ok {
				status, text = own, rest
			}
		}
		if status.IsZero() {
			status.Class = uint16(number / 100)
		}
	}
	if status.IsZero() {
		status = smtp.EnhancedCode{Class: 5, Subject: 3}
	}
	switch {
	case text == "":
		return Value{}, fmt.Errorf("error: has no text")
	case int(status.Class) != number/100:
		return Value{}, fmt.Errorf("%d and %s do not go together, expected both to begin with 4 or with 5", number, status)
	}
	v.Reply, err = smtp.NewReply(number, status, text)
	return v, err
}

// cutCode cuts a reply code and a blank.
func cutCode(text string) (code int, rest string, ok bool) {
	number, rest, ok := strings.Cut(text, " ")
	if !ok || len(number) != 3 || strings.Trim(number, "0123456789") != "" {
		return 0, text, false
	}
	for _, c := range number {
		code = code*10 + int(c-'0')
	}
	return code, strings.TrimSpace(rest), true
}

// errorWord is what a word before the text says (ErrorCodes in parseaddr.c), as an
// enhanced code.
func errorWord(word string) (smtp.EnhancedCode, bool) {
	code := func(class, subject, detail uint16) (smtp.EnhancedCode, bool) {
		return smtp.EnhancedCode{Class: class, Subject: subject, Detail: detail}, true
	}
	switch strings.ToLower(word) {
	case "nouser":
		return code(5, 1, 1)
	case "nohost":
		return code(5, 1, 2)
	case "tempfail":
		return code(4, 0, 0)
	case "protocol":
		return code(5, 5, 0)
	case "config", "software":
		return code(5, 3, 5)
	case "usage":
		return code(5, 5, 4)
	case "unavailable":
		return code(5, 0, 0)
	}
	return smtp.EnhancedCode{}, false
}
