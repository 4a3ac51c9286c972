package deliver

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// address is where a next hop is.
type address struct {
	host string     // a name, "" for the others
	addr netip.Addr // a literal address
	port uint16
	path string // a UNIX-domain socket
}

// parseAddress reads host:port, [host]:port, the same without a port, or unix:/path. host is
// a name or an address; that of IPv6 needs the brackets. Around a name they say that
// there are no MX records to be looked up, which is so for every fixed next hop.
func parseAddress(s string, defaultPort uint16) (address, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		// sun_path has 108 bytes, with a NUL at the end.
		if !strings.HasPrefix(path, "/") || len(path) > 107 || strings.ContainsRune(path, 0) {
			return address{}, fmt.Errorf("%q is no absolute path of at most 107 bytes", path)
		}
		return address{path: path}, nil
	}
	host, port, err := splitPort(s)
	if err != nil {
		return address{}, err
	}
	a := address{port: defaultPort}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return address{}, fmt.Errorf("%q is no port, 1 to 65535", port)
		}
		a.port = uint16(n)
	}
	if a.addr, err = netip.ParseAddr(host); err == nil {
		return a, nil
	}
	if host == "" || len(host) > 253 || strings.ContainsFunc(host, notHost) {
		return address{}, fmt.Errorf("%q is no host, host:port or [host]:port", s)
	}
	a.host = host
	return a, nil
}

func splitPort(s string) (host, port string, err error) {
	if !strings.HasPrefix(s, "[") {
		host, port, found := strings.Cut(s, ":")
		switch {
		case strings.Contains(port, ":"):
			return "", "", fmt.Errorf("the IPv6 address in %q must be in brackets", s)
		case found && port == "":
			return "", "", fmt.Errorf("no port after the colon in %q", s)
		}
		return host, port, nil
	}
	host, rest, closed := strings.Cut(s[1:], "]")
	port, found := strings.CutPrefix(rest, ":")
	if !closed || rest != "" && (!found || port == "") {
		return "", "", fmt.Errorf("%q is no host, host:port or [host]:port", s)
	}
	return host, port, nil
}

func notHost(r rune) bool {
	letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
	return !letter && r != '-' && r != '.' && r != '_'
}

// relay is how the log names the peer at an address of the next hop.
func (a address) relay(at netip.Addr) string {
	if a.path != "" {
		return "unix:" + a.path
	}
	if !at.IsValid() {
		return a.String()
	}
	return a.host + "[" + at.String() + "]:" + strconv.Itoa(int(a.port))
}

func (a address) String() string {
	switch {
	case a.path != "":
		return "unix:" + a.path
	case a.host == "":
		return netip.AddrPortFrom(a.addr, a.port).String()
	}
	return net.JoinHostPort(a.host, strconv.Itoa(int(a.port)))
}
