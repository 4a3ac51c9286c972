package session

import (
	"bytes"
	"strconv"
	"strings"
)

// verb is a command that is known.
type verb uint8

const (
	verbUnknown verb = iota
	verbHelo
	verbEhlo
	verbMail
	verbRcpt
	verbData
	verbBdat
	verbRset
	verbNoop
	verbQuit
	verbHelp
	verbVrfy
	verbExpn
	verbEtrn
	verbXclient
	verbStarttls
	verbAuth
	verbForeign // another protocol's
)

var verbs = map[string]verb{
	"HELO": verbHelo, "EHLO": verbEhlo, "MAIL": verbMail, "RCPT": verbRcpt,
	"DATA": verbData, "BDAT": verbBdat, "RSET": verbRset, "NOOP": verbNoop,
	"QUIT": verbQuit, "HELP": verbHelp, "VRFY": verbVrfy, "EXPN": verbExpn,
	"ETRN": verbEtrn, "XCLIENT": verbXclient, "STARTTLS": verbStarttls, "AUTH": verbAuth,
	"GET": verbForeign, "POST": verbForeign, "CONNECT": verbForeign, "HEAD": verbForeign,
	"PUT": verbForeign, "OPTIONS": verbForeign, "DELETE": verbForeign, "TRACE": verbForeign,
	"PATCH": verbForeign, "PRI": verbForeign, "HOST:": verbForeign, "USER-AGENT:": verbForeign,
}

const longestVerb = 16

// parseCommand takes a command line without its CRLF apart. Blanks before the verb
// and around the argument mean nothing.
func parseCommand(line []byte) (v verb, arg string) {
	line = bytes.Trim(line, " \t")
	word, rest := line, []byte(nil)
	if i := bytes.IndexAny(line, " \t"); i >= 0 {
		word, rest = line[:i], bytes.Trim(line[i:], " \t")
	}
	if len(word) > longestVerb {
		return foreignBytes(word), string(rest)
	}
	var upper [longestVerb]byte
	for i, b := range word {
		if 'a' <= b && b <= 'z' {
			b -= 'a' - 'A'
		}
		upper[i] = b
	}
	if v, ok := verbs[string(upper[:len(word)])]; ok {
		return v, string(rest)
	}
	return foreignBytes(word), string(rest)
}

// isTLS knows the beginning of a TLS record with a ClientHello.
func isTLS(b []byte) bool { return bytes.HasPrefix(b, []byte{0x16, 0x03}) }

// foreignBytes knows the beginnings of TLS and SSH.
func foreignBytes(word []byte) verb {
	if isTLS(word) || bytes.HasPrefix(word, []byte("SSH-")) {
		return verbForeign
	}
	return verbUnknown
}

// illegal finds a character that must not be in a command line (RFC 5321, 2.3.8
// and 4.1.2).
func illegal(line []byte) string {
	switch {
	case bytes.IndexByte(line, 0) >= 0:
		return "NUL"
	case bytes.IndexByte(line, '\r') >= 0:
		return "Bare <CR>"
	case bytes.IndexByte(line, '\n') >= 0:
		return "Bare <LF>"
	}
	return ""
}

// parsePath takes the argument of MAIL or RCPT apart: "FROM:<a@b> SIZE=1" with the
// word FROM. As in sendmail there may be blanks around the colon, and no brackets.
func parsePath(arg, word string) (path string, params []string, ok bool) {
	name, rest, found := strings.Cut(arg, ":")
	rest = strings.TrimLeft(rest, " \t")
	if !found || rest == "" || !strings.EqualFold(strings.TrimRight(name, " \t"), word) {
		return "", nil, false
	}
	end := pathEnd(rest)
	return rest[:end], strings.Fields(rest[end:]), true
}

// pathEnd is where the address at the start of s ends: at a blank that is neither
// in brackets nor quoted. Brackets or quotes that do not end take all.
func pathEnd(s string) int {
	depth, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '<':
			depth++
		case c == '>':
			depth--
		case (c == ' ' || c == '\t') && depth <= 0:
			return i
		}
	}
	return len(s)
}

// params are the parameters of MAIL.
type params struct {
	size     int64 // SIZE; -1 not told
	eightBit bool
	utf8     bool
	auth     bool   // AUTH is offered, so that its parameter is taken
	ret      string // RET; "" not told
	envID    string // ENVID; "" not told
}

// paramFault is what is wrong with a parameter.
type paramFault struct {
	code     int
	enhanced string
	text     string
}

func (p *params) parse(words []string) *paramFault {
	p.size = -1
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		switch strings.ToUpper(name) {
		case "SIZE":
			n, err := strconv.ParseUint(value, 10, 63)
			if err != nil {
				return &paramFault{501, "5.5.4", "SIZE requires a value"}
			}
			p.size = int64(n)
		case "BODY":
			switch strings.ToUpper(value) {
			case "7BIT":
				p.eightBit = false
			case "8BITMIME":
				p.eightBit = true
			default:
				return &paramFault{501, "5.5.4", "Unknown BODY type " + echo(value)}
			}
		case "SMTPUTF8":
			if value != "" {
				return &paramFault{501, "5.5.4", "SMTPUTF8 takes no value"}
			}
			p.utf8 = true
		case "RET", "ENVID":
			if f := p.reports(name, value); f != nil {
				return f
			}
		case "AUTH":
			if !p.auth {
				return &paramFault{555, "5.5.4", "AUTH parameter unrecognized"}
			}
			if _, ok := xtext(value); !ok || value == "" { // who it says is not believed
				return &paramFault{501, "5.5.4", "AUTH requires a value in xtext"}
			}
		default:
			return &paramFault{555, "5.5.4", echo(name) + " parameter unrecognized"}
		}
	}
	return nil
}

// reports reads what is for reports to the sender (RFC 3461).
func (p *params) reports(name, value string) *paramFault {
	into, parse := &p.ret, parseRet
	if strings.EqualFold(name, "ENVID") {
		into, parse = &p.envID, parseEnvID
	}
	again := *into != ""
	var ok bool
	*into, ok = parse(value)
	return parameter(name, value, ok, again)
}

// parseBdat reads the argument of BDAT: "1000" or "1000 LAST".
func parseBdat(arg string) (n int64, last, ok bool) {
	words := strings.Fields(arg)
	if len(words) == 0 || len(words) > 2 || len(words) == 2 && !strings.EqualFold(words[1], "LAST") {
		return 0, false, false
	}
	u, err := strconv.ParseUint(words[0], 10, 63)
	return int64(u), len(words) == 2, err == nil
}

// validHelo tells whether an argument of HELO has only characters that sendmail
// takes there.
func validHelo(name string) bool {
	if name == "" || len(name) > 255 {
		return false
	}
	for i := range len(name) {
		c := name[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && strings.IndexByte("[].-_#:", c) < 0 {
			return false
		}
	}
	return true
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
