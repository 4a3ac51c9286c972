// Package routes makes the Router of a configuration.
package routes

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"gatepost/internal/config"
	"gatepost/internal/setup"
	"gatepost/internal/smtp"
	"gatepost/policy"
	"gatepost/relay/deliver"
	"gatepost/relay/route"
	"gatepost/relay/route/mailertable"
)

// New makes the Router of what is in force. listening are the addresses at which this host
// takes mail: its mail exchanger of that address is itself.
func New(e *setup.Engine, listening []netip.AddrPort) *route.Router {
	cfg := e.Config()
	smart := cfg.Relay.SmartHost
	return route.New(route.Config{
		Site: e,
		SmartHost: route.SmartHost{
			Mailer: smart.Mailer, Host: smart.Hosts, Hops: smart.Hops, Source: at(cfg, "relay.smart_host"),
		},
		RelayPort: cfg.Relay.RelayMailerPort,
		IPv4:      slices.Contains(cfg.Relay.InetProtocols, "ipv4"),
		IPv6:      slices.Contains(cfg.Relay.InetProtocols, "ipv6"),
		Listening: (&own{e, onPort(listening, 25)}).has,
	})
}

// at is where the configuration has a key.
func at(cfg *config.Config, key string) string {
	if line := config.KeyLine(cfg.File, key); line > 0 {
		return cfg.File + ":" + strconv.Itoa(line)
	}
	return key
}

// Configured are the addresses at which a relay of this configuration takes mail. Names
// are left out, but for localhost.
func Configured(cfg *config.Config) (all []netip.AddrPort) {
	for _, l := range cfg.AllListeners() {
		for _, listen := range l.Listen {
			host, port, _ := net.SplitHostPort(listen)
			addr, err := netip.ParseAddr(host)
			switch {
			case host == "":
				addr = netip.IPv6Unspecified()
			case host == "localhost":
				addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
			case err != nil:
				continue
			}
			if n, err := strconv.ParseUint(port, 10, 16); err == nil {
				all = append(all, netip.AddrPortFrom(addr, uint16(n)))
			}
		}
	}
	return all
}

// Listening are the addresses of listeners.
func Listening(all []net.Listener) (at []netip.AddrPort) {
	for _, ln := range all {
		if addr, ok := ln.Addr().(*net.TCPAddr); ok {
			at = append(at, addr.AddrPort())
		}
	}
	return at
}

func onPort(all []netip.AddrPort, port uint16) (addrs []netip.Addr) {
	for _, at := range all {
		if at.Port() == port {
			addrs = append(addrs, at.Addr().Unmap())
		}
	}
	return addrs
}

// own are this host's addresses, as far as it takes mail there.
type own struct {
	engine *setup.Engine
	listen []netip.Addr
}

// has looks at the interfaces as they are now. What is in class w may be the address that a
// router in front of us passes on.
func (o *own) has(ctx context.Context, addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if len(o.listen) == 0 {
		return false
	}
	if slices.Contains(o.listen, addr) {
		return true
	}
	if slices.ContainsFunc(o.listen, netip.Addr.IsUnspecified) && (addr.IsLoopback() || onInterface(addr)) {
		return true
	}
	local, err := o.engine.IsLocal(ctx, "["+policy.AddrText(addr)+"]")
	return local && err == nil && !addr.IsLoopback()
}

func onInterface(addr netip.Addr) bool {
	all, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(all, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		if !ok {
			return false
		}
		ip, ok := netip.AddrFromSlice(n.IP)
		return ok && ip.Unmap() == addr
	})
}

// Refusal is the reply to a recipient whom the mailertable refuses, or makes a local user
// whom no mail is taken for, or for whom there can be no way, so that nobody who is innocent
// gets a report of it; zero for others, and for what cannot be told now.
func Refusal(ctx context.Context, e *setup.Engine, r *route.Router, to smtp.Mailbox) smtp.Reply {
	a, err := r.Route(ctx, "", to.String())
	var none deliver.NoRoute
	switch {
	case errors.As(err, &none) && none.Outcome == deliver.Failed:
		reply, err := smtp.NewReply(550, none.Status, none.Text)
		if err != nil {
			return smtp.Reply{} // it fails in the queue, where any text will do
		}
		return reply
	case err != nil:
		return smtp.Reply{}
	case a.Mailer == mailertable.Local && a.Source != "":
		return e.LocalUser(ctx, smtp.ParseMailbox(a.User, smtp.Syntax{NoUUCP: true, NoPercentHack: true}))
	}
	return a.Fault
}
