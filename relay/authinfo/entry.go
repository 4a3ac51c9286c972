package authinfo

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gatepost/relay/sasl/saslclient"
)

// maxValue bounds one value of an entry, in bytes.
const maxValue = 1024

// entry is what a line says.
type entry struct {
	credentials saslclient.Credentials
	token       string // where tokens come from, "file:/path"; "": nowhere
	shown       string // the line without its secrets
}

// example is the form of a value, for errors.
const example = `"U:user" "P:secret"`

// parseEntry reads the value of a line as sendmail does (getauth in usersmtp.c). No error
// has a value in it, which may be the password.
func parseEntry(value string) (*entry, error) {
	values := map[byte]string{}
	var shown []string
	for rest := strings.Trim(value, " \t"); rest != ""; rest = strings.TrimLeft(rest, " \t") {
		word, after, err := cutWord(rest)
		if err != nil {
			return nil, err
		}
		letter, text, err := parseWord(word)
		if err != nil {
			return nil, err
		}
		if _, twice := values[letter]; twice {
			return nil, fmt.Errorf("%c is there twice", letter)
		}
		values[letter], rest = text, after
		switch letter {
		case 'P':
			text = "(hidden)"
		case 'T': // what follows a command may be a secret
			text, _, _ = strings.Cut(text, " ")
		}
		shown = append(shown, fmt.Sprintf(`"%c:%s"`, letter, text))
	}
	e, err := newEntry(values)
	if err != nil {
		return nil, err
	}
	e.shown = strings.Join(shown, " ")
	return e, nil
}

// cutWord cuts the word that s begins with, without its quotation marks. A backslash is
// one, as in sendmail.
func cutWord(s string) (word, rest string, err error) {
	inner, quoted := strings.CutPrefix(s, `"`)
	if !quoted {
		end := strings.IndexAny(s, " \t")
		if end < 0 {
			end = len(s)
		}
		if strings.Contains(s[:end], `"`) {
			return "", "", errors.New(`a quotation mark inside a word, expected words such as ` + example)
		}
		return s[:end], s[end:], nil
	}
	word, rest, closed := strings.Cut(inner, `"`)
	switch {
	case !closed:
		return "", "", errors.New("a quotation mark is not closed, expected words such as " + example)
	case rest != "" && !strings.ContainsAny(rest[:1], " \t"):
		return "", "", errors.New(`more after a closing quotation mark, expected a blank; a value that has a quotation mark is written in base64, such as "P=c2VjcmV0"`)
	}
	return word, rest, nil
}

// parseWord reads LETTER:TEXT or LETTER=BASE64.
func parseWord(word string) (letter byte, text string, err error) {
	if len(word) < 2 || word[1] != ':' && word[1] != '=' {
		return 0, "", errors.New("a word that does not begin with a letter and : or =, expected words such as " + example)
	}
	letter, text = strings.ToUpper(word[:1])[0], word[2:]
	if !strings.Contains("UIPRMT", string(rune(letter))) {
		return 0, "", fmt.Errorf("letter %q is unknown, expected U, I, P, R, M or T", letter)
	}
	if word[1] == '=' {
		decoded, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return 0, "", fmt.Errorf("%c= is not followed by base64, expected %[1]c: before plain text", letter)
		}
		text = string(decoded)
	}
	switch {
	case text == "":
		return 0, "", fmt.Errorf("%c has no value", letter)
	case len(text) > maxValue:
		return 0, "", fmt.Errorf("%c has more than %d bytes", letter, maxValue)
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return 0, "", fmt.Errorf("%c has a control character", letter)
	}
	return letter, text, nil
}

// newEntry checks that values are what a login needs. U is who we act for, I whose
// password it is; one stands for the other (cf/README, "Client authentication").
func newEntry(values map[byte]string) (*entry, error) {
	c := saslclient.Credentials{User: values['I'], Authorize: values['U'], Password: values['P'], Realm: values['R']}
	if c.User == "" {
		c.User = c.Authorize
	}
	if c.Authorize == c.User {
		c.Authorize = ""
	}
	e := &entry{token: values['T']}
	if err := e.mechanisms(&c, values['M']); err != nil {
		return nil, err
	}
	byCertificate := slices.Equal(c.Mechanisms, []string{"EXTERNAL"})
	switch {
	case c.Password != "" && e.token != "":
		return nil, errors.New("a password (P) and a source of tokens (T), expected one of the two")
	case c.Password == "" && e.token == "" && !byCertificate:
		return nil, errors.New(`no password, expected one such as "P:secret"`)
	case c.User == "" && !byCertificate:
		return nil, errors.New(`no user, expected one such as "U:user"`)
	}
	e.credentials = c
	return e, nil
}

// mechanisms reads M: names with blanks between them. Those that only other programs have
// are passed over.
func (e *entry) mechanisms(c *saslclient.Credentials, list string) error {
	words := strings.Fields(strings.ToUpper(list))
	for _, name := range words {
		switch {
		case slices.Contains(c.Mechanisms, name):
			return fmt.Errorf("mechanism %s is there twice in M", name)
		case slices.Contains(saslclient.Known(), name):
			c.Mechanisms = append(c.Mechanisms, name)
		case !slices.Contains(foreign(), name):
			return fmt.Errorf("mechanism %.40q in M is unknown, expected some of %s", name, strings.Join(saslclient.Known(), " "))
		}
	}
	if len(words) == 0 {
		return nil
	}
	useful := func(name string) bool {
		token := name == saslclient.XOAuth2 || name == saslclient.OAuthBearer
		return name == "EXTERNAL" || token == (e.token != "")
	}
	if !slices.ContainsFunc(c.Mechanisms, useful) {
		return errors.New("no mechanism in M that can be used here: a password (P) is for others than XOAUTH2 and OAUTHBEARER, which take tokens (T)")
	}
	return nil
}

// foreign are mechanisms that stand in sendmail's tables and that we have not.
func foreign() []string {
	return []string{"GSSAPI", "GS2-KRB5", "GSS-SPNEGO", "KERBEROS_V4", "NTLM", "OTP", "SRP", "ANONYMOUS", "SCRAM-SHA-512", "SCRAM-SHA-512-PLUS"}
}
