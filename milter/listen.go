package milter

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

	"github.com/coreos/go-systemd/v22/activation"
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

// ParseListen reads an address in sendmail's socket syntax:
//
//	inet:8891@127.0.0.1    inet6:8891@[::1]    inet:8891 (all IPv4 addresses)
//	unix:/run/gatepost/milter.sock             local:/run/gatepost/milter.sock
//
// As with libmilter the port may be a service name, the host a name, and no host
// means all addresses of the family. Port 0 lets the system choose.
func ParseListen(s string) (Address, error) {
	kind, rest, ok := strings.Cut(s, ":")
	if !ok {
		return Address{}, badListen(s, "expected inet:PORT@HOST, inet6:PORT@HOST or unix:/PATH")
	}
	switch kind {
	case "unix", "local":
		if !strings.HasPrefix(rest, "/") {
			return Address{}, badListen(s, "the path of the socket must begin with /")
		}
		return Address{Network: "unix", Addr: rest}, nil
	case "inet":
		return parseInet(s, "tcp4", rest)
	case "inet6":
		return parseInet(s, "tcp6", rest)
	}
	return Address{}, badListen(s, fmt.Sprintf("unknown kind %q, expected inet, inet6, unix or local", kind))
}

func badListen(s, why string) error { return fmt.Errorf("listen address %q: %s", s, why) }

func parseInet(s, network, rest string) (Address, error) {
	service, host, named := strings.Cut(rest, "@")
	port, err := net.LookupPort(network, service)
	if err != nil || service == "" {
		return Address{}, badListen(s, fmt.Sprintf("%q is no port, expected a number up to 65535 or a service name", service))
	}
	if named && host == "" {
		return Address{}, badListen(s, "no host after @")
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		if host, ok = strings.CutSuffix(inner, "]"); !ok {
			return Address{}, badListen(s, "[ without ]")
		}
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is4() != (network == "tcp4") {
		return Address{}, badListen(s, "the address is of the other family (inet is IPv4, inet6 is IPv6)")
	} else if err != nil && strings.ContainsAny(host, ":/@ ") {
		return Address{}, badListen(s, fmt.Sprintf("%q is no host", host))
	}
	return Address{Network: network, Addr: net.JoinHostPort(host, strconv.Itoa(port))}, nil
}

// Listen listens on an address as ParseListen takes it.
//
// The path of a unix socket may hold a socket that is left over: it is removed if
// nobody answers on it. Nothing but a socket is ever removed. The socket takes
// no connection before its owner and mode are set, and is removed again by Close.
func Listen(addr string, opt SocketOptions) (net.Listener, error) {
	a, err := ParseListen(addr)
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
	ln, err := new(net.ListenConfig).Listen(context.Background(), a.Network, a.Addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, rootCause(err))
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

// SystemdListeners returns the stream sockets that systemd handed to this
// process (sd_listen_fds(3)), none if there are none. It can be called once: it
// takes the variables out of the environment.
func SystemdListeners() ([]net.Listener, error) {
	passed, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("sockets from systemd: %w", err)
	}
	var lns []net.Listener
	for i, ln := range passed {
		if ln == nil {
			for _, open := range lns {
				_ = open.Close()
			}
			return nil, fmt.Errorf("sockets from systemd: number %d is not a listening stream socket", i+1)
		}
		if u, ok := ln.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false) // it stays systemd's
		}
		lns = append(lns, ln)
	}
	return lns, nil
}
