package smtp

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// MaxNextHops is how many hosts a list of next hops has at most.
const MaxNextHops = 20

// NextHop is a host that mail is handed to, as an administrator names it.
type NextHop struct {
	Host string // a name without final dot, or an address without brackets
	MX   bool   // its MX records are looked up: it was not written in brackets
	Port uint16 // 0: none was named
}

// String is the hop as it is written: "example.org", "[mx.example.org]:587".
func (h NextHop) String() string {
	s := h.Host
	if addr, err := netip.ParseAddr(s); err == nil && addr.Is6() {
		s = "IPv6:" + s
	}
	if !h.MX {
		s = "[" + s + "]"
	}
	if h.Port != 0 {
		s += ":" + strconv.Itoa(int(h.Port))
	}
	return s
}

// CutMailer splits "mailer:rest" as sendmail's rule set MailerToTriple does: the mailer
// is one token before the first colon. What begins with a bracket, or with a name that
// has a dot in it, is a host.
func CutMailer(text string) (mailer, rest string, ok bool) {
	word, rest, ok := strings.Cut(text, ":")
	word = strings.TrimSpace(word)
	if !ok || word == "" || strings.ContainsFunc(word, func(r rune) bool { return r <= ' ' || r < 0x80 && IsDelimiter(byte(r)) }) {
		return "", text, false
	}
	return strings.ToLower(word), strings.TrimSpace(rest), true
}

// ParseNextHops reads a list of hosts with colons or commas between, which are tried in
// that order, as in sendmail: names, names or addresses in brackets, which have no MX
// records looked up, and addresses. Unlike there, a number is no host but the port of
// those before it that have none: "[a.example]:587", "a.example:b.example:26". A lone
// IPv6 address needs no brackets.
func ParseNextHops(text string) ([]NextHop, error) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		return []NextHop{{Host: addr.Unmap().String()}}, nil
	}
	var hops []NextHop
	ported := 0 // so many of them have their port
	for rest, more := text, true; more; {
		var word string
		word, rest, more = cutHost(rest)
		if word = strings.TrimSpace(word); isNumber(word) {
			port, err := strconv.ParseUint(word, 10, 16)
			if err != nil || port == 0 || ported == len(hops) {
				return nil, fmt.Errorf("%q is no port of a host before it, 1 to 65535", word)
			}
			for ; ported < len(hops); ported++ {
				hops[ported].Port = uint16(port)
			}
			continue
		}
		hop, err := parseNextHop(word)
		if err != nil {
			return nil, err
		}
		if hops = append(hops, hop); len(hops) > MaxNextHops {
			return nil, fmt.Errorf("more than %d hosts", MaxNextHops)
		}
	}
	return hops, nil
}

// cutHost cuts the first element of a list: the colons of an address in brackets are
// its own.
func cutHost(list string) (first, rest string, more bool) {
	from := 0
	if strings.HasPrefix(strings.TrimSpace(list), "[") {
		from = strings.IndexByte(list, ']') + 1
	}
	end := strings.IndexAny(list[from:], ":,")
	if end < 0 {
		return list, "", false
	}
	return list[:from+end], list[from+end+1:], true
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

var errNoHost = errors.New("a host is missing")

func parseNextHop(word string) (NextHop, error) {
	host, inside := strings.CutPrefix(word, "[")
	if inside {
		var closed bool
		if host, closed = strings.CutSuffix(host, "]"); !closed {
			return NextHop{}, fmt.Errorf("%q is no host in brackets, expected [HOST]", word)
		}
	}
	literal := host
	if len(host) > 5 && strings.EqualFold(host[:5], "IPv6:") {
		literal = host[5:]
	}
	if addr, err := netip.ParseAddr(literal); err == nil && addr.Zone() == "" {
		return NextHop{Host: addr.Unmap().String()}, nil
	}
	host = strings.TrimSuffix(host, ".")
	switch {
	case host == "":
		return NextHop{}, errNoHost
	case !validHost(host):
		return NextHop{}, fmt.Errorf("%q is no host name", host)
	}
	return NextHop{Host: strings.ToLower(host), MX: !inside}, nil
}

// validHost tells whether the DNS could have the name (RFC 1035, 2.3.4): labels of
// letters, digits, hyphens and underscores. The last label is no number, or the name would
// be taken for an address.
func validHost(name string) bool {
	if len(name) > 253 || isNumber(name[strings.LastIndexByte(name, '.')+1:]) {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, letters+"0123456789-_") != "" {
			return false
		}
	}
	return true
}
