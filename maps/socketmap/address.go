package socketmap

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// forms is what an address may look like, for errors.
const forms = "inet:HOST:PORT:NAME, inet:PORT@HOST:NAME or unix:/PATH:NAME was expected"

// ParseAddress reads where a map is, as an administrator of either mail server writes it:
//
//	inet:HOST:PORT:NAME     Postfix (socketmap_table(5)); HOST of IPv6 in brackets
//	inet:PORT@HOST:NAME     sendmail's socket, and the name that sendmail has in front of it
//	inet6:PORT@HOST:NAME    the same, over IPv6 only
//	unix:/PATH:NAME         both; also local:/PATH:NAME
//
// HOST is a name or an address, PORT a number, and NAME, the name of the map at the
// server, what follows the last colon. network and address are as net.Dial takes them.
func ParseAddress(s string) (network, address, name string, err error) {
	scheme, rest, _ := strings.Cut(s, ":")
	colon := strings.LastIndexByte(rest, ':')
	if colon < 0 {
		return "", "", "", fmt.Errorf("%q: %s", s, forms)
	}
	place, name := rest[:colon], rest[colon+1:]
	if name == "" || strings.ContainsFunc(name, unprintable) {
		return "", "", "", fmt.Errorf("%q: a map cannot have the name %q; %s", s, name, forms)
	}
	switch scheme = strings.ToLower(scheme); scheme {
	case "inet":
		network = "tcp"
		address, err = parseInet(place)
	case "inet6":
		network = "tcp6"
		address, err = parseInet(place)
	case "unix", "local":
		network = "unix"
		address, err = parsePath(place)
	default:
		err = fmt.Errorf("unknown kind of socket %q", scheme)
	}
	if err != nil {
		return "", "", "", fmt.Errorf("%q: %w; %s", s, err, forms)
	}
	return network, address, name, nil
}

func unprintable(r rune) bool { return r <= ' ' || r == 0x7f }

// parseInet reads PORT@HOST or HOST:PORT.
func parseInet(s string) (string, error) {
	port, host, sendmail := strings.Cut(s, "@")
	if !sendmail {
		colon := strings.LastIndexByte(s, ':')
		if colon < 0 {
			return "", fmt.Errorf("no port in %q", s)
		}
		host, port = s[:colon], s[colon+1:]
		if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
			return "", fmt.Errorf("the IPv6 address %s must be in brackets", host)
		}
	}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	if host == "" || strings.ContainsFunc(host, unprintable) || strings.ContainsAny(host, "/@[]") {
		return "", fmt.Errorf("%q is no host", host)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("%q is no port, 1 to 65535", port)
	}
	return net.JoinHostPort(host, port), nil
}

func parsePath(s string) (string, error) {
	// sun_path has 108 bytes, with a NUL at the end.
	if !strings.HasPrefix(s, "/") || len(s) > 107 || strings.ContainsRune(s, 0) {
		return "", fmt.Errorf("%q is no absolute path of at most 107 bytes", s)
	}
	return s, nil
}
