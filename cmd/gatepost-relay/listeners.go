package main

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"gatepost/internal/config"
	"gatepost/internal/listen"
)

// plainListener is the name of relay.listen.
const plainListener = "MTA"

// ruled is a listener with the configuration that it serves under.
type ruled struct {
	net.Listener
	as    config.Listener
	local bool // relay.submission
}

// Name is for the log.
func (r ruled) Name() string { return r.as.Name }

// atListener splits an argument of --listen: NAME=HOST:PORT, or HOST:PORT at the
// listener of relay.listen.
func atListener(arg string) (name, addr string) {
	if name, addr, named := strings.Cut(arg, "="); named {
		return name, addr
	}
	return plainListener, arg
}

// openListeners opens what systemd passed, and the addresses of the command line;
// without the latter also those of each listener for which systemd passed nothing.
func openListeners(cfg *config.Config, arguments []string) (all []net.Listener, err error) {
	defer func() {
		if err == nil {
			err = clearFaults(all)
		}
		if err != nil {
			listen.Close(all)
			all = nil
		}
	}()
	configured := cfg.AllListeners()
	open := func(l config.Listener, addr string) error {
		ln, err := listen.TCP(addr)
		if err == nil {
			all = append(all, ruled{Listener: ln, as: l})
		}
		return err
	}
	passed, err := listen.Systemd()
	for _, p := range passed {
		all = append(all, p)
	}
	if err != nil {
		return all, err
	}
	given := map[string]bool{}
	for i, p := range passed {
		l, err := findListener(cfg, passedName(p.Name))
		if err != nil {
			return all, fmt.Errorf("socket %s from systemd: FileDescriptorName=%s: %w", p.Addr(), p.Name, err)
		}
		all[i] = ruled{Listener: p.Listener, as: l}
		given[l.Name] = true
	}
	for _, arg := range arguments {
		name, addr := atListener(arg)
		l, err := findListener(cfg, name)
		if err != nil {
			return all, fmt.Errorf("--listen %s: %w", arg, err)
		}
		if err := open(l, addr); err != nil {
			return all, err
		}
	}
	if len(arguments) > 0 {
		return all, nil
	}
	for _, l := range configured {
		if given[l.Name] {
			continue
		}
		for _, addr := range l.Listen {
			if err := open(l, addr); err != nil {
				return all, err
			}
		}
	}
	return all, nil
}

// clearFaults finds listeners that may take passwords in the clear because they are on
// loopback addresses, and are not: systemd or the command line has the last word there.
func clearFaults(all []net.Listener) error {
	var faults []error
	for _, ln := range all {
		l, ok := ln.(ruled)
		if !ok || !l.as.PlainAuth || len(l.as.Networks) > 0 {
			continue
		}
		if at, ok := l.Addr().(*net.TCPAddr); !ok || !at.IP.IsLoopback() {
			faults = append(faults, fmt.Errorf("listener %s has allow_plaintext_auth and would be open to everybody at %s, expected networks = [...] with it, or a loopback address", l.as.Name, l.Addr()))
		}
	}
	return errors.Join(faults...)
}

// passedName is the listener that a socket of systemd's is for: one without a
// FileDescriptorName of its own is relay.listen's.
func passedName(name string) string {
	if strings.HasSuffix(name, ".socket") || strings.HasPrefix(name, "LISTEN_FD_") || name == "unknown" {
		return plainListener
	}
	return name
}

// findListener is the listener with a name. That of relay.listen is always there.
func findListener(cfg *config.Config, name string) (config.Listener, error) {
	all := cfg.AllListeners()
	if i := slices.IndexFunc(all, func(l config.Listener) bool { return strings.EqualFold(l.Name, name) }); i >= 0 {
		return all[i], nil
	}
	if name == plainListener {
		return cfg.PlainListener(), nil
	}
	return config.Listener{}, fmt.Errorf("there is no [[listener]] with name = %q", name)
}
