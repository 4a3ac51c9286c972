// Package listen opens the sockets that daemons take connections from: in the
// socket syntax of sendmail, or passed by systemd.
package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// SocketOptions are for unix sockets; for others they mean nothing.
type SocketOptions struct {
	Owner string      // name or number; "" leaves it
	Group string      // likewise
	Mode  fs.FileMode // permission bits; 0 is 0660
}

// Address is a listening address as package net takes it.
type Address struct {
	Network string // tcp4, tcp6 or unix
	Addr    string // host:port, or the path of the socket
}

// Parse reads an address in sendmail's socket syntax:
//
//	inet:8891@127.0.0.1    inet6:8891@[::1]    inet:8891 (all IPv4 addresses)
//	unix:/run/gatepost/milter.sock             local:/run/gatepost/milter.sock
//
// As with libmilter the port may be a service name, the host a name, and no host
// means all addresses of the family. Port 0 lets the system choose.
func Parse(s string) (Address, error) {
	kind, rest, ok := strings.Cut(s, ":")
	if !ok {
		return Address{}, badAddress(s, "expected inet:PORT@HOST, inet6:PORT@HOST or unix:/PATH")
	}
	switch kind {
	case "unix", "local":
		if !strings.HasPrefix(rest, "/") {
			return Address{}, badAddress(s, "the path of the socket must begin with /")
		}
		return Address{Network: "unix", Addr: rest}, nil
	case "inet":
		return parseInet(s, "tcp4", rest)
	case "inet6":
		return parseInet(s, "tcp6", rest)
	}
	return Address{}, badAddress(s, fmt.Sprintf("unknown kind %q, expected inet, inet6, unix or local", kind))
}

func badAddress(s, why string) error { return fmt.Errorf("listen address %q: %s", s, why) }

func parseInet(s, network, rest string) (Address, error) {
	service, host, named := strings.Cut(rest, "@")
	port, err := net.LookupPort(network, service)
	if err != nil || service == "" {
		return Address{}, badAddress(s, fmt.Sprintf("%q is no port, expected a number up to 65535 or a service name", service))
	}
	if named && host == "" {
		return Address{}, badAddress(s, "no host after @")
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		if host, ok = strings.CutSuffix(inner, "]"); !ok {
			return Address{}, badAddress(s, "[ without ]")
		}
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is4() != (network == "tcp4") {
		return Address{}, badAddress(s, "the address is of the other family (inet is IPv4, inet6 is IPv6)")
	} else if err != nil && strings.ContainsAny(host, ":/@ ") {
		return Address{}, badAddress(s, fmt.Sprintf("%q is no host", host))
	}
	return Address{Network: network, Addr: net.JoinHostPort(host, strconv.Itoa(port))}, nil
}

// Open listens on an address as Parse takes it.
//
// The path of a unix socket may hold a socket that is left over: it is removed if
// nobody answers on it. Nothing but a socket is ever removed. The socket takes
// no connection before its owner and mode are set, and is removed again by Close.
func Open(addr string, opt SocketOptions) (net.Listener, error) {
	a, err := Parse(addr)
	if err != nil {
		return nil, err
	}
	if a.Network == "unix" {
		ln, err := listenUnix(a.Addr, opt)
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w", addr, err)
		}
		return ln, nil
	}
	return listenTCP(a.Network, a.Addr, addr)
}

// TCP listens on HOST:PORT; no HOST is every address, IPv4 and IPv6. An address
// is of its own family alone, so that 0.0.0.0 and [::] can stand side by side.
func TCP(addr string) (net.Listener, error) {
	network := "tcp"
	if ap, err := netip.ParseAddrPort(addr); err == nil {
		if network = "tcp6"; ap.Addr().Is4() {
			network = "tcp4"
		}
	}
	return listenTCP(network, addr, addr)
}

func listenTCP(network, addr, written string) (net.Listener, error) {
	ln, err := new(net.ListenConfig).Listen(context.Background(), network, addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", written, rootCause(err))
	}
	return ln, nil
}

// rootCause drops package net's repetition of the address.
func rootCause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		var sys *os.SyscallError
		if errors.As(op.Err, &sys) {
			return sys.Err
		}
		return op.Err
	}
	return err
}

// Close closes listeners that are not served.
func Close(all []net.Listener) {
	for _, ln := range all {
		_ = ln.Close()
	}
}
