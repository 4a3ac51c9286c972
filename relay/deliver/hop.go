package deliver

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Hop is one next hop: where mail for a destination may be brought to.
type Hop struct {
	Host string // a name or an address; or "unix:/path", a socket on this machine (LMTP only)
	MX   bool   // Host is a domain, whose mail exchangers are asked
	Port uint16 // 0: the transport's own
}

// Bounds of a destination.
const (
	MaxHops        = 20
	maxDestination = 4096
)

// ParseDestination reads the next hops of a destination, separated by commas, in the
// order in which they are tried:
//
//	example.org, example.org:26             the mail exchangers of a domain
//	[mx.example.org], [mx.example.org]:587  a host, without a look at MX records
//	[192.0.2.1]:25, [2001:db8::1]:25        an address; IPv4 needs no brackets
//	unix:/path                              a UNIX-domain socket
//
// Names come out in lower case without a dot at the end, so that two that say the same
// are the same.
func ParseDestination(destination string) ([]Hop, error) {
	if len(destination) > maxDestination {
		return nil, fmt.Errorf("a destination of more than %d bytes", maxDestination)
	}
	n := 1 + strings.Count(destination, ",")
	if n > MaxHops {
		return nil, fmt.Errorf("a destination of more than %d next hops", MaxHops)
	}
	hops := make([]Hop, 0, n)
	for {
		one, rest, more := strings.Cut(destination, ",")
		hop, err := parseHop(one)
		if err != nil {
			return nil, err
		}
		if hops = append(hops, hop); !more {
			return hops, nil
		}
		destination = rest
	}
}

func parseHop(s string) (Hop, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		// sun_path has 108 bytes, with a NUL at the end.
		if !strings.HasPrefix(path, "/") || len(path) > 107 || strings.ContainsRune(path, 0) {
			return Hop{}, fmt.Errorf("%q is no absolute path of at most 107 bytes", path)
		}
		return Hop{Host: s}, nil
	}
	host, port, bare, err := splitPort(s)
	if err != nil {
		return Hop{}, err
	}
	h := Hop{MX: bare}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return Hop{}, fmt.Errorf("%q is no port, 1 to 65535", port)
		}
		h.Port = uint16(n)
	}
	if addr, ok := parseLiteral(host); ok {
		h.Host, h.MX = host, false
		var room [64]byte
		if canonical := addr.AppendTo(room[:0]); string(canonical) != host {
			h.Host = string(canonical)
		}
		return h, nil
	}
	dots := host == "" || host[0] == '.' || strings.Contains(host, "..")
	host = strings.TrimSuffix(host, ".")
	if dots || len(host) > 253 || strings.ContainsFunc(host, notHost) {
		return Hop{}, errNoHop(s)
	}
	h.Host = strings.ToLower(host)
	return h, nil
}

func errNoHop(s string) error {
	return fmt.Errorf("%q is no host, host:port or [host]:port", s)
}

// parseLiteral reads an address, also as mail addresses have it: "IPv6:2001:db8::1" (RFC
// 5321, 4.1.3).
func parseLiteral(host string) (netip.Addr, bool) {
	if len(host) > 5 && strings.EqualFold(host[:5], "IPv6:") {
		host = host[5:]
	}
	addr, err := netip.ParseAddr(host)
	if err != nil || len(addr.Zone()) > 32 || strings.ContainsFunc(addr.Zone(), notHost) {
		return netip.Addr{}, false
	}
	return addr.Unmap(), true
}

// splitPort takes a port off; bare says that there were no brackets.
func splitPort(s string) (host, port string, bare bool, err error) {
	if !strings.HasPrefix(s, "[") {
		host, port, found := strings.Cut(s, ":")
		switch {
		case strings.Contains(port, ":"):
			return "", "", false, fmt.Errorf("the IPv6 address in %q must be in brackets", s)
		case found && port == "":
			return "", "", false, fmt.Errorf("no port after the colon in %q", s)
		}
		return host, port, true, nil
	}
	host, rest, closed := strings.Cut(s[1:], "]")
	port, found := strings.CutPrefix(rest, ":")
	if !closed || rest != "" && (!found || port == "") {
		return "", "", false, errNoHop(s)
	}
	return host, port, false, nil
}

func notHost(r rune) bool {
	letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
	return !letter && r != '-' && r != '.' && r != '_'
}

// FormatDestination is what ParseDestination reads.
func FormatDestination(hops []Hop) string {
	var out []byte
	for i, h := range hops {
		if i > 0 {
			out = append(out, ',')
		}
		out = h.append(out)
	}
	return string(out)
}

// String is the hop as a destination has it.
func (h Hop) String() string { return string(h.append(nil)) }

func (h Hop) append(out []byte) []byte {
	if h.socket() != "" {
		return append(out, h.Host...)
	}
	if h.MX {
		out = append(out, h.Host...)
	} else {
		out = append(append(append(out, '['), h.Host...), ']')
	}
	if h.Port != 0 {
		out = strconv.AppendUint(append(out, ':'), uint64(h.Port), 10)
	}
	return out
}

// socket is the path of a socket; "" for hops of the network.
func (h Hop) socket() string {
	path, ok := strings.CutPrefix(h.Host, "unix:")
	if !ok {
		return ""
	}
	return path
}

// Peer is one server that may be asked to take mail.
type Peer struct {
	Hop       Hop        // as the destination has it
	Host      string     // the name of the server: that of Hop, or of one of its mail exchangers
	Port      uint16     // of the connection
	Addr      netip.Addr // of Host; zero: not of the network
	Authentic bool       // that Host is the right one, and Addr its address, was validated by DNSSEC
}

// String is how the log names the peer: "mx.example.org[192.0.2.1]:25".
func (p *Peer) String() string {
	switch {
	case p.Hop.socket() != "":
		return p.Host
	case !p.Addr.IsValid():
		return net.JoinHostPort(p.Host, strconv.Itoa(int(p.Port)))
	}
	var room [64]byte
	out := room[:0]
	if _, err := netip.ParseAddr(p.Host); err != nil {
		out = append(out, p.Host...)
	}
	out = append(p.Addr.AppendTo(append(out, '[')), "]:"...)
	return string(strconv.AppendUint(out, uint64(p.Port), 10))
}

// Exchangers are the hosts that take mail for a domain.
type Exchangers struct {
	Hosts     []string // in the order in which they are tried
	Authentic bool     // validated by DNSSEC
}

// Addresses are those of a host.
type Addresses struct {
	Addrs     []netip.Addr // in the order in which they are tried
	Authentic bool         // validated by DNSSEC
}
